"""Test frameworks: how each is detected, started and read. One plan says all that a run needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Framework = Literal["pytest", "unittest", "command"]


@dataclass(frozen=True)
class TestPlan:
    """How a project's tests are started.

    ``arguments`` go to pytest or unittest; ``shell`` is the command line of any other framework, whose JUnit XML lies at
    ``junit`` (relative to the tree; None when it writes none: then the whole command counts as one test). ``variables`` were set in front
    of the command.
    """

    __test__ = False

    framework: Framework
    arguments: tuple[str, ...] = ()
    cwd_on_path: bool = True
    shell: str = ""
    junit: str | None = None
    variables: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        """The command as a person would type it."""
        import shlex

        if self.framework == "command":
            return self.shell
        return shlex.join(["python", "-m", self.framework, *self.arguments])
