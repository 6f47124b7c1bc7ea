"""Test frameworks: how each is detected, started and read. One plan says all that a run needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Framework = Literal["pytest", "unittest", "command", "node", "vitest", "jest", "go", "cargo", "maven", "gradle"]

_TYPED = {
    "node": "node --test", "vitest": "vitest run", "jest": "jest", "go": "go test ./...", "cargo": "cargo test --workspace",
    "maven": "mvn test", "gradle": "gradle test",
}  # fmt: skip
BUILD, LOAD = "[build]", "[load]"
"""The last part of the id that stands for a package's compilation, and for a test file that its runner must load. Such an id is reported
only where that failed; it passes once tests below it have outcomes."""


@dataclass(frozen=True)
class TestPlan:
    """How a project's tests are started.

    ``arguments`` go to pytest or unittest; ``shell`` is the command line of any other framework, whose JUnit XML lies at
    ``junit`` (relative to the tree; None when it writes none: then the whole command counts as one test). ``variables`` were set in front
    of the command. ``folder`` is the project of a monorepo whose tests these are, relative to the tree; "." is the tree itself. ``shell``
    of a JavaScript framework is the project's own test script.
    """

    __test__ = False

    framework: Framework
    arguments: tuple[str, ...] = ()
    cwd_on_path: bool = True
    shell: str = ""
    junit: str | None = None
    variables: tuple[tuple[str, str], ...] = ()
    folder: str = "."

    def describe(self) -> str:
        """The command as a person would type it."""
        import shlex

        if self.framework == "command":
            return self.shell
        if self.framework in _TYPED:
            inside = f"cd {shlex.quote(self.folder)} && " if self.folder != "." else ""
            return " ".join([inside + (self.shell or _TYPED[self.framework]), *map(shlex.quote, self.arguments)])
        return shlex.join(["python", "-m", self.framework, *self.arguments])
