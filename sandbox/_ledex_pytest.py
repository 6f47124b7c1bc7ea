"""Running tests with pytest: what cold runs and warm servers share of it, and the reporter of cold runs.

Loaded by ``_ledex_run.py`` and ``_ledex_serve.py``. What pytest hands to hooks is Any here: its attributes differ between the versions
that projects use. Standard library only, Python 3.8+, beside pytest itself.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Generator
    from typing import Any

    from sandbox import _ledex_report as reporting
    from sandbox._ledex_report import Lines, Record, Send
else:
    reporting = sys.modules["__main__"].load_sibling("_ledex_report")

# Options of plugins that are kept out of a judged run because they reorder, repeat, spread or measure it themselves.
# They still stand in projects' addopts, so they are accepted and ignored: name -> number of values (None: optional value).
KEPT_OUT: dict[str, dict[str, int | None]] = {
    "pytest_cov": {"--cov": None, "--cov-report": 1, "--cov-config": 1, "--no-cov": 0, "--no-cov-on-fail": 0, "--cov-append": 0,
                   "--cov-branch": 0, "--cov-fail-under": 1, "--cov-context": 1, "--cov-precision": 1, "--cov-reset": 0},
    "xdist": {"-n": 1, "--numprocesses": 1, "--dist": 1, "--maxprocesses": 1, "--tx": 1, "--max-worker-restart": 1, "--maxfail-x": 1},
    "randomly": {"--randomly-seed": 1, "--randomly-dont-reorganize": 0, "--randomly-dont-reset-seed": 0},
    "rerunfailures": {"--reruns": 1, "--reruns-delay": 1, "--only-rerun": 1, "--rerun-except": 1, "--fail-on-flaky": 0},
    "benchmark": {"--benchmark-disable": 0, "--benchmark-only": 0, "--benchmark-skip": 0, "--benchmark-autosave": 0,
                  "--benchmark-enable": 0, "--benchmark-columns": 1, "--benchmark-sort": 1, "--benchmark-group-by": 1},
    "timeout": {"--timeout": 1, "--timeout-method": 1, "--session-timeout": 1},
    "html": {"--html": 1, "--self-contained-html": 0},
    "sugar": {"--old-summary": 0},
}
MODULES = {"xdist": "xdist", "randomly": "pytest_randomly", "rerunfailures": "pytest_rerunfailures", "pytest_cov": "pytest_cov",
           "benchmark": "pytest_benchmark", "timeout": "pytest_timeout", "html": "pytest_html", "sugar": "pytest_sugar"}
ALWAYS_OUT = ("pytest_cov", "xdist", "randomly", "rerunfailures", "html", "sugar")
INI = {"timeout": "timeout timeout_method timeout_func_only session_timeout", "benchmark": "", "xdist": "xdist_strict looponfailroots",
       "rerunfailures": "reruns reruns_delay"}


def importable(name: str) -> bool:
    """Whether a module of this name is installed, without importing it."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def accept_and_ignore(parser: Any) -> None:
    """Add the options of the plugins that are out, so that a project's addopts still parse."""
    group = parser.getgroup("kept out of judged runs")
    for plugin, names in KEPT_OUT.items():
        if plugin not in ALWAYS_OUT and importable(MODULES[plugin]):
            continue
        for name, values in names.items():
            keywords: Record = {"dest": "kept_out_" + name.strip("-").replace("-", "_"), "default": None}
            if values == 0:
                keywords["action"] = "store_true"
            elif values is None:
                keywords.update(nargs="?", action="append")
            try:
                if name.startswith("--"):
                    group.addoption(name, **keywords)
                else:
                    group._addoption(name, **keywords)
            except ValueError:
                pass
        for name in INI.get(plugin, "").split():
            try:
                parser.addini(name, "accepted and ignored", default=None)
            except (ValueError, AssertionError):
                pass


def selection(options: Record) -> object:
    """The pytest plugin that cold runs and warm servers share: ignored options, and the selection of tests."""
    only = set(options["only"])

    class Selection:
        def pytest_addoption(self, parser: Any) -> None:
            accept_and_ignore(parser)

        def pytest_configure(self, config: Any) -> None:
            for line in ("no_cover", "flaky", "timeout", "benchmark", "xdist_group"):
                config.addinivalue_line("markers", line + ": accepted by the judge")
            if only:
                paths: list[str] = []
                for test_id in options["only"]:
                    path = os.path.join(str(config.rootdir), test_id.split("::")[0])
                    if path not in paths:
                        paths.append(path)
                if all(os.path.exists(p) for p in paths):
                    config.args = paths

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            if only:
                items[:] = [i for i in items if i.nodeid in only]

    return Selection()


def command_line(options: Record) -> list[str]:
    """The command line: plugins that reorder, repeat, spread or measure are out, the cache too."""
    arguments = [a for plugin in ALWAYS_OUT for a in ("-p", "no:" + plugin)]
    return arguments + [*options["arguments"], "-p", "no:cacheprovider", "--tb=short", "-q"]


def outcome_of(report: Any) -> str | None:
    """What the report of one phase says about its test; None if it says nothing."""
    outcome: str = report.outcome
    if report.when == "call":
        return {"skipped": "xfailed", "passed": "xpassed"}.get(outcome, outcome) if hasattr(report, "wasxfail") else outcome
    if outcome == "failed":
        return "error"
    if outcome == "skipped":
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    return None


def failure_of(report: Any) -> Record:
    """Exception, message, frames and text of a failed report."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = reporting.short(getattr(crash, "message", report.longrepr), reporting.MESSAGE)
    details: Record = getattr(report, "ledex_details", {"exception": "", "frames": []})
    message = message if message.strip() else details.get("message", "")
    return {**details, "message": message, "text": reporting.short(report.longreprtext, reporting.TEXT)}


def reporter(send: Send, lines: Lines, root: str, failed: list[str]) -> object:
    """The pytest plugin that sends what was collected and every outcome; ids of failed tests are added to ``failed``."""
    started: dict[str, float] = {}
    outcomes: dict[str, Record] = {}
    collecting: dict[str, Record] = {}

    class Reporter:
        def pytest_collection_finish(self, session: Any) -> None:
            send(kind="collected", ids=[i.nodeid for i in session.items], rootdir=reporting.relative(str(session.config.rootdir), root))

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                text = reporting.short(report.longreprtext if hasattr(report, "longreprtext") else report.longrepr, reporting.TEXT)
                crash = getattr(report.longrepr, "reprcrash", None)
                message = reporting.short(getattr(crash, "message", text), reporting.MESSAGE)
                unknown: Record = {"exception": "CollectError", "message": message, "frames": []}
                send(kind="collection_error", id=report.nodeid, text=text, **collecting.get(report.nodeid, unknown))

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
            outcome = yield
            call = getattr(outcome.get_result(), "call", None)
            if call is not None and call.excinfo is not None:
                error = call.excinfo.value
                error = getattr(error, "__cause__", None) or error
                collecting[collector.nodeid] = reporting.describe(error, root)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_protocol(self, item: Any) -> Generator[None, Any, None]:
            lines.switch(item.nodeid)
            started[item.nodeid] = time.perf_counter()
            yield
            lines.switch("")
            self.finish(item.nodeid)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
            outcome = yield
            report = outcome.get_result()
            if call.excinfo is not None and report.failed:
                report.ledex_details = reporting.describe(call.excinfo.value, root)

        def pytest_runtest_logreport(self, report: Any) -> None:
            outcome = outcome_of(report)
            known = outcomes.get(report.nodeid)
            if outcome is None or (known is not None and known["outcome"] in ("failed", "error")):
                return
            outcomes[report.nodeid] = {"outcome": outcome, **(failure_of(report) if outcome in ("failed", "error") else {})}

        def finish(self, test_id: str) -> None:
            record = outcomes.pop(test_id, None)
            if record is None:
                return
            if record["outcome"] in ("failed", "error"):
                failed.append(test_id)
            send(kind="result", id=test_id, seconds=time.perf_counter() - started[test_id], **record)

    return Reporter()


def run(options: Record, send: Send, root: str) -> int:
    """Run the tests with pytest; its exit status."""
    failed: list[str] = []
    lines = reporting.Lines(options["coverage"], root)
    status = int(pytest.main(command_line(options), plugins=[selection(options), reporter(send, lines, root, failed)]))
    lines.send(send, failed)
    return status
