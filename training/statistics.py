"""The figures of an evaluation: pass@k, refinement rates, intervals by bootstrap, and the gate that a new adapter has to pass. Pure.

pass@k is the unbiased estimate of Chen et al. (arXiv 2107.03374, section 2.1); the refinement rates are those of LEDEX, section 4.1, which
does not say how it aggregates them, so both ways are here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
RESAMPLES = 10_000
CONFIDENCE = 0.95


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of ``k`` is right, of ``samples`` drawn of which ``right`` were. Raises ValueError for k above ``samples``."""
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {right} right ones in {samples} samples is not defined")
    if samples - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / n for n in range(samples - right + 1, samples + 1))


@dataclass(frozen=True)
class Refinements:
    """One problem: ``wrong`` first solutions that were handed back, ``repaired`` of them turned right."""

    wrong: int
    repaired: int


@dataclass(frozen=True)
class Interval:
    """A figure with the interval around it."""

    value: float
    low: float
    high: float

    @property
    def above_noise(self) -> bool:
        """Whether it is positive beyond noise."""
        return self.low > 0.0

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def interval(scores: Scores, seed: int = 0) -> Interval:
    """The mean of (problems,) or (seeds, problems) scores and its percentile bootstrap interval: problems are drawn again, and seeds too
    where there are several. NaN for no scores at all."""
    table = np.atleast_2d(np.asarray(scores, np.float64))
    if table.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    seeds, problems = table.shape
    # How often each seed and each problem is drawn, instead of which: (resamples, seeds) and (resamples, problems).
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    columns = rng.multinomial(problems, np.full(problems, 1 / problems), RESAMPLES)
    means = ((rows @ table) * columns).sum(axis=1) / (seeds * problems)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(table.mean()), float(low), float(high))


def ratio(parts: Scores, wholes: Scores, seed: int = 0) -> Interval:
    """Sum of ``parts`` by sum of ``wholes``, (problems,) or (seeds, problems) counts each, with its bootstrap interval; NaN of nothing."""
    drawn = drawn_ratios(parts, wholes, seed)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if drawn.size else (math.nan, math.nan)
    whole = float(np.sum(wholes))
    return Interval(float(np.sum(parts)) / whole if whole else math.nan, float(low), float(high))


def ratio_difference(before: tuple[Scores, Scores], after: tuple[Scores, Scores], seed: int = 0) -> Interval:
    """How much larger the ratio of ``after`` is (parts and wholes each): both of the same drawn seeds and problems."""
    drawn = drawn_ratios(*after, seed) - drawn_ratios(*before, seed)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if drawn.size else (math.nan, math.nan)
    return Interval(ratio(*after).value - ratio(*before).value, float(low), float(high))


def drawn_ratios(parts: Scores, wholes: Scores, seed: int) -> Scores:
    """(resamples,): the ratio of seeds and problems drawn again; the same draws for the same seed and shape."""
    parts, wholes = np.atleast_2d(np.asarray(parts, np.float64)), np.atleast_2d(np.asarray(wholes, np.float64))
    if wholes.size == 0:
        return np.zeros(0)
    rng = np.random.default_rng(seed)
    seeds, problems = wholes.shape
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
    columns = rng.multinomial(problems, np.full(problems, 1 / problems), RESAMPLES)
    drawn: Scores = ((rows @ parts) * columns).sum(axis=1) / np.maximum(((rows @ wholes) * columns).sum(axis=1), 1)
    return drawn


def pooled_rate(problems: Sequence[Refinements]) -> Interval:
    """The success refinement rate over all wrong solutions together; NaN where there are none."""
    return ratio(np.array([p.repaired for p in problems], np.float64), np.array([p.wrong for p in problems], np.float64))


def mean_rate(problems: Sequence[Refinements]) -> Interval:
    """The mean of the problems' own rates, those without a wrong solution left out; NaN where none is left."""
    return interval(np.array([p.repaired / p.wrong for p in problems if p.wrong], np.float64))


def paired_difference(before: Scores, after: Scores, seed: int = 0) -> Interval:
    """How much better ``after`` is, problem by problem (and seed by seed): shape (problems,) or (seeds, problems), the same for both.

    Raises ValueError for shapes that differ: a difference of different problems is none.
    """
    if np.shape(before) != np.shape(after):
        raise ValueError(f"scores of {np.shape(before)} and {np.shape(after)} are not of the same problems")
    return interval(np.asarray(after, np.float64) - np.asarray(before, np.float64), seed)


@dataclass(frozen=True)
class Gate:
    """What a candidate must show to be promoted. ``tolerance``: a guarded figure's interval may lie wholly below the old one by no more.
    ``least``: problems that both were measured on; of a handful every bootstrap is sure."""

    metric: str = "pass@1"
    guarded: tuple[str, ...] = ("not_regressed", "not_overfit", "explanation")
    tolerance: float = 0.0
    least: int = 20


@dataclass(frozen=True)
class Promotion:
    """Whether, and in one sentence why."""

    promoted: bool
    reason: str
    differences: Mapping[str, Interval]


def judge(old: Mapping[str, Scores], new: Mapping[str, Scores], gate: Gate = Gate()) -> Promotion:
    """Promote only what is better beyond noise in the metric and not worse beyond noise in any guarded one. Higher is better in all.

    A guarded figure that was not measured on both sides stops the promotion too: nothing is guarded by not looking.
    """
    missing = [name for name in (gate.metric, *gate.guarded) if name not in old or name not in new]
    if missing:
        return Promotion(False, f"not measured on both sides: {', '.join(missing)}", {})
    found = {name: paired_difference(old[name], new[name]) for name in (gate.metric, *gate.guarded)}
    worse = [name for name in gate.guarded if found[name].high < -gate.tolerance]
    if worse:
        return Promotion(False, f"worse in {', '.join(f'{name} ({found[name]})' for name in worse)}", found)
    if not found[gate.metric].above_noise:
        return Promotion(False, f"{gate.metric} is not better beyond noise ({found[gate.metric]})", found)
    problems = int(np.shape(new[gate.metric])[-1])
    if problems < gate.least:
        return Promotion(False, f"{problems} problems are too few to promote on: evaluate on {gate.least} or more", found)
    return Promotion(True, f"{gate.metric} is better by {found[gate.metric]} points", found)
