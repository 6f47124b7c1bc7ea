"""A recipe's TOML file into its dataclass. An unknown or wrong key is an error that names it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from training import DataError

RECIPES = Path(__file__).with_name("recipes")
T = TypeVar("T")


def read_recipe_file(path: Path, kind: type[T], shipped: Sequence[str]) -> T:
    """The recipe at ``path``, or that of this name which ships with the package. ``shipped``: the names to offer. Raises DataError."""
    named = RECIPES / f"{path}.toml"
    file = named if not path.exists() and named.is_file() else path
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(shipped)
        raise DataError(f"the recipe {path} cannot be read ({error.strerror or error}); these ship with the package: {names}") from None
    except ValueError as error:
        raise DataError(f"{file} is no TOML: {error}") from None
    return check_recipe(data, kind, file)


def check_recipe(data: dict[str, Any], kind: type[T], file: Path) -> T:
    """A recipe's tables as its dataclass; ``file`` names them in errors. Raises DataError."""
    _known(data, kind, file, "")
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise DataError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _known(data: dict[str, Any], kind: type[Any], file: Path, prefix: str) -> None:
    """Refuse a key that no setting has, in sections and in their sections too: a misspelt one would be silently without effect."""
    types = get_type_hints(kind)
    names = {one.name for one in fields(kind)}
    for key, value in data.items():
        if key not in names:
            raise DataError(f"{file}: there is no setting {prefix}{key}; known are {', '.join(sorted(names))}")
        if isinstance(value, dict) and isinstance(types[key], type) and is_dataclass(types[key]):
            _known(value, types[key], file, f"{prefix}{key}.")
