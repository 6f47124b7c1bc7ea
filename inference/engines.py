"""Who proposes patches for a request: the templates, and a language model where one is configured and the repository's policy lets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from inference import ConfigurationError
from inference.adapters import Registry
from inference.model import Sampler
from inference.model.spending import Prices
from inference.policy import Policy
from inference.proposer import Proposer
from inference.refinement import Effort, ModelProposer
from inference.search import EmbeddedProposer
from inference.settings import PREFIX, InferenceSettings

Engine = Literal["auto", "templates", "model"]
_MOST_KEPT = 4


def proposers(
    engine: Engine, repository: str, policy: Policy, settings: InferenceSettings, make: Callable[[InferenceSettings], Sampler] | None = None
) -> list[Proposer]:
    """In the order of their cost. ``auto``: the templates, then the model if there is one. ``make`` builds the sampler: by default one
    that this process keeps. Raises ConfigurationError where ``model`` is asked for and cannot be had."""
    if engine == "templates":
        return [EmbeddedProposer()]
    refused = _refused(policy, settings)
    if refused is not None:
        if engine == "model":
            raise ConfigurationError(refused)
        return [EmbeddedProposer()]
    registry = Registry(settings.adapters) if settings.adapters is not None else None
    model = ModelProposer((make or _sampler)(settings), effort(policy, settings),
                          lambda: registry.choose(repository, settings.canary_share) if registry is not None else None,
                          Prices.of(settings))  # fmt: skip
    return [model] if engine == "model" else [EmbeddedProposer(), model]


def effort(policy: Policy, settings: InferenceSettings) -> Effort:
    """What the settings allow, and of GPU time what the repository's policy does."""
    return Effort(
        settings.samples, settings.rounds, temperature=settings.temperature, completion_tokens=settings.max_tokens,
        prompt_tokens=settings.prompt_tokens, tokens=settings.failure_tokens, gpu_seconds=policy.limits.gpu_seconds, mode=settings.mode,
        strategy=settings.strategy, structured=settings.structured,
        regression_test=policy.verify.regression_test == "require")  # fmt: skip


def _refused(policy: Policy, settings: InferenceSettings) -> str | None:
    """Why no model is asked, as one sentence with the way out."""
    if not settings.is_configured:
        return (f"no model is configured: set {PREFIX}ENDPOINTS to an OpenAI-compatible server such as http://127.0.0.1:8000, or "
                f"{PREFIX}CHECKPOINT to a folder, or use --engine templates")  # fmt: skip
    if policy.limits.gpu_seconds <= 0:
        return "this repository's policy gives a model no time: set gpu_seconds above 0 in its [limits], or use --engine templates"
    return None


_samplers: list[tuple[InferenceSettings, Sampler]] = []
_lock = threading.Lock()


def _sampler(settings: InferenceSettings) -> Sampler:
    """One sampler for the same settings: it holds connections, a limit on what is under way, or a whole model."""
    with _lock:
        for known, sampler in _samplers:
            if known == settings:
                return sampler
        sampler = _made(settings)
        _samplers.append((settings, sampler))
        del _samplers[:-_MOST_KEPT]
        return sampler


def _made(settings: InferenceSettings) -> Sampler:
    registry = Registry(settings.adapters) if settings.adapters is not None else None
    if settings.checkpoint is not None:
        from inference.model.transformers import TransformersSampler  # torch is no part of the base install

        return TransformersSampler(settings.checkpoint, registry, max_context_tokens=settings.context_tokens)
    from inference.model.openai import OpenAISampler

    return OpenAISampler(settings, registry)
