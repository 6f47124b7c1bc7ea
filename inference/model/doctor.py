"""What is wrong between the repairs and their model: each endpoint asked for everything that is needed of it, one finding a line.

Asks a few tokens of every endpoint, and puts the adapters that are in use on it, as the first repair would.
"""

from __future__ import annotations

import time

from inference import ConfigurationError
from inference.adapters import AdapterError, Registry
from inference.model import Answer, ModelError, Options
from inference.model.endpoints import Endpoint, Facts, Manners
from inference.model.http import EndpointFault, exchange
from inference.model.openai import OpenAISampler
from inference.model.vllm import check_installed
from inference.settings import PREFIX, InferenceSettings
from inference.trajectory import Message
from sandbox.doctor import Finding

_SECONDS = 60.0
"""For each question; vLLM's first answer with log-probabilities took 24 s."""
_LEAST_PROMPT = 2048
"""Tokens of a prompt in which a function, its test and what happened have room."""
_QUESTION = (Message("user", "Answer with yes or no: is water wet?"),)
_YES_OR_NO = "(yes|no)"
_ALLOW = "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora"


def examine(settings: InferenceSettings) -> list[Finding]:
    """In the order in which it should be mended. A question that is not answered is a finding; raises nothing."""
    if not settings.is_configured:
        return [Finding("model", True, f"none is set, so templates repair alone; {PREFIX}ENDPOINTS names one")]
    found = [] if settings.adapters is None else [registered(Registry(settings.adapters))]
    if settings.checkpoint is not None:
        return [*found, loadable(settings)]
    for url in settings.addresses:
        found += _endpoint(settings.model_copy(update={"endpoints": (url,), "vllm": None}), url, settings.vllm)
    return found


def registered(registry: Registry) -> Finding:
    """The registry can be read, and what is in use has the bytes that its card names."""
    try:
        states, folders = registry.states(), registry.folders_in_use()
    except AdapterError as error:
        return Finding("adapters", False, str(error))
    if not folders:
        return Finding("adapters", True, f"none is in use in {registry.folder}: the base model answers")
    said = "; ".join(f"{state}: {_short(name)}" for state, name in (("active", states.active), ("canary", states.canary)) if name)
    return Finding("adapters", True, f"{said}; {len(folders)} in use, as their cards say")


def loadable(settings: InferenceSettings) -> Finding:
    """The checkpoint of this process loads, and writes."""
    from inference.model.transformers import TransformersSampler

    assert settings.checkpoint is not None
    try:
        sampler = TransformersSampler(settings.checkpoint)
        sampler.sample(_QUESTION, Options(max_tokens=1), time.monotonic() + _SECONDS)
    except (ConfigurationError, ModelError) as error:
        return Finding("model", False, str(error), f"set {PREFIX}CHECKPOINT to a folder that transformers can load")
    return Finding("model", True, f"{settings.checkpoint} on {sampler.device}, {sampler.context_tokens} tokens of context")


def _endpoint(settings: InferenceSettings, url: str, local: str | None) -> list[Finding]:
    """``settings`` with this endpoint alone; ``local``: the model that `ledex serve` starts there."""
    endpoint = Endpoint(url, settings.headers, Manners(settings.connect_seconds, _SECONDS))
    try:
        facts = endpoint.facts(time.monotonic() + _SECONDS)
    except EndpointFault as fault:
        return [_unreachable(settings, url, str(fault), local)]
    finally:
        endpoint.client.close()
    found = [named(settings, url, facts)]
    if not found[0].ok:
        return found
    found.append(roomy(settings, facts))
    registry = Registry(settings.adapters) if settings.adapters is not None else None
    with OpenAISampler(settings, registry) as sampler:
        found += _answers(sampler, facts)
        if registry is not None:
            found.append(_adapters(sampler, settings, url, facts))
    return found


def _unreachable(settings: InferenceSettings, url: str, why: str, local: str | None) -> Finding:
    if local is None:
        return Finding("model", False, f"{url} does not answer as a model server: {why}", f"look at {PREFIX}ENDPOINTS and the network")
    asked = settings.model_copy(update={"endpoints": (), "vllm": local})
    try:
        check_installed(asked)
    except ConfigurationError as error:
        return Finding("model", False, str(error))
    return Finding("model", False, f"no vLLM answers at {url} ({why}); `ledex serve` starts one and waits until {local} is loaded",
                   "ledex serve")  # fmt: skip


def named(settings: InferenceSettings, url: str, facts: Facts) -> Finding:
    """It serves the base model that the settings name."""
    bases = [name for name, parent in facts.models.items() if parent is None]
    kind = "vLLM" if facts.is_vllm else "an OpenAI-compatible server, without token ids, structured output and adapters"
    if settings.model is None and not bases:
        return Finding("model", False, f"{url} does not say which model it serves", f"set {PREFIX}MODEL to its name")
    if settings.model is not None and bases and settings.model not in bases:
        return Finding("model", False, f"{url} serves {', '.join(bases)[:200]}, not {settings.model}", f"set {PREFIX}MODEL to one of these")
    return Finding("model", True, f"{settings.model or bases[0]} at {url}, {kind}")


def roomy(settings: InferenceSettings, facts: Facts) -> Finding:
    """Prompt and completion find room in its context."""
    tokens = settings.context_tokens or facts.context_tokens
    if tokens is None:
        return Finding("context", True, f"not said; 8192 tokens are assumed, and {PREFIX}CONTEXT_TOKENS overrides that")
    if facts.context_tokens is not None and tokens > facts.context_tokens:
        return Finding("context", False, f"{PREFIX}CONTEXT_TOKENS is {tokens}, and the model has {facts.context_tokens}",
                       f"set {PREFIX}CONTEXT_TOKENS to {facts.context_tokens} or unset it")  # fmt: skip
    left = tokens - settings.max_tokens
    if left < _LEAST_PROMPT:
        return Finding("context", False, f"of {tokens} tokens a completion takes {settings.max_tokens}: {max(left, 0)} are left to ask",
                       f"start vLLM with a larger --max-model-len, or set {PREFIX}MAX_TOKENS lower")  # fmt: skip
    return Finding("context", True, f"{tokens} tokens, {left} of them for the prompt")


def _answers(sampler: OpenAISampler, facts: Facts) -> list[Finding]:
    def ask(options: Options) -> Answer:
        return sampler.sample(_QUESTION, options, time.monotonic() + _SECONDS)

    try:
        answer = ask(Options(temperature=0.0, max_tokens=4, logprobs=True))
    except ModelError as error:
        return [Finding("completions", False, str(error))]
    if not facts.is_vllm:
        return [Finding("completions", True, "they come")]
    [one] = answer.completions
    if one.token_ids is None or one.logprobs is None or answer.prompt_token_ids is None:
        return [Finding("completions", False, "they come without token ids or log-probabilities, which training needs",
                        "upgrade vLLM to 0.30 or newer")]  # fmt: skip
    found = [Finding("completions", True, f"they come with token ids and log-probabilities; the first took {answer.usage.seconds:.1f} s")]
    try:
        text = ask(Options(temperature=1.0, max_tokens=16, regex=_YES_OR_NO)).completions[0].text
    except ModelError as error:
        return [*found, Finding("structured output", False, str(error))]
    bound = text in ("yes", "no")
    said = f"a regular expression {'binds' if bound else 'did not bind'} what is written"
    return [*found, Finding("structured output", bound, said, "" if bound else "upgrade vLLM to 0.30 or newer")]


def _adapters(sampler: OpenAISampler, settings: InferenceSettings, url: str, facts: Facts) -> Finding:
    """The server lets adapters be loaded, and loads those that are in use."""
    if not facts.is_vllm:
        return Finding("adapters on the server", False, f"{url} is no vLLM, so no adapter can answer", f"unset {PREFIX}ADAPTERS")
    refused = _refuses_adapters(settings, url)
    if refused is not None:
        return Finding("adapters on the server", False, refused, _ALLOW)
    try:
        told = sampler.synchronize(_SECONDS)
    except AdapterError:  # a finding of its own
        return Finding("adapters on the server", False, "not tried: the registry cannot be read")
    if told:
        way = f"let the server see the registry's folder, and name it in {PREFIX}SERVED_ADAPTERS where its path differs"
        return Finding("adapters on the server", False, next(iter(told.values())), way)
    return Finding("adapters on the server", True, "they can be loaded while it runs, and those in use are")


def _refuses_adapters(settings: InferenceSettings, url: str) -> str | None:
    """Asks for an adapter that is nowhere: a server that allows it looks for it, another does not know the path at all."""
    endpoint = Endpoint(url, settings.headers, Manners(settings.connect_seconds, _SECONDS))
    nowhere = {"lora_name": "ledex-doctor", "lora_path": "/absent/ledex-doctor"}
    try:
        reply = exchange(endpoint.client, "POST", "/v1/load_lora_adapter", nowhere, time.monotonic() + _SECONDS, json_expected=False)
    except EndpointFault as fault:
        return f"{url}: {fault}"
    finally:
        endpoint.client.close()
    if reply.status == 404 and reply.refusal == "Not Found":
        return f"{url} does not let adapters be loaded while it runs"
    return None


def _short(served_name: str) -> str:
    name, _, digest = served_name.partition("@")
    return f"{name}@{digest[:12]}"
