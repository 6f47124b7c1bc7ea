"""Who completes a dialogue: the Sampler protocol, what is asked of it and what it answers.

``openai`` speaks to vLLM or any OpenAI-compatible server, ``transformers`` runs a checkpoint in this process (imported lazily: torch is no
part of the base install). Errors::

    InferenceError
    └── ModelError             no completion could be had
        ├── ModelUnavailable   nobody answered in time, whoever was asked: it may work later
        └── ModelRefused       the server refused this request (too long a prompt, an unknown model or adapter): asking again is no use
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from inference import InferenceError
from inference.trajectory import Message


class ModelError(InferenceError):
    reason = "model"


class ModelUnavailable(ModelError):
    reason = "model_unavailable"


class ModelRefused(ModelError):
    reason = "model_refused"


@dataclass(frozen=True)
class Options:
    """How to sample. ``seed`` makes the n completions of one request repeatable where the server can; ``logprobs`` asks for token ids and
    their log-probabilities (training wants them); ``regex`` constrains the text where the server has structured output, and is left out
    where it has not."""

    n: int = 1
    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    regex: str | None = None


@dataclass(frozen=True)
class Completion:
    """One sampled text. ``finish``: it ended by itself or by a stop word, or was cut at ``max_tokens``. ``token_ids`` and ``logprobs`` are
    as long as each other; None where they were not asked for or the server has none."""

    text: str
    finish: Literal["stop", "length"]
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of one request, all completions together. ``cached_tokens``: of the prompt, those that a prefix cache had. ``seconds``: wall
    time of the request, which is what a GPU is billed for."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens, self.seconds + other.seconds)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The completions of one request, all by the same weights. ``model`` is the base model's name; ``adapter`` and ``adapter_hash`` name
    what was on top of it, None for the base model alone."""

    completions: tuple[Completion, ...]
    usage: Usage
    model: str
    adapter: str | None = None
    adapter_hash: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None


class Sampler(Protocol):
    """Completes dialogues. Safe to call from several threads."""

    @property
    def context_tokens(self) -> int:
        """Tokens that prompt and completion may have together."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's own tokenizer; an upper estimate where that cannot be had."""

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        """Complete a dialogue that ends with a user's turn. ``deadline`` is in ``time.monotonic()``. ``adapter`` is a name from the
        registry (``inference.adapters``); None asks for the base model. Raises ModelUnavailable and ModelRefused."""
