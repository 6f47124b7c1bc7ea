"""Trials: a change is one of the recipe's settings, and what a trial says is of its own bugs and of new programs, with a seed's models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.runner import Runner
from training import DataError
from training.corpus_dialogue import Planted
from training.pretrain_recipe import MeasuredOptions, RewardedOptions, read_small_recipe
from training.result_ppo import rewarded_pool
from training.trials import Trial, Trials, changed, read_trials
from training.trials_run import run_trials

RECIPE = """
seeds = [1]
[corpus]
programs = 24
rewarded_programs = 8
library = 5
mbpp_each = 1
rewarded_from = 970
longest = 100
[model]
vocabulary = 400
hidden = 16
layers = 1
heads = 2
feed_forward = 24
copying = false
[pretrain]
batch_tokens = 1024
longest = 256
held_out = 2
warmup = 1
[sft]
batch_tokens = 1024
longest = 256
held_out = 2
warmup = 1
[sample]
completion_tokens = 4
[rewarded]
bugs = 4
samples = 2
[ppo]
steps = 2
batch = 4
epochs = 1
learning_rate = 1e-3
"""
MEASURED = MeasuredOptions("511-530", bugs=4, each=2, samples=2, seed=1)


def _planted(number: int, group: str) -> Planted:
    return Planted(f"b{number}", group, "token", "o", "wrong", "right", ("assert f() == 1",), ("m",))


def test_a_pool_is_of_the_wanted_sources_and_programs() -> None:
    bugs = [_planted(n, f"{'mbpp' if n % 2 else 'generated'}/{n // 4}") for n in range(40)]
    assert rewarded_pool(bugs, RewardedOptions(), 1) == bugs
    assert {bug.group.split("/")[0] for bug in rewarded_pool(bugs, RewardedOptions(sources=("mbpp",)), 1)} == {"mbpp"}
    few = rewarded_pool(bugs, RewardedOptions(programs=3), 1)
    assert len({bug.group for bug in few}) == 3
    assert len(few) == 6  # all the bugs of each
    assert few == rewarded_pool(bugs, RewardedOptions(programs=3), 1)
    assert few != rewarded_pool(bugs, RewardedOptions(programs=3), 2)


def test_a_trial_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE + "[ppo.loss]\nalpha = 0.3\nclip = 0.1\n")
    trial = Trial("t", "a", ppo={"steps": 7, "loss": {"alpha": 0.5}}, rewarded={"mixed": True})
    trials = Trials((trial,), {"model": {"layers": 2}}, MEASURED)
    old, new = read_small_recipe(file), changed(file, trials, trial)
    assert (new.ppo.steps, new.ppo.batch, new.ppo.loss.alpha, new.ppo.loss.clip) == (7, 4, 0.5, 0.1)
    assert (new.rewarded.mixed, new.rewarded.bugs, new.measured) == (True, 4, MEASURED)
    assert (old.ppo.steps, old.rewarded.mixed, old.model.layers) == (2, False, 1)
    assert (new.model.layers, new.model.hidden, new.corpus) == (2, 16, old.corpus)
    assert changed(file, trials).ppo == old.ppo
    with pytest.raises(DataError, match=r"trial t: there is no setting ppo\.stepz"):
        changed(file, trials, Trial("t", "a", ppo={"stepz": 7}))


@pytest.mark.parametrize("name", ["small-trials", "small-trials-half"])
def test_the_trials_that_ship_are_changes_of_the_recipe_that_ships(name: str) -> None:
    trials = read_trials(Path(name))
    assert len({trial.name for trial in trials.trials}) == len(trials.trials)
    for trial in trials.trials:
        assert trial.about
        changed(Path("small"), trials, trial)


def test_trials_are_made_once_and_told_beside_each_other(runner: Runner, tmp_path: Path) -> None:
    file, out = tmp_path / "recipe.toml", tmp_path / "out"
    file.write_text(RECIPE)
    trials = Trials((Trial("plain", "as it is"), Trial("more steps", "optimization", "paper", ppo={"steps": 3})), measured=MEASURED)
    with pytest.raises(DataError, match="there is no trial other"):
        run_trials(file, trials, runner, out, print, [1], ["other"])
    said: list[str] = []
    run_trials(file, trials, runner, out, said.append, [1], ["plain"])
    assert list(json.loads((out / "trials" / "trials.json").read_text())) == ["plain"]
    text = run_trials(file, trials, runner, out, said.append, [1]).read_text()
    told = json.loads((out / "trials" / "trials.json").read_text())
    assert {name: (one["steps"], one["reward"]) for name, one in told.items()} == {"plain": (2, "gated"), "more steps": (3, "paper")}
    assert told["more steps"]["change"] == {"ppo": {"steps": 3}}
    assert "round 0: right" in told["plain"]["rewards"][0]
    assert {one[part]["PPO"]["value"] for one in told.values() for part in ("own", "like", "new")} == {0.0}  # four tokens are no answer
    assert "| more steps | optimization | paper | 1 | 0.0 -> 0.0, 0.0 [0.0, 0.0] | 0.0 -> 0.0," in text
    assert "| plain | 1 | 8 | 0.0 % | -, -5.00 | -, " in text  # nothing could be read
    assert (out / "trials" / "trials.png").exists()
    # Both begin with the same answers, and a second call only reads.
    assert len(list((out / "seed-1").glob("answers-*.jsonl"))) == 1
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")}
    assert run_trials(file, trials, runner, out, said.append, [1]).read_text() == text
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.jsonl")}
