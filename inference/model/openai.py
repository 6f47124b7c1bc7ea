"""Samples from vLLM, or from any server that speaks OpenAI's chat completions.

vLLM is known by what it says of its models; it alone is asked for token ids, structured output, adapters and the number of a text's tokens.
An adapter is put on an endpoint when the endpoint first says that it does not have it, so that one which was started anew needs no care.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from inference import ConfigurationError
from inference.adapters import AdapterError, Registry, split_served_name
from inference.model import Answer, Completion, ModelError, ModelRefused, Options, Usage
from inference.model.chat import ChatAnswer, most_answer_bytes, parse_chat, request_body
from inference.model.endpoints import Endpoint, Manners, Pool
from inference.model.http import EndpointFault, Reply, exchange
from inference.model.lora import load_adapter, synchronize
from inference.model.spending import Meter, Totals
from inference.settings import PREFIX, InferenceSettings
from inference.trajectory import Message

DEFAULT_CONTEXT_TOKENS: Final = 8192
_COUNTED_TEXTS = 4096
_COUNT_SECONDS = 10.0
_FACT_SECONDS = 10.0


class OpenAISampler:
    """A Sampler over one or more endpoints. ``registry`` holds the adapters that may be asked for."""

    def __init__(self, settings: InferenceSettings, registry: Registry | None = None) -> None:
        """Asks nobody yet. Raises ConfigurationError where no endpoint is set."""
        if not settings.addresses:
            raise ConfigurationError(f"no model endpoint is set: set {PREFIX}ENDPOINTS, for example to http://127.0.0.1:8000")
        self._settings, self._registry = settings, registry
        self._pool = Pool(settings.addresses, settings.headers, Manners(
            settings.connect_seconds, settings.request_seconds, settings.attempts, settings.quarantine_seconds,
            settings.concurrency))  # fmt: skip
        # Whoever forgets to close it leaves no connection open: the end of the sampler is the end of its pool.
        self._closing = weakref.finalize(self, self._pool.close)
        self._meter = Meter()
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._counts_lock = threading.Lock()

    def close(self) -> None:
        """Close its connections; it cannot be used afterwards."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def totals(self) -> Totals:
        """What was spent since this sampler was made."""
        return replace(self._meter.totals, gpu_seconds=sum(one.busy_seconds for one in self._pool.endpoints))

    @property
    def context_tokens(self) -> int:
        """The setting; else the least that the endpoints which were asked say; else 8192. Asks one if none was. Raises nothing."""
        if self._settings.context_tokens is not None:
            return self._settings.context_tokens
        if not any(endpoint.known_facts for endpoint in self._pool.endpoints):
            self._probe()
        known = [one.known_facts.context_tokens for one in self._pool.endpoints if one.known_facts and one.known_facts.context_tokens]
        return min(known, default=DEFAULT_CONTEXT_TOKENS)

    def count_tokens(self, text: str) -> int:
        """By vLLM's own tokenizer, remembered for each of the last texts; ``estimate_tokens`` where no vLLM answers. Raises nothing."""
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        with self._counts_lock:
            if key in self._counts:
                self._counts.move_to_end(key)
                return self._counts[key]
        counted = self._count(text)
        if counted is None:
            return estimate_tokens(text)
        with self._counts_lock:
            self._counts[key] = counted
            while len(self._counts) > _COUNTED_TEXTS:
                self._counts.popitem(last=False)
        return counted

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        """See ``Sampler``. ``adapter`` is a card's ``served_name``. Log-probabilities are the model's own, before temperature and top_p, as
        vLLM gives them by default."""
        try:
            answer = self._pool.ask(lambda endpoint, until: self._answer(endpoint, messages, options, until, adapter),
                                    _affinity(messages), deadline)  # fmt: skip
        except ModelError:
            self._meter.add_failure()
            raise
        self._meter.add(answer.usage, len(answer.completions))
        return answer

    def _answer(self, endpoint: Endpoint, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None) -> Answer:
        """Completions by one endpoint, asked again for what is missing where the server gives fewer than n at once."""
        facts = endpoint.facts(deadline)
        base = self._settings.model or next((name for name, parent in facts.models.items() if parent is None), None)
        if base is None:
            raise ModelRefused(f"{endpoint.url} does not say which model it serves: set {PREFIX}MODEL to its name")
        completions: list[Completion] = []
        usage = Usage()
        while True:
            already = len(completions)
            seed = options.seed + already if options.seed is not None else None
            wanted = replace(options, n=options.n - already, seed=seed)
            body = request_body(adapter or base, messages, wanted, facts.is_vllm, self._settings.extra_body)
            size = most_answer_bytes(messages, wanted)
            reply = exchange(endpoint.client, "POST", "/v1/chat/completions", body, deadline, size)
            if reply.status == 404 and adapter is not None and facts.is_vllm:
                self._load(endpoint, adapter, deadline)
                reply = exchange(endpoint.client, "POST", "/v1/chat/completions", body, deadline, size)
            if not reply.accepted:
                raise _refusal(endpoint, reply, adapter or base)
            chat = parse_chat(reply.data, wanted)
            if adapter is not None and chat.model != adapter:
                raise EndpointFault("nonsense", f"it answered by {chat.model[:80]!r} where {adapter[:80]!r} was asked")
            completions += chat.completions
            usage += replace(chat.usage or _estimated_usage(messages, chat), seconds=reply.seconds)
            if len(completions) == options.n:
                name, digest = split_served_name(adapter) if adapter is not None else (None, None)
                return Answer(tuple(completions), usage, base if adapter is not None else chat.model or base, name, digest,
                              chat.prompt_token_ids)  # fmt: skip

    def synchronize(self, seconds: float = 60.0) -> dict[str, str]:
        """Put the registry's adapters that are in use on every endpoint and take off those that are no longer; requests in flight finish on
        theirs. What it said of each endpoint where that was not possible: the rest is served, and a next call tries again. Raises
        AdapterError where the registry cannot be read."""
        if self._registry is None:
            return {}
        wanted = {name: self._as_served(folder) for name, folder in self._registry.folders_in_use().items()}
        told = {}
        for endpoint in self._pool.endpoints:
            try:
                with endpoint.loading:
                    synchronize(endpoint.client, wanted, seconds)
            except (EndpointFault, ModelRefused) as error:
                told[endpoint.url] = str(error)
        return told

    def _load(self, endpoint: Endpoint, adapter: str, deadline: float) -> None:
        if self._registry is None:
            raise ModelRefused(f"{endpoint.url} has no adapter {adapter}, and {PREFIX}ADAPTERS names no registry to load it from")
        try:
            path = self._as_served(self._registry.verified_folder(adapter))
        except AdapterError as error:
            raise ModelRefused(str(error)) from None
        with endpoint.loading:
            load_adapter(endpoint.client, adapter, path, deadline)

    def _as_served(self, folder: Path) -> Path:
        """A version's folder by the path that the endpoints know it by."""
        assert self._registry is not None
        served = self._settings.served_adapters
        return served / folder.relative_to(self._registry.folder) if served is not None else folder.resolve()

    def _probe(self) -> None:
        endpoint = next((one for one in self._pool.endpoints if not one.rest), None)
        if endpoint is not None:
            try:
                endpoint.facts(time.monotonic() + _FACT_SECONDS)
            except EndpointFault as fault:
                endpoint.failed(fault)

    def _count(self, text: str) -> int | None:
        """None where no endpoint is a vLLM that is well: nobody waits here, an estimate does as well."""
        if not any(endpoint.known_facts for endpoint in self._pool.endpoints):
            self._probe()
        for endpoint in self._pool.endpoints:
            facts = endpoint.known_facts
            if endpoint.rest or facts is None or not facts.is_vllm:
                continue
            body = {"model": self._settings.model or next(iter(facts.models)), "prompt": text, "add_special_tokens": False}
            try:
                reply = exchange(endpoint.client, "POST", "/tokenize", body, time.monotonic() + _COUNT_SECONDS, 65_536 + 16 * len(text))
            except EndpointFault as fault:
                endpoint.failed(fault)
                continue
            count = reply.data.get("count") if reply.accepted and isinstance(reply.data, dict) else None
            if type(count) is int and count >= 0:
                return count
        return None


def _refusal(endpoint: Endpoint, reply: Reply, model: str) -> ModelRefused | EndpointFault:
    if reply.status in (401, 403):
        return ModelRefused(f"{endpoint.url} refused the key: set {PREFIX}API_KEY to one that it accepts")
    if reply.data is None:
        return EndpointFault("nonsense", f"it answered with status {reply.status} and no JSON: is it the address of a model server?")
    if reply.status == 404:
        endpoint.forget_facts()
        return ModelRefused(f"{endpoint.url} has no model {model}: {reply.refusal}")
    return ModelRefused(f"{endpoint.url} refused the request: {reply.refusal}")


def _affinity(messages: Sequence[Message]) -> str:
    """What all samples and rounds of one failure have in common: everything up to the first answer of the model's."""
    common: list[str] = []
    for message in messages:
        if message.role == "assistant":
            break
        common.append(message.content)
    return "\0".join(common)


def _estimated_usage(messages: Sequence[Message], chat: ChatAnswer) -> Usage:
    prompt = len(chat.prompt_token_ids) if chat.prompt_token_ids is not None else sum(estimate_tokens(one.content) for one in messages)
    return Usage(prompt, sum(len(one.token_ids) if one.token_ids is not None else estimate_tokens(one.text) for one in chat.completions))


_RUNS = re.compile(r"(?P<word>[A-Za-z]+)|(?P<space>[ \t\r\n]+)|(?P<other>[\x00-\x7f])|(?P<wide>[^\x00-\x7f]+)")


def estimate_tokens(text: str) -> int:
    """More tokens than a tokenizer with learned merges makes of code and prose: one for two letters, one for each digit and sign, one for
    each run of white space (and one more for every 8 characters of it), one for each byte of what is not ASCII."""
    total = 0
    for run in _RUNS.finditer(text):
        length = run.end() - run.start()
        match run.lastgroup:
            case "word":
                total += math.ceil(length / 2)
            case "space":
                total += 1 + length // 8
            case "other":
                total += 1
            case _:
                total += len(run.group().encode("utf-8", "surrogatepass"))
    return total
