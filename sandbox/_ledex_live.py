"""The collected tests inside the process that runs them, and the bounds under which each is run.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+, beside pytest itself.
"""

from __future__ import annotations

import functools
import os
import re
import resource
import signal
import stat
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    import unittest
    from collections.abc import Callable, Iterable
    from typing import Any


class OutOfFuel(BaseException):
    """The candidate looped longer than it was given. BaseException, so that ``except Exception`` does not swallow it."""


class TimeUp(BaseException):
    """The candidate used up its wall time."""


FUEL = [0, 0]


class Tools:
    """What candidates' code calls: ``burn`` on every turn of a loop and call; ``seen`` and ``enter`` where values are recorded."""

    seen: Callable[[int, Any], Any]
    enter: Callable[[Any], None]

    @property
    def burn(self) -> None:
        """Burn one unit of fuel."""
        FUEL[0] -= 1
        if FUEL[0] < 0:
            raise OutOfFuel()


TOOLS = Tools()


def alarm(number: int, frame: types.FrameType | None) -> None:
    """The handler of the wall-time signal."""
    raise TimeUp()


def address_space() -> int:
    """Bytes of address space that this process has, as its forks will."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def cap_memory(wanted: int) -> None:
    """Let this worker take this many bytes of address space and no more, so that a runaway candidate gets a MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def stop_alarm() -> None:
    """Stop the timer, even when it goes off meanwhile."""
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        except TimeUp:
            continue


def cap_processor(seconds: int) -> None:
    """Give this worker the processor time of a cold run's process, in place of that of the server."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or seconds < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def drop_output() -> None:
    """Empty the files that pytest captures the output in: tests that are called directly leave theirs there."""
    for descriptor in (1, 2):
        about = os.fstat(descriptor)
        if about.st_size and stat.S_ISREG(about.st_mode):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)


class PytestItems:
    """The collected pytest items by id, and the quickest faithful way to run each."""

    def __init__(self, items: Iterable[Any], capture: Any) -> None:
        """``capture``: pytest's capture manager."""
        self.items: dict[str, Any] = {i.nodeid: i for i in items}
        self.capture = capture
        self.direct: dict[str, Callable[[], object] | None] = {i.nodeid: self.plain_call(i) for i in items}
        self.heard: list[str] | None = None

    def plain_call(self, item: Any) -> Callable[[], object] | None:
        """A callable that is the whole test, where nothing of pytest takes part in it; else None."""
        import pytest

        if type(item) is not pytest.Function or any(m.name != "parametrize" for m in item.iter_markers()):
            return None
        if item.obj.__code__.co_flags & 0x2A0 if hasattr(item.obj, "__code__") else True:  # generators, coroutines, wrappers
            return None
        specification = getattr(item, "callspec", None)
        parameters = dict(specification.params) if specification is not None else {}
        information = getattr(item, "_fixtureinfo", None)
        if information is None or set(information.names_closure) != set(parameters) or getattr(specification, "indirect", None):
            return None
        if set(information.argnames) != set(parameters):
            return None
        name, owner = item.originalname, item.cls
        if owner is None:
            return functools.partial(item.obj, **parameters)
        return lambda: getattr(owner(), name)(**parameters)

    def run(self, test_id: str) -> bool:
        """True when the test passes (or fails as expected), else False. OutOfFuel and TimeUp pass through."""
        call = self.direct[test_id]
        if call is not None:
            self.capture.resume_global_capture()
            os.environ["PYTEST_CURRENT_TEST"] = test_id.replace("\0", "(null)") + " (call)"  # as pytest does
            try:
                call()
            except (OutOfFuel, TimeUp):
                raise
            except BaseException as error:
                if self.heard is not None:
                    self.heard.append(failure_text(error))
                return False
            finally:
                os.environ.pop("PYTEST_CURRENT_TEST", None)
            return True
        from _pytest.runner import runtestprotocol

        reports = runtestprotocol(self.items[test_id], nextitem=None, log=False)
        if FUEL[0] < 0:
            raise OutOfFuel()
        return not any(r.failed for r in reports)

    def pause(self) -> None:
        """Let go of standard output and error, which direct calls capture."""
        self.capture.suspend_global_capture()


class UnittestItems:
    """The collected unittest cases by id."""

    def __init__(self, items: Iterable[unittest.TestCase]) -> None:
        self.items = {i.id(): i for i in items}
        self.direct: dict[str, Callable[[], object] | None] = {}
        self.heard: list[str] | None = None

    def run(self, test_id: str) -> bool:
        """True when the test passes (or fails as expected), else False. OutOfFuel and TimeUp pass through."""
        import unittest

        result = unittest.TestResult()
        unittest.TestSuite([self.items[test_id]]).run(result)
        if FUEL[0] < 0:
            raise OutOfFuel()
        if self.heard is not None:
            self.heard.extend(steady(text) for _, text in result.failures + result.errors)
        return result.wasSuccessful() and result.testsRun == 1

    def pause(self) -> None:
        """Nothing is captured here."""


def steady(text: str) -> str:
    """The end of a text without the addresses in it."""
    return re.sub("0x[0-9a-f]+", "0x", text)[-600:]


def failure_text(error: BaseException) -> str:
    """What a test raised, without the addresses in it."""
    try:
        return type(error).__name__ + ": " + steady(str(error))
    except Exception:
        return type(error).__name__


def pytest_serving(ready: Callable[[Any], None]) -> object:
    """The pytest plugin that hands the collected tests to ``ready`` in place of running them."""
    import pytest
    from _pytest.reports import TestReport

    class Serving:
        collected: PytestItems | None = None

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtestloop(self, session: Any) -> bool:
            self.collected = PytestItems(session.items, session.config.pluginmanager.getplugin("capturemanager"))
            ready(self.collected)
            return True

        def pytest_runtest_makereport(self, item: Any, call: Any) -> TestReport:
            """The usual report without the costly rendering of the traceback.

            In the usual order: the unittest plugin must hand over its exceptions first.
            """
            outcome: Any = "passed"
            representation: Any = None
            if call.excinfo is not None:
                if isinstance(call.excinfo.value, pytest.skip.Exception):
                    outcome, representation = "skipped", (str(item.fspath), 0, "skipped")
                else:
                    outcome, representation = "failed", "failed"
                    if self.collected is not None and self.collected.heard is not None:
                        self.collected.heard.append(failure_text(call.excinfo.value))
            return TestReport(item.nodeid, item.location, dict.fromkeys(item.keywords, 1), outcome, representation, call.when,
                              user_properties=item.user_properties)

    return Serving()


def collect(framework: types.ModuleType, options: dict[str, Any], ready: Callable[[Any], None]) -> None:
    """Import and collect the tests, then call ``ready`` with them within the framework's own session.

    ``framework``: the module _ledex_pytest or _ledex_unittest.
    """
    if options["framework"] == "pytest":
        import pytest

        pytest.main(framework.command_line(options), plugins=[framework.selection(options), pytest_serving(ready)])
        return
    import unittest

    class Runner(unittest.TextTestRunner):
        def run(self, test: unittest.TestSuite | unittest.TestCase) -> Any:
            ready(UnittestItems(framework.flatten(test)))
            return unittest.TestResult()

    unittest.main(module=None, argv=["python -m unittest", *options["arguments"]], testRunner=Runner, exit=False)
