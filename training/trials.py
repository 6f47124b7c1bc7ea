"""Trials of the small model's PPO: one change from a recipe each, and where a trial's files are."""

from __future__ import annotations

import hashlib
import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from training.corpus import REWARDED, read_bugs
from training.corpus_dialogue import Planted
from training.pretrain_recipe import MeasuredOptions, SmallRecipe
from training.recipe_file import RECIPES, check_recipe, read_recipe_file
from training.result_ppo import collected
from training.rewarded import RewardName

LOOKED_AT = 150
"""Bugs of the first collection, and of programs like those, that are answered again."""


@dataclass(frozen=True)
class Trial:
    """One change: sections of a recipe that replace the recipe's settings. ``about``: what it asks, for people."""

    name: str
    about: str
    reward: RewardName = "gated"
    sample: dict[str, Any] = field(default_factory=dict)
    rewarded: dict[str, Any] = field(default_factory=dict)
    ppo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trials:
    """``recipe``: sections that replace the recipe's for all trials and for the model that they begin with. ``measured``: bugs for
    tuning."""

    trials: tuple[Trial, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    measured: MeasuredOptions = field(default_factory=lambda: MeasuredOptions(ids="511-600", bugs=400, each=6, longest=420, seed=11))


def read_trials(path: Path) -> Trials:
    """Trials by their file, or by the name of those that ship with the package. Raises DataError."""
    return read_recipe_file(path, Trials, ("small-trials", "small-trials-half"))


def changed(recipe: Path, trials: Trials, trial: Trial | None = None) -> SmallRecipe:
    """The recipe at ``recipe`` with the settings of all trials, and of one. Raises DataError for a setting that there is not."""
    named = RECIPES / f"{recipe}.toml"
    file = named if not recipe.exists() and named.is_file() else recipe
    data = _merged(tomllib.loads(file.read_text(encoding="utf-8")), trials.recipe)
    if trial is not None:
        data = _merged(data, {"sample": trial.sample, "rewarded": trial.rewarded, "ppo": trial.ppo})
    found = check_recipe(data, SmallRecipe, Path(f"trial {trial.name}" if trial is not None else "trials"))
    return replace(found, measured=trials.measured)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(old[key], value) for key, value in new.items() if isinstance(value, dict) and isinstance(old.get(key), dict)}
    return {**old, **new, **inner}


def like_bugs(recipe: SmallRecipe, out: Path, seed: int) -> list[Planted]:
    """Bugs to reward on of programs that no collection of a trial reached."""
    seen = {bug.group for number in range(recipe.rewarded.rounds) for bug in collected(recipe, out, seed, number)}
    left = [bug for bug in read_bugs(out / "data" / REWARDED) if bug.group not in seen]
    return random.Random(f"like/{seed}").sample(left, min(LOOKED_AT, len(left)))


def like_before_file(recipe: SmallRecipe, out: Path, seed: int) -> Path:
    """The fine-tuned model's answers to them."""
    names = "\0".join([repr(recipe.sample), *(bug.id for bug in like_bugs(recipe, out, seed))])
    return out / f"seed-{seed}" / "trials" / f"like-sft-{hashlib.sha256(names.encode()).hexdigest()[:8]}.jsonl"


def before_file(out: Path, seed: int) -> Path:
    """The fine-tuned model's answers to the new bugs."""
    return out / f"seed-{seed}" / "trials" / "measured-sft.jsonl"


def folder_of(out: Path, seed: int, trial: Trial) -> Path:
    """A trial's model, curves, answers and rewards."""
    return out / f"seed-{seed}" / "trials" / _name(trial)


def measured_seeds(out: Path, trial: Trial) -> list[int]:
    """Those of which a trial is at its end."""
    return sorted(int(file.parts[-4].removeprefix("seed-")) for file in out.glob(f"seed-*/trials/{_name(trial)}/own.jsonl"))


def _name(trial: Trial) -> str:
    return trial.name.replace(" ", "-")
