"""One round of the unattended loop: everything learned anew from all trajectories, held against what answers now, published if better."""

from __future__ import annotations

from collections.abc import Sequence
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
from training.evaluation import Evaluation, load_evaluation
from training.publish import Published, publish
from training.settings import TrainingSettings
from training.stages import Workplace, compare, measure, planted_bugs, reinforce, supervise
from training.statistics import Promotion


def learn_and_publish(place: Workplace, runner: Runner, registry: Registry, servers: Sequence[httpx.Client], found: Sequence[Trajectory],
                      folder: Path) -> str:  # fmt: skip
    """Train, evaluate, ask the gate, publish; a sentence of what came of it. Raises NotPromoted and what the stages raise.

    A round is retrained from the base model on all trajectories: what was learned from a withdrawn one is gone with it.
    """
    census = Census()
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
    active = registry.states().active
    measure(place, runner, folder / "before.jsonl", registry.verified_folder(active) if active is not None else None, bugs=bugs)
    after = measure(place, runner, folder / "after.jsonl", weights, bugs=bugs)
    promotion = compare(place, folder / "before.jsonl", folder / "after.jsonl")
    done = release(place, registry, servers, weights, promotion, after, census)
    return f"{done.card.served_name} published ({promotion.reason})"


def release(
    place: Workplace, registry: Registry, servers: Sequence[httpx.Client], weights: Path, promotion: Promotion | None,
    after: Evaluation | None, census: Census | None, *, force: bool = False, promote: bool = False,
) -> Published:  # fmt: skip
    """``publish`` with the recipe's name and choices. Raises NotPromoted, AdapterError, ModelError."""
    recipe = place.recipe
    return publish(
        registry, weights, recipe.name, recipe.base_model, promotion, force=force or recipe.loop.force,
        promote=promote or recipe.loop.promote, data=census.to_json() if census is not None else {},
        metrics=after.summary() if after is not None else {}, servers=servers)  # fmt: skip


def open_registry(settings: TrainingSettings, inference: InferenceSettings) -> Registry:
    """Raises DataError where none is named."""
    folder = settings.adapters or inference.adapters
    if folder is None:
        raise DataError("no registry of adapters is set: set LEDEX_TRAINING_ADAPTERS (or LEDEX_INFERENCE_ADAPTERS) to its folder")
    return Registry(folder)


def open_servers(inference: InferenceSettings) -> list[httpx.Client]:
    """A connection to every running model server of LEDEX_INFERENCE_ENDPOINTS; none where none is set."""
    return [open_client(url, inference.headers, inference.connect_seconds, inference.concurrency) for url in inference.addresses]


def load_figures(path: Path | None) -> Evaluation | None:
    return load_evaluation(path) if path is not None else None


def figures_table(evaluations: dict[str, Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows for people: a row for each named evaluation, a column for each figure that any has."""
    summaries: dict[str, dict[str, Any]] = {name: one.summary() for name, one in evaluations.items()}
    columns = list(dict.fromkeys(key for summary in summaries.values() for key in summary))
    return ["", *columns], [[name, *(str(summary.get(key, "")) for key in columns)] for name, summary in summaries.items()]
