"""A verified patch -> review suggestions, where every hunk lies inside the pull request's diff; else None. Pure.

GitHub takes a suggestion only on lines that the diff shows on its right side, start and end within one hunk (else 422). A suggestion cannot
say everything that a patch can: new and deleted files, missing last line ends, CRLF and hidden characters go another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from bot.markdown import visible

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_MAX = 10


@dataclass(frozen=True)
class Suggestion:
    """One comment of a review. ``start_line`` is None for a single line; lines are 1-based lines of the head."""

    path: str
    start_line: int | None
    line: int
    body: str
    side: Literal["RIGHT"] = "RIGHT"


@dataclass(frozen=True)
class _Replacement:
    """Lines ``start`` to ``end`` of the head, as they are and as they shall be."""

    path: str
    start: int
    end: int
    old: tuple[str, ...]
    new: tuple[str, ...]


def suggestions(patch: bytes, pr_files: Mapping[str, str | None], note: str = "") -> tuple[Suggestion, ...] | None:
    """One suggestion for each hunk of ``patch`` (a diff against the verified head). ``pr_files``: path -> the ``patch`` text that GitHub
    gives for the file, None where it gives none. ``note`` is our own Markdown, shown above. None when a hunk cannot be one."""
    try:
        replacements = list(_replacements(patch.decode("utf-8")))
    except (UnicodeDecodeError, _Inexpressible):
        return None
    if not replacements or len(replacements) > _MAX:
        return None
    found = []
    for r in replacements:
        lines = dict(zip(range(r.start, r.end + 1), r.old, strict=True))
        if not any(lines.items() <= hunk.items() for hunk in _shown(pr_files.get(r.path))):
            return None
        found.append(Suggestion(r.path, r.start if r.start < r.end else None, r.end, _body(r, note)))
    return tuple(found)


def _body(replacement: _Replacement, note: str) -> str:
    text = "".join(f"{line}\n" for line in replacement.new)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    block = f"{ticks}suggestion\n{text}{ticks}"
    return f"{note}\n\n{block}" if note else block


class _Inexpressible(Exception):
    """The patch holds something that no suggestion can say."""


def _replacements(patch: str) -> Iterator[_Replacement]:
    path = ""
    lines = patch.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if hunk := _HUNK.match(line):
            old, new = int(hunk.group(2) or 1), int(hunk.group(4) or 1)
            body: list[str] = []
            while at < len(lines) and (old > 0 or new > 0):
                mark = lines[at][:1]
                old -= mark in (" ", "-", "")
                new -= mark in (" ", "+", "")
                body.append(lines[at] or " ")
                at += 1
            yield _replacement(path, int(hunk.group(1)), body)
        elif line.startswith("--- a/"):
            path = line[6:].rstrip("\t")
        elif line.startswith("+++ b/"):
            if line[6:].rstrip("\t") != path:
                raise _Inexpressible
        elif line and not line.startswith(("diff --git a/", "index ")):
            raise _Inexpressible  # new, deleted, renamed, quoted and binary files, and files without a last line end


def _replacement(path: str, start: int, body: list[str]) -> _Replacement:
    changed = [i for i, line in enumerate(body) if line[0] != " "]
    if not changed or any(visible(line) != line for line in body) or any(line[0] not in " +-" for line in body):
        raise _Inexpressible
    first, last = changed[0], changed[-1]
    if not any(line[0] != "+" for line in body[first : last + 1]):  # an insertion needs a line to stand on
        if first:
            first -= 1
        elif last + 1 < len(body):
            last += 1
        else:
            raise _Inexpressible
    begin = start + sum(line[0] != "+" for line in body[:first])
    part = body[first : last + 1]
    old = tuple(line[1:] for line in part if line[0] != "+")
    return _Replacement(path, begin, begin + len(old) - 1, old, tuple(line[1:] for line in part if line[0] != "-"))


def _shown(patch: str | None) -> Iterator[dict[int, str]]:
    """For each hunk of a file's diff, the lines of its right side by number."""
    right: dict[int, str] = {}
    number = 0
    for line in (patch or "").split("\n"):
        if hunk := _HUNK.match(line):
            if right:
                yield right
            right, number = {}, int(hunk.group(3))
        elif number and line[:1] in (" ", "+"):
            right[number] = line[1:]
            number += 1
    if right:
        yield right
