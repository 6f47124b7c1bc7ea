"""reproduce(): does the failure happen here, twice, and did the base have it already?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from sandbox.frameworks.records import Coverage
from sandbox.report import Failure, TestReport
from sandbox.testing import WHOLE_COMMAND, Bench, TestRun, run_tests
from sandbox.workspace import Workspace

Status = Literal["failing", "passing", "flaky", "pre_existing", "broken"]


@dataclass(frozen=True)
class Reproduction:
    """What the unpatched head does. ``failing``: tests that fail every time; ``passing``: those that pass every time;
    ``expected``: every test id collected; ``flaky``: tests that did both. ``reason`` is one sentence."""

    status: Status
    reason: str
    failures: tuple[Failure, ...] = ()
    failing: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    flaky: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    coverage: Coverage = field(default_factory=Coverage)
    suite_seconds: float = 0.0
    seconds: float = 0.0
    output: str = ""
    report: TestReport | None = field(default=None, compare=False, repr=False)
    """The first whole run, test by test."""
    passes_on_base: bool = False
    """Whether every failing test was seen to pass on the base."""


def reproduce(bench: Bench, head: Workspace, base: Workspace | None = None, report: Callable[[str], None] | None = None) -> Reproduction:
    """Run the whole plan twice on head (the second time with per-test coverage), a third time where the two differ, then on base."""
    started = time.monotonic()
    say = report or (lambda _: None)

    def answer(status: Status, reason: str, run: TestRun, **more: object) -> Reproduction:
        output = (run.execution.stdout[-4000:] + run.execution.stderr[-4000:]).decode("utf-8", "replace")
        return Reproduction(
            status, reason, expected=run.collected or (), suite_seconds=first.execution.seconds, seconds=time.monotonic() - started,
            output=output, report=run.report, **more)  # type: ignore[arg-type]  # fmt: skip

    say("running the tests")
    first = run_tests(bench, head)
    trouble = unusable(first)
    if trouble is not None:
        return answer("broken", trouble, first)
    if not first.report.failed:
        return answer("passing", f"all {len(first.report.outcomes)} tests pass", first, passing=first.report.passed)
    measured = bench.plan.framework in ("pytest", "unittest")
    say("running the tests again, with coverage" if measured else "running the tests again")
    second = run_tests(bench, head, coverage=measured)
    runs = [first, second]
    if unusable(second) is not None or set(second.report.failed) != set(first.report.failed):
        say("the two runs differ: running the tests a third time")
        runs.append(run_tests(bench, head))
    # Coverage may itself upset a test, so two plain runs outvote the measured one.
    plain = [r for r in runs if r is not second] if len(runs) == 3 else runs
    failing = tuple(t for t in first.report.failed if all(t in r.report.failed for r in plain))
    flaky = tuple(sorted({t for r in plain for t in r.report.failed} - set(failing)))
    passing = tuple(t for t in first.report.passed if all(t in r.report.passed for r in plain) and t not in flaky)
    failures = tuple(f for f in first.report.failures if f.test_id in failing)
    if not failing:
        return answer("flaky", f"{flaky[0]} fails in one run and passes in another", first, flaky=flaky, passing=passing,
                      failures=first.report.failures)  # fmt: skip
    passes_on_base = False
    if base is not None:
        say("running the tests on the base")
        before = run_tests(bench, base)
        old = set(before.report.failed) if before.report.complete else set()
        if old.issuperset(failing):
            reason = f"{failing[0]} fails on the base too" + (f", as do {len(failing) - 1} more" if len(failing) > 1 else "")
            return answer("pre_existing", reason, first, failures=failures, failing=failing, passing=passing, flaky=flaky)
        failing = tuple(t for t in failing if t not in old)
        passes_on_base = before.report.complete and set(failing) <= set(before.report.passed)
    count = f"{len(failing)} of {len(first.report.outcomes)} tests fail"
    return answer(
        "failing", count, first, failures=failures, failing=failing, passing=passing, flaky=flaky, coverage=second.coverage,
        passes_on_base=passes_on_base)  # fmt: skip


def unusable(run: TestRun) -> str | None:
    """One sentence on why a run says nothing about the tests, or None."""
    execution = run.execution
    limits = {"timeout": "time limit", "memory": "memory limit", "output": "output limit"}
    if execution.reason in limits:
        limit = limits[execution.reason]
        return f"the tests passed the {limit} after {execution.seconds:.0f} s: raise it, or name a quicker command with --test"
    if run.report.collection_errors:
        error = run.report.collection_errors[0]
        what = f"{error.exception}: {error.message}".strip(": ").splitlines()
        return f"{error.test_id or 'a test file'} cannot be imported ({what[0] if what else 'no message'}): make the tests importable"
    if execution.reason == "signal" or run.status is None or execution.exit_code != run.status:
        lines = (execution.stderr or execution.stdout).decode("utf-8", "replace").strip().splitlines()
        last = lines[-1][:300] if lines else "no output"
        return f"the test run ended without a report ({last}): run the command by hand, or name another with --test"
    if run.report.failed == (WHOLE_COMMAND,) and run.status in (126, 127):  # the shell's words for a command that it cannot start
        return f"the test command cannot be started ({run.report.failures[0].message[:300]}): name another with --test"
    if not run.report.outcomes and run.status not in (0, 5):
        lines = (execution.stderr + execution.stdout).decode("utf-8", "replace").strip().splitlines()
        errors = [line for line in lines if "error" in line.lower() and "usage:" not in line] or lines or ["no output"]
        return f"the test command failed before any test ran ({errors[0][:300]}): check it with --test"
    if not run.report.outcomes:
        return "no tests were collected: name the command that runs them with --test"
    return None
