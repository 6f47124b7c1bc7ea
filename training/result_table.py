"""The table of the small model: base, SFT, PPO by the paper's reward, PPO by the gated one, on bugs that nothing was learned from.

pass@1: the share of first answers that are right. Refinement: of first answers that are wrong, the share that one more answer with the
run's feedback turns right (LEDEX's success refinement rate, pooled). Intervals are bootstraps over seeds and bugs; differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.experiment import read_metrics
from training.statistics import Interval, Scores, interval, paired_difference, ratio, ratio_difference

STAGES = ("base", "sft", "ppo-paper", "ppo-gated")
TITLES = {"base": "base (pretrained)", "sft": "SFT", "ppo-paper": "PPO, paper reward", "ppo-gated": "PPO, gated reward"}


@dataclass(frozen=True)
class Column:
    """One stage over all seeds; (seeds, bugs) each. ``wrong`` and ``repaired``: counts of chains."""

    first: Scores
    after: Scores
    wrong: Scores
    repaired: Scores
    explanation: Scores
    readable: Scores


def column(judged: Sequence[Sequence[Sequence[Sequence[bool]]]], rows: Sequence[Sequence[Mapping[str, Any]]]) -> Column:
    """``judged``: (seeds, bugs, chains, answers) of whether right; ``rows``: what was measured, in the same order."""

    def table(value: Any) -> Scores:
        return np.array([[value(chains) for chains in bugs] for bugs in judged], np.float64)

    def told(name: str) -> Scores:
        return np.array([[np.mean([float(chain[0][name]) for chain in row["chains"]]) for row in own] for own in rows], np.float64)

    return Column(
        table(lambda chains: np.mean([c[0] for c in chains])), table(lambda chains: np.mean([any(c) for c in chains])),
        table(lambda chains: sum(not c[0] for c in chains)), table(lambda chains: sum(not c[0] and any(c) for c in chains)),
        told("explanation"), told("read"))  # fmt: skip


def rate(one: Column) -> Interval:
    """The pooled success refinement rate with its interval."""
    return ratio(one.repaired, one.wrong)


def rate_difference(before: Column, after: Column) -> Interval:
    """How much larger the pooled rate is."""
    return ratio_difference((before.repaired, before.wrong), (after.repaired, after.wrong))


def figures(columns: Mapping[str, Column]) -> dict[str, Any]:
    """All numbers of the table, as JSON."""
    told: dict[str, Any] = {}
    for name, one in columns.items():
        told[name] = {
            "pass@1": _plain(interval(one.first)), "pass@1 after one refinement": _plain(interval(one.after)),
            "success refinement rate": _plain(rate(one)), "explanation": _plain(interval(one.explanation)),
            "readable": _plain(interval(one.readable)), "pass@1 by seed": [round(float(v), 4) for v in one.first.mean(axis=1)],
        }  # fmt: skip
    for before, after in (("base", "sft"), ("sft", "ppo-paper"), ("sft", "ppo-gated"), ("ppo-paper", "ppo-gated")):
        if before in columns and after in columns:
            a, b = columns[before], columns[after]
            told[f"{before} -> {after}"] = {
                "pass@1": _plain(paired_difference(a.first, b.first)),
                "pass@1 after one refinement": _plain(paired_difference(a.after, b.after)),
                "success refinement rate": _plain(rate_difference(a, b)),
                "explanation": _plain(paired_difference(a.explanation, b.explanation)),
            }  # fmt: skip
    return told


def _plain(one: Interval) -> dict[str, float]:
    return {"value": round(one.value, 5), "low": round(one.low, 5), "high": round(one.high, 5)}


def markdown(told: Mapping[str, Any], about: Sequence[str]) -> str:
    """The table for people; ``about``: lines that say what it is of."""
    names = ("pass@1", "pass@1 after one refinement", "success refinement rate", "explanation", "readable")
    lines = [*about, "", f"| | {' | '.join(names)} | pass@1 by seed |", "|---" * (len(names) + 2) + "|"]
    for stage in STAGES:
        if stage in told:
            seeds = ", ".join(f"{100 * v:.1f}" for v in told[stage]["pass@1 by seed"])
            lines.append(f"| {TITLES[stage]} | {' | '.join(_cell(told[stage][name]) for name in names)} | {seeds} |")
    lines += ["", "| paired difference, points | pass@1 | pass@1 after one refinement | success refinement rate | explanation |",
              "|---|---|---|---|---|"]  # fmt: skip
    for name, one in told.items():
        if " -> " in name:
            lines.append(f"| {name} | {' | '.join(_cell(one[part], True) for part in names[:4])} |")
    return "\n".join(lines) + "\n"


def _cell(one: Mapping[str, float], signed: bool = False) -> str:
    value = f"{100 * one['value']:+.1f}" if signed else f"{100 * one['value']:.1f}"
    mark = "" if not signed or one["low"] <= 0 <= one["high"] else " *"
    return f"{value} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]{mark}"


def draw(folder: Path, told: Mapping[str, Any], seeds: Sequence[int]) -> Path | None:
    """``table.png``: losses, rewards and shares of right rollouts over the steps, and the table's bars. None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    panels = [figure.add_subplot(2, 3, number) for number in range(1, 7)]
    runs = {"SFT": "sft", "paper": "ppo-paper", "gated": "ppo-gated"}
    _plot(panels[0], "pretraining: loss", {"loss": (folder / "base", "loss"), "held out": (folder / "base", "held_out_loss")})
    for panel, title, metric, kinds in (
        (panels[1], "SFT: loss on held-out rows", "held_out_loss", ("SFT",)),
        (panels[2], "PPO: reward of the refinement", "reward_refinement", ("paper", "gated")),
        (panels[3], "PPO: reward of the explanation", "reward_explanation", ("paper", "gated")),
        (panels[4], "PPO: KL to the SFT model, a token", "kl", ("paper", "gated")),
    ):
        _plot(panel, title, {f"{kind} {seed}": (folder / f"seed-{seed}" / runs[kind], metric) for kind in kinds for seed in seeds})
    stages = [stage for stage in STAGES if stage in told]
    for place, name in enumerate(("pass@1", "pass@1 after one refinement")):
        values = [told[stage][name] for stage in stages]
        errors = [[v["value"] - v["low"] for v in values], [v["high"] - v["value"] for v in values]]
        at = [n + 0.4 * place for n in range(len(stages))]
        panels[5].bar(at, [v["value"] for v in values], 0.38, yerr=errors, capsize=3, label=name)
    panels[5].set_xticks(range(len(stages)), stages, fontsize=8)
    panels[5].legend(fontsize=7)
    panels[5].set_title("share of bugs repaired, 95 % intervals", fontsize=9)
    path = folder / "table.png"
    figure.savefig(path, dpi=110)
    return path


def _plot(panel: Any, title: str, lines: Mapping[str, tuple[Path, str]]) -> None:
    for label, (folder, metric) in lines.items():
        points = [(one["step"], one[metric]) for one in read_metrics(folder) if metric in one]
        if points:
            panel.plot([x for x, _ in points], [y for _, y in points], linewidth=1.0, label=label)
    panel.set_title(title, fontsize=9)
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.3)
    if panel.lines:
        panel.legend(fontsize=6)
