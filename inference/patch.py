"""Patch: a unified diff in git's format, made from file contents byte for byte. The rules of what it may touch: ``sandbox.refusal``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

CONTEXT_LINES = 3


def unified_diff(changes: Mapping[str, tuple[bytes | None, bytes | None]]) -> bytes:
    """A diff that ``git apply`` takes: path -> (before, after), None where the file does not exist. Line ends and encodings survive."""
    parts: list[bytes] = []
    for path in sorted(changes):
        before, after = changes[path]
        if before == after:
            continue
        old_name, new_name = _quoted(b"a/", path), _quoted(b"b/", path)
        parts.append(b"diff --git %s %s\n" % (old_name, new_name))
        if before is None:
            parts.append(b"new file mode 100644\n")
        if after is None:
            parts.append(b"deleted file mode 100644\n")
        parts.append(b"--- %s\n" % (b"/dev/null" if before is None else old_name))
        parts.append(b"+++ %s\n" % (b"/dev/null" if after is None else new_name))
        parts += _hunks(_lines(before or b""), _lines(after or b""))
    return b"".join(parts)


def merged(before: bytes, one: bytes, other: bytes) -> bytes | None:
    """Two changes of the same content put together, line by line; None where they change the same line or add at the same place."""
    lines = _lines(before)
    changes = {
        (start, end, tuple(new[a:b]))
        for new in (_lines(one), _lines(other))
        for tag, start, end, a, b in difflib.SequenceMatcher(None, lines, new, autojunk=False).get_opcodes()
        if tag != "equal"
    }
    parts: list[bytes] = []
    at, added = 0, -1
    for start, end, text in sorted(changes):
        if start < at or start == end == added:
            return None
        parts += [*lines[at:start], *text]
        at, added = end, start if start == end else -1
    return b"".join([*parts, *lines[at:]])


def _lines(content: bytes) -> list[bytes]:
    """Lines as git counts them: ended by \\n alone, the end kept."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _hunks(old: list[bytes], new: list[bytes]) -> list[bytes]:
    parts = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT_LINES):
        first, last = group[0], group[-1]
        parts.append(b"@@ -%s +%s @@\n" % (_range(first[1], last[2]), _range(first[3], last[4])))
        for tag, a, b, c, d in group:
            if tag == "equal":
                parts += [_marked(b" ", line) for line in old[a:b]]
            else:
                parts += [_marked(b"-", line) for line in old[a:b]]
                parts += [_marked(b"+", line) for line in new[c:d]]
    return parts


def _marked(mark: bytes, line: bytes) -> bytes:
    return mark + line if line.endswith(b"\n") else mark + line + b"\n\\ No newline at end of file\n"


def _range(start: int, end: int) -> bytes:
    length = end - start
    if length == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if length else start, length)


def _quoted(prefix: bytes, path: str) -> bytes:
    """A path as git writes it in a diff: C-quoted when it holds control characters, quotes, backslashes or bytes above 127."""
    raw = prefix + path.encode("utf-8", "surrogateescape")
    if all(32 < b < 127 and b not in b'"\\' for b in raw.replace(b" ", b"_")):
        # git ends a name with a space by a tab, or it would read a time stamp into it
        return raw + (b"\t" if b" " in raw else b"")
    quoted = b"".join(
        bytes([b])
        if 32 <= b < 127 and b not in b'"\\'
        else {9: b"\\t", 10: b"\\n", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}.get(b, b"\\%03o" % b)
        for b in raw
    )
    return b'"' + quoted + b'"'
