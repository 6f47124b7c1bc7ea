"""The recipe of the small model: one TOML file from its data to its table. An unknown or wrong key is an error that names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from training.corpus import CorpusOptions
from training.ppo import PpoOptions
from training.pretrain import FitOptions, ModelOptions
from training.pretrain_data import ObjectiveOptions
from training.recipe_file import read_recipe_file


@dataclass(frozen=True)
class SampleOptions:
    """How answers are sampled, in collection and evaluation alike. At ``temperature`` 1 what is sampled is the policy itself, which PPO's
    ratios are of. ``completion_tokens``: longer answers are cut, and count as wrong."""

    temperature: float = 1.0
    completion_tokens: int = 96
    batch: int = 64


@dataclass(frozen=True)
class RewardedOptions:
    """What PPO learns from: ``bugs`` with ``samples`` answers each, sampled and run. ``rounds``: collections, one after the other over
    the steps of PPO, each of other bugs and from the policy of that step; the first is the fine-tuned model's and the same for both. One
    round is the paper's offline reading. ``centred``: rewards less the mean of the same bug's. ``mixed``: only of bugs that some
    answers repair and others do not (both: ``training.rewarded``). ``sources``: of the programs, "generated" and "mbpp"; none: all.
    ``programs``: from at most so many different ones; 0: all."""

    bugs: int = 300
    samples: int = 8
    rounds: int = 1
    centred: bool = False
    mixed: bool = False
    sources: tuple[str, ...] = ()
    programs: int = 0


@dataclass(frozen=True)
class MeasuredOptions:
    """The bugs of the table: one in each task of ``ids`` that can be judged, or up to ``each`` different ones, at most ``bugs``;
    ``samples`` chains for each, of a first answer and one refinement. ``seed``: from 1000 on for reported figures. ``longest``: characters
    of a program."""

    ids: str = "11-510"
    bugs: int = 300
    each: int = 1
    longest: int = 250
    samples: int = 4
    seed: int = 1000


@dataclass(frozen=True)
class SmallRecipe:
    """``seeds``: of fine-tuning, collection, PPO and sampling; the pretrained base is one."""

    name: str = "ledex-small"
    seeds: tuple[int, ...] = (1, 2, 3)
    corpus: CorpusOptions = field(default_factory=CorpusOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    objectives: ObjectiveOptions = field(default_factory=ObjectiveOptions)
    pretrain: FitOptions = field(default_factory=FitOptions)
    sft: FitOptions = field(default_factory=FitOptions)
    sample: SampleOptions = field(default_factory=SampleOptions)
    rewarded: RewardedOptions = field(default_factory=RewardedOptions)
    ppo: PpoOptions = field(default_factory=PpoOptions)
    measured: MeasuredOptions = field(default_factory=MeasuredOptions)


def read_small_recipe(path: Path) -> SmallRecipe:
    """A recipe by its path, or by the name of one that ships with the package. Raises DataError."""
    return read_recipe_file(path, SmallRecipe, ("small",))
