"""Dialogues as token ids, exactly as the sampler in this process and vLLM's chat endpoint make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.model.transformers import END, render_plainly
from inference.trajectory import Message


class Tokens:
    """A tokenizer of transformers with what training asks of it. A tokenizer without a chat template gets ``render_plainly``'s form."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Up to where the model speaks."""
        if self.tokenizer.chat_template:
            turns = [{"role": one.role, "content": one.content} for one in messages]
            text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        else:
            text = render_plainly(messages)
        return self._ids(text)

    def completion(self, text: str) -> list[int]:
        """What the model is to say, and that it ends there."""
        return [*self._ids(text), self.end]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @property
    def end(self) -> int:
        """The token after which a turn is over."""
        plain = None if self.tokenizer.chat_template else self.tokenizer.get_vocab().get(END)
        return int(plain if plain is not None else self.tokenizer.eos_token_id)

    @property
    def pad(self) -> int:
        return int(self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))
