"""The tolerant half of reading a completion: where its edits stand, whatever form a model gave them. Pure, and it never raises.

Search/replace blocks with marks of other lengths or without their end, fences left out or put around, paths in headings, in fences, in
comments, with ``a/`` or in backticks, unified diffs, and whole functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from inference.blocks import definitions
from inference.text_edits import BlockEdit, Edit, Malformed, TextEdit

_SEARCH = re.compile(r"[ \t]*<{5,9} ?(?:SEARCH|ORIGINAL|HEAD|BEFORE|OLD)\b.*", re.I)
_DIVIDER = re.compile(r"([ \t]*)={7}[ \t]*")
_REPLACE = re.compile(r"[ \t]*>{5,9} ?(?:REPLACE|UPDATED|AFTER|NEW)\b.*|[ \t]*>{7}[ \t]*", re.I)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*([^`]*)")
_PART = r"[\w.@+~\-\[\]()]+"
_FILE = rf"[\w@+~\-\[\]()]{_PART[:-1]}*\.[A-Za-z]\w{{0,9}}|Dockerfile|Makefile|Rakefile|Gemfile"
_NAME = rf"(?:{_PART}[/\\])*(?:{_FILE})|(?:{_PART}[/\\])+{_PART}"
_PATH_LINE = re.compile(
    rf"[#*>\- \t]*(?:(?:in|file|path|filename|edit|change|update)[ \t]*:?[ \t]*)?[*`\"']*(/?(?:\.{{1,2}}/)*(?:{_NAME}))"
    r"[*`\"']*[ \t]*:?[ \t]*[*`]*[ \t]*", re.I)  # fmt: skip
_COMMENTED_PATH = re.compile(rf"[ \t]*(?:#|//|--|;|/\*)[ \t]*({_NAME})[ \t]*(?:\*/)?[ \t]*")
_QUOTED_PATH = re.compile(rf"`({_NAME})`")
_HUNK = re.compile(r"@@(?: -\d{1,9}(?:,\d{1,9})? \+\d{1,9}(?:,\d{1,9})? @@.*|.*)")
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.S)
_BEFORE_A_DIFF = ("diff --git ", "index ")
_LOOK_BACK, _FURTHEST = 3, 8
_WIDEST = 400
"""Characters of a line that may name a file."""


@dataclass(frozen=True)
class Found:
    """Edits that stand together, and the characters of the completion that they take up: from the first one's path, fence or mark on."""

    start: int
    end: int
    edits: tuple[Edit, ...]


class Reader:
    """One pass over the lines of a completion. ``begin`` is where a thought in front of the answer ends, ``found`` are its edits in order;
    those of ``pathless`` name no file, and count where there are no others."""

    def __init__(self, text: str, finished: bool) -> None:
        thought = _THOUGHT.match(text)
        self.begin = thought.end() if thought is not None else 0
        self.finished = finished
        self.lines: list[str] = []
        self.starts: list[int] = []
        at = self.begin
        for line in text[self.begin :].split("\n"):
            self.lines.append(line.removesuffix("\r"))
            self.starts.append(at)
            at += len(line) + 1
        self.fences = {n: m for n, line in enumerate(self.lines) if (m := _FENCE.fullmatch(line)) is not None}
        self.closers = [n for n, found in self.fences.items() if not found[2].strip()]
        self.searches = [n for n, line in enumerate(self.lines) if _SEARCH.fullmatch(line) is not None]
        self.found: list[Found] = []
        self.pathless: list[Found] = []
        self.free = 0
        """The first line that belongs to no edit yet."""
        self.path = ""
        """Of the edit before: further ones of the same file often leave it out."""

    def read(self) -> Malformed | None:
        """Fill ``found`` and ``pathless``, or say why the completion cannot be read."""
        at = 0
        while at < len(self.lines):
            step = self._search(at) or self._diff(at, len(self.lines)) or self._fenced(at)
            if isinstance(step, Malformed):
                return step
            at = step or at + 1
        if not self.found and not self.pathless:
            self._bare()
        return None

    def _end(self, line: int) -> int:
        """The offset behind the text of a line."""
        return self.starts[line] + len(self.lines[line])

    def _add(self, first: int, last: int, edits: Sequence[Edit], pathless: bool = False) -> int:
        found = Found(self.starts[first], self._end(last), tuple(edits))
        (self.pathless if pathless else self.found).append(found)
        if not pathless:
            self.free = last + 1
            self.path = edits[-1].path or self.path
        return last + 1

    def _named(self, at: int) -> tuple[int, str]:
        """(the line where the edit begins that has its mark or fence in line ``at``, its path); the path is "" where none is named."""
        first, seen = at, 0
        for n in range(at - 1, max(self.free, at - _FURTHEST) - 1, -1):
            line = self.lines[n]
            if not line.strip():
                continue
            seen += 1
            fence = self.fences.get(n)
            if fence is not None:
                inside = _path_in(_PATH_LINE, fence[2].split(" ")[-1].split(":")[-1]) if fence[2].strip() else None
                if inside is not None:
                    return n, inside[1]
                first = n
                continue
            named = _path_in(_PATH_LINE, line) or _path_in(_COMMENTED_PATH, line)
            if named is not None:
                return n, named[1]
            quoted = _QUOTED_PATH.findall(line[:_WIDEST])
            if len(set(quoted)) == 1:
                return first, quoted[0]
            if seen >= _LOOK_BACK or fence is None:
                break
        return first, ""

    def _search(self, at: int) -> int | Malformed | None:
        """A search/replace block whose first mark stands in this line."""
        if _SEARCH.fullmatch(self.lines[at]) is None:
            return None
        stop = next((n for n in self.searches if n > at), len(self.lines))
        margin = self.lines[at][: len(self.lines[at]) - len(self.lines[at].lstrip())]
        ends = [n for n in range(at + 1, stop) if _REPLACE.fullmatch(self.lines[n])]
        # What stands behind the last end mark that may belong to this block is other text: dividers there are none of its own.
        last = ends[0] if ends else stop
        dividers = [(n, m[1]) for n in range(at + 1, last) if (m := _DIVIDER.fullmatch(self.lines[n])) is not None]
        aligned = [n for n, indent in dividers if indent == margin] or [n for n, _ in dividers]
        if not aligned:
            if not self.finished and stop == len(self.lines):
                return Malformed("unfinished", "it was cut in the middle of a change: write less")
            return Malformed("no_divider", "a change has no line ======= between the lines of the file and the new ones")
        if len(aligned) > 1:
            return Malformed("dividers", "a change has several lines =======: choose lines of the file without one")
        middle = aligned[0]
        closing = last
        if not ends:
            fences = [n for n in range(middle + 1, stop) if (f := _FENCE.fullmatch(self.lines[n])) is not None and not f[2].strip()]
            if fences:
                closing = fences[0]
            elif stop < len(self.lines):
                return Malformed("no_end", "a change has no line >>>>>>> REPLACE at its end")
            elif not self.finished:
                return Malformed("unfinished", "it was cut in the middle of a change: write less")
        first, path = self._named(at)
        search, replace = self.lines[at + 1 : middle], self.lines[middle + 1 : closing]
        if not ends and closing == len(self.lines):
            while replace and not replace[-1].strip():
                replace.pop()
        last = min(closing, len(self.lines) - 1)
        if ends and first < at and _FENCE.fullmatch(self.lines[first]) is not None and last + 1 < len(self.lines):
            fence = _FENCE.fullmatch(self.lines[last + 1])
            last += fence is not None and not fence[2].strip()
        return self._add(first, last, [TextEdit(path or self.path, "\n".join(search), "\n".join(replace))])

    def _fenced(self, at: int) -> int | Malformed | None:
        """A fenced block: a diff, or whole functions of the file that is named before it, in its info string or in its first line."""
        opening = self.fences.get(at)
        if opening is None:
            return None
        close = next((n for n in self.closers if n > at and self._closes(n, opening[1])), None)
        if any(at < n < (close if close is not None else len(self.lines)) for n in self.searches):
            return None  # the fence is around a search/replace block, which is read by itself
        if close is None and not self.finished:
            return Malformed("unfinished", "it was cut in the middle of a change: write less")
        stop = close if close is not None else len(self.lines)
        for n in range(at + 1, stop):
            if isinstance(step := self._diff(n, stop), Malformed):
                return step
            if step is not None:
                return stop + 1
        first, path = self._named(at + 1)
        body = self.lines[at + 1 : stop]
        if body and (named := _path_in(_COMMENTED_PATH, body[0])) is not None:
            path, body = path or named[1], body[1:]
        if not any(d.kind == "function" for d in definitions(body)):
            return stop + 1  # it shows something: a value, a call, the wrong line
        self._add(first, min(stop, len(self.lines) - 1), [BlockEdit(path, "\n".join(body))], pathless=not path)
        return stop + 1

    def _closes(self, n: int, fence: str) -> bool:
        found = self.fences[n]
        return found[1][0] == fence[0] and len(found[1]) >= len(fence)

    def _diff(self, at: int, stop: int) -> int | Malformed | None:
        """A unified diff whose ``---`` and ``+++`` lines begin here, up to line ``stop``."""
        if not (self.lines[at].startswith("--- ") and at + 1 < stop and self.lines[at + 1].startswith("+++ ")):
            return None
        old, new = (self.lines[n][4:].split("\t")[0].strip() for n in (at, at + 1))
        if new == "/dev/null":
            return Malformed("deletes", "it deletes a file, which no repair does")
        edits: list[Edit] = []
        before: list[str] = []
        after: list[str] = []
        end = n = at + 2

        def close() -> None:
            if before or after:
                edits.append(TextEdit(new, "\n".join(before), "\n".join(after)))
            before.clear()
            after.clear()

        while n < stop:
            line = self.lines[n]
            if _HUNK.fullmatch(line):
                close()
            elif line.startswith("--- ") and n + 1 < stop and self.lines[n + 1].startswith("+++ "):
                break
            elif line[:1] in (" ", "-", "+", "\\") or not line:
                before += [line[1:]] if line[:1] in (" ", "-", "") else []
                after += [line[1:]] if line[:1] in (" ", "+", "") else []
            else:
                break
            n += 1
            if line.strip():
                end = n
        close()
        if not edits:
            return None
        if old != "/dev/null" and any(isinstance(e, TextEdit) and not e.search.strip() for e in edits):
            return Malformed("empty_search", "a hunk of the diff has no line of the file to hold on to")
        first = at
        while first > self.free and (self.lines[first - 1].startswith(_BEFORE_A_DIFF) or _FENCE.fullmatch(self.lines[first - 1])):
            first -= 1
        self._add(first, end - 1, edits)
        return n

    def _bare(self) -> None:
        """Without any fence or mark: a line that is a path and functions below it, up to the next such line or the end."""
        heads = [(n, m[1]) for n, line in enumerate(self.lines) if (m := _path_in(_PATH_LINE, line)) is not None]
        for (n, path), (stop, _) in pairwise([*heads, (len(self.lines), "")]):
            body = self.lines[n + 1 : stop]
            head = 1 + next((k for k, line in enumerate(body) if line.strip()), 0)
            if any(d.kind == "function" and d.first == head for d in definitions(body)):
                while body and not body[-1].strip():
                    body.pop()
                self._add(n, n + len(body), [BlockEdit(path, "\n".join(body))])


def _path_in(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    return pattern.fullmatch(line) if len(line) <= _WIDEST else None
