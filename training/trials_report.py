"""What trials showed: ``trials.md`` for people, ``trials.json`` with all that is known of each, ``trials.png`` with their curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.corpus_dialogue import Planted
from training.experiment import read_metrics
from training.result_ppo import collected, first_answers_file
from training.result_stages import read_answers, repairs
from training.statistics import Interval, Scores, interval, paired_difference
from training.trials import LOOKED_AT, Trial, Trials, before_file, changed, folder_of, like_before_file, like_bugs, measured_seeds

CURVES = {"reward_refinement": "reward of the refinement (centred where the trial centres)", "right": "share of right ones in a batch",
          "kl": "KL to the SFT model, a token", "entropy": "entropy, a token", "clipped": "share of clipped ratios",
          "value_loss": "loss of the value head"}  # fmt: skip

SMOOTHED = 11
"""Steps that the curves are means of: a batch of 64 answers says little."""


def figures_of(recipe: Path, trial: Trial, trials: Trials, out: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Of the seeds of a trial, all measured."""
    before = np.array([_by_task(before_file(out, seed)) for seed in seeds])
    after = np.array([_by_task(folder_of(out, seed, trial) / "measured.jsonl") for seed in seeds])
    own = changed(recipe, trials, trial)
    learned = [(_by_program(first_answers_file(own, out, seed), bugs), _by_program(folder_of(out, seed, trial) / "own.jsonl", bugs))
               for seed in seeds for bugs in [collected(own, out, seed, 0)[:LOOKED_AT]]]  # fmt: skip
    like = [(_by_program(like_before_file(own, out, seed), bugs), _by_program(folder_of(out, seed, trial) / "like.jsonl", bugs))
            for seed in seeds for bugs in [like_bugs(own, out, seed)]]  # fmt: skip
    rewards = [json.loads((folder_of(out, seed, trial) / "rewards.json").read_text(encoding="utf-8")) for seed in seeds]
    curves = [read_metrics(folder_of(out, seed, trial)) for seed in seeds]
    return {
        "about": trial.about, "reward": trial.reward,
        "change": {name: value for name in ("sample", "rewarded", "ppo") if (value := getattr(trial, name))}, "seeds": list(seeds),
        "own": _compared(*(np.concatenate(parts) for parts in zip(*learned, strict=True))),
        "like": _compared(*(np.concatenate(parts) for parts in zip(*like, strict=True))), "new": _compared(before, after),
        "can be applied, SFT": _mean(_applied(before_file(out, seed)) for seed in seeds),
        "can be applied": _mean(_applied(folder_of(out, seed, trial) / "measured.jsonl") for seed in seeds),
        "kl": _mean(one[-1]["kl"] for one in curves), "entropy before": _mean(one[0]["entropy"] for one in curves),
        "entropy after": _mean(one[-1]["entropy"] for one in curves), "steps": len(curves[0]), "rewards": rewards,
    }  # fmt: skip


def _compared(before: Scores, after: Scores) -> dict[str, Any]:
    return {"SFT": asdict(interval(before)), "PPO": asdict(interval(after)), "gain": asdict(paired_difference(before, after))}


def _by_task(file: Path) -> Scores:
    """(tasks,): the share of right first answers. Bugs of one program are no independent ones."""
    found: dict[str, list[float]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["id"].split("/")[1], []).append(float(np.mean([chain[0]["quick"] for chain in row["chains"]])))
    return np.array([np.mean(own) for _, own in sorted(found.items())])


def _applied(file: Path) -> float:
    """The share of first answers that can be read and applied."""
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return float(np.mean([chain[0]["read"] for row in rows for chain in row["chains"]]))


def _by_program(file: Path, bugs: Sequence[Planted]) -> Scores:
    """(programs,): the share of right ones among the answers to these bugs."""
    by_id = {bug.id: bug for bug in bugs}
    found: dict[str, list[float]] = {}
    for one in read_answers(file):
        if one.bug in by_id:
            found.setdefault(by_id[one.bug].group, []).append(repairs(one, by_id[one.bug]))
    return np.array([np.mean(own) for _, own in sorted(found.items())])


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _paid(name: str, rewards: Mapping[str, float]) -> list[str]:
    rows = []
    for number in range(sum(key.endswith(": rollouts") for key in rewards)):
        own = {key.partition(": ")[2]: value for key, value in rewards.items() if key.startswith(f"round {number}: ")}
        means = [[own.get(f"{part} of {which} ones") for which in ("right", "wrong")] for part in ("refinement", "explanation")]
        paid = " | ".join(", ".join("-" if one is None else f"{one:+.2f}" for one in pair) for pair in means)
        rows.append(f"| {name} | {number + 1} | {own['rollouts']:.0f} | {100 * own['right']:.1f} % | {paid} |")
    return rows


def one_line(told: Mapping[str, Any]) -> str:
    """A trial's figures for the terminal."""
    return "; ".join(f"{name} {_cell(told[name])}" for name in ("own", "like", "new"))


def _cell(one: Mapping[str, Any]) -> str:
    gain = Interval(**one["gain"])
    mark = " *" if gain.low > 0 or gain.high < 0 else ""
    return f"{100 * one['SFT']['value']:.1f} -> {100 * one['PPO']['value']:.1f}, {'+' if gain.value > 0 else ''}{gain}{mark}"


def write_report(recipe: Path, trials: Trials, out: Path) -> Path:
    """``trials.md``, ``trials.json`` and ``trials.png`` of every trial that ran."""
    ran = [(trial, seeds) for trial in trials.trials if (seeds := measured_seeds(out, trial))]
    told = {trial.name: figures_of(recipe, trial, trials, out, seeds) for trial, seeds in ran}
    folder = out / "trials"
    (folder / "trials.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    about = [
        "Percent of first answers that are right at the quick look, of SFT and of PPO after it, and the paired gain with its 95 %",
        "interval over programs (and seeds), * where that excludes 0. Own: bugs of the first collection, drawn again. Like: bugs of other",
        f"programs of the same sources. New: MBPP {trials.measured.ids}, up to {trials.measured.each} a program, {trials.measured.samples} "
        "answers",
        "each, and how many of these can be read and applied. The KL is of the last step, from the SFT model; the entropy of the first",
        "and the last.",
    ]
    names = ("trial", "asks", "reward", "seeds", "own", "like", "new", "new: can be applied", "KL", "entropy")
    lines = [*about, "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, one in told.items():
        cells = (name, one["about"], one["reward"], ", ".join(map(str, one["seeds"])),
                 *(_cell(one[part]) for part in ("own", "like", "new")),
                 f"{100 * one['can be applied, SFT']:.1f} -> {100 * one['can be applied']:.1f}",
                 f"{one['kl']:.3f}", f"{one['entropy before']:.2f} -> {one['entropy after']:.2f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "What the answers of each collection were paid, mean of the right and of the wrong ones, before anything is centred:", "",
              "| trial | collection | answers | right | refinement | explanation |", "|---" * 6 + "|"]  # fmt: skip
    lines += [row for name, one in told.items() for row in _paid(name, one["rewards"][0])]
    file = folder / "trials.md"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(folder / "trials.png", {(trial.name, seeds[0]): folder_of(out, seeds[0], trial) for trial, seeds in ran})
    return file


def _smoothed(values: Sequence[float]) -> list[float]:
    """Each step's mean with those around it."""
    half = SMOOTHED // 2
    return [float(np.mean(values[max(n - half, 0) : n + half + 1])) for n in range(len(values))]


def _draw(file: Path, runs: Mapping[tuple[str, int], Path]) -> None:
    """Each trial's curves, of its first seed. Nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    lines: list[Any] = []
    for place, (metric, title) in enumerate(CURVES.items(), 1):
        panel = figure.add_subplot(2, 3, place)
        lines = []
        for (name, seed), folder in runs.items():
            values = [one[metric] for one in read_metrics(folder) if metric in one]
            lines += panel.plot(_smoothed(values), linewidth=1.2, label=f"{name} ({seed})")
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
        panel.set_xlabel(f"step (mean of {SMOOTHED})", fontsize=7)
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(file, dpi=110)
