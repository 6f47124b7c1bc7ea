"""Running tests with unittest: the selection that cold runs and warm servers share, and the reporter of cold runs.

Loaded by ``_ledex_run.py`` and ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import sys
import time
import traceback
import unittest
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Iterator
    from typing import Any

    from sandbox import _ledex_report as reporting
    from sandbox._ledex_report import Lines, Record, Send
else:
    reporting = sys.modules["__main__"].load_sibling("_ledex_report")


def reporter(send: Send, lines: Lines, root: str, failed: list[str]) -> type[unittest.TextTestResult[Any]]:
    """The class of result that sends every outcome; ids of failed tests are added to ``failed``."""
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
                text = reporting.short("".join(traceback.format_exception(*error)), reporting.TEXT)
                record.update(reporting.describe(error[1], root), text=text)

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
                send(kind="collection_error", id=test.id(), text=reporting.short("".join(traceback.format_exception(*err)), reporting.TEXT),
                     **reporting.describe(err[1], root))
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


def run(options: Record, send: Send, root: str) -> int:
    """Run the tests with unittest; the exit status that ``python -m unittest`` has on Python 3.12."""
    only: set[str] = set(options["only"])
    lines = reporting.Lines(options["coverage"], root)
    failed: list[str] = []

    class Runner(unittest.TextTestRunner):
        resultclass = reporter(send, lines, root, failed)

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
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            for inner in flatten(test):
                yield inner
        else:
            yield test


def keep(suite: unittest.TestSuite, only: set[str]) -> unittest.TestSuite:
    """The suite with only the wanted tests; its nesting stays, because class and module fixtures hang on it."""
    return type(suite)([
        keep(t, only) if isinstance(t, unittest.TestSuite) else t
        for t in suite if isinstance(t, unittest.TestSuite) or t.id() in only])
