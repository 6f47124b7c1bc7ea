"""Running a workspace's tests in a fresh sandbox: plan + environment -> what happened."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from sandbox.environment import Environment
from sandbox.frameworks import BUILD, LOAD, TestPlan
from sandbox.frameworks.junit import read_junit
from sandbox.frameworks.languages import ADAPTERS
from sandbox.frameworks.records import Coverage, Records, read_records
from sandbox.limits import Limits
from sandbox.report import Failure, Outcome, TestReport
from sandbox.runner import Command, Execution, Mount, Runner
from sandbox.workspace import Workspace

PROBES = "/run/ledex"
WHOLE_COMMAND = "command"
"""The test id that stands for a command without a report."""


@dataclass(frozen=True)
class TestRun:
    """One cold run. ``collected`` are the test ids before any ran, None when collection did not finish."""

    __test__ = False

    execution: Execution
    report: TestReport
    collected: tuple[str, ...] | None
    status: int | None
    coverage: Coverage

    def outcome(self, test_id: str) -> Outcome | None:
        """A test's outcome. A package or file that could not be built has a test of its own (``[build]``, ``[load]``), which is reported
        only then: it passed where the run is whole and tests below it ran."""
        found = self.report.outcomes.get(test_id)
        place = next((test_id.removesuffix(word) for word in (BUILD, LOAD) if test_id.endswith(word)), None)
        if found is None and place is not None and self.report.complete and any(t.startswith(place) for t in self.report.outcomes):
            return "passed"
        return found

    @property
    def trustworthy(self) -> bool:
        """Exit status, the runner's own status and the report agree, and every collected test has an outcome."""
        if self.execution.reason != "exited" or self.status is None or self.execution.exit_code != self.status or self.collected is None:
            return False
        if set(self.collected) != set(self.report.outcomes):
            return False
        return (self.status == 0) == (not self.report.failed and not self.report.collection_errors)


@dataclass(frozen=True)
class Bench:
    """Everything that stays the same between the runs of one repair: runner, environment, plan, limits."""

    runner: Runner
    environment: Environment
    plan: TestPlan
    limits: Limits
    variables: tuple[tuple[str, str], ...] = ()


@cache
def probe_folder() -> Path:
    """A world-readable copy of the probe files: the checkout of this package may lie where another uid cannot read."""
    folder = Path(tempfile.mkdtemp(prefix="ledex-probes-"))
    folder.chmod(0o755)
    for source in Path(__file__).parent.glob("_ledex_*.*"):
        target = folder / source.name
        target.write_bytes(source.read_bytes())
        target.chmod(0o644)
    import atexit
    import shutil

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def python_command(bench: Bench, workspace: Workspace, options: Mapping[str, object], limits: Limits | None = None) -> Command:
    """The command that runs or serves the tests in the project's interpreter, with the report descriptor.

    It is the same for every mode, which stands in the options on standard input: tests cannot tell the modes apart by it.
    """
    environment = bench.environment
    variables = {**environment.variables, **dict(bench.variables), **dict(bench.plan.variables)}
    tree = replace(workspace.tree(), artifacts=environment.artifacts)
    return Command(
        argv=(environment.python, f"{PROBES}/_ledex_run.py"),
        stdin=json.dumps(options).encode(),
        tree=tree,
        environment=variables,
        mounts=(*environment.mounts, Mount(probe_folder(), PROBES)),
        limits=limits or bench.limits,
        report=True,
    )


def run_tests(
    bench: Bench, workspace: Workspace, only: Sequence[str] = (), coverage: bool = False, limits: Limits | None = None
) -> TestRun:
    """Run the plan (or only these test ids) once in a fresh sandbox."""
    if bench.plan.framework == "command":
        return _run_command(bench, workspace, limits)
    if bench.plan.framework in ADAPTERS:
        return _run_project(bench, workspace, only, limits)
    options = {
        "mode": "cold",
        "framework": bench.plan.framework,
        "arguments": list(bench.plan.arguments),
        "only": list(only),
        "overlay": bench.environment.overlay,
        "cwd_on_path": bench.plan.cwd_on_path,
        "coverage": coverage,
    }
    execution = bench.runner.run(python_command(bench, workspace, options, limits))
    records = read_records(execution.report, execution.seconds)
    return _test_run(execution, records)


def _test_run(execution: Execution, records: Records) -> TestRun:
    return TestRun(execution, records.report, records.collected, records.status, records.coverage)


def _run_project(bench: Bench, workspace: Workspace, only: Sequence[str], limits: Limits | None) -> TestRun:
    """The tests of a project in another language, or some of them. Its runner is another process than the tests, but what it reports is
    what they printed or sent it. What was collected is known only from the outcomes."""
    plan, environment = bench.plan, bench.environment
    adapter = ADAPTERS[plan.framework]
    invocation = adapter.invocation(plan, only)
    execution = bench.runner.run(
        Command(
            argv=("/bin/sh", "-c", invocation.shell),
            tree=replace(workspace.tree(), artifacts=environment.artifacts),
            cwd=plan.folder,
            environment={**environment.variables, **dict(bench.variables), **dict(plan.variables)},
            mounts=(*environment.mounts, Mount(probe_folder(), PROBES)),
            limits=limits or bench.limits,
            collect=invocation.collect,
        )
    )
    report = adapter.read(plan, workspace, execution)
    status = execution.exit_code if execution.reason == "exited" and report.complete else None
    return TestRun(execution, report, tuple(report.outcomes) if report.complete else None, status, Coverage())


def _run_command(bench: Bench, workspace: Workspace, limits: Limits | None) -> TestRun:
    """A command of an unknown framework: its JUnit XML is the report; without one the command itself is the only test."""
    environment = bench.environment
    junit = bench.plan.junit
    execution = bench.runner.run(
        Command(
            argv=("/bin/sh", "-c", bench.plan.shell),
            tree=replace(workspace.tree(), artifacts=environment.artifacts),
            environment={**environment.variables, **dict(bench.variables)},
            mounts=environment.mounts,
            limits=limits or bench.limits,
            collect=(junit,) if junit else (),
        )
    )
    status = execution.exit_code if execution.reason == "exited" else None
    if junit is not None:
        found = execution.collected.get(os.path.normpath(junit)) or execution.collected.get(junit)
        report = read_junit(found, execution.seconds) if found is not None else TestReport({}, complete=False)
        return TestRun(execution, report, tuple(report.outcomes) if report.complete else None, status, Coverage())
    failed = status != 0
    text = (execution.stdout + execution.stderr).decode("utf-8", "replace")[-6000:]
    failures = (Failure(WHOLE_COMMAND, "", (text.strip().splitlines() or ["no output"])[-1][:500], (), text),) if failed else ()
    report = TestReport({WHOLE_COMMAND: "failed" if failed else "passed"}, failures, complete=status is not None, seconds=execution.seconds)
    return TestRun(execution, report, (WHOLE_COMMAND,), status, Coverage())
