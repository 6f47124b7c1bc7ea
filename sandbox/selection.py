"""Which Runner is used here: the strongest isolation that starts, and none only for who asked for none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox import IsolationUnavailable, SandboxError
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.container import ContainerRunner
from sandbox.limits import Limits
from sandbox.runner import Command, Runner
from sandbox.sandlock import SandlockRunner
from sandbox.unsafe import UnsafeRunner

RUNNERS: Mapping[str, Callable[[], Runner]] = {"bubblewrap": BubblewrapRunner, "sandlock": SandlockRunner, "container": ContainerRunner}
"""In the order in which they are tried."""


def select_runner(prefer: str = "auto", allow_unsafe: bool = False, runners: Mapping[str, Callable[[], Runner]] = RUNNERS) -> Runner:
    """The preferred runner, or the first that runs a command here; no isolation at all only where it is allowed, and only as the last.

    Raises IsolationUnavailable with each one's reason.
    """
    if prefer == "none":
        if not allow_unsafe:
            raise IsolationUnavailable("running without a sandbox has to be typed: --unsafe-no-sandbox")
        return UnsafeRunner()
    if prefer != "auto" and prefer not in runners:
        raise IsolationUnavailable(f"{prefer!r} is no isolation: choose auto, {', '.join(runners)} or none")
    reasons = []
    for name in runners if prefer == "auto" else (prefer,):
        try:
            runner = runners[name]()
            if runner.run(Command(("/bin/true",), limits=Limits(wall_seconds=60))).ok:
                return runner
            reasons.append(f"{name} does not run /bin/true")
        except SandboxError as error:
            reasons.append(str(error))
    if prefer == "auto" and allow_unsafe:
        return UnsafeRunner()
    raise IsolationUnavailable("; ".join(reasons))
