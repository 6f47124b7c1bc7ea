"""What several commands of ``ledex-train`` have in common: recipe and base model, and the place that they open with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from training import DataError

if TYPE_CHECKING:
    from training.stages import Workplace

RecipeName = Annotated[Path, typer.Option("--recipe", help="A recipe's file, or the name of one that ships: paper, gated, tiny ...")]
Base = Annotated[str | None, typer.Option("--base-model", help="A folder or hub name, instead of the recipe's.")]
DEFAULT_RECIPE = Path("gated")


def open_place(recipe: Path, base_model: str | None) -> Workplace:
    """The settings of this process and the recipe. Raises DataError."""
    from dataclasses import replace

    from training.recipe import read_recipe
    from training.settings import load_settings
    from training.stages import Workplace

    settings, found = load_settings(), read_recipe(recipe)
    _quiet()
    return Workplace(replace(found, base_model=base_model) if base_model else found, settings,
                     Console(quiet=os.environ.get("RANK", "0") != "0"))  # fmt: skip  # of many processes one is heard


def _quiet() -> None:
    """Without the libraries' own bars, and their warnings of each other's old names, which nobody who trains can mend."""
    import warnings

    import datasets
    from transformers.utils import logging

    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for module in ("transformers", "peft", "trl"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=module)


def one_of(option: str, value: str, *known: str) -> str:
    """Raises DataError for another value."""
    if value not in known:
        raise DataError(f"{option} {value}: it is one of {', '.join(known)}")
    return value
