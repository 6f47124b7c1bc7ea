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
from training.result_stages import Answered, read_answers, repairs
from training.statistics import Interval, Scores, interval, paired_difference
from training.trials import LOOKED_AT, Trial, Trials, before_file, changed, folder_of, like_before_file, like_bugs, measured_seeds

CURVES = {"reward_refinement": "reward of the refinement (centred where the trial centres)", "right": "share of right ones in a batch",
          "kl": "KL to the SFT model, a token", "entropy": "entropy, a token", "clipped": "share of clipped ratios",
          "value_loss": "loss of the value head"}  # fmt: skip


def figures_of(recipe: Path, trial: Trial, trials: Trials, out: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Of the seeds of a trial, all measured."""
    before = np.array([_by_task(before_file(out, seed)) for seed in seeds])
    after = np.array([_by_task(folder_of(out, seed, trial) / "measured.jsonl") for seed in seeds])
    own = changed(recipe, trials, trial)
    learned = [[_right(read_answers(file), collected(own, out, seed, 0)[:LOOKED_AT])
                for file in (first_answers_file(own, out, seed), folder_of(out, seed, trial) / "own.jsonl")] for seed in seeds]  # fmt: skip
    like = [[_right(read_answers(file), like_bugs(own, out, seed))
             for file in (like_before_file(own, out, seed), folder_of(out, seed, trial) / "like.jsonl")] for seed in seeds]  # fmt: skip
    rewards = [json.loads((folder_of(out, seed, trial) / "rewards.json").read_text(encoding="utf-8")) for seed in seeds]
    curves = [read_metrics(folder_of(out, seed, trial)) for seed in seeds]
    return {
        "about": trial.about, "reward": trial.reward,
        "change": {name: value for name in ("sample", "rewarded", "ppo") if (value := getattr(trial, name))}, "seeds": list(seeds),
        "new programs, SFT": asdict(interval(before)), "new programs": asdict(interval(after)),
        "new programs, gain": asdict(paired_difference(before, after)),
        "own bugs, SFT": _mean(b for b, _ in learned), "own bugs": _mean(a for _, a in learned),
        "like programs, SFT": _mean(b for b, _ in like), "like programs": _mean(a for _, a in like),
        "kl": _mean(one[-1]["kl"] for one in curves), "entropy before": _mean(one[0]["entropy"] for one in curves),
        "entropy after": _mean(one[-1]["entropy"] for one in curves), "steps": len(curves[0]), "rewards": rewards,
    }  # fmt: skip


def _by_task(file: Path) -> Scores:
    """(tasks,): the share of right first answers. Bugs of one task are no independent ones."""
    found: dict[str, list[float]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["id"].split("/")[1], []).append(float(np.mean([chain[0]["quick"] for chain in row["chains"]])))
    return np.array([np.mean(own) for _, own in sorted(found.items())])


def _right(answers: Sequence[Answered], bugs: Sequence[Planted]) -> float:
    by_id = {bug.id: bug for bug in bugs}
    return float(np.mean([repairs(one, by_id[one.bug]) for one in answers if one.bug in by_id]))


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
    return (f"own bugs {_change(told['own bugs, SFT'], told['own bugs'])} %, like programs "
            f"{_change(told['like programs, SFT'], told['like programs'])} %, new programs "
            f"{_change(told['new programs, SFT']['value'], told['new programs']['value'])} % ({Interval(**told['new programs, gain'])})"
            )  # fmt: skip


def _change(before: float, after: float) -> str:
    return f"{100 * before:.1f} -> {100 * after:.1f}"


def write_report(recipe: Path, trials: Trials, out: Path) -> Path:
    """``trials.md``, ``trials.json`` and ``trials.png`` of every trial that ran."""
    ran = [(trial, seeds) for trial in trials.trials if (seeds := measured_seeds(out, trial))]
    told = {trial.name: figures_of(recipe, trial, trials, out, seeds) for trial, seeds in ran}
    folder = out / "trials"
    (folder / "trials.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    about = [
        f"Share of right first answers in percent, at the quick look, of SFT and of PPO after it. New: bugs of MBPP {trials.measured.ids},",
        f"up to {trials.measured.each} a program, {trials.measured.samples} answers each; 95 % intervals, over seeds and programs,",
        "* where that of the paired gain excludes 0. Own: bugs of the first collection, drawn again. Like: bugs of other programs of the",
        "same sources.",
    ]
    names = ("trial", "asks", "reward", "seeds", "own", "like", "new", "gain on new", "KL", "entropy")
    lines = [*about, "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for name, one in told.items():
        gain = Interval(**one["new programs, gain"])
        cells = (
            name, one["about"], one["reward"], ", ".join(map(str, one["seeds"])), _change(one["own bugs, SFT"], one["own bugs"]),
            _change(one["like programs, SFT"], one["like programs"]),
            _change(one["new programs, SFT"]["value"], one["new programs"]["value"]),
            f"{gain}{' *' if gain.low > 0 or gain.high < 0 else ''}", f"{one['kl']:.3f}",
            f"{one['entropy before']:.2f} -> {one['entropy after']:.2f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "What the answers of each collection were paid, mean of the right and of the wrong ones, before anything is centred:", "",
              "| trial | collection | answers | right | refinement | explanation |", "|---" * 6 + "|"]  # fmt: skip
    lines += [row for name, one in told.items() for row in _paid(name, one["rewards"][0])]
    file = folder / "trials.md"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(folder / "trials.png", {(trial.name, seeds[0]): folder_of(out, seeds[0], trial) for trial, seeds in ran})
    return file


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
            points = [(one["step"], one[metric]) for one in read_metrics(folder) if metric in one]
            lines += panel.plot([x for x, _ in points], [y for _, y in points], linewidth=1.0, label=f"{name} ({seed})")
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    figure.legend(handles=lines, loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(file, dpi=110)
