"""The table: its figures by hand, what is verified, and the whole way with a model of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sandbox.runner import Runner
from training import DataError
from training.benchmark.judging import Oracle
from training.benchmark.mbpp import Bug, Task
from training.benchmark.mutation import Mutant
from training.corpus import CorpusOptions
from training.corpus_dialogue import Planted, answer
from training.encoder import LexicalEncoder
from training.ppo import PpoOptions
from training.pretrain import FitOptions, ModelOptions
from training.pretrain_data import train_tokenizer
from training.pretrain_recipe import MeasuredOptions, RewardedOptions, SampleOptions, SmallRecipe
from training.result_measured import measured_bugs
from training.result_run import run_table
from training.result_stages import Answered, reward_statistics, rewarded
from training.result_table import Column, column, figures, markdown, rate, rate_difference
from training.result_verify import judged, key_of, repairs, verify_repairs
from training.reward import Reward
from training.rewarded import Rollout, centred, mixed

WRONG = "def add(a, b):\n    return a - b\n"
RIGHT = "def add(a, b):\n    return a + b\n"
ASSERTS = ("assert add(1, 2) == 3", "assert add(2, 5) == 7")
BUG = Planted("b", "g", "token", "arithmetic operator", WRONG, RIGHT, ASSERTS, ("assert -1 == 3\n +  where -1 = add(1, 2)", "x"),
              ("assert add(0, 4) == 4",))  # fmt: skip


def _answer(quick: bool, text: str = "t") -> dict[str, Any]:
    return {"quick": quick, "text": text if quick else None, "read": True, "explanation": 0.5}


def _measured(*chains: list[bool]) -> list[dict[str, Any]]:
    return [{"id": f"b{n}", "kind": "token", "chains": [[_answer(one) for one in chain]]} for n, chain in enumerate(chains)]


def _column(*seeds: list[dict[str, Any]]) -> Column:
    return column([[[[one["quick"] for one in chain] for chain in row["chains"]] for row in rows] for rows in seeds], seeds)


def test_pass_and_refinement_rates_by_hand() -> None:
    # Of four bugs one is right at once; of the three others one is repaired by its second answer.
    told = _column(_measured([True], [False, True], [False, False], [False]))
    assert told.first.tolist() == [[1, 0, 0, 0]]
    assert told.after.tolist() == [[1, 1, 0, 0]]
    assert rate(told).value == pytest.approx(1 / 3)
    assert figures({"sft": told})["sft"]["pass@1"]["value"] == 0.25


def test_a_difference_is_paired_and_one_within_noise_has_no_mark() -> None:
    before = _column(*[_measured(*[[n % 2 == 0, False] for n in range(40)])] * 3)
    better = _column(*[_measured(*[[n % 2 == 0 or n < 20, n < 30] for n in range(40)])] * 3)
    told = figures({"sft": before, "ppo-paper": better})["sft -> ppo-paper"]
    assert told["pass@1"]["value"] == 0.25
    assert told["pass@1"]["low"] > 0
    same = rate_difference(before, before)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    text = markdown(figures({"sft": before, "ppo-paper": better, "ppo-gated": before}), ["about"])
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "->" in line}
    assert lines["sft -> ppo-paper"].count("*") >= 2
    assert "+25.0" in lines["sft -> ppo-paper"]
    assert "*" not in lines["sft -> ppo-gated"]


def test_no_wrong_answer_is_a_rate_of_nan_not_a_crash() -> None:
    assert np.isnan(rate(_column(_measured([True], [True]))).value)


def test_what_the_verification_refuses_is_wrong() -> None:
    rows = _measured([True], [False, True], [True])
    wanted = repairs(rows)
    assert {name: list(texts.values()) for name, texts in wanted.items()} == {"b0": ["t"], "b1": ["t"], "b2": ["t"]}
    verdicts = {key_of("b0", "t"): {"accepted": True}, key_of("b1", "t"): {"accepted": False}}
    assert judged(rows, verdicts) == [[[True]], [[False, False]], [[True]]]


def test_verification_is_productions_and_is_kept(runner: Runner, tmp_path: Path) -> None:
    oracle = Oracle("assert add(0, 4) == 4", ("add(3, 9)",), (["value", 12],))
    bug = Bug("b", Task(9001, RIGHT, (*ASSERTS, oracle.hidden)), Mutant("token", "arithmetic operator", 2, WRONG), oracle)
    wanted = {"b": {key_of("b", text): text for text in (RIGHT, WRONG.replace("a - b", "a * b"))}}
    file = tmp_path / "verdicts.jsonl"
    found = verify_repairs({"b": bug}, wanted, runner, file)
    assert [found[key]["accepted"] for key in wanted["b"]] == [True, False]
    file.write_text(file.read_text() + '{"key": "cut')
    assert verify_repairs({}, wanted, runner, file) == found


def test_rewards_pay_a_right_answer_more_and_a_gated_one_never_less(tmp_path: Path) -> None:
    right = answer(WRONG, RIGHT, BUG.messages) or ""
    wrong = right.replace("=======\n +", "=======\n *")
    tokenizer = train_tokenizer([right, WRONG], 400, tmp_path)

    def one(completion: str, text: str | None, passed: int, hidden: int) -> Answered:
        ids = tuple(tokenizer.encode(completion, add_special_tokens=False))
        said = completion.split("\n\n")[0] if text is not None else ""
        return Answered("b", completion, (1, 2), ids, (-1.0,) * len(ids), said, len(said) or None, text, passed, hidden)

    answers = [one(right, RIGHT, 2, 1), one(wrong, RIGHT.replace("+", "*"), 1, 0), one("nonsense", None, 0, 0)]
    for name in ("paper", "gated"):
        paid = rewarded(answers, {"b": BUG}, tokenizer, name, LexicalEncoder())
        assert [r.right for r in paid] == [True, False, False]
        assert paid[0].reward.refinement > paid[1].reward.refinement > paid[2].reward.refinement
        assert tokenizer.decode(paid[0].completion_ids[: (paid[0].explanation_end or 0) + 1]).startswith(answers[0].explanation)
        if name == "gated":
            assert paid[0].reward.refinement > 0 > paid[1].reward.refinement
        assert reward_statistics(paid)["right"] == pytest.approx(1 / 3)


def test_a_centred_reward_is_less_the_mean_of_the_others_and_groups_of_one_kind_say_nothing() -> None:
    def one(group: str, refinement: float, explanation: float | None, right: bool) -> Rollout:
        return Rollout((1,), (2, 3), 0, Reward(refinement, explanation, {}), group, right)

    rollouts = [one("a", 5, 3, True), one("a", -4, -2, False), one("a", -1, None, False), one("b", -4, -4, False), one("b", -2, -4, False),
                one("c", 5, 5, True)]  # fmt: skip
    paid = [(r.group, r.reward.refinement, r.reward.explanation) for r in centred(rollouts)]
    assert paid[:3] == [("a", 5 - (-4 - 1) / 2, 3 + 2), ("a", -4 - (5 - 1) / 2, -2 - 3), ("a", -1 - (5 - 4) / 2, None)]
    assert paid[3:] == [("b", -2, 0), ("b", 2, 0)]
    assert {r.group for r in mixed(rollouts)} == {"a"}


def test_bugs_to_measure_on_are_none_that_anything_was_learned_from(runner: Runner, tmp_path: Path) -> None:
    for ids, seed, part in (("590-610", 1000, "learned from"), ("11-20", 1, "from 1000 on"), ("x", 1000, "FROM-TO")):
        with pytest.raises(DataError, match=part):
            measured_bugs(SmallRecipe(measured=MeasuredOptions(ids=ids, seed=seed)), runner, tmp_path / "measured.jsonl", print)


def test_the_whole_table_from_one_call_and_a_second_call_only_reads(runner: Runner, tmp_path: Path) -> None:
    fit = FitOptions(passes=1.0, batch_tokens=1024, longest=256, held_out=2, every=100, warmup=1)
    recipe = SmallRecipe(
        seeds=(1,), corpus=CorpusOptions(programs=24, rewarded_programs=8, library=5, mbpp_each=1, rewarded_from=970, longest=100),
        model=ModelOptions(vocabulary=400, hidden=16, layers=1, heads=2, feed_forward=24, copying=False), pretrain=fit, sft=fit,
        sample=SampleOptions(completion_tokens=4), rewarded=RewardedOptions(bugs=4, samples=2, rounds=2, centred=True, mixed=True),
        ppo=PpoOptions(steps=2, batch=4, epochs=1, learning_rate=1e-3), measured=MeasuredOptions("511-530", bugs=3, samples=2, seed=1),
    )  # fmt: skip
    said: list[str] = []
    table = run_table(recipe, runner, tmp_path, said.append)
    text = table.read_text()
    assert all(title in text for title in ("base (pretrained)", "| SFT |", "PPO, paper reward", "PPO, gated reward"))
    assert "sft -> ppo-gated" in text
    told = json.loads((tmp_path / "table.json").read_text())
    assert told["bugs"] == 3
    assert told["base"]["pass@1"]["value"] == 0
    assert (tmp_path / "table.png").exists()
    rewards = json.loads((tmp_path / "seed-1" / "ppo-gated" / "rewards.json").read_text())
    assert {"round 0: right", "round 1: right"} <= rewards.keys()
    models = [tmp_path / "seed-1" / name / "model.safetensors" for name in ("sft/model", "ppo-gated/sampled", "ppo-gated/policy")]
    assert len({file.read_bytes() for file in models}) == 3  # the second round was sampled from the policy of its step
    assert (tmp_path / "seed-1" / "ppo-gated" / "answers-1.jsonl").exists()
    assert len((tmp_path / "seed-1" / "measured-sft.jsonl").read_text().splitlines()) == 3
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    assert run_table(recipe, runner, tmp_path, said.append).read_text() == text
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
