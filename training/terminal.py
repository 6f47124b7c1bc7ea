"""What ``ledex-train`` shows: progress while it works, and errors as one sentence with exit code 2 (1 where the gate refused)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from inference import InferenceError
from sandbox import SandboxError
from training import NotPromoted, TrainingError
from training.benchmark.command import WrongUse

Tell = Callable[[int, int | None, str], None]
"""Done, of how many (None: not known), and what else is to be said of it."""
_EXTRA = frozenset({"accelerate", "datasets", "peft", "safetensors", "tokenizers", "torch", "transformers", "tree_sitter_python", "trl"})
_PLAIN_SECONDS = 10.0


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns the errors that a person can mend into one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        _end(f"{error.name} is not installed: pip install 'ledexbot[training]'", 2, error)
    except NotPromoted as error:
        _end(str(error), 1, error)
    except (WrongUse, TrainingError, InferenceError, SandboxError) as error:
        _end(str(error), 2, error)
    except KeyboardInterrupt as error:
        _end("stopped; the same command goes on where it was", 130, error)


def _end(sentence: str, code: int, cause: BaseException) -> None:
    Console(stderr=True).print(f"ledex-train: {sentence}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from cause


@contextlib.contextmanager
def watch(console: Console, title: str) -> Iterator[Tell]:
    """A bar in a terminal; elsewhere a line for the first and the last report, and one every ten seconds."""
    if not console.is_terminal:
        last = [float("-inf")]

        def plain(done: int, total: int | None, note: str) -> None:
            now = time.monotonic()
            if now - last[0] >= _PLAIN_SECONDS or done == total:
                last[0] = now
                console.print(f"{title}: {done}{f' of {total}' if total else ''} {note}".rstrip(), markup=False, highlight=False,
                              soft_wrap=True)  # fmt: skip

        yield plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[note]}", markup=False))  # fmt: skip
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None, note="")
        yield lambda done, total, note: progress.update(task, completed=done, total=total, note=note)


def one_line(step: dict[str, float]) -> str:
    """The figures of a training step that people look for."""
    names = ("loss", "right", "reward_refinement", "kl", "tokens_per_second")
    return " ".join(f"{name.replace('_', ' ')} {step[name]:.4g}" for name in names if name in step)
