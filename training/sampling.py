"""Who is sampled: the model that serves production (LEDEX_INFERENCE_ENDPOINTS), or a checkpoint in this process; with weights on trial."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from inference.adapters import Registry
from inference.model import Sampler
from inference.settings import InferenceSettings
from training import DataError

TRIAL = "on-trial"
"""Name of weights in the registry that nobody has promoted; without a state it answers nobody who does not ask for it."""


@dataclass(frozen=True)
class Sampled:
    """A sampler, and what it is to be asked for."""

    sampler: Sampler
    adapter: str | None = None


def is_adapter(weights: Path) -> bool:
    return (weights / "adapter_config.json").is_file()


def name_of(base_model: str, weights: Path | None) -> str:
    """Names what is evaluated by what it holds: the base model, and the weights' content. Raises OSError."""
    if weights is None:
        return base_model
    digest = hashlib.sha256()
    for file in sorted(weights.glob("*model*.safetensors")):  # not PPO's value head: it answers nobody
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"{base_model} + {digest.hexdigest()[:24]}"


def registry_of(settings: InferenceSettings, scratch: Path) -> Registry:
    """Where servers can find weights that nobody has promoted: ``scratch``, or production's registry where they see it by another path."""
    return Registry(settings.adapters if settings.served_adapters is not None and settings.adapters is not None else scratch)


def open_sampler(base_model: str, weights: Path | None, scratch: Path, settings: InferenceSettings) -> Sampled:
    """The base model alone, or with ``weights``: an adapter, or (in this process only) a whole checkpoint. ``scratch``: see
    ``registry_of``. Raises DataError, ConfigurationError."""
    if weights is not None and not weights.is_dir():
        raise DataError(f"there are no weights in {weights}: name the folder that sft (…/final) or ppo (…/policy) has written")
    registry = registry_of(settings, scratch)
    adapter = None
    if weights is not None and is_adapter(weights):
        adapter = registry.publish(weights, TRIAL, base_model).served_name
    if settings.addresses:
        if weights is not None and adapter is None:
            raise DataError(f"{weights} is a whole model, and a running server takes adapters only: serve it there and name no weights")
        from inference.model.openai import OpenAISampler

        return Sampled(OpenAISampler(settings, registry), adapter)
    from inference.model.transformers import TransformersSampler

    checkpoint = weights if weights is not None and adapter is None else Path(base_model)
    return Sampled(TransformersSampler(checkpoint, registry, max_context_tokens=settings.context_tokens), adapter)
