"""The chat completions of the OpenAI protocol as values: the request's JSON, and the answer's JSON checked and read. Pure.

vLLM's additions (token ids, structured output) are asked for only of vLLM: other servers refuse what they do not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inference.model import Completion, Options, Usage
from inference.model.http import MEGABYTE, EndpointFault
from inference.trajectory import Message

_FINISH: Mapping[str, Literal["stop", "length"]] = {
    "stop": "stop", "eos": "stop", "length": "length",
    "content_filter": "length",  # what is left of the text is as good as cut
}  # fmt: skip
_BYTES_OF_A_TOKEN = 1024
"""More than a token takes in an answer with its text, its id, its bytes and its log-probability."""


@dataclass(frozen=True)
class ChatAnswer:
    """``model`` is whom the server says that it asked; ``usage`` is without its seconds, and None where the server gave none."""

    completions: tuple[Completion, ...]
    model: str
    usage: Usage | None
    prompt_token_ids: tuple[int, ...] | None


def request_body(model: str, messages: Sequence[Message], options: Options, is_vllm: bool, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted to /v1/chat/completions; ``extra`` gives way to the options."""
    body: dict[str, Any] = {
        **extra, "model": model, "messages": [{"role": one.role, "content": one.content} for one in messages], "n": options.n,
        "temperature": options.temperature, "top_p": options.top_p, "max_tokens": options.max_tokens, "stream": False,
    }  # fmt: skip
    if options.seed is not None:
        body["seed"] = options.seed
    if options.stop:
        body["stop"] = list(options.stop)
    if options.logprobs:
        body["logprobs"] = True
        if is_vllm:
            body["return_token_ids"] = True
    if options.regex is not None and is_vllm:
        body["structured_outputs"] = {"regex": options.regex}
    return body


def most_answer_bytes(messages: Sequence[Message], options: Options) -> int:
    """No honest answer to these options is larger."""
    prompt = sum(len(one.content) for one in messages)
    return MEGABYTE + options.n * options.max_tokens * _BYTES_OF_A_TOKEN + 16 * prompt


def parse_chat(data: Any, options: Options) -> ChatAnswer:
    """Read an answer. It may hold fewer completions than were asked for (some servers give one whatever n is), never more.

    Raises EndpointFault of the kind ``nonsense`` with what is wrong with it.
    """
    if not isinstance(data, dict):
        raise _nonsense("is no JSON object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _nonsense("has no choices")
    if len(choices) > options.n:
        raise _nonsense(f"has {len(choices)} choices where {options.n} were asked for")
    model = data.get("model")
    return ChatAnswer(
        tuple(_completion(choice, options) for choice in choices), model if isinstance(model, str) else "",
        _usage(data.get("usage")), _ids(data.get("prompt_token_ids"), "prompt_token_ids"))  # fmt: skip


def _completion(choice: Any, options: Options) -> Completion:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise _nonsense("has a choice without a message")
    text = message.get("content")
    if text is None:
        text = ""  # a reasoning model that was cut while it thought
    if not isinstance(text, str):
        raise _nonsense("has a message whose content is no text")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str) or finish not in _FINISH:
        raise _nonsense(f"has a choice that ended for no known reason ({str(finish)[:40]!r})")
    ids, logprobs = None, None
    if options.logprobs:
        ids, logprobs = _ids(choice.get("token_ids"), "token_ids"), _logprobs(choice.get("logprobs"))
        if ids is not None and logprobs is not None and len(ids) != len(logprobs):
            raise _nonsense(f"has {len(ids)} token ids with {len(logprobs)} log-probabilities")
    # JSON can hold half of a surrogate pair, which no file and no prompt can.
    return Completion(text.encode("utf-8", "replace").decode("utf-8"), _FINISH[finish], ids, logprobs)


def _ids(value: Any, name: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise _nonsense(f"has {name} that are no list of numbers")
    return tuple(value)


def _logprobs(value: Any) -> tuple[float, ...] | None:
    content = value.get("content") if isinstance(value, dict) else None
    if content is None:
        return None
    if not isinstance(content, list):
        raise _nonsense("has log-probabilities that are no list")
    found = []
    for one in content:
        logprob = one.get("logprob") if isinstance(one, dict) else None
        if isinstance(logprob, bool) or not isinstance(logprob, (int, float)) or not math.isfinite(logprob):
            raise _nonsense("has a log-probability that is no number")
        found.append(min(float(logprob), 0.0))
    return tuple(found)


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = [value.get("prompt_tokens"), value.get("completion_tokens", 0), cached if cached is not None else 0]
    if not all(type(one) is int and 0 <= one < 1 << 40 for one in counts):
        raise _nonsense("has a usage that counts no tokens")
    prompt, completion, cached_tokens = counts
    return Usage(prompt, completion, min(cached_tokens, prompt))


def _nonsense(what: str) -> EndpointFault:
    return EndpointFault("nonsense", f"its answer {what}")
