"""The estimate of how probably a patch is right: from coefficients, by origin, and never where nothing was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from inference.confidence import Coefficients, estimate, features, read_tables, shipped, verified_signals
from inference.proposer import Proposal
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict

TABLES = {"templates": Coefficients(1.0, {"odds": (0.0, 2.0, 1.5), "alternatives": (0.5, 1.0, -0.5)}, 0.05, 0.95, 100)}


def logistic(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def test_the_estimate_is_the_logistic_of_the_weighed_features() -> None:
    found = estimate("templates", {"share": 0.8, "alternatives": 2.0}, TABLES)
    assert found == pytest.approx(logistic(1.0 + 1.5 * math.log(4) / 2 - 0.5 * (math.log(3) - 0.5)))


def test_what_is_not_known_counts_like_the_mean() -> None:
    assert estimate("templates", {"other": 7.0}, TABLES) == pytest.approx(logistic(1.0))


@pytest.mark.parametrize(("signals", "edge"), [({"share": 1.0}, 0.95), ({"share": 0.0}, 0.05), ({"share": 1e-9}, 0.05)])
def test_an_estimate_never_leaves_what_the_data_can_tell(signals: dict[str, float], edge: float) -> None:
    assert estimate("templates", signals, TABLES) == edge


@pytest.mark.parametrize(("origin", "signals"), [("model", {"share": 0.9}), ("human", {"share": 0.9}), ("templates", {})])
def test_where_nothing_was_measured_there_is_no_estimate(origin: str, signals: dict[str, float]) -> None:
    assert estimate(origin, signals, TABLES) is None


def test_without_a_file_there_is_no_table(tmp_path: Path) -> None:
    assert read_tables(tmp_path / "none.json") == {}


def test_the_shipped_tables_know_the_templates_alone_and_are_usable() -> None:
    tables = shipped()
    assert set(tables) == {"templates"}
    assert tables["templates"].bugs >= 25
    sure = tables["templates"].probability(features({"share": 1.0, "alternatives": 0.0, "surprise": 0.0}))
    unsure = tables["templates"].probability(features({"share": 0.1, "alternatives": 20.0, "surprise": 3.0}))
    assert 0 < unsure < 0.5 < sure < 1


def reproduction(**more: Any) -> Reproduction:
    return Reproduction("failing", "", (), ("a", "b"), **more)


def test_what_verification_saw_becomes_numbers() -> None:
    checks = (Check("applies", 0, "passed", ""), Check("overfit", 4, "passed", ""), Check("mutation", 4, "no_opinion", ""))
    verdict = Verdict(3, None, checks, 3, Counts(3, 2, 5), Counts(5, 0, 5), 1.0)
    found = verified_signals(Proposal(b"--- a/f\n+++ b/f\n-x\n+y\n+z\n", "", "templates", 0.0, verdict=verdict, alternatives=4),
                             reproduction(passing=("c",)))  # fmt: skip
    assert found == {"alternatives": 4, "lines": 3, "failing": 2, "passing": 1, "level": 3, "mutation": 0, "overfit": 1}
