"""Fitting the probability that a patch is right, worked by hand where it can be, and the ranking's figures."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from inference.confidence import Coefficients, read_tables
from training.benchmark import calibration, ranking
from training.benchmark.calibration import Row, brier, constant, cross_validated, fit, ranks_above, reliability, rows_of
from training.benchmark.run import Result


def result(number: int, right: bool | None = True, ranked: Any = (), **signals: Any) -> Result:
    return Result(f"mbpp/{number}/token/0", "mbpp", "token", fixed=right is not None, first_right=right, ranked=ranked, level="V4",
                  signals={"origin": "templates", "level": "V4", **signals}, timings={"chosen": 2.0})  # fmt: skip


def rows(count: int = 300, slope: float = 2.0, seed: int = 1) -> list[Row]:
    """Patches of which the one with the larger ``x`` is likelier right."""
    rng = random.Random(seed)
    made = []
    for n in range(count):
        x = rng.gauss(0, 1)
        made.append(Row(f"mbpp/{601 + n}/token/0", {"x": x, "noise": rng.gauss(0, 1)}, rng.random() < 1 / (1 + math.exp(-1 - slope * x))))
    return made


def test_a_constant_says_the_share_of_right_ones() -> None:
    made = [Row(f"mbpp/{601 + n}/token/0", {}, n < 3) for n in range(4)]
    assert constant(made).probability({}) == pytest.approx(0.75)


def test_the_estimates_stay_away_from_certainty_by_what_the_rows_can_tell() -> None:
    assert constant([Row(f"mbpp/{601 + n}/token/0", {}, True) for n in range(8)] * 2).probability({}) == pytest.approx(0.9)


def test_the_regression_finds_what_the_data_were_made_with() -> None:
    found = fit(rows(3000), ("x", "noise"), ridge=0.0)
    (mean, scale, weight), (_, _, noise) = found.weights["x"], found.weights["noise"]
    assert weight / scale == pytest.approx(2.0, abs=0.25)
    assert found.intercept - weight * mean / scale == pytest.approx(1.0, abs=0.25)
    assert abs(noise) < 0.15


def test_at_the_optimum_the_mean_estimate_is_the_share_of_right_ones() -> None:
    made = rows(200)
    found = fit(made, ("x", "noise"))
    assert sum(found.probability(r.features) for r in made) / 200 == pytest.approx(sum(r.right for r in made) / 200, abs=0.01)


def test_cases_that_are_told_apart_exactly_have_finite_weights() -> None:
    made = [Row(f"mbpp/{601 + n}/token/0", {"x": float(n)}, n >= 10) for n in range(20)]
    assert abs(fit(made, ("x",)).weights["x"][2]) < 20


def test_a_feature_that_says_something_beats_the_constant_and_noise_does_not() -> None:
    made = rows(200)
    base = brier(cross_validated(made, constant), made)
    assert brier(cross_validated(made, lambda some: fit(some, ("x",))), made) < base - 0.02
    assert brier(cross_validated(made, lambda some: fit(some, ("noise",))), made) > base - 0.003


def test_no_row_is_estimated_by_rows_of_its_own_task() -> None:
    made = [Row(f"mbpp/{601 + n % 20}/{kind}/0", {}, n % 2 == 0) for n in range(20) for kind in ("token", "guard")]
    seen: list[set[str]] = []

    def make(some: Any) -> Coefficients:
        seen.append({r.id.split("/")[1] for r in some})
        return constant(some)

    cross_validated(made, make)
    assert all(len(tasks) == 18 for tasks in seen)


def test_brier_and_order_by_hand() -> None:
    made = [Row("mbpp/601/token/0", {}, right) for right in (True, False, True, False)]
    estimates = [0.9, 0.5, 0.5, 0.1]
    assert brier(estimates, made) == pytest.approx((0.01 + 0.25 + 0.25 + 0.01) / 4)
    assert ranks_above(estimates, made) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert ranks_above([0.5], made[:1]) is None


def test_the_reliability_table_counts_each_patch_once() -> None:
    made = [Row("mbpp/601/token/0", {}, right) for right in (True, True, False, True)]
    found = reliability([0.95, 1.0, 0.2, 0.4], made, ((0.0, 0.5), (0.5, 0.9), (0.9, 1.0)))
    assert [(b.count, b.right) for b in found] == [(2, 0.5), (2, 1.0)]
    assert [b.estimate for b in found] == pytest.approx([0.3, 0.975])


def test_held_back_tasks_other_origins_and_what_was_not_judged_are_left_out() -> None:
    given = [result(700, share=0.5), result(510, share=0.5), result(11), result(701, None), result(702, origin="model")]
    assert [r.id for r in rows_of(given)] == ["mbpp/700/token/0"]


def test_behaviours_are_those_of_one_search_with_how_many_others_there_were() -> None:
    one = [behaviour("name", True, share=0.75), behaviour("guard", False, share=0.25)]
    found = calibration.behaviours_of([result(700, ranked=[one]), result(701, ranked=[one, one]), result(11, ranked=[one])])
    assert [r.right for r in found] == [True, False]
    assert [r.features["odds"] for r in found] == pytest.approx([math.log(3), -math.log(3)])
    assert [r.features["alternatives"] for r in found] == pytest.approx([math.log(2)] * 2)


def save(path: Path, results: list[Result]) -> Path:
    path.write_text("".join(json.dumps(asdict(r)) + "\n" for r in results), encoding="utf-8")
    return path


def test_the_command_writes_coefficients_that_the_estimate_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(3)
    made = []
    for n in range(120):
        share = rng.random()
        right = rng.random() < share
        ranked = [[behaviour("name", right, share=share), behaviour("guard", not right, share=1 - share)]]
        made.append(result(601 + n, right=right, ranked=ranked, share=share))
    out = tmp_path / "confidence.json"
    fitted, checked = save(tmp_path / "a.jsonl", made), save(tmp_path / "b.jsonl", [result(511 + n, n % 2 == 0, share=n % 2 / 2 + 0.25)
                                                                                   for n in range(20)])  # fmt: skip
    assert calibration.main([str(fitted), "--out", str(out), "--features", "odds"]) == 0
    first = out.read_bytes()
    low, high = (read_tables(out)["templates"].probability({"odds": odds}) for odds in (-2.0, 2.0))
    assert low < 0.4 < 0.6 < high
    assert "Brier score" in capsys.readouterr().out
    # What does not hold where it was not fitted is not written: there, the likelier ones are the wrong ones.
    assert calibration.main([str(fitted), "--check", str(checked), "--out", str(out), "--features", "odds"]) == 0
    assert "a constant" in capsys.readouterr().out
    assert not read_tables(out)["templates"].weights
    calibration.main([str(fitted), "--out", str(out), "--features", "odds"])
    assert out.read_bytes() == first


def test_without_right_and_wrong_ones_nothing_is_fitted(tmp_path: Path) -> None:
    out = tmp_path / "confidence.json"
    assert calibration.main([str(save(tmp_path / "a.jsonl", [result(601)])), "--out", str(out)]) == 2
    assert not out.exists()


def behaviour(template: str, right: bool, **terms: float) -> dict[str, Any]:
    return {"template": template, "right": right, "signals": {"agreement": 0.0, **terms}}


def test_ranking_counts_firsts_and_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = [behaviour("name", False, surprise=1.0), behaviour("guard", True, surprise=2.0)]
    two = [behaviour("name", True), behaviour("guard", False, bucket=3.0)]
    given = [result(601, False, [one]), result(602, True, [two]), result(11, True, [one]), result(603, True, [one, two])]
    found = ranking.searches(given)
    assert len(found) == 2
    assert ranking.firsts(found, {"surprise": 1.0}, {}) == (1, 2)
    assert ranking.firsts(found, {"surprise": -1.0}, {}) == (2, 2)
    assert ranking.firsts(found, {"surprise": 1.0, "record": 1.0}, {"guard": -2.0}) == (1, 2)
    assert ranking.record_of(found) == {"guard": (1, 1), "name": (1, 1)}
    assert ranking.half_log_odds(0, 3) == pytest.approx(0.5 * math.log(4))
    assert ranking.main([str(save(tmp_path / "a.jsonl", given))]) == 0
    assert "a right one is among 2" in capsys.readouterr().out
    assert ranking.main([str(save(tmp_path / "b.jsonl", [result(601)]))]) == 2
