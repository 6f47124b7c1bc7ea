"""Tables from canned results."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.benchmark import plot
from training.benchmark.run import Result
from training.benchmark.tables import fix_rates, markdown, misses, per_task, percentile, seconds, tables, throughput


def result(number: int, **changes: object) -> Result:
    facts = {
        "kind": "token", "fixed": True, "right": True, "right_rank": 1, "timings": {"first_plausible": number, "chosen": number + 1.0},
        "candidates": {"in_process": 1000, "cold": 2, "seconds": {"in_process": 2.0, "cold": 4.0}}, "peak_memory_bytes": number * 2**20,
    }  # fmt: skip
    return Result(f"t{number}", "mbpp", **{**facts, **changes})  # type: ignore[arg-type]


def canned() -> list[Result]:
    lost: dict[str, object] = {"fixed": False, "right": False, "right_rank": None, "timings": {}}
    return [
        result(1), result(2, right=False, right_rank=3), result(3), result(4, miss="too slow", **lost),
        result(5, kind="guard", miss="missing logic", **lost), result(6, kind="guard", miss="missing logic", **lost),
    ]  # fmt: skip


def test_fixed_and_right_are_counted_per_kind() -> None:
    assert fix_rates(canned()).rows == (
        ("one token", "4", "3", "75", "2", "50", "3"),
        ("deleted guard or branch", "2", "0", "0", "0", "0", "0"),
        ("all", "6", "3", "50", "2", "33", "3"),
    )


def test_real_bugs_count_the_place_instead() -> None:
    rows = [result(1, kind="single-line", right=None, place=True), result(2, kind="single-line", right=None, place=False)]
    assert fix_rates(rows).rows[0] == ("single-line", "2", "2", "100", "1")


def test_seconds_are_median_and_ninetieth_percentile() -> None:
    assert seconds(canned()).rows[0] == ("first plausible patch", "3", "2.00", "3.00", "3.00")


def test_throughput_is_candidates_over_time_of_the_tier() -> None:
    assert throughput(canned()).rows == (
        ("candidates, in process", "6000", "500.0"),
        ("candidates, cold", "12", "0.5"),
        ("peak memory, MiB (median / largest)", "4", "6"),
    )


def test_misses_are_grouped_by_reason() -> None:
    assert misses(canned()).rows == (("missing logic", "0", "2", "2"), ("too slow", "1", "0", "1"))


def test_no_results_make_no_tables() -> None:
    assert tables([]) == []


def test_markdown_keeps_its_columns_whatever_the_text() -> None:
    table = per_task([result(1, detail="a | b\nc")])
    assert r"a \| b c |" in markdown([table])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5.0), (0.9, 9.0), (0.91, 10.0), (0.0, 1.0), (1.0, 10.0)])
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(v) for v in range(10, 0, -1)], share) == expected


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot.draw(canned(), "Planted bugs", tmp_path / "plots" / "p.png")
    assert (tmp_path / "plots" / "p.png").read_bytes().startswith(b"\x89PNG")
