"""``ledex-train trials``: other settings of the small model's PPO beside each other, each one change from a recipe, measured on bugs for
tuning.

A trial begins with the fine-tuned model of a seed, as the table does; a folder is of one or the other. What it learns is looked at in
three places: in the bugs of its first collection (own), in bugs of other programs from the same sources (like), and in bugs of MBPP
511-600 (new). A gain in its own alone says that the data are too few; none there, that the optimizer is at fault or the model too small.

    trials/measured.jsonl                        the new bugs
    seed-N/trials/measured-sft.jsonl             the fine-tuned model's answers to them; like-sft-*.jsonl to the like ones
    seed-N/trials/NAME                           a trial's model, curves, answers, rewards.json
    trials/trials.md, trials.json, trials.png    all of it
"""

from __future__ import annotations

import hashlib
import json
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sandbox.runner import Runner
from training import DataError
from training.corpus import REWARDED, read_bugs
from training.corpus_dialogue import Planted
from training.experiment import read_metrics
from training.pretrain_recipe import MeasuredOptions, SmallRecipe
from training.recipe_file import RECIPES, check_recipe, read_recipe_file
from training.result_measured import measured_bugs
from training.result_ppo import checkpoint_of, collected, first_answers_file, reinforce
from training.result_run import fine_tune, pretrain
from training.result_stages import Answered, Measured, collect_answers, measure, read_answers, repairs
from training.rewarded import RewardName
from training.statistics import Interval, Scores, interval, paired_difference

Tell = Callable[[str], None]
CURVES = {"reward_refinement": "reward of the refinement (centred where the trial centres)", "right": "share of right ones in a batch",
          "kl": "KL to the SFT model, a token", "entropy": "entropy, a token", "clipped": "share of clipped ratios",
          "value_loss": "loss of the value head"}  # fmt: skip


LOOKED_AT = 150
"""Bugs of the first collection, and of programs like those, that are answered again."""


@dataclass(frozen=True)
class Trial:
    """One change: sections of a recipe that replace the recipe's settings. ``about``: what it asks, for people."""

    name: str
    about: str
    reward: RewardName = "gated"
    sample: dict[str, Any] = field(default_factory=dict)
    rewarded: dict[str, Any] = field(default_factory=dict)
    ppo: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trials:
    """``recipe``: sections that replace the recipe's for all trials and for the model that they begin with. ``measured``: bugs for
    tuning."""

    trials: tuple[Trial, ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    measured: MeasuredOptions = field(default_factory=lambda: MeasuredOptions(ids="511-600", bugs=400, each=6, longest=420, seed=11))


def read_trials(path: Path) -> Trials:
    """Trials by their file, or by the name of those that ship with the package. Raises DataError."""
    return read_recipe_file(path, Trials, ("small-trials", "small-trials-half"))


def changed(recipe: Path, trials: Trials, trial: Trial | None = None) -> SmallRecipe:
    """The recipe at ``recipe`` with the settings of all trials, and of one. Raises DataError for a setting that there is not."""
    named = RECIPES / f"{recipe}.toml"
    file = named if not recipe.exists() and named.is_file() else recipe
    data = _merged(tomllib.loads(file.read_text(encoding="utf-8")), trials.recipe)
    if trial is not None:
        data = _merged(data, {"sample": trial.sample, "rewarded": trial.rewarded, "ppo": trial.ppo})
    found = check_recipe(data, SmallRecipe, Path(f"trial {trial.name}" if trial is not None else "trials"))
    return replace(found, measured=trials.measured)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(old[key], value) for key, value in new.items() if isinstance(value, dict) and isinstance(old.get(key), dict)}
    return {**old, **new, **inner}


def run_trials(
    recipe: Path, trials: Trials, runner: Runner, out: Path, tell: Tell, seeds: Sequence[int], only: Sequence[str] = ()
) -> Path:
    """Every trial (``only`` those of these names) of the seeds, each once, then the report of all that are there. Raises DataError."""
    unknown = set(only) - {trial.name for trial in trials.trials}
    if unknown:
        raise DataError(f"there is no trial {', '.join(sorted(unknown))}; there are {', '.join(t.name for t in trials.trials)}")
    plain = changed(recipe, trials)
    pretrain(plain, runner, out, tell)
    bugs = [Measured(planted, bug.oracle) for bug, planted in measured_bugs(plain, runner, out / "trials" / "measured.jsonl", tell)]
    for seed in seeds:
        fine_tune(plain, out, seed, tell)
        _measure(plain, runner, bugs, seed, checkpoint_of(out, seed, "sft"), _before(out, seed))
        for trial in trials.trials:
            if only and trial.name not in only:
                continue
            own, folder = changed(recipe, trials, trial), _folder(out, seed, trial)
            policy = reinforce(own, runner, out, seed, trial.reward, folder, tell)
            # A trial's own settings of sampling are those of its collections.
            _measure(plain, runner, bugs, seed, policy, folder / "measured.jsonl")
            for checkpoint, file in ((checkpoint_of(out, seed, "sft"), _like_before(own, out, seed)), (policy, folder / "like.jsonl")):
                collect_answers(checkpoint, like_bugs(own, out, seed), own.rewarded.samples, own.sample, runner, seed + 700, file)
            # The same bugs as in the first collection, other draws.
            again = collected(own, out, seed, 0)[:LOOKED_AT]
            collect_answers(policy, again, own.rewarded.samples, own.sample, runner, seed + 500, folder / "own.jsonl")
            tell(f"{trial.name} {seed}: {_line(_figures(recipe, trial, trials, out, [seed]))}")
    return write_report(recipe, trials, out)


def like_bugs(recipe: SmallRecipe, out: Path, seed: int) -> list[Planted]:
    """Bugs to reward on of programs that no collection of a trial reached."""
    seen = {bug.group for number in range(recipe.rewarded.rounds) for bug in collected(recipe, out, seed, number)}
    left = [bug for bug in read_bugs(out / "data" / REWARDED) if bug.group not in seen]
    return random.Random(f"like/{seed}").sample(left, min(LOOKED_AT, len(left)))


def _like_before(recipe: SmallRecipe, out: Path, seed: int) -> Path:
    names = "\0".join([repr(recipe.sample), *(bug.id for bug in like_bugs(recipe, out, seed))])
    return out / f"seed-{seed}" / "trials" / f"like-sft-{hashlib.sha256(names.encode()).hexdigest()[:8]}.jsonl"


def _measure(recipe: SmallRecipe, runner: Runner, bugs: Sequence[Measured], seed: int, checkpoint: Path, file: Path) -> None:
    measure(checkpoint, bugs, recipe.measured.samples, recipe.sample, runner, seed, file, refine=False)


def _before(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}" / "trials" / "measured-sft.jsonl"


def _folder(out: Path, seed: int, trial: Trial) -> Path:
    return out / f"seed-{seed}" / "trials" / _name(trial)


def _name(trial: Trial) -> str:
    return trial.name.replace(" ", "-")


def _measured_seeds(out: Path, trial: Trial) -> list[int]:
    return sorted(int(file.parts[-4].removeprefix("seed-")) for file in out.glob(f"seed-*/trials/{_name(trial)}/own.jsonl"))


def _figures(recipe: Path, trial: Trial, trials: Trials, out: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Of the seeds of a trial, all measured."""
    before = np.array([_by_task(_before(out, seed)) for seed in seeds])
    after = np.array([_by_task(_folder(out, seed, trial) / "measured.jsonl") for seed in seeds])
    own = changed(recipe, trials, trial)
    learned = [[_right(read_answers(file), collected(own, out, seed, 0)[:LOOKED_AT])
                for file in (first_answers_file(own, out, seed), _folder(out, seed, trial) / "own.jsonl")] for seed in seeds]  # fmt: skip
    like = [[_right(read_answers(file), like_bugs(own, out, seed))
             for file in (_like_before(own, out, seed), _folder(out, seed, trial) / "like.jsonl")] for seed in seeds]  # fmt: skip
    rewards = [json.loads((_folder(out, seed, trial) / "rewards.json").read_text(encoding="utf-8")) for seed in seeds]
    curves = [read_metrics(_folder(out, seed, trial)) for seed in seeds]
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


def _line(told: Mapping[str, Any]) -> str:
    return (f"own bugs {_change(told['own bugs, SFT'], told['own bugs'])} %, like programs "
            f"{_change(told['like programs, SFT'], told['like programs'])} %, new programs "
            f"{_change(told['new programs, SFT']['value'], told['new programs']['value'])} % ({Interval(**told['new programs, gain'])})"
            )  # fmt: skip


def _change(before: float, after: float) -> str:
    return f"{100 * before:.1f} -> {100 * after:.1f}"


def write_report(recipe: Path, trials: Trials, out: Path) -> Path:
    """``trials.md``, ``trials.json`` and ``trials.png`` of every trial that ran."""
    ran = [(trial, seeds) for trial in trials.trials if (seeds := _measured_seeds(out, trial))]
    told = {trial.name: _figures(recipe, trial, trials, out, seeds) for trial, seeds in ran}
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
    file = folder / "trials.md"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _draw(folder / "trials.png", {(trial.name, seeds[0]): _folder(out, seeds[0], trial) for trial, seeds in ran})
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
