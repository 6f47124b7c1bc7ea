"""Run tests and report every outcome on a descriptor: started by absolute path in the tested project's interpreter.

usage: _ledex_run.py FD   (options as JSON on standard input)

OPTIONS: mode ("cold": run once; "swap", "import": serve candidates, see ``_ledex_serve.py``), framework ("pytest" or "unittest"),
arguments (list), only (test ids, empty for all), overlay (folder appended last to sys.path), cwd_on_path (as ``python -m``
does), coverage (bool). One JSON object a line goes to FD: collected, result, collection_error, coverage, end.
Every mode starts by this command line and loads the same modules, so that a test cannot tell a warm server from a cold run by them.
Standard library only, Python 3.8+, beside pytest and coverage themselves.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    import types
    import unittest
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from coverage import Coverage

    Record = dict[str, Any]
    Send = Callable[..., None]

# What the warm server needs and the frameworks do not load by themselves.
LOADED_IN_EVERY_MODE = ("_socket", "ast", "copy", "functools", "gc", "mmap", "random", "resource", "select", "signal", "struct", "tokenize",
                        "types")
TEXT = 6000
MESSAGE = 2000
FRAMES = 60
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


def open_channel(number: int) -> Send:
    """Move the descriptor out of sight of child processes; returns a function that sends one record."""
    descriptor = os.dup(number)
    os.set_inheritable(descriptor, False)
    os.close(number)

    def send(**record: Any) -> None:
        data = (json.dumps(record) + "\n").encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(descriptor, data):]

    return send


def short(value: object, limit: int) -> str:
    """The text of a value, with its middle left out beyond ``limit`` characters."""
    try:
        text = str(value)
    except Exception:
        text = "<no text>"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit // 2] + " [...] " + text[-limit // 2:]


def relative(path: str, root: str) -> str:
    """The path below ``root`` if it lies there, else the path itself."""
    path = os.path.realpath(path) if os.path.isabs(path) else path
    return path[len(root) + 1:] if path.startswith(root + os.sep) else path


def describe(exception: BaseException, root: str) -> Record:
    """Exception type, message and frames (outermost first) of what a test raised."""
    entries = traceback.extract_tb(exception.__traceback__)
    frames: list[list[Any]] = [[relative(e.filename, root), e.lineno or 0, e.name] for e in entries]
    inside = [n for n, frame in enumerate(frames) if not os.path.isabs(frame[0])]
    frames = frames[inside[0]:] if inside else frames  # the framework's own frames above the test say nothing
    return {"exception": type(exception).__name__, "message": short(exception, MESSAGE), "frames": frames[-FRAMES:]}


class Lines:
    """Which lines of the tree each test ran, by coverage.py's contexts."""

    def __init__(self, wanted: bool, root: str) -> None:
        self.root = root
        self.coverage: Coverage | None = None
        if wanted:
            import coverage

            self.coverage = coverage.Coverage(data_file=None, config_file=False, include=[os.path.join(root, "*")])
            self.coverage.start()

    def switch(self, test_id: str) -> None:
        """Count the lines that run from now on for this test."""
        if self.coverage is not None:
            self.coverage.switch_context(test_id)

    def send(self, send: Send, failed: list[str], limit: int = 2000) -> None:
        """Send, file by file, the lines of every file that a failed test ran, for the failed and up to ``limit`` tests."""
        if self.coverage is None:
            return
        self.coverage.stop()
        data = self.coverage.get_data()
        contexts = data.measured_contexts()
        failing = [c for c in failed if c in contexts]
        files: set[str] = set()
        for context in failing:
            data.set_query_contexts(["^" + re.escape(context) + "$"])
            files.update(f for f in data.measured_files() if data.lines(f))
        data.set_query_contexts(None)
        numbers: dict[str, int] = {}
        for path in sorted(files):
            lines: dict[int, list[int]] = {}
            for line, names in data.contexts_by_lineno(path).items():
                for name in names:
                    if name and (name in numbers or len(numbers) < limit or name in failing):
                        numbers.setdefault(name, len(numbers))
                        lines.setdefault(numbers[name], []).append(line)
            send(kind="coverage", path=relative(path, self.root), lines={str(k): v for k, v in lines.items()})
        send(kind="contexts", tests=sorted(numbers, key=numbers.__getitem__))


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


def pytest_selection(options: Record) -> object:
    """The pytest plugin that cold runs and warm servers share: ignored options, and the selection of tests.

    What pytest hands to hooks is Any here and below: its attributes differ between the versions that projects use.
    """
    import pytest

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


def pytest_arguments(options: Record) -> list[str]:
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
    message = short(getattr(crash, "message", report.longrepr), MESSAGE)
    details: Record = getattr(report, "ledex_details", {"exception": "", "frames": []})
    message = message if message.strip() else details.get("message", "")
    return {**details, "message": message, "text": short(report.longreprtext, TEXT)}


def pytest_reporter(send: Send, lines: Lines, root: str, failed: list[str]) -> object:
    """The pytest plugin that sends what was collected and every outcome; ids of failed tests are added to ``failed``."""
    import pytest

    started: dict[str, float] = {}
    outcomes: dict[str, Record] = {}
    collecting: dict[str, Record] = {}

    class Reporter:
        def pytest_collection_finish(self, session: Any) -> None:
            send(kind="collected", ids=[i.nodeid for i in session.items], rootdir=relative(str(session.config.rootdir), root))

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                text = short(report.longreprtext if hasattr(report, "longreprtext") else report.longrepr, TEXT)
                crash = getattr(report.longrepr, "reprcrash", None)
                known = collecting.get(report.nodeid)
                record = known or {"exception": "CollectError", "message": short(getattr(crash, "message", text), MESSAGE), "frames": []}
                send(kind="collection_error", id=report.nodeid, text=text, **record)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
            outcome = yield
            call = getattr(outcome.get_result(), "call", None)
            if call is not None and call.excinfo is not None:
                error = call.excinfo.value
                error = getattr(error, "__cause__", None) or error
                collecting[collector.nodeid] = describe(error, root)

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
                report.ledex_details = describe(call.excinfo.value, root)

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


def run_pytest(options: Record, send: Send, root: str) -> int:
    """Run the tests with pytest; its exit status."""
    import pytest

    failed: list[str] = []
    lines = Lines(options["coverage"], root)
    status = int(pytest.main(pytest_arguments(options), plugins=[pytest_selection(options), pytest_reporter(send, lines, root, failed)]))
    lines.send(send, failed)
    return status


def unittest_result(send: Send, lines: Lines, root: str, failed: list[str]) -> type[unittest.TextTestResult[Any]]:
    """The class of result that sends every outcome; ids of failed tests are added to ``failed``."""
    import unittest

    class Result(unittest.TextTestResult):
        record: Record | None
        began: float

        def startTest(self, test: unittest.TestCase) -> None:
            super().startTest(test)
            lines.switch(test.id())
            self.record, self.began = {"outcome": "passed"}, time.perf_counter()

        def note(self, outcome: str, error: Any = None) -> None:
            record = getattr(self, "record", None)
            if record is None or record["outcome"] in ("failed", "error"):
                return
            record["outcome"] = outcome
            if error is not None:
                record.update(describe(error[1], root), text=short("".join(traceback.format_exception(*error)), TEXT))

        def stopTest(self, test: unittest.TestCase) -> None:
            lines.switch("")
            record, self.record = self.record, None
            assert record is not None, "startTest comes first"
            if record["outcome"] in ("failed", "error"):
                failed.append(test.id())
            if type(test).__name__ == "_FailedTest":
                record.pop("outcome")
                send(kind="collection_error", id=test.id(), **record)
            else:
                send(kind="result", id=test.id(), seconds=time.perf_counter() - self.began, **record)
            super().stopTest(test)

        def addFailure(self, test: unittest.TestCase, err: Any) -> None:
            super().addFailure(test, err)
            self.note("failed", err)

        def addError(self, test: unittest.TestCase, err: Any) -> None:
            super().addError(test, err)
            if getattr(self, "record", None) is None:  # setUpClass, setUpModule
                send(kind="collection_error", id=test.id(), text=short("".join(traceback.format_exception(*err)), TEXT),
                     **describe(err[1], root))
            self.note("error", err)

        def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
            super().addSubTest(test, subtest, err)
            if err is not None:
                self.note("failed" if issubclass(err[0], test.failureException) else "error", err)

        def addSkip(self, test: unittest.TestCase, reason: str) -> None:
            super().addSkip(test, reason)
            if getattr(self, "record", None) is not None:
                self.note("skipped")

        def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
            super().addExpectedFailure(test, err)
            self.note("xfailed")

        def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
            super().addUnexpectedSuccess(test)
            self.note("failed")

    return Result


def run_unittest(options: Record, send: Send, root: str) -> int:
    """Run the tests with unittest; the exit status that ``python -m unittest`` has on Python 3.12."""
    import unittest

    only: set[str] = set(options["only"])
    lines = Lines(options["coverage"], root)
    failed: list[str] = []

    class Runner(unittest.TextTestRunner):
        resultclass = unittest_result(send, lines, root, failed)

        def run(self, test: Any) -> Any:
            chosen = keep(test, only) if only else test
            send(kind="collected", ids=[t.id() for t in flatten(chosen) if type(t).__name__ != "_FailedTest"], rootdir="")
            return super().run(chosen)

    program = unittest.main(module=None, argv=["python -m unittest", *options["arguments"]], testRunner=Runner, exit=False)
    lines.send(send, failed)
    if program.result.testsRun == 0 and not program.result.errors:
        return 5
    return 0 if program.result.wasSuccessful() else 1


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The single tests of a suite, in order."""
    import unittest

    for test in suite:
        if isinstance(test, unittest.TestSuite):
            for inner in flatten(test):
                yield inner
        else:
            yield test


def keep(suite: unittest.TestSuite, only: set[str]) -> unittest.TestSuite:
    """The suite with only the wanted tests; its nesting stays, because class and module fixtures hang on it."""
    import unittest

    return type(suite)([
        keep(t, only) if isinstance(t, unittest.TestSuite) else t
        for t in suite if isinstance(t, unittest.TestSuite) or t.id() in only])


def read_options() -> Record:
    """The options from standard input, which is empty for the tests afterwards."""
    with os.fdopen(os.dup(0), "rb") as file:
        options: Record = json.loads(file.read().decode("utf-8"))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return options


SIBLINGS: dict[str, types.ModuleType] = {}


def load_sibling(name: str) -> types.ModuleType:
    """A file of this folder as a module, once, without the folder ever being on sys.path or the module in sys.modules."""
    if name not in SIBLINGS:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        specification = importlib.util.spec_from_file_location(name, path)
        assert specification is not None
        assert specification.loader is not None
        SIBLINGS[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(SIBLINGS[name])
    return SIBLINGS[name]


def prepare_path(options: Record) -> None:
    """Import the judge, then put the tree on ``sys.path`` the way the options say."""
    if options.get("overlay"):
        sys.path.append(options["overlay"])
    # The judge is imported before the tree is on the path, or a pytest.py in the tree would be imported in its place.
    for name in (*LOADED_IN_EVERY_MODE, options["framework"]):
        __import__(name)
    if options.get("coverage"):
        __import__("coverage")
    if options["cwd_on_path"]:
        sys.path[0] = os.getcwd()
    else:
        del sys.path[0]


def main() -> None:
    """Do what the options on standard input ask for, with the report on the descriptor of the command line."""
    options = read_options()
    number = int(sys.argv[1])
    if options["mode"] != "cold":
        load_sibling("_ledex_serve").main(options, number)
        return
    send = open_channel(number)
    prepare_path(options)
    sys.argv = ["pytest" if options["framework"] == "pytest" else "python -m unittest", *options["arguments"]]
    root = os.path.realpath(os.getcwd())
    status = {"pytest": run_pytest, "unittest": run_unittest}[options["framework"]](options, send, root)
    send(kind="end", status=status)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
