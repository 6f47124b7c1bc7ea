"""What a completion says, read tolerantly: the explanation, the edits, and the exact border between the two. Pure, and it never raises.

``render_completion`` writes the canonical form, which training teaches; ``parse_completion`` reads that and what models make of it
(``inference.completion_reader``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from inference.completion_reader import Reader
from inference.edit_application import apply_edits
from inference.prompt import Mode
from inference.text_edits import BlockEdit, Edit, Malformed, TextEdit

__all__ = ["BlockEdit", "Edit", "Malformed", "Parsed", "TextEdit", "apply_edits", "completion_regex", "parse_completion",
           "render_completion"]  # fmt: skip

MOST_CHARACTERS, MOST_LINES = 200_000, 5_000


@dataclass(frozen=True)
class Parsed:
    """``explanation_span`` and ``refinement_span`` are character offsets into the completion that do not overlap; the refinement runs
    from the first edit's path, fence or mark to the last edit's end. The explanation is "" and has no span where there is none, and in
    the mode ``refine`` always."""

    explanation: str
    explanation_span: tuple[int, int] | None
    refinement_span: tuple[int, int]
    edits: tuple[Edit, ...]


def render_completion(explanation: str, edits: Sequence[TextEdit]) -> str:
    """The canonical text of a completion; without an explanation it is that of the mode ``refine``. An edit that holds a line which the
    form itself uses does not come back from ``parse_completion``: see ``survives``."""
    blocks = [f"{e.path}\n<<<<<<< SEARCH\n{_closed(e.search)}=======\n{_closed(e.replace)}>>>>>>> REPLACE" for e in edits]
    return "\n\n".join([*([explanation.strip()] if explanation.strip() else []), *blocks]) + "\n"


def survives(explanation: str, edits: Sequence[TextEdit]) -> bool:
    """Whether the canonical text is read as what it was made of."""
    parsed = parse_completion(render_completion(explanation, edits), "explain")
    return isinstance(parsed, Parsed) and parsed.explanation == explanation.strip() and parsed.edits == tuple(edits)


def completion_regex(mode: Mode, paths: Sequence[str]) -> str:
    """A regular expression (of automata: no look-around) that the canonical form matches, for servers with structured output.

    ``paths`` are the files that may be edited. No line of an edit begins with ``=``, ``<`` or ``>``: rare, and it keeps the marks unique.
    """
    line = r"(?:[^\n<>=][^\n]*)?\n"
    path = "|".join(re.sub(r"([\\.+*?()\[\]{}|^$])", r"\\\1", p) for p in paths) if paths else r"[\w.\-]+(?:/[\w.\-]+)*"
    edit = rf"(?:{path})\n<<<<<<< SEARCH\n(?:{line})+=======\n(?:{line})*>>>>>>> REPLACE\n"
    explanation = r"(?:[^\n<>=`][^\n]*\n)+\n" if mode == "explain" else ""
    return rf"{explanation}{edit}(?:\n{edit})*"


def parse_completion(text: str, mode: Mode, finished: bool = True) -> Parsed | Malformed:
    """The explanation and the edits of a completion. ``finished``: it ended by itself; one that was cut may not end within an edit."""
    if len(text) > MOST_CHARACTERS:
        return Malformed("too_long", f"it has more than {MOST_CHARACTERS} characters")
    if text.count("\n") > MOST_LINES:
        return Malformed("too_long", f"it has more than {MOST_LINES} lines")
    if not text.strip():
        return Malformed("empty", "it is empty")
    reader = Reader(text, finished)
    trouble = reader.read()
    if trouble is not None:
        return trouble
    found = reader.found or reader.pathless
    if not found:
        if not finished:
            return Malformed("unfinished", "it was cut before it held a change: explain in fewer words")
        return Malformed("no_edits", "it holds no change: write the path, then <<<<<<< SEARCH, =======, >>>>>>> REPLACE")
    first, last = min(f.start for f in found), max(f.end for f in found)
    begin, end = reader.begin, first
    while begin < end and text[begin].isspace():
        begin += 1
    while end > begin and text[end - 1].isspace():
        end -= 1
    explained = mode == "explain" and begin < end
    return Parsed(text[begin:end] if explained else "", (begin, end) if explained else None, (first, last),
                  tuple(e for f in found for e in f.edits))  # fmt: skip


def _closed(text: str) -> str:
    return text + "\n" if text else ""
