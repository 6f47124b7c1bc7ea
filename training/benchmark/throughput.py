"""Candidates a second by tier, on a function whose tests take microseconds, and the sandbox's start over a bare process."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from inference.schedule import edits_of, trial_unit, unit_of
from inference.templates import Space, functions
from sandbox.candidates import CandidateServer, Trial
from sandbox.doctor import measure_start
from sandbox.environment import existing_environment
from sandbox.frameworks import TestPlan
from sandbox.limits import Limits
from sandbox.runner import Runner
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench, run_tests
from sandbox.workspace import Workspace, snapshot

_SOURCE = '''"""A run-length code."""


def encode(items):
    """Pairs of (item, how often it stands in a row)."""
    runs = []
    previous, count = None, 0
    for item in items:
        if item == previous:
            count += 1
        else:
            if count > 1:
                runs.append((previous, count))
            previous, count = item, 1
    if count:
        runs.append((previous, count))
    return runs
'''
_TESTS = """from code_under_test import encode


def test_runs():
    assert encode("aab") == [("a", 2), ("b", 1)]


def test_single_items():
    assert encode("ab") == [("a", 1), ("b", 1)]


def test_nothing():
    assert encode("") == []
"""


@dataclass(frozen=True)
class Throughput:
    """Candidates judged a second on one core by tier, and medians of milliseconds to start ``/bin/true``."""

    in_process: float
    fork: float
    cold: float
    bare_ms: float
    sandboxed_ms: float


def measure(runner: Runner, in_process: int = 6000, fork: int = 400, cold: int = 5, starts: int = 50) -> Throughput:
    """Judge template candidates of one small function that way many times on each tier (one server, one worker at a time)."""
    with tempfile.TemporaryDirectory(prefix="ledex-throughput-") as name:
        folder = Path(name)
        workspace = _lay_out(folder)
        environment = existing_environment(Path(sys.executable), runner, settings=SandboxSettings())
        bench = Bench(runner, environment, TestPlan("pytest"), Limits(wall_seconds=600))
        rates = [_rate(bench, workspace, count, only_fork) for count, only_fork in ((in_process, False), (fork, True))]
        started = time.monotonic()
        for _ in range(cold):
            run_tests(bench, workspace)
        cold_rate = cold / (time.monotonic() - started)
    return Throughput(rates[0], rates[1], cold_rate, *measure_start(runner, starts))


def _lay_out(folder: Path) -> Workspace:
    repository = folder / "repository"
    repository.mkdir()
    (repository / "code_under_test.py").write_text(_SOURCE)
    (repository / "test_code.py").write_text(_TESTS)
    subprocess.run(["git", "init", "-q", "."], cwd=repository, check=True)
    return snapshot(repository, folder / "snapshot")


def _rate(bench: Bench, workspace: Workspace, count: int, only_fork: bool) -> float:
    function = functions("code_under_test.py", _SOURCE)[0]
    space, seen = Space(function), set[int]()
    made = list(itertools.islice(itertools.chain.from_iterable(space.candidates(b, seen) for b in (1, 2, 3)), count))
    trials = [Trial(n, trial_unit(c), edits_of(c)) for n, c in enumerate(made)]
    failing = ["test_code.py::test_single_items", "test_code.py::test_runs"]
    with CandidateServer(bench, workspace, failing, ["test_code.py::test_nothing"], wall_seconds=600, only_fork=only_fork) as server:
        server.start([unit_of(function)])
        started = time.monotonic()
        for at in range(0, len(trials), 96):
            server.judge(trials[at : at + 96])
        return len(trials) / (time.monotonic() - started)
