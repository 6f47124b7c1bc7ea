"""``ledex-train pretrain | table | trials``: a model of our own from nothing, its table, and other settings of its PPO. Options in, one
call of a function.

Torch is imported by a command, not by ``--help``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.terminal import explained

RecipeName = Annotated[Path, typer.Option("--recipe", help="A small model's recipe: its file, or small.")]
Out = Annotated[Path, typer.Option(help="Folder of data, models, curves and the table; run again to go on.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the processor.")]
SMALL = Path("small")


def register(app: typer.Typer) -> None:
    """Adds the commands to ``app``."""
    app.command()(pretrain)
    app.command()(table)
    app.command()(trials)


def pretrain(
    out: Out, recipe: RecipeName = SMALL, threads: Threads = 1,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after this long, to go on in another run.")] = None,
) -> None:  # fmt: skip
    """Data with its card, a tokenizer and a small model from random weights."""
    with explained():
        from training.benchmark.isolation import default_runner
        from training.pretrain_recipe import read_small_recipe
        from training.result_run import pretrain as run

        _one_thread(threads)
        console = Console()
        folder = run(read_small_recipe(recipe), default_runner(), out, _teller(console), 60 * minutes if minutes is not None else 1e12)
        console.print(f"the base model is in {folder}" if folder else "the time is up: run the same command to go on", highlight=False)


def table(
    out: Out, recipe: RecipeName = SMALL, threads: Threads = 1,
    seed: Annotated[list[int] | None, typer.Option(help="Only the stages of this seed (may be given again); default the recipe's.")] = None,
    verify_minutes: Annotated[float, typer.Option(min=0.0, help="So long for production's verification; the rest is told.")] = 1e6,
) -> None:  # fmt: skip
    """Base, SFT and PPO with both rewards, measured on bugs that nothing was learned from: table.md, table.json, table.png."""
    with explained():
        from training.benchmark.isolation import default_runner
        from training.pretrain_recipe import read_small_recipe
        from training.result_run import run_table

        _one_thread(threads)
        console = Console()
        found = run_table(read_small_recipe(recipe), default_runner(), out, _teller(console), seed, 60 * verify_minutes)
        console.print(found.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)


def trials(
    out: Out, recipe: RecipeName = SMALL, threads: Threads = 1,
    trials: Annotated[Path, typer.Option(help="Trials: their file, or small-trials.")] = Path("small-trials"),
    seed: Annotated[list[int] | None, typer.Option(help="Of a fine-tuned model in --out (may be given again).")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the trial of this name (may be given again).")] = None,
) -> None:  # fmt: skip
    """Other settings of the small model's PPO beside each other, measured on bugs for tuning: trials.md, trials.json, trials.png."""
    with explained():
        from training.benchmark.isolation import default_runner
        from training.trials import read_trials
        from training.trials_run import run_trials

        _one_thread(threads)
        console = Console()
        found = run_trials(recipe, read_trials(trials), default_runner(), out, _teller(console), seed or [1], only or ())
        console.print(found.read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)


def _one_thread(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _teller(console: Console) -> Callable[[str], None]:
    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return tell
