"""The log of a run: ``metrics.jsonl`` (one object a step), TensorBoard's files beside it, and curves as a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

METRICS, PLOT = "metrics.jsonl", "curves.png"


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The steps of a run so far; a last line that was cut is left out."""
    path = folder / METRICS
    steps = []
    for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else ():
        try:
            steps.append(json.loads(line))
        except ValueError:
            break
    return steps


class ExperimentLog:
    """Writes a run's metrics. A run that goes on from step N forgets what was logged from there on: it is about to be logged again."""

    def __init__(self, folder: Path, start: int, tensorboard: bool = True) -> None:
        """``start``: the first step that will be logged. TensorBoard's files are left out where it is not installed."""
        folder.mkdir(parents=True, exist_ok=True)
        kept = "".join(json.dumps(one) + "\n" for one in read_metrics(folder) if one["step"] < start)
        scratch = folder / f".{METRICS}"
        scratch.write_text(kept, encoding="utf-8")
        os.replace(scratch, folder / METRICS)
        self._file = (folder / METRICS).open("a", encoding="utf-8")
        self._board: Any = None
        if not tensorboard:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items() if self._board else ():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()


def draw_curves(folder: Path, names: Sequence[str]) -> Path | None:
    """One panel for each metric that the run has, over its steps; None where matplotlib is not installed or there is nothing to draw."""
    steps = read_metrics(folder)
    shown = [name for name in names if any(name in one for one in steps)]
    if not shown:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout="constrained")
    for place, name in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, place)
        points = [(one["step"], one[name]) for one in steps if name in one]
        axes.plot([x for x, _ in points], [y for _, y in points], linewidth=1.2)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        axes.set_xlabel("step", fontsize=7)
    path = folder / PLOT
    figure.savefig(path, dpi=110)
    return path
