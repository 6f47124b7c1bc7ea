"""A model's edits applied to the files that they name, exactly or refused with a reason that the model can use. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from inference.context import Excerpt
from inference.edit_places import redefined, replaced
from inference.text_edits import Edit, Malformed, Span, TextEdit, opened
from inference.untrusted import restored

Read = Callable[[str], bytes | None]
"""A file's content by its path from the tree's top; None where there is no such file."""
MOST_EDITS = 40
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def apply_edits(edits: Sequence[Edit], read: Read, shown: Sequence[Excerpt] = ()) -> dict[str, bytes] | Malformed:
    """Path -> the file's new content, byte for byte the old one outside the edits. All edits are of the files as they are, in any order.

    ``shown`` is what the model saw: it completes a path that is missing or lacks its folders, and decides between two places that a
    search text fits where the model saw only one of them. Never raises for anything in ``edits`` or in a file.
    """
    if not edits:
        return Malformed("no_edits", "it holds no change")
    if len(edits) > MOST_EDITS:
        return Malformed("too_many", f"it holds {len(edits)} changes; {MOST_EDITS} is the most")
    by_path: dict[str, list[Edit]] = {}
    for edit in dict.fromkeys(edits):  # the same change said twice is one change
        path = _path(edit, read, shown)
        if isinstance(path, Malformed):
            return path
        by_path.setdefault(path, []).append(edit)
    changed: dict[str, bytes] = {}
    for path, group in by_path.items():
        content = read(path)
        after = _created(path, group) if content is None else _edited(path, content, group, shown)
        if isinstance(after, Malformed):
            return after
        changed[path] = after
    return changed


def _path(edit: Edit, read: Read, shown: Sequence[Excerpt]) -> str | Malformed:
    raw = edit.path.strip().strip("`'\"*").strip()
    known = list(dict.fromkeys(e.path for e in shown))
    if not raw:
        fitting = [p for p in known if _fits(edit, p, read, shown)]
        if len(fitting) == 1:
            return fitting[0]
        return Malformed("no_path", "a change does not name its file: write the path in the line before it")
    path = raw.replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    parts = path.split("/")
    if path.startswith(("/", "~")) or _DRIVE.match(raw) or _UNPRINTABLE.search(path) or ".." in parts or len(path) > 300:
        return Malformed("outside", f"{path[:80]!r} is outside of the work tree: paths start at its top")
    if "" in parts or "." in parts or any(part.lower() == ".git" for part in parts):
        return Malformed("outside", f"{path[:80]!r} is no path of a file that may be changed")
    for candidate in dict.fromkeys((path, path[2:] if path[:2] in ("a/", "b/") else path)):
        if read(candidate) is not None:
            return candidate
    tails = [p for p in known if p.endswith("/" + path) or path.endswith("/" + p)]
    if len(tails) == 1:
        return tails[0]
    if isinstance(edit, TextEdit) and not edit.search.strip() and edit.replace.strip():
        return path[2:] if path[:2] in ("a/", "b/") else path
    hint = f": the files shown are {', '.join(known[:6])}" if known else ""
    return Malformed("no_file", f"there is no file {path[:80]!r}{hint}")


def _fits(edit: Edit, path: str, read: Read, shown: Sequence[Excerpt]) -> bool:
    content = read(path)
    return content is not None and not isinstance(_edited(path, content, [edit], shown), Malformed)


def _created(path: str, group: Sequence[Edit]) -> bytes | Malformed:
    if len(group) > 1 or not isinstance(group[0], TextEdit):
        return Malformed("no_file", f"there is no file {path[:80]!r}")
    text = restored(group[0].replace).strip("\n") + "\n"
    return text.encode("utf-8", "replace")


def _edited(path: str, content: bytes, group: Sequence[Edit], shown: Sequence[Excerpt]) -> bytes | Malformed:
    file = opened(path, content)
    if isinstance(file, Malformed):
        return file
    seen = [(e.first_line - 1, e.first_line + e.text.count("\n")) for e in shown if e.path == path]
    spans: list[Span] = []
    for edit in group:
        found = replaced(file, edit, seen) if isinstance(edit, TextEdit) else redefined(file, edit, seen)
        if isinstance(found, Malformed):
            return found
        spans += found
    spans.sort(key=lambda s: (s[0], s[1]))
    for one, other in itertools.pairwise(spans):
        if other[0] < one[1] or (one[0], one[1]) == (other[0], other[1]):
            return Malformed("overlap", f"two changes of {path[:80]} overlap: write them as one")
    try:
        return file.source.encode(file.spliced(spans))
    except (UnicodeError, LookupError):
        return Malformed("encoding", f"{path[:80]} is written in {file.source.encoding}, which has not all of the new characters")
