"""pass@k by counting, rates by hand, intervals that cover what they should, and a gate that lets nothing slip."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.statistics import Gate, Refinements, interval, judge, mean_rate, paired_difference, pass_at_k, pooled_rate


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(samples: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    draws = list(itertools.combinations(range(samples), k))
    assert pass_at_k(samples, right, k) == pytest.approx(sum(min(d) < right for d in draws) / len(draws))


@pytest.mark.parametrize(("samples", "right", "k"), [(5, 6, 1), (5, -1, 1), (5, 1, 6), (5, 1, 0)])
def test_pass_at_k_of_nonsense_is_refused(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(samples, right, k)


def test_the_two_refinement_rates() -> None:
    problems = [Refinements(10, 1), Refinements(2, 2), Refinements(0, 0)]
    assert pooled_rate(problems).value == pytest.approx(3 / 12)
    assert mean_rate(problems).value == pytest.approx((0.1 + 1.0) / 2)
    assert math.isnan(pooled_rate([]).value)
    assert math.isnan(mean_rate([Refinements(0, 0)]).value)


def test_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(40):
        found = interval(rng.binomial(1, 0.3, 200).astype(float), seed=trial)
        covered += found.low <= 0.3 <= found.high
        assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.21 / 200), rel=0.35)
    assert covered >= 34  # 38 of 40 are expected; fewer than 34 happens once in 300 tries


def test_pairs_show_what_means_alone_hide() -> None:
    rng = np.random.default_rng(1)
    easy = rng.random((3, 200))  # how easy a problem is moves the scores far more than the training does
    before, after = easy, np.clip(easy + 0.02, 0, None)
    assert paired_difference(before, after).above_noise
    assert not interval(after).low > interval(before).high
    with pytest.raises(ValueError, match="not of the same problems"):
        paired_difference(before, after[:, :10])


def test_the_gate() -> None:
    rng = np.random.default_rng(0)
    base = rng.binomial(1, 0.4, (3, 300)).astype(float)
    better = np.maximum(base, rng.binomial(1, 0.3, base.shape))
    same = np.ones_like(base)
    guarded = {"not_regressed": same, "not_overfit": same, "explanation": same}
    old = {"pass@1": base, **guarded}
    assert judge(old, {"pass@1": better, **guarded}).promoted
    assert "not better beyond noise" in judge(old, {"pass@1": base, **guarded}).reason
    worse = judge(old, {"pass@1": better, **guarded, "not_overfit": same * 0.8})
    assert (worse.promoted, worse.reason.startswith("worse in not_overfit")) == (False, True)
    blind = judge(old, {"pass@1": better})
    assert (blind.promoted, "not measured on both sides" in blind.reason) == (False, True)
    assert judge({"pass@1": base}, {"pass@1": better}, Gate(guarded=())).promoted
    few = judge({"pass@1": np.zeros(10)}, {"pass@1": np.ones(10)}, Gate(guarded=()))
    assert (few.promoted, "too few to promote on" in few.reason) == (False, True)
    assert judge({"pass@1": np.zeros(10)}, {"pass@1": np.ones(10)}, Gate(guarded=(), least=10)).promoted
    # A guarded figure may be worse by the tolerance, and no more.
    worse_by = {**guarded, "explanation": same * 0.9}
    assert judge(old, {"pass@1": better, **worse_by}, Gate(tolerance=0.11)).promoted
    assert not judge(old, {"pass@1": better, **worse_by}, Gate(tolerance=0.09)).promoted
