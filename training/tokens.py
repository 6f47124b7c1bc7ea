"""Dialogues as token ids, exactly as the sampler in this process and vLLM's chat endpoint make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inference.model.transformers import END, render_plainly
from inference.trajectory import Message


class Tokens:
    """A tokenizer of transformers with what training asks of it. A tokenizer without a chat template gets ``render_plainly``'s form."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Up to where the model speaks."""
        return self._ids(self.prompt_text(messages))

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """What ``prompt`` is the ids of."""
        if not self.tokenizer.chat_template:
            return render_plainly(messages)
        turns = [{"role": one.role, "content": one.content} for one in messages]
        return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    def completion(self, text: str) -> list[int]:
        """What the model is to say, and that it ends there."""
        return [*self._ids(text), self.end]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def knows(self, ids: Sequence[int]) -> bool:
        """Whether there are ids and all of them are this tokenizer's. A file may hold any numbers."""
        return bool(ids) and min(ids) >= 0 and max(ids) < len(self.tokenizer)

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


def token_at(decode: Callable[[Sequence[int]], str], ids: Sequence[int], end: int) -> int:
    """The index of the token that holds the character before ``end`` (a character offset into the decoded text, above 0)."""
    low, high = 0, len(ids) - 1
    while low < high:
        middle = (low + high) // 2
        if len(decode(ids[: middle + 1])) >= end:
            high = middle
        else:
            low = middle + 1
    return low
