"""How probably a verified patch is right: an estimate in [0, 1], fitted on bugs whose true fix is known.

Passing the tests is not being right. What is known of a patch as numbers (its *signals*) goes through a logistic regression whose
coefficients stand in ``confidence.json``, one table for each origin that there were data of; ``python -m training.benchmark.calibration``
writes it and prints how far the estimates can be believed. An origin without a table has no score, which is not the same as a low one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from inference.choice import changed_lines
from inference.proposer import Proposal
from sandbox.reproduction import Reproduction

DATA = Path(__file__).with_name("confidence.json")
_WIDEST = 6.0
"""Logarithms of odds are cut off here."""
_MOST = 7.0
"""A count above this says no more: as many other behaviours are judged where the table is fitted."""


@dataclass(frozen=True)
class Coefficients:
    """Of one origin: ``weights`` are name -> (mean, scale, weight) of a feature; an estimate never leaves ``lowest`` to ``highest``, beyond
    which there were too few bugs to tell. ``bugs``: how many it was fitted on."""

    intercept: float
    weights: Mapping[str, tuple[float, float, float]]
    lowest: float = 0.02
    highest: float = 0.98
    bugs: int = 0

    def probability(self, known: Mapping[str, float]) -> float:
        """Of a patch with these ``features``; what is not known of it counts like the mean."""
        odds = self.intercept + sum(w * (known.get(name, mean) - mean) / scale for name, (mean, scale, w) in self.weights.items())
        return min(max(1.0 / (1.0 + math.exp(-max(min(odds, 30.0), -30.0))), self.lowest), self.highest)


Tables = Mapping[str, Coefficients]
"""Origin -> its coefficients."""


def estimate(origin: str, signals: Mapping[str, float], tables: Tables | None = None) -> float | None:
    """The probability that a patch of ``origin`` is right; None where nothing was measured of such patches, or nothing is known of it."""
    found = (shipped() if tables is None else tables).get(origin)
    return found.probability(features(signals)) if found is not None and signals else None


def features(signals: Mapping[str, float]) -> dict[str, float]:
    """The signals as the regression reads them: counts by their logarithm, the share of all likelihood by that of its odds."""
    found = dict(signals)
    if "share" in signals:
        share = signals["share"]
        odds = math.log(share / (1.0 - share)) if 0.0 < share < 1.0 else math.copysign(_WIDEST, share - 0.5)
        found["odds"] = max(min(odds, _WIDEST), -_WIDEST)
    for name in ("alternatives", "failing", "passing", "members"):
        if name in signals:
            found[name] = math.log1p(min(max(signals[name], 0.0), _MOST))
    return found


@lru_cache(maxsize=1)
def shipped() -> Tables:
    """The tables that come with the package."""
    return read_tables(DATA)


def read_tables(path: Path) -> Tables:
    """The tables of a file; none where it does not exist."""
    if not path.exists():
        return {}
    return {
        origin: Coefficients(
            row["intercept"], {name: (w[0], w[1], w[2]) for name, w in row["weights"].items()}, row["lowest"], row["highest"], row["bugs"])
        for origin, row in json.loads(path.read_text(encoding="utf-8")).items()
    }  # fmt: skip


def verified_signals(proposal: Proposal, reproduction: Reproduction) -> Mapping[str, float]:
    """What a proposal with its verdict adds to what the search knew: other behaviours, the size of the change, the tests, the rung."""
    verdict = proposal.verdict
    opinions = {check.name: float(check.status == "passed") for check in verdict.checks if check.level == 4} if verdict is not None else {}
    return {
        "alternatives": float(proposal.alternatives), "lines": float(changed_lines(proposal.patch)),
        "failing": float(len(reproduction.failing)), "passing": float(len(reproduction.passing)),
        "level": float(verdict.level) if verdict is not None else -1.0, "mutation": opinions.get("mutation", 0.0),
        "overfit": opinions.get("overfit", 0.0),
    }  # fmt: skip
