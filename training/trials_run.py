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

from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.runner import Runner
from training import DataError
from training.pretrain_recipe import SmallRecipe
from training.result_measured import measured_bugs
from training.result_ppo import checkpoint_of, collected, reinforce
from training.result_run import fine_tune, pretrain
from training.result_stages import Measured, collect_answers, measure
from training.trials import LOOKED_AT, Trials, before_file, changed, folder_of, like_before_file, like_bugs
from training.trials_report import figures_of, one_line, write_report

Tell = Callable[[str], None]


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
        _measure(plain, runner, bugs, seed, checkpoint_of(out, seed, "sft"), before_file(out, seed))
        for trial in trials.trials:
            if only and trial.name not in only:
                continue
            own, folder = changed(recipe, trials, trial), folder_of(out, seed, trial)
            policy = reinforce(own, runner, out, seed, trial.reward, folder, tell)
            # A trial's own settings of sampling are those of its collections.
            _measure(plain, runner, bugs, seed, policy, folder / "measured.jsonl")
            for checkpoint, file in ((checkpoint_of(out, seed, "sft"), like_before_file(own, out, seed)), (policy, folder / "like.jsonl")):
                collect_answers(checkpoint, like_bugs(own, out, seed), own.rewarded.samples, own.sample, runner, seed + 700, file)
            # The same bugs as in the first collection, other draws.
            again = collected(own, out, seed, 0)[:LOOKED_AT]
            collect_answers(policy, again, own.rewarded.samples, own.sample, runner, seed + 500, folder / "own.jsonl")
            tell(f"{trial.name} {seed}: {one_line(figures_of(recipe, trial, trials, out, [seed]))}")
    return write_report(recipe, trials, out)


def _measure(recipe: SmallRecipe, runner: Runner, bugs: Sequence[Measured], seed: int, checkpoint: Path, file: Path) -> None:
    measure(checkpoint, bugs, recipe.measured.samples, recipe.sample, runner, seed, file, refine=False)
