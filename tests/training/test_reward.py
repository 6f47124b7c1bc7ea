"""The two rewards by hand, what the paper leaves open, and that the gated reward cannot be gamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.trajectory import Feedback
from training.codebleu import Weights, codebleu, ngram_match
from training.encoder import LexicalEncoder, TransformerEncoder, Vectors
from training.reward import (
    Attempt,
    PaperOptions,
    Verified,
    explanation_reward,
    gated_reward,
    is_right,
    likeness,
    paper_reward,
    refinement_reward,
)

FIXED = "def f(a, b):\n    return a + b\n"
WRONG = "def f(a, b):\n    return a - b\n"
VERIFIED = Verified((FIXED,), ("the operator should add",))


class PlaneEncoder:
    """Two dimensions: how often a text says "good", and how often it says anything else."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = np.array([[t.split().count("good"), sum(w != "good" for w in t.split())] for t in texts], np.float32)
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return unit


def attempt(code: str = FIXED, passed: int = 4, total: int = 4, **more: object) -> Attempt:
    return replace(Attempt(code, "the operator should add", passed, total), **more)  # type: ignore[arg-type]


def test_the_papers_scales() -> None:
    # Section 2.3: R(r) = 5 (S_cb + S_ut) - 5 and R(e) = (50 S_ex - 35) / 3.
    assert refinement_reward(0.4, 1.0) == pytest.approx(2.0)
    assert refinement_reward(0.9, 0.67) == pytest.approx(2.85)
    assert (refinement_reward(0, 0), refinement_reward(1, 1)) == (-5.0, 5.0)
    assert [explanation_reward(s) for s in (0.4, 0.7, 1.0)] == pytest.approx([-5.0, 0.0, 5.0])
    assert explanation_reward(0.0) == pytest.approx(-35 / 3)


def test_the_mean_over_the_references_by_hand() -> None:
    encoder = PlaneEncoder()
    # cos with "good" is 0.6 for (3, 4), with "bad" 0.8: the mean is 0.7, which is worth nothing.
    text = "good good good bad bad bad bad"
    assert likeness(text, ["good", "bad"], encoder) == pytest.approx(0.7)
    reward = paper_reward(attempt(explanation=text), Verified((FIXED,), ("good", "bad")), encoder)
    assert reward is not None
    assert reward.explanation == pytest.approx(0.0, abs=1e-5)
    assert reward.refinement == pytest.approx(5.0)  # S_cb 1 with itself, all tests


def test_the_refinement_is_compared_with_every_verified_one() -> None:
    # S_cb is the mean: of two references one is the code itself (1) and one is not.
    other = "def f(*numbers):\n    return sum(numbers)\n"
    alike = codebleu(FIXED, other)
    assert 0.1 < alike < 0.9
    reward = paper_reward(attempt(passed=2), Verified((FIXED, other), ()), LexicalEncoder())
    assert reward is not None
    assert reward.refinement == pytest.approx(5 * ((1 + alike) / 2 + 2 / 4) - 5)
    assert reward.explanation is None  # nobody has explained this wrong code


def test_the_papers_unit_tests_are_those_that_were_shown() -> None:
    reward = paper_reward(attempt(passed=3, hidden_passed=0, hidden_total=50), VERIFIED, LexicalEncoder())
    assert reward is not None
    assert reward.scores["unit_tests"] == 0.75


def test_what_the_paper_leaves_open_is_an_option() -> None:
    encoder = LexicalEncoder()
    alone = paper_reward(attempt(), VERIFIED, encoder, PaperOptions(self_match="exclude"))
    assert alone is None  # it is the only verified fix: nothing to compare it with
    tests_only = paper_reward(attempt(passed=3), Verified(), encoder, PaperOptions(no_reference="tests"))
    assert tests_only is not None
    assert tests_only.refinement == pytest.approx(10 * 0.75 - 5)
    assert tests_only.explanation is None
    assert paper_reward(attempt(), Verified(), encoder) is None
    words = paper_reward(attempt(WRONG), VERIFIED, encoder, PaperOptions(codebleu=Weights(1.0, 0.0, 0.0, 0.0)))
    assert words is not None
    assert words.scores["codebleu"] == pytest.approx(ngram_match(WRONG.split(), FIXED.split()))
    unlike = attempt(explanation="zzz")
    free, cut = (paper_reward(unlike, VERIFIED, encoder, PaperOptions(clip_explanation=c)) for c in (False, True))
    assert free is not None
    assert free.explanation == pytest.approx(-35 / 3)
    assert cut is not None
    assert cut.explanation == -5.0


def test_refining_without_an_explanation_earns_one_reward() -> None:
    for give in (paper_reward, gated_reward):
        reward = give(attempt(explanation=None), VERIFIED, LexicalEncoder())
        assert reward is not None
        assert reward.explanation is None


def test_the_papers_reward_can_pay_a_familiar_wrong_fix_more_and_the_gated_one_cannot() -> None:
    rare = "def f(*args):\n    total = 0\n    for one in args:\n        total += one\n    return total\n"
    right, wrong = attempt(rare), attempt(WRONG, passed=3)
    encoder = LexicalEncoder()
    by_paper = [paper_reward(a, VERIFIED, encoder) for a in (right, wrong)]
    assert by_paper[0] is not None
    assert by_paper[1] is not None
    assert by_paper[0].refinement < by_paper[1].refinement
    assert gated_reward(right, VERIFIED, encoder).refinement > gated_reward(wrong, VERIFIED, encoder).refinement


kinds = st.sampled_from(["applied", "edited", "rejected", "ignored", "reverted", "superseded", "stacked", "opted_out"])
reasons = st.sampled_from([None, "wrong", "incomplete", "unsafe", "style", "not-wanted"])
said = st.builds(Feedback, kinds, st.floats(0, 9), reasons, st.none(), st.none() | st.floats(0, 1))
attempts = st.builds(
    lambda code, told, visible, hidden, refused, feedback: Attempt(
        code, told, min(visible), max(visible), min(hidden), max(hidden), refused, tuple(feedback)),
    st.sampled_from(["", FIXED, WRONG, "x"]), st.none() | st.sampled_from(["", "good", "the operator should add"]),
    st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from([None, "scope", "overfit"]), st.lists(said, max_size=3))  # fmt: skip


@given(attempts, attempts)
def test_no_wrong_fix_is_paid_more_than_a_right_one(one: Attempt, other: Attempt) -> None:
    rewards = [gated_reward(a, VERIFIED, PlaneEncoder()) for a in (one, other)]
    assert all(-5.0 <= r.refinement <= 5.0 and (r.explanation is None or -5.0 <= r.explanation <= 5.0) for r in rewards)
    if is_right(one) and not is_right(other):
        assert rewards[0].refinement > rewards[1].refinement
        if rewards[0].explanation is not None and rewards[1].explanation is not None:
            assert rewards[0].explanation > rewards[1].explanation  # credit follows the fix that the explanation led to


def test_the_gated_reward_of_wrong_fixes_by_hand() -> None:
    paid = [gated_reward(a, VERIFIED, LexicalEncoder()).refinement for a in (
        attempt(code="", passed=0), attempt(WRONG, passed=0), attempt(WRONG, passed=2), attempt(passed=4, hidden_passed=2, hidden_total=4),
        attempt(WRONG, refused_by="scope"))]  # fmt: skip
    # -5 + 4 x 0; a readable one from -5 + 4 x 1/4 on: + 4 x 3/4 x 2/4, + 4 x 3/4 x 6/8; a refused one is as one that cannot be read.
    assert paid == pytest.approx([-5.0, -4.0, -2.5, -1.75, -5.0])


@pytest.mark.parametrize(("cheat", "why"), [
    (attempt(refused_by="scope"), "edits the tests"), (attempt(refused_by="refusal"), "exits early"),
    (attempt(refused_by="literal"), "special-cases a literal"), (attempt(hidden_passed=1, hidden_total=3), "knows the visible tests only"),
    (attempt(code="", passed=0), "cannot be read"), (attempt(total=0, passed=0), "no test ran"),
])  # fmt: skip
def test_cheating_earns_nothing(cheat: Attempt, why: str) -> None:
    reward = gated_reward(cheat, VERIFIED, LexicalEncoder())
    assert reward.refinement <= -1.0, why
    assert reward.explanation is not None
    assert reward.explanation <= -1.0, why


def test_what_people_do_enters_and_silence_does_not() -> None:
    encoder = LexicalEncoder()

    def paid(*feedback: Feedback) -> float:
        return gated_reward(attempt(feedback=feedback), VERIFIED, encoder).refinement

    assert paid() == paid(Feedback("ignored", 1.0))
    assert paid(Feedback("applied", 1.0)) == 5.0
    edited = [paid(Feedback("edited", 1.0, edit_distance=d)) for d in (-3.0, 0.1, 0.5, 1.0)]
    assert edited[0] == 5.0  # a file may hold any number
    assert edited == sorted(edited, reverse=True)
    assert edited[-1] >= 1.0
    rejected = {r: paid(Feedback("rejected", 1.0, r)) for r in ("wrong", "unsafe", "incomplete", "style")}
    assert rejected["wrong"] == rejected["unsafe"] < 0 < rejected["incomplete"] < rejected["style"]
    assert paid(Feedback("applied", 1.0), Feedback("reverted", 2.0)) < 0
    # Nobody can talk a fix right that fails its tests.
    assert gated_reward(attempt(passed=1, feedback=(Feedback("applied", 1.0),)), VERIFIED, encoder).refinement < 0


def test_the_lexical_encoder_tells_bugs_apart() -> None:
    encoder = LexicalEncoder()
    rows = encoder.encode(["the loop stops one item early", "the loop ends one item too early", "division by an empty list", ""])
    assert rows.shape == (4, 4096)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1, 0], abs=1e-5)
    assert rows[0] @ rows[1] > 2 * (rows[0] @ rows[2])


def test_the_papers_kind_of_encoder_pools_what_the_mask_shows(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    words = ["<pad>", "<unk>", "a", "loop", "ends", "early"]
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(tmp_path)
    config = RobertaConfig(vocab_size=6, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                           max_position_embeddings=24, pad_token_id=0)  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path)
    encoder = TransformerEncoder(tmp_path, most_tokens=8, batch=2)
    alone = encoder.encode(["a loop"])
    beside = encoder.encode(["a loop", "a loop ends early", "early"])  # padded by its neighbour, in two batches
    assert beside.shape == (3, 16)
    assert beside[0] == pytest.approx(alone[0], abs=1e-5)
    assert np.linalg.norm(beside, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.encode(["a " * 500]).shape == (1, 16)
