"""One sentence to whoever typed a command, on standard error."""

from __future__ import annotations

import typer
from rich.console import Console

WRONG_USE = 2


def fail(message: str) -> typer.Exit:
    """Print one sentence and leave with the code for wrong use."""
    tell(message)
    return typer.Exit(WRONG_USE)


def warn(message: str) -> None:
    """Print one sentence beside the result, and go on."""
    tell(f"warning: {message}")


def tell(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"ledex: {message}", markup=False)
