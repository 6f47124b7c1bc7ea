"""Recipes: TOML files that say what is collected, trained, rewarded and evaluated. An unknown or wrong key is an error that names it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from training import DataError
from training.dataset import RewardOptions
from training.evaluation import EvaluationOptions
from training.sft import SftOptions
from training.statistics import Gate

RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True)
class CollectOptions:
    """``ids``: MBPP ids FROM-TO that bugs are planted in, inside 601-974. ``each``: bugs of a kind in a program. ``samples`` and
    ``temperature``: of a teacher. ``held_out``: share of the problems that is not trained on."""

    ids: str = "601-974"
    each: int = 1
    samples: int = 10
    temperature: float = 0.8
    held_out: float = 0.1
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    """``base_model``: a folder or hub name, as adapters' cards name it."""

    base_model: str
    name: str = "ledex"
    collect: CollectOptions = field(default_factory=CollectOptions)
    sft: SftOptions = field(default_factory=SftOptions)
    reward: RewardOptions = field(default_factory=RewardOptions)
    evaluate: EvaluationOptions = field(default_factory=EvaluationOptions)
    gate: Gate = field(default_factory=Gate)


_SECTIONS: dict[str, type[Any]] = {
    "collect": CollectOptions, "sft": SftOptions, "reward": RewardOptions, "evaluate": EvaluationOptions, "gate": Gate,
}  # fmt: skip


def read_recipe(path: Path) -> Recipe:
    """A recipe by its path, or by the name of one that ships with the package. Raises DataError."""
    shipped = RECIPES / f"{path}.toml"
    file = shipped if not path.exists() and shipped.is_file() else path
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise DataError(f"the recipe {path} cannot be read ({error.strerror or error}); these ship with the package: {names}") from None
    except ValueError as error:
        raise DataError(f"{file} is no TOML: {error}") from None
    return _recipe(data, file)


def _recipe(data: dict[str, Any], file: Path) -> Recipe:
    _known(data, Recipe, file, "")
    for one in fields(Recipe):
        kind = _SECTIONS.get(one.name)
        if kind is not None and isinstance(data.get(one.name), dict):
            _known(data[one.name], kind, file, f"{one.name}.")
    try:
        return TypeAdapter(Recipe).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _known(data: dict[str, Any], kind: type[Any], file: Path, prefix: str) -> None:
    names = {one.name for one in fields(kind)}
    for key in data:
        if key not in names:
            raise DataError(f"{file}: there is no setting {prefix}{key}; known are {', '.join(sorted(names))}")
