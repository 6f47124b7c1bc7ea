"""Which lines a unified diff touches on its new side, whatever a hostile diff holds; and which lines differ between two trees."""

from __future__ import annotations

import re

from inference.patch import unified_diff
from sandbox import WorkspaceError
from sandbox.workspace import Workspace

_MOST_BYTES, _MOST_FILES = 512 << 10, 300
_HUNK = re.compile(rb"@@ -\d{1,9}(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.S)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


def touched_lines(diff: bytes) -> dict[str, frozenset[int]]:
    """Path -> lines that the diff adds or changes, counted from 1 on the new side. Where it only takes lines away, their two neighbours.

    Files that the diff deletes are left out. Paths are as in the tree, so the prefix ``b/`` is taken off.
    """
    found: dict[str, set[int]] = {}
    path: str | None = None
    old = new = at = 0
    gone = False
    for line in diff.split(b"\n"):
        if old <= 0 and new <= 0:
            if gone:
                _between(found, path, at)
                gone = False
            if line.startswith(b"+++ "):
                path = _path(line[4:])
            elif line.startswith((b"diff --git ", b"--- ")):
                path = None
            elif (hunk := _HUNK.match(line)) is not None:
                old, new = (int(n) if n is not None else 1 for n in (hunk[1], hunk[3]))
                # With no line on the new side the number names the line before the hunk.
                at = int(hunk[2]) + (new == 0)
            continue
        mark = line[:1]
        if mark == b"+":
            if path is not None:
                found.setdefault(path, set()).add(at)
            at, new, gone = at + 1, new - 1, False
        elif mark == b"-":
            old, gone = old - 1, True
        elif mark != b"\\":  # "\ No newline at end of file" is no line
            if gone:
                _between(found, path, at)
                gone = False
            at, old, new = at + 1, old - 1, new - 1
    if gone:
        _between(found, path, at)
    return {name: frozenset(lines) for name, lines in found.items()}


def touched_between(base: Workspace, head: Workspace) -> dict[str, frozenset[int]]:
    """What ``head`` added to or changed in the text files of ``base``; larger files, and what comes after 300, are left out."""
    changes: dict[str, tuple[bytes | None, bytes | None]] = {}
    for path in head.files:
        before, after = (_content(tree, path) for tree in (base, head))
        if after is not None and before != after and b"\0" not in after[:8000]:
            changes[path] = (before, after)
            if len(changes) == _MOST_FILES:
                break
    return touched_lines(unified_diff(changes))


def _content(tree: Workspace, path: str) -> bytes | None:
    try:
        if not tree.exists(path) or tree.path(path).lstat().st_size > _MOST_BYTES:
            return None
        return tree.read(path)
    except (WorkspaceError, OSError):
        return None


def _between(found: dict[str, set[int]], path: str | None, at: int) -> None:
    if path is not None:
        found.setdefault(path, set()).update({max(at - 1, 1), at})


def _path(name: bytes) -> str | None:
    """The path of a ``+++`` line: C-quoted or bare, a time stamp behind a tab cut off."""
    name = name.rstrip(b"\r")
    quoted = name.startswith(b'"')
    name = _ESCAPE.sub(_unescaped, name[1:].rsplit(b'"', 1)[0]) if quoted else name.split(b"\t", 1)[0]
    if name == b"/dev/null":
        return None
    return name.removeprefix(b"b/").decode("utf-8", "surrogateescape")


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes([int(code, 8) & 255]) if len(code) == 3 else _LETTERS.get(code, code)
