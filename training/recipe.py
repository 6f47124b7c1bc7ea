"""Recipes: TOML files that say what is collected, trained, rewarded and evaluated. An unknown or wrong key is an error that names it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from training.evaluation import EvaluationOptions
from training.ppo import PpoOptions
from training.recipe_file import RECIPES, read_recipe_file
from training.rewarded import RewardOptions
from training.sft import SftOptions
from training.statistics import Gate


@dataclass(frozen=True)
class CollectOptions:
    """``ids``: MBPP ids FROM-TO that bugs are planted in, inside 601-974. ``each``: bugs of a kind in a program. ``samples`` and
    ``temperature``: of a teacher. ``held_out``: share of the repositories (or problems) that nothing is trained on."""

    ids: str = "601-974"
    each: int = 1
    samples: int = 10
    temperature: float = 0.8
    held_out: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class RolloutOptions:
    """What PPO learns from. ``source``: "offline" takes the recorded rounds, the paper's reading; "online" samples the policy itself on
    planted bugs (``pool`` of them, in the ids of ``collect``), ``bugs`` a step with ``samples`` dialogues of up to ``rounds`` refinements.
    ``max_tokens``: longer ones are left out."""

    source: Literal["offline", "online"] = "offline"
    max_tokens: int = 4096
    pool: int = 300
    bugs: int = 8
    samples: int = 4
    rounds: int = 1
    temperature: float = 1.0
    completion_tokens: int = 512
    prompt_tokens: int = 3000


@dataclass(frozen=True)
class BugOptions:
    """The planted bugs of ``evaluate``: MBPP ids FROM-TO (11-510 with a seed from 1000 on, for reported figures only), how many, and the
    seed that they are planted by."""

    ids: str = "511-600"
    count: int = 40
    seed: int = 1


@dataclass(frozen=True)
class LoopOptions:
    """``stages``: what a round runs, in this order. ``least_new``: trajectories that begin one. ``force``: publish whatever the gate says,
    for demonstrations. ``promote``: without a canary's trial."""

    stages: tuple[Literal["sft", "ppo"], ...] = ("sft",)
    least_new: int = 50
    force: bool = False
    promote: bool = False


@dataclass(frozen=True)
class Recipe:
    """``base_model``: a folder or hub name, as adapters' cards name it."""

    base_model: str
    name: str = "ledex"
    collect: CollectOptions = field(default_factory=CollectOptions)
    sft: SftOptions = field(default_factory=SftOptions)
    reward: RewardOptions = field(default_factory=RewardOptions)
    ppo: PpoOptions = field(default_factory=PpoOptions)
    rollouts: RolloutOptions = field(default_factory=RolloutOptions)
    bugs: BugOptions = field(default_factory=BugOptions)
    evaluate: EvaluationOptions = field(default_factory=EvaluationOptions)
    gate: Gate = field(default_factory=Gate)
    loop: LoopOptions = field(default_factory=LoopOptions)


def shipped_recipes() -> list[str]:
    """Names of those that ship for a model from elsewhere. (``small`` makes its own: ``training.pretrain_recipe`` reads it.)"""
    return [file.stem for file in sorted(RECIPES.glob("*.toml")) if "base_model" in tomllib.loads(file.read_text(encoding="utf-8"))]


def read_recipe(path: Path) -> Recipe:
    """A recipe by its path, or by the name of one that ships with the package. Raises DataError."""
    return read_recipe_file(path, Recipe, shipped_recipes())
