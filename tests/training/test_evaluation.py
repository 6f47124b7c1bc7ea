"""Evaluation through the real sandbox with a scripted model, and its figures by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from inference.model import Answer, ModelUnavailable, Options
from inference.prompt import Mode, in_mode
from inference.proposer import Strategy
from inference.trajectory import Message
from sandbox.runner import Runner
from tests.training.scripted import Scripted, answer
from training import DataError
from training.benchmark.mbpp import Bug
from training.encoder import LexicalEncoder
from training.evaluation import Chain, Evaluation, EvaluationOptions, Solved, common, evaluate, load_evaluation
from training.problems import from_bug
from training.sampling import name_of
from training.statistics import judge, mean_rate, pooled_rate

OPTIONS = EvaluationOptions(samples=2, rounds=1)
RIGHT, WRONG = answer("    return a + b\n"), answer("    return a * b\n")
SPECIAL = answer("    return {(1, 2): 3, (2, 5): 7}.get((a, b))\n")


def chain(*right: bool, regressed: bool = False, overfit: bool = False, explanation: float | None = 0.5) -> Chain:
    return Chain(right, regressed, overfit, explanation)


def test_the_figures_by_hand() -> None:
    both = Evaluation(OPTIONS, (
        Solved("a", "token", (chain(True), chain(False, True))),
        Solved("b", "token", (chain(False, False, overfit=True), chain(False, False, regressed=True))),
        Solved("c", "guard", (chain(False, True), chain(False, False, explanation=None)))))  # fmt: skip
    assert both.pass_at(1, 0).tolist() == [0.5, 0.0, 0.0]
    assert both.pass_at(1, 1).tolist() == [1.0, 0.0, 0.5]
    assert both.pass_at(2, 1).tolist() == [1.0, 0.0, 1.0]
    # Wrong at first: 1 of a (repaired 1), 2 of b (0), 2 of c (1).
    assert pooled_rate(both.refinements(1)).value == pytest.approx(2 / 5)
    assert mean_rate(both.refinements(1)).value == pytest.approx((1 + 0 + 0.5) / 3)
    scores = both.scores()
    assert scores["not_regressed"].tolist() == [1.0, 0.5, 1.0]
    assert scores["not_overfit"].tolist() == [1.0, 0.5, 1.0]
    assert scores["explanation"].tolist() == [0.5, 0.5, 0.5]
    assert both.summary()["problems"] == 3


def test_pairs_are_of_the_same_bugs_and_the_gate_reads_them() -> None:
    old = Evaluation(OPTIONS, tuple(Solved(str(n), "token", (chain(False, False),)) for n in range(30)))
    new = Evaluation(OPTIONS, tuple(Solved(str(n), "token", (chain(n % 2 == 0, True),)) for n in range(29, 9, -1)))
    first, second = common(old, new)
    assert [p.id for p in first.problems] == [p.id for p in second.problems] == [str(n) for n in range(10, 30)]
    assert judge(first.scores(), second.scores()).promoted
    assert not judge(second.scores(), first.scores()).promoted


def test_chains_refine_on_feedback_are_judged_by_hidden_tests_and_resumed(runner: Runner, planted_bug: Bug, tmp_path: Path) -> None:
    planted, out = from_bug(runner, planted_bug), tmp_path / "evaluation.jsonl"
    found = evaluate([planted], Scripted(WRONG, RIGHT, SPECIAL, SPECIAL), runner, LexicalEncoder(), OPTIONS, out)
    first, second = found.problems[0].chains
    assert first.right == (False, True)
    assert not any(second.right)
    assert second.overfit
    assert first.explanation is not None
    with out.open("a") as file:
        file.write('{"id": "cut')
    silent = Scripted()
    assert evaluate([planted], silent, runner, LexicalEncoder(), OPTIONS, out) == found == load_evaluation(out)
    with pytest.raises(DataError, match="other options"):
        evaluate([planted], silent, runner, LexicalEncoder(), replace(OPTIONS, samples=3), out)


class Listening(Scripted):
    """Keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.heard: list[Sequence[Message]] = []

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        self.heard.append(messages)
        return super().sample(messages, options, deadline, adapter)


@pytest.mark.parametrize(("strategy", "mode"), [("refine", "explain"), ("resample", "refine")])
def test_resampling_spends_as_many_answers_and_hears_of_no_verdict(
    strategy: Strategy, mode: Mode, runner: Runner, planted_bug: Bug
) -> None:
    listening = Listening(WRONG, answer("    return b * a\n"))
    options = replace(OPTIONS, samples=1, strategy=strategy, mode=mode)
    [solved] = evaluate([from_bug(runner, planted_bug)], listening, runner, LexicalEncoder(), options).problems
    first, second = listening.heard
    assert len(solved.chains[0].right) == 2
    assert (first == second) is (strategy == "resample")
    assert tuple(first) == in_mode(first, mode)
    assert tuple(first) != in_mode(first, "explain" if mode == "refine" else "refine")


class Leaves(Scripted):
    """Answers so often, and is away from then on."""

    def __init__(self, answers: int, *texts: str) -> None:
        super().__init__(*texts)
        self.answers = answers

    def sample(self, *arguments: Any, **options: Any) -> Answer:
        if self.asked >= self.answers:
            raise ModelUnavailable("gone home")
        return super().sample(*arguments, **options)


def test_an_outage_is_no_wrong_answer(runner: Runner, planted_bug: Bug, tmp_path: Path) -> None:
    planted, out, once = from_bug(runner, planted_bug), tmp_path / "evaluation.jsonl", replace(OPTIONS, samples=1)
    with pytest.raises(ModelUnavailable, match="gone home"):  # after the first answer, which was wrong
        evaluate([planted], Leaves(1, WRONG), runner, LexicalEncoder(), once, out, model="tiny")
    assert load_evaluation(out).problems == ()
    [solved] = evaluate([planted], Scripted(WRONG, RIGHT), runner, LexicalEncoder(), once, out, model="tiny").problems
    assert solved.chains[0].right == (False, True)


def test_answers_of_other_weights_are_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    weights = tmp_path / "one" / "adapter_model.safetensors"
    weights.write_bytes(b"first")
    first = name_of("tiny", tmp_path / "one")
    (tmp_path / "one" / "value_head.safetensors").write_bytes(b"of nobody's answers")
    assert name_of("tiny", tmp_path / "one") == first
    weights.write_bytes(b"second")
    second = name_of("tiny", tmp_path / "one")
    assert len({first, second, name_of("tiny", None), name_of("other", tmp_path / "one")}) == 4
    file = tmp_path / "evaluation.jsonl"
    file.write_text(json.dumps({"options": asdict(OPTIONS), "model": first}) + "\n")
    assert load_evaluation(file, OPTIONS, first).model == first
    with pytest.raises(DataError, match="of other weights"):
        load_evaluation(file, OPTIONS, second)
    file.write_text(json.dumps({"options": asdict(OPTIONS)}) + "\n")
    with pytest.raises(DataError, match="does not say which"):
        load_evaluation(file, OPTIONS, second)


def test_a_file_that_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("[]\n")
    with pytest.raises(DataError, match="no evaluation"):
        load_evaluation(tmp_path / "other.jsonl")
