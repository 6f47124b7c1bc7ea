"""The command lines of a night's run on a tiny checkpoint: damaged data costs its own lines, errors are one sentence, a rerun goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference.adapters import Registry
from inference.trajectory import Feedback, write_trajectories
from tests.inference.model.scripted import ScriptedServer
from tests.training.trajectories import round_of, trajectory, verdict
from training.benchmark.mbpp import DATA
from training.census import is_held_out
from training.cli import main
from training.evaluation import EvaluationOptions
from training.experiment import PLOT, read_metrics

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
RECIPE = """\
base_model = "{model}"
name = "tiny"
[sft]
most_steps = 2
batch = 2
micro_batch = 1
lora_rank = 2
max_tokens = 2000
save_steps = 2
[reward]
name = "{reward}"
[ppo]
steps = 2
batch = 4
epochs = 1
save_steps = 1
[rollouts]
max_tokens = 2000
"""


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """What a night may bring: whole lines among damage of every kind."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    wrong = round_of(verdict=verdict(False), patch="")
    good = [trajectory("good", round_of(), wrong), trajectory("accepted", feedback=(Feedback("applied", 1.0),)),
            trajectory("rejected", feedback=(Feedback("rejected", 1.0, "wrong"),))]  # fmt: skip
    gone = trajectory("gone", problem=replace(good[0].problem, tree="trees/gone.tar.gz"))
    long = trajectory("long", round_of(messages=(replace(round_of().messages[0], content="x = 1\n" * 50_000),)))
    never = trajectory("never", wrong, problem=replace(good[0].problem, head_sha="b" * 40))
    kept_apart = next(f"owner/{n}" for n in range(100) if is_held_out(f"owner/{n}", 0.1))
    apart = trajectory("apart", problem=replace(good[0].problem, repository=kept_apart))
    lines = list(write_trajectories([*good, gone, long, never, apart]))
    newer = lines[0].replace('"format":"1.0"', '"format":"2.0"')
    (folder / "night.jsonl").write_text("".join(lines) + newer + "[1, 2]\n" + lines[0][: len(lines[0]) // 2], encoding="utf-8")
    return folder


def recipe(tmp_path: Path, model: Path, reward: str = "gated") -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(model=model, reward=reward))
    return tmp_path / "recipe.toml"


def command(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


DAMAGE = {"format of another version": 1, "no trajectory": 1, "line is no JSON (cut?)": 1, "of a repository that is held out": 1,
          "longer than the model's context": 2}  # fmt: skip


def test_sft_learns_from_what_is_whole_and_reports_the_rest(tiny: Path, inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "sft"
    told = command("sft", inbox, "--out", out, "--recipe", recipe(tmp_path, tiny))
    data = json.loads((out / "data.json").read_text())
    assert data["left_out"] == DAMAGE | {"people refused it": 1, "no verified round with its dialogue": 1}
    assert (data["counts"]["trajectories"], data["counts"]["trajectories whose tree is gone"]) == (7, 1)
    assert "left out, longer than the model's context: 2 (first: mbpp/601" in told
    assert (out / "final" / "adapter_model.safetensors").is_file()
    steps = read_metrics(out)
    assert [one["step"] for one in steps] == [1, 2]
    assert all(one["tokens_per_second"] > 0 and one["memory_bytes"] > 1e6 for one in steps)
    assert (out / PLOT).is_file()
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))
    command("sft", inbox, "--out", out, "--recipe", recipe(tmp_path, tiny))  # again: nothing is left to do
    assert [one["step"] for one in read_metrics(out)] == [1, 2]


@pytest.mark.parametrize("reward", ["gated", "paper"])
def test_ppo_learns_from_every_rewarded_round_right_or_wrong(reward: str, tiny: Path, inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "ppo"
    command("ppo", inbox, "--out", out, "--recipe", recipe(tmp_path, tiny, reward))
    data = json.loads((out / "data.json").read_text())
    undefined = {"nobody has repaired this code: the paper's scores are undefined": 1} if reward == "paper" else {}
    assert data["left_out"] == {**DAMAGE, "longer than the model's context": 1} | undefined
    assert data["counts"]["rollouts"] == (6 if reward == "gated" else 5)
    assert [one["step"] for one in read_metrics(out)] == [0, 1]
    assert (out / "policy" / "adapter_model.safetensors").is_file()
    assert (out / "checkpoints" / "checkpoint-000001").is_dir()


def test_kto_learns_from_what_people_said(tiny: Path, inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "kto"
    command("sft", inbox, "--out", out, "--recipe", recipe(tmp_path, tiny), "--method", "kto")
    counts = json.loads((out / "data.json").read_text())["counts"]
    assert (counts["accepted"], counts["rejected"]) == (1, 1)
    assert (out / "final" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sft", "{tmp}/nothing", "--out", "{tmp}/out"], "there is no {tmp}/nothing"),
        (["sft", "{tmp}/empty", "--out", "{tmp}/out"], "there is nothing to learn from"),
        (["ppo", "{tmp}/empty", "--out", "{tmp}/out"], "there is nothing to learn from"),
        (["sft", "{tmp}/empty", "--out", "{tmp}/out", "--method", "dpo"], "it is one of sft, kto"),
        (["sft", "{tmp}/empty", "--out", "{tmp}/out", "--base-model", "{tmp}/absent"], "has no tokenizer that transformers can load"),
        (["ppo", "{tmp}/empty", "--out", "{tmp}/out", "--recipe", "{tmp}/absent.toml"], "these ship with the package"),
        (["collect", "--out", "{tmp}/out", "--teacher", "model"], "set LEDEX_INFERENCE_ENDPOINTS"),
        (["collect", "--out", "{tmp}/out", "--repository", "{tmp}/absent"], "there is no repository"),
        (["collect", "--out", "{tmp}/out", "--guard", "humaneval"], "write NAME=PATH"),
        (["publish", "{tmp}/empty"], "set LEDEX_TRAINING_ADAPTERS"),
        (["loop", "--trajectories", "{tmp}/empty", "--rounds", "1"], "set LEDEX_TRAINING_ADAPTERS"),
        (["worker"], "set LEDEX_TRAINING_BROKER_URL"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: Sequence[str], told: str, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = [one.format(tmp=tmp_path) for one in arguments]
    if "--recipe" not in given:
        given += ["--recipe", str(recipe(tmp_path, tiny))]
    said = command(*given, code=2)
    assert told.format(tmp=tmp_path) in said
    assert len(said.strip().splitlines()) <= 2


def test_an_adapter_is_published_by_force_and_not_without(
    tiny: Path, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDEX_TRAINING_ADAPTERS", str(tmp_path / "adapters"))
    chosen = recipe(tmp_path, tiny)
    command("sft", inbox, "--out", tmp_path / "sft", "--recipe", chosen)
    weights = tmp_path / "sft" / "final"
    assert "--force overrides" in command("publish", weights, "--recipe", chosen, code=1)
    (tmp_path / "other.jsonl").write_text(json.dumps({"options": asdict(EvaluationOptions()), "model": "tiny + other"}) + "\n")
    other = ("--evaluation", tmp_path / "other.jsonl", "--against", tmp_path / "other.jsonl")
    assert "of other weights" in command("publish", weights, "--recipe", chosen, "--force", *other, code=2)
    assert Registry(tmp_path / "adapters").cards() == ()
    with ScriptedServer([]) as server:
        monkeypatch.setenv("LEDEX_INFERENCE_ENDPOINTS", server.url)
        assert "is active" in command("publish", weights, "--recipe", chosen, "--force", "--promote")
        active = Registry(tmp_path / "adapters").states().active
        assert active is not None
        assert set(server.adapters) == {active}


@pytest.mark.training
def test_from_a_planted_bug_to_the_gate(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_TRAINING_WORK", str(tmp_path / "work"))
    chosen = recipe(tmp_path, tiny)
    measured = '[bugs]\nids = "511-530"\ncount = 1\n[evaluate]\nsamples = 1\nrounds = 1\ncompletion_tokens = 32\n'
    chosen.write_text(chosen.read_text() + measured)
    rows = [line for line in DATA.read_text(encoding="utf-8").splitlines() if 600 < json.loads(line)["task_id"] < 606]
    (tmp_path / "problems.jsonl").write_text("\n".join(rows) + "\n")
    collecting = ("collect", "--out", tmp_path / "data", "--recipe", chosen, "--limit", "2", "--problems", tmp_path / "problems.jsonl")
    told = command(*collecting)
    assert "2 wrong programs with their attempts, 2 of them new" in told
    again = command(*collecting)
    assert "2 wrong programs with their attempts, 0 of them new" in again
    command("sft", tmp_path / "data", "--out", tmp_path / "sft", "--recipe", chosen)
    command("evaluate", "--out", tmp_path / "base", "--recipe", chosen)
    told = command("evaluate", "--out", tmp_path / "new", "--recipe", chosen, "--weights", tmp_path / "sft" / "final", "--against",
                   tmp_path / "base", "--strategy", "refine", "--mode", "explain")  # fmt: skip
    assert "gate, explain-refine: not promoted, pass@1 is not better beyond noise" in told
    told = command("evaluate", "--out", tmp_path / "base", "--recipe", chosen, "--mode", "refine", "--strategy", "resample")
    assert "pass@1 after 1" in told
    assert sorted(path.name for path in (tmp_path / "base").glob("*.jsonl")) == ["explain-refine.jsonl", "refine-resample.jsonl"]
