"""Judge thousands of candidate edits a second: tests are collected once, then each candidate runs in a fork or in place.

Started by ``_ledex_run.py``, beside the ``_ledex_*.py`` files that it loads: ``live`` (the collected tests), ``state`` (what a run leaves
behind), ``swap`` (candidates' code), ``fork`` (workers), and the requests: ``probe``, ``judge``, ``observe``. OPTIONS as for ``run``, with
mode "swap" (collect once; candidates replace the code of live functions) or "import" (nothing imported beforehand; each candidate is
imported anew in its fork), plus cpu_seconds of a cold run's process. One JSON object a line each way on FD. Requests: probe, judge,
observe, behave, quit. This process itself runs no test that leaves anything behind: forked workers do, and a worker that hangs, crashes or
soils its state is thrown away. Nothing said here is ever shown: plausible candidates are judged again, cold. Standard library only,
Python 3.8+, beside pytest itself.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable
    from typing import Any, Protocol, Union

    from sandbox import _ledex_fork as forking
    from sandbox import _ledex_judge as judging
    from sandbox import _ledex_live as live
    from sandbox import _ledex_observe as observing
    from sandbox import _ledex_probe as probing
    from sandbox import _ledex_run as run
    from sandbox import _ledex_state as state
    from sandbox import _ledex_swap as swapping
    from sandbox._ledex_fork import Channel, Record

    Outcome = Union[bool, str]

    class Items(Protocol):
        """The collected tests: PytestItems or UnittestItems of ``_ledex_live.py``."""

        items: dict[str, Any]
        direct: dict[str, Callable[[], object] | None]
        heard: list[str] | None

        def run(self, test_id: str) -> bool:
            """True when the test passes."""

        def pause(self) -> None:
            """Stop capturing output."""
else:
    run = sys.modules["__main__"]  # _ledex_run.py, by which every mode is started
    forking, live, state, swapping = (run.load_sibling("_ledex_" + name) for name in ("fork", "live", "state", "swap"))
    judging, observing, probing = (run.load_sibling("_ledex_" + name) for name in ("judge", "observe", "probe"))

swapping.TOOLS[:] = [live.TOOLS]


class Server:
    """The collected tests, and the requests that are answered with them."""

    def __init__(self, options: Record, channel: Channel, root: str) -> None:
        self.options, self.channel, self.root = options, channel, root
        self.framework = run.load_sibling("_ledex_" + options["framework"])  # here, where every worker inherits it
        self.items: Items | None = None
        self.texts: dict[str, list[str] | None] = {}
        self.space = 0
        self.judge = judging.Judge(self)
        self.workers = forking.Workers(channel.descriptor)

    def collect_then(self, serve: Callable[[], None]) -> None:
        """Import and collect the tests, then call ``serve`` from within the framework's own session."""

        def ready(items: Items) -> None:
            self.items = items
            serve()

        live.collect(self.framework, self.options, ready)

    def set_up(self, memory: int) -> None:
        """Give this worker its alarm and its limits: ``memory`` bytes beyond what it was forked with."""
        signal.signal(signal.SIGALRM, live.alarm)
        live.cap_memory(self.space + memory)
        live.cap_processor(self.options["cpu_seconds"])

    def collected(self) -> Items:
        """The collected tests."""
        assert self.items is not None, "requests come after the collection"
        return self.items

    def run_test(self, test_id: str, fuel: int, seconds: float) -> Outcome:
        """True, False, "fuel" or "time"."""
        live.FUEL[0] = fuel
        live.drop_output()
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            return self.collected().run(test_id)
        except live.OutOfFuel:
            return "fuel"
        except live.TimeUp:
            return "time"
        finally:
            live.stop_alarm()

    def failing_text(self, test_id: str, fuel: int, seconds: float) -> list[str] | None:
        """What a failing test raised; None where it passes."""
        heard: list[str] = []
        self.collected().heard = heard
        try:
            return None if self.run_test(test_id, fuel, seconds) is True else heard
        finally:
            self.collected().heard = None

    def loop(self) -> None:
        """Answer requests until the other side is gone."""
        state.find_caches(self.root)
        self.workers.find_outputs()
        self.channel.send({"kind": "ready"})
        while True:
            request = self.channel.receive()
            if request is None or request["op"] == "quit":
                os._exit(0)
            self.space = live.address_space()
            self.answer(request)

    def answer(self, request: Record) -> None:
        """Do what one request asks for; the answers go out on the channel."""
        if request["op"] == "judge":
            self.judge.judge(request)
        else:
            {"probe": probing.probe, "observe": observing.observe, "behave": observing.behave}[request["op"]](self, request)


def main(options: Record, number: int) -> None:
    """Serve the tests that the options describe, on this descriptor."""
    channel = forking.Channel(number)
    server = Server(options, channel, run.prepare(options))
    if options["mode"] == "import":
        if options["framework"] == "pytest":
            import _pytest.runner  # noqa: F401
            import pytest  # noqa: F401
        server.loop()
    else:
        server.collect_then(server.loop)
        channel.send({"kind": "failed", "message": "the tests could not be collected"})
