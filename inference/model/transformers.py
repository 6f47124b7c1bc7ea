"""Samples a transformers checkpoint in this process: for small models, tests, rollouts and machines without a server.

Its own loop instead of ``generate``: it keeps the log-probability of each sampled token without keeping every step's logits, gives every
completion a seed of its own (so that a batch's size changes nothing), reads a prompt once for all its completions, and obeys a deadline.

A tokenizer without a chat template gets this one: each turn ``<|ROLE|>``, line end, content, ``<|end|>``, line end; at the end
``<|assistant|>`` and a line end, after which the model writes until its end-of-text token or ``<|end|>``.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inference import ConfigurationError
from inference.adapters import AdapterError, Registry, split_served_name
from inference.model import Answer, Completion, ModelError, ModelRefused, ModelUnavailable, Options, Usage
from inference.model.spending import Meter, Totals
from inference.trajectory import Message

END = "<|end|>"
_MOST_ADAPTERS = 2
_DEFAULT_CONTEXT_TOKENS = 2048


def render_plainly(messages: Sequence[Message]) -> str:
    """The prompt of a tokenizer that has no chat template; see above."""
    return "".join(f"<|{one.role}|>\n{one.content}{END}\n" for one in messages) + "<|assistant|>\n"


@dataclass
class _Row:
    """One completion while it grows. ``uniforms``: its random numbers, drawn beforehand."""

    prompt: int
    uniforms: Any
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str | None = None
    finish: Literal["stop", "length"] = "length"


class TransformersSampler:
    """A Sampler over a checkpoint in this process; one request at a time, others wait. No structured output: ``regex`` is left out."""

    def __init__(
        self, checkpoint: Path, registry: Registry | None = None, *, batch: int = 32, device: str | None = None, ignore_end: bool = False,
        max_context_tokens: int | None = None,
    ) -> None:  # fmt: skip
        """``batch``: completions at a time. ``device``: cuda where there is one, else cpu. ``ignore_end``: write on to ``max_tokens``, for
        measurements. Raises ConfigurationError."""
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise ConfigurationError("a checkpoint needs torch and transformers: pip install 'ledexbot[training]'") from None
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint)
            self._base = AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=torch.float32 if self.device == "cpu" else "auto", use_safetensors=True)  # fmt: skip
            self._base = self._base.to(self.device).eval()
        except (OSError, ValueError, KeyError) as error:
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigurationError(f"{checkpoint} is no checkpoint that transformers can load: {told}") from None
        self._model: Any = self._base
        self._registry, self._checkpoint = registry, checkpoint
        self._batch, self._loaded = batch, list[str]()
        # The tokenizer is no more for several threads than the model is.
        self._lock = threading.RLock()
        self._meter = Meter()
        self._ends = frozenset() if ignore_end else self._end_ids()
        limit = getattr(self._base.config, "max_position_embeddings", None) or _DEFAULT_CONTEXT_TOKENS
        self._context_tokens = min(limit, max_context_tokens or limit)
        # transformers 5.19 knows only the old name; 5.24 has a new one and warns of the old.
        self._cache_name = "cache" if "cache" in inspect.signature(self._base.forward).parameters else "past_key_values"

    @property
    def totals(self) -> Totals:
        return self._meter.totals

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    def count_tokens(self, text: str) -> int:
        return len(self._encode(text))

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        """See ``Sampler``. Log-probabilities are the model's own, before temperature and top_p."""
        [answer] = self.sample_many([messages], options, deadline, adapter)
        return answer

    def sample_many(
        self, dialogues: Sequence[Sequence[Message]], options: Options, deadline: float, adapter: str | None = None
    ) -> list[Answer]:
        """Complete several dialogues in the same batches, each n times. Each answer's seconds are its share of the whole time.

        Raises ModelUnavailable where the deadline comes first or the accelerator's memory is too small, and ModelRefused.
        """
        import torch

        started = time.monotonic()
        try:
            if not self._lock.acquire(timeout=max(0.0, deadline - started)):
                raise ModelUnavailable("the model was busy with other requests until the time was up")
            try:
                began = time.monotonic()
                prompts = [self._prompt(messages, options) for messages in dialogues]
                with self._adapted(adapter), torch.inference_mode():
                    rows = self._complete(prompts, options, deadline)
                seconds = time.monotonic() - began
            finally:
                self._lock.release()
        except torch.cuda.OutOfMemoryError:
            self._meter.add_failure()
            raise ModelUnavailable(f"the accelerator's memory is too small for {self._batch} completions at a time") from None
        except ModelError:
            self._meter.add_failure()
            raise
        return [self._answer(index, prompt, rows, options, seconds / len(prompts), adapter) for index, prompt in enumerate(prompts)]

    def _answer(self, index: int, prompt: list[int], rows: Sequence[_Row], options: Options, seconds: float, adapter: str | None) -> Answer:
        own = [row for row in rows if row.prompt == index]
        completions = tuple(
            Completion(
                row.text if row.text is not None else self._decode(row.ids), row.finish, tuple(row.ids) if options.logprobs else None,
                tuple(row.logprobs) if options.logprobs else None)
            for row in own)  # fmt: skip
        usage = Usage(len(prompt), sum(len(row.ids) for row in own), 0, seconds)
        self._meter.add(usage, len(completions), seconds)
        name, digest = split_served_name(adapter) if adapter is not None else (None, None)
        ids = tuple(prompt) if options.logprobs else None
        return Answer(completions, usage, self._checkpoint.name, name, digest, ids)

    def _prompt(self, messages: Sequence[Message], options: Options) -> list[int]:
        if self._tokenizer.chat_template:
            turns = [{"role": one.role, "content": one.content} for one in messages]
            try:
                text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
            except Exception as error:  # whatever the checkpoint's template raises: it is a program of its own
                raise ModelRefused(f"the checkpoint's chat template refused the dialogue: {str(error)[:200]}") from None
        else:
            text = render_plainly(messages)
        ids = self._encode(text)
        if len(ids) + options.max_tokens > self._context_tokens:
            raise ModelRefused(f"the prompt's {len(ids)} tokens and {options.max_tokens} of the completion are more than the "
                               f"{self._context_tokens} that the model can hold")  # fmt: skip
        return ids

    def _encode(self, text: str) -> list[int]:
        with self._lock:
            return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _end_ids(self) -> frozenset[int]:
        found = {self._tokenizer.eos_token_id}
        configured = self._base.generation_config.eos_token_id
        found.update(configured if isinstance(configured, list) else [configured])
        if not self._tokenizer.chat_template:
            found.add(self._tokenizer.get_vocab().get(END))
        return frozenset(one for one in found if one is not None)

    @contextlib.contextmanager
    def _adapted(self, served_name: str | None) -> Iterator[None]:
        """The weights that were asked for, for as long as the lock is held."""
        if served_name is None:
            with self._model.disable_adapter() if self._loaded else contextlib.nullcontext():
                yield
            return
        if self._registry is None:
            raise ModelRefused(f"the adapter {served_name} was asked for, and there is no registry of adapters")
        key = served_name.replace(".", "_")  # PEFT keeps adapters as modules, whose names have no dots
        try:
            folder = self._registry.verified_folder(served_name)
        except AdapterError as error:
            raise ModelRefused(str(error)) from None
        if key not in self._loaded:
            self._load(folder, key)
        self._model.set_adapter(key)
        yield

    def _load(self, folder: Path, key: str) -> None:
        try:
            from peft import PeftModel
        except ImportError:
            raise ModelRefused("an adapter needs peft: pip install 'ledexbot[training]'") from None
        try:
            if self._loaded:
                if len(self._loaded) >= _MOST_ADAPTERS:
                    self._model.delete_adapter(self._loaded.pop(0))
                self._model.load_adapter(folder, key)
            else:
                self._model = PeftModel.from_pretrained(self._base, folder, adapter_name=key).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            told = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelRefused(f"the adapter in {folder} does not fit the model: {told}") from None
        self._loaded.append(key)

    def _complete(self, prompts: Sequence[list[int]], options: Options, deadline: float) -> list[_Row]:
        import torch

        seed = options.seed if options.seed is not None else secrets.randbits(48)
        rows = []
        for index in range(len(prompts)):
            for number in range(options.n):
                own = hashlib.blake2b(f"{seed} {index} {number}".encode(), digest_size=7).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(own, "big"))
                rows.append(_Row(index, torch.rand(options.max_tokens, generator=generator)))
        for first in range(0, len(rows), self._batch):
            self._grow(prompts, rows[first : first + self._batch], options, deadline)
        return rows

    def _grow(self, prompts: Sequence[list[int]], rows: list[_Row], options: Options, deadline: float) -> None:
        """Write one batch of rows to their ends. Rows that end leave the batch, so that the last ones are quick."""
        import torch

        # Each prompt is read once, then its keys and values are repeated for each of its rows. Shorter prompts are padded on the left: then
        # every row's newest token is in the last column, and its position is the count of real tokens before it.
        numbers = list(dict.fromkeys(row.prompt for row in rows))
        width = max(len(prompts[number]) for number in numbers)
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(prompts[n])) + prompts[n] for n in numbers], device=self.device)
        mask = torch.tensor([[0] * (width - len(prompts[n])) + [1] * len(prompts[n]) for n in numbers], device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        out = self._model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
        place = torch.tensor([numbers.index(row.prompt) for row in rows], device=self.device)
        cache, logits, mask = out.past_key_values, out.logits[:, -1].float()[place], mask[place]
        if len(rows) != len(numbers):
            cache.reorder_cache(place)
        living = list(rows)
        for step in range(options.max_tokens):
            if time.monotonic() > deadline:
                raise ModelUnavailable(f"the time was up after {step} of {options.max_tokens} tokens")
            chosen = _choose(logits, torch.stack([row.uniforms[step] for row in living]).to(self.device), options)
            told = torch.log_softmax(logits, -1).gather(-1, chosen[:, None])[:, 0].tolist()
            for row, token, logprob in zip(living, chosen.tolist(), told, strict=True):
                row.ids.append(token)
                row.logprobs.append(logprob)
                self._finish(row, token, options)
            kept = [index for index, row in enumerate(living) if row.finish != "stop"]
            if not kept or step + 1 == options.max_tokens:
                return
            if len(kept) < len(living):
                select = torch.tensor(kept, device=self.device)
                cache.batch_select_indices(select)
                living, chosen, mask = [living[index] for index in kept], chosen[select], mask[select]
            mask = torch.cat([mask, mask.new_ones(len(living), 1)], -1)
            out = self._model(input_ids=chosen[:, None], attention_mask=mask, position_ids=mask.sum(-1, keepdim=True) - 1, use_cache=True,
                              **{self._cache_name: cache})  # fmt: skip
            cache, logits = out.past_key_values, out.logits[:, -1].float()

    def _finish(self, row: _Row, token: int, options: Options) -> None:
        if token in self._ends:
            row.finish = "stop"
        elif options.stop:
            # A new stop word ends in the newest token, and no character takes more than four tokens.
            tail = self._decode(row.ids[-4 * max(map(len, options.stop)) - 4 :])
            if any(stop and stop in tail for stop in options.stop):
                text = self._decode(row.ids)
                row.text = text[: min(place for stop in options.stop if stop and (place := text.find(stop)) >= 0)]
                row.finish = "stop"


def _choose(logits: Any, uniforms: Any, options: Options) -> Any:
    """(rows, vocabulary) logits and one uniform number for each row -> token ids. Temperature 0 takes the likeliest."""
    if options.temperature <= 0:
        return logits.argmax(-1)
    probabilities = (logits / options.temperature).softmax(-1)
    order = None
    if options.top_p < 1:
        probabilities, order = probabilities.sort(-1, descending=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= options.top_p, 0.0)
    reached = probabilities.cumsum(-1)
    # Strictly more than a number below the sum: the token found has a probability above zero, whatever was rounded.
    found = (reached > (uniforms * reached[:, -1])[:, None]).int().argmax(-1)
    return found if order is None else order.gather(-1, found[:, None])[:, 0]
