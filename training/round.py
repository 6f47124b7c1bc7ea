"""One round of the unattended loop: everything learned anew from all trajectories, held against what answers now, published if better."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from inference.adapters import Registry
from inference.model.http import open_client
from inference.settings import InferenceSettings
from inference.trajectory import Trajectory
from sandbox.runner import Runner
from training import DataError
from training.census import Census, without_held_out
from training.evaluation import Evaluation
from training.publish import Published, publish
from training.recipe import Recipe
from training.sampling import name_of
from training.settings import TrainingSettings
from training.stages import Workplace, compare, measure, planted_bugs, reinforce, supervise
from training.statistics import Promotion


@dataclass(frozen=True)
class Destination:
    """Where adapters go. ``served``: the registry's folder as the servers see it, where that is another path."""

    registry: Registry
    servers: Sequence[httpx.Client] = ()
    served: Path | None = None

    def close(self) -> None:
        """Close the connections."""
        for server in self.servers:
            server.close()


def open_destination(settings: TrainingSettings, inference: InferenceSettings) -> Destination:
    """The registry and the servers of LEDEX_INFERENCE_ENDPOINTS. Raises DataError where no registry is named."""
    folder = settings.adapters or inference.adapters
    if folder is None:
        raise DataError("no registry of adapters is set: set LEDEX_TRAINING_ADAPTERS (or LEDEX_INFERENCE_ADAPTERS) to its folder")
    servers = [open_client(url, inference.headers, inference.connect_seconds, inference.concurrency) for url in inference.addresses]
    return Destination(Registry(folder), servers, inference.served_adapters)


def learn_and_publish(place: Workplace, runner: Runner, to: Destination, found: Sequence[Trajectory], folder: Path) -> str:
    """Train, evaluate, ask the gate, publish; a sentence of what came of it. Raises NotPromoted and what the stages raise.

    A round is retrained from the base model on all trajectories: what was learned from a withdrawn one is gone with it.
    """
    census = Census()
    census.counts["trajectories"] = len(found)
    data = list(without_held_out(found, place.recipe.collect.held_out, census))
    weights: Path | None = None
    for stage in place.recipe.loop.stages:
        if stage == "sft":
            weights = supervise(place, data, folder / "sft", census)
        else:
            weights = reinforce(place, data, folder / "ppo", census, weights)
    if weights is None:
        raise DataError("loop.stages is empty: name sft, ppo or both")
    bugs = planted_bugs(place, runner)
    active = to.registry.states().active
    old = to.registry.verified_folder(active) if active is not None else None
    # A round that was killed goes on, but not with the answers of what is no longer active.
    before = folder / f"before-{hashlib.sha256(name_of(place.recipe.base_model, old).encode()).hexdigest()[:16]}.jsonl"
    measure(place, runner, before, old, bugs=bugs)
    after = measure(place, runner, folder / "after.jsonl", weights, bugs=bugs)
    promotion = compare(place, before, folder / "after.jsonl")
    done = release(place.recipe, to, weights, promotion, after, census.to_json())
    return f"{done.card.served_name} published ({promotion.reason})"


def release(
    recipe: Recipe, to: Destination, weights: Path, promotion: Promotion | None, after: Evaluation | None, data: Mapping[str, Any], *,
    force: bool = False, promote: bool = False,
) -> Published:  # fmt: skip
    """``publish`` with the recipe's name and choices. Raises NotPromoted, AdapterError, ModelError."""
    return publish(
        to.registry, weights, recipe.name, recipe.base_model, promotion, force=force or recipe.loop.force,
        promote=promote or recipe.loop.promote, data=data, metrics=after.summary() if after is not None else {}, servers=to.servers,
        served=to.served)  # fmt: skip


def figures_table(evaluations: Mapping[str, Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for people: a column for each named evaluation, a row for each figure that any has."""
    summaries = {name: one.summary() for name, one in evaluations.items()}
    figures = dict.fromkeys(key for summary in summaries.values() for key in summary)
    return ["", *summaries], [[key, *(str(summary.get(key, "")) for summary in summaries.values())] for key in figures]
