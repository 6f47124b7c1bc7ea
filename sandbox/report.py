"""TestReport and Failure, and the pure readers that make them: JUnit XML and CI log text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]


@dataclass(frozen=True)
class Frame:
    """One traceback frame; ``path`` relative to the tree where it lies in it, else absolute. ``line`` counts from 1."""

    path: str
    line: int
    function: str


@dataclass(frozen=True)
class Failure:
    """One failing test as it was observed. ``frames`` outermost first."""

    test_id: str
    exception: str
    message: str
    frames: tuple[Frame, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class TestReport:
    """Outcome of every collected test, in the order they ran, and the failures' details."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    outcomes: dict[str, Outcome]
    failures: tuple[Failure, ...] = ()
    collection_errors: tuple[Failure, ...] = ()
    complete: bool = True
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(i for i, o in self.outcomes.items() if o in ("failed", "error"))

    @property
    def passed(self) -> tuple[str, ...]:
        return tuple(i for i, o in self.outcomes.items() if o in ("passed", "xfailed"))
