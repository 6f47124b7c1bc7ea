"""Edits of one source file as the templates make them: character spans and their replacement, nothing else touched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Edit:
    """Replace ``text[start:end]`` of the decoded file by ``new``. Offsets are characters of the file's text, line ends as in the file."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class FunctionSource:
    """A function (or the module body, ``qualname == "<module>"``) that candidates may edit.

    ``text`` is the whole file decoded, line ends kept; ``start``/``end`` the character span of the outermost replaceable unit
    (decorators included); ``lines`` (1-based) of the file that failing tests executed, empty when unknown; ``hot`` the line where
    an exception was raised, or None.
    """

    path: str
    text: str
    qualname: str
    start: int
    end: int
    lines: frozenset[int] = frozenset()
    suspicion: dict[int, float] | None = None
    hot: int | None = None
    exception: str = ""
    message: str = ""
    test_literals: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """One candidate patch of one function: ``edits`` sorted, not overlapping; ``template`` names what made it, ``bucket`` 1-5;
    ``cost`` orders candidates inside a bucket (smaller first); ``line`` is the first edited line of the original file."""

    function: FunctionSource
    edits: tuple[Edit, ...]
    template: str
    bucket: int
    cost: float
    line: int

    def apply(self) -> str:
        """The whole file's text with the edits made."""
        parts, at = [], 0
        for edit in self.edits:
            parts += [self.function.text[at : edit.start], edit.new]
            at = edit.end
        return "".join([*parts, self.function.text[at:]])
