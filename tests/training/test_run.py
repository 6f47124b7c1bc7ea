"""Running benchmarks: verdicts, crashes as values, resuming, and the guard of the held-back split."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.runner import Runner
from tests.training import fake_repairs
from training.benchmark.attempt import Interrupted, RepairJob, attempt
from training.benchmark.command import WrongUse, choose_ids, mbpp_benchmark, strategies_benchmark
from training.benchmark.mbpp import Bug
from training.benchmark.run import Result, Work, mbpp_miss, read_results, run_all, run_mbpp
from training.benchmark.tables import strategies


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_a_right_patch_is_fixed_and_right(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.subtracts_back, 5, "auto", threading.Event())
    assert (result.fixed, result.right, result.right_rank, result.miss) == (True, True, 1, "")


def test_a_special_cased_patch_is_fixed_but_not_right(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.special_cases, 5, "auto", threading.Event())
    assert (result.fixed, result.right, result.right_rank) == (True, False, None)


def test_a_crashing_repair_is_a_miss_with_its_reason(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.crashes, 5, "auto", threading.Event())
    assert (result.fixed, result.miss) == (False, "environment")
    assert "ValueError: no such engine" in result.detail


def test_every_ranked_behaviour_is_judged(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.ranks, 5, "auto", threading.Event())
    assert [[(b["template"], b["signals"], b["right"]) for b in one] for one in result.ranked] == [
        [("cases", {"margin": 1.0}, False), ("operator", {"margin": -1.0}, True)]]  # fmt: skip
    assert (result.fixed, result.right, result.first_right) == (True, False, False)


def test_a_withheld_patch_is_judged_and_counts_as_no_fix(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.withholds, 5, "auto", threading.Event())
    assert (result.fixed, result.right, result.right_rank, result.first_right, result.miss) == (False, False, None, True, "withheld")
    assert result.signals["margin"] == 2.0


def test_refining_and_resampling_are_compared_on_the_same_bugs(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"ids": "601-606", "tasks": 1, "seed": 1, "budget": 5.0, "jobs": 1, "develop": False}
    with pytest.raises(WrongUse, match="no model is configured"):
        strategies_benchmark(runner, fake_repairs.by_strategy, quiet(), out=tmp_path, **options)  # type: ignore[arg-type]
    monkeypatch.setenv("LEDEX_INFERENCE_ENDPOINTS", "http://127.0.0.1:9")
    found = strategies_benchmark(runner, fake_repairs.by_strategy, quiet(), out=tmp_path, **options)  # type: ignore[arg-type]
    assert {name: [r.model["answers"] for r in results] for name, results in found.items()} == {"refine": [6], "resample": [8]}
    table = strategies(found)
    assert [row[0] for row in table.rows] == ["refine", "resample"]
    assert table.rows[0][4:] == ("6", "70", "50", "1.5", "0.2500")


def test_results_hold_no_code(bug: Bug, runner: Runner) -> None:
    result = run_mbpp(bug, runner, fake_repairs.ranks, 5, "auto", threading.Event())
    assert "def " not in repr(result)
    assert "@@" not in repr(result)


def test_a_repair_that_dies_is_a_value(tmp_path: Path) -> None:
    assert attempt(fake_repairs.dies, RepairJob(tmp_path), 30, threading.Event()).error == "the repair process died"


def test_a_repair_that_hangs_is_killed(tmp_path: Path) -> None:
    tried = attempt(fake_repairs.hangs, RepairJob(tmp_path), 2, threading.Event())
    assert tried.error == "still running after 2 s"
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_a_stopped_run_kills_its_repairs(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    with pytest.raises(Interrupted):
        attempt(fake_repairs.hangs, RepairJob(tmp_path), 60, stop)


def test_peak_memory_is_the_repairs(tmp_path: Path) -> None:
    tried = attempt(fake_repairs.takes_memory, RepairJob(tmp_path), 30, threading.Event())
    assert 300 * 2**20 <= tried.peak_memory_bytes < 2**30


def work(names: str, ran: list[str], broken: str = "") -> list[Work]:
    def one(name: str) -> Work:
        def run(stop: threading.Event) -> Result:
            if name == broken:
                time.sleep(0.2)
                raise KeyboardInterrupt
            ran.append(name)
            return Result(name, "mbpp", "token", fixed=True)

        return Work(name, run)

    return [one(name) for name in names]


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    ran: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run_all(work("abc", ran, broken="c"), tmp_path / "r.jsonl", 1, quiet(), "t")
    assert ran == ["a", "b"]
    results = run_all(work("abc", ran), tmp_path / "r.jsonl", 1, quiet(), "t")
    assert ran == ["a", "b", "c"]
    assert [r.id for r in results] == ["a", "b", "c"]


def test_a_line_cut_off_by_a_crash_is_done_again(tmp_path: Path) -> None:
    path, ran = tmp_path / "r.jsonl", list[str]()
    run_all(work("ab", ran), path, 1, quiet(), "t")
    path.write_text(path.read_text()[:-20])
    run_all(work("ab", ran), path, 1, quiet(), "t")
    assert ran == ["a", "b", "b"]
    assert {r.id for r in read_results(path)} == {"a", "b"}


@pytest.mark.parametrize(
    ("kind", "outcome", "reason"),
    [
        ("token", None, "environment"),
        ("token", fake_repairs.outcome("broken"), "environment"),
        ("token", fake_repairs.outcome("unfixed", candidates={"generated": 0}, suspects=[{"path": "solution.py"}]), "environment"),
        ("two_places", fake_repairs.outcome("unfixed"), "several places"),
        ("guard", fake_repairs.outcome("unfixed"), "missing logic"),
        ("token", fake_repairs.outcome("unfixed"), "edit not generated"),
        ("token", fake_repairs.outcome("unfixed", candidates={"exhausted": False}), "too slow"),
    ],
)
def test_a_miss_has_its_reason(kind: str, outcome: dict[str, object] | None, reason: str) -> None:
    assert mbpp_miss(kind, outcome) == reason


@pytest.mark.parametrize(
    ("ids", "seed", "develop"),
    [
        (None, None, False),
        (None, 7, False),
        ("11-20", 7, False),
        ("500-600", None, False),
        ("11-510", 5000, True),
        ("x", 1, False),
        ("9-3", 1, False),
    ],
)
def test_held_back_ids_and_developing_do_not_mix(ids: str | None, seed: int | None, develop: bool) -> None:
    with pytest.raises(WrongUse):
        choose_ids(ids, seed, develop)


@pytest.mark.parametrize(
    ("ids", "seed", "develop", "expected"),
    [
        (None, None, True, (range(511, 601), 0)),
        (None, 4711, False, (range(11, 511), 4711)),
        ("601-650", 3, False, (range(601, 651), 3)),
    ],
)
def test_ids_and_seed_are_chosen(ids: str | None, seed: int | None, develop: bool, expected: tuple[range, int]) -> None:
    assert choose_ids(ids, seed, develop) == expected


def test_the_command_writes_results_tables_and_plot(runner: Runner, tmp_path: Path) -> None:
    options = {"ids": "601-606", "tasks": 2, "seed": 1, "budget": 5.0, "jobs": 2, "develop": False, "engine": "auto"}
    results = mbpp_benchmark(runner, fake_repairs.gives_up, quiet(), out=tmp_path, **options)  # type: ignore[arg-type]
    base = "mbpp-601-606-2-1-5s-auto"
    assert len(results) == 2
    assert [json.loads(line)["fixed"] for line in (tmp_path / f"{base}.jsonl").read_text().splitlines()] == [False, False]
    assert "### Fixed" in (tmp_path / f"{base}.md").read_text()
