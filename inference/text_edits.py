"""Edits of text as a model writes them, in any language, and the files that they are of, in lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.source_text import SourceText, decode

MOST_FILE_BYTES = 4 << 20
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
Span = tuple[int, int, Sequence[str]]
"""Lines of a file, the last excluded (both from 0), and what takes their place."""


@dataclass(frozen=True)
class TextEdit:
    """Put ``replace`` in the place of ``search``. ``path`` is "" where the model named no file; an empty ``search`` makes a new file."""

    path: str
    search: str
    replace: str


@dataclass(frozen=True)
class BlockEdit:
    """Put the functions of ``code`` in the place of the file's functions of the same names; the rest of the file stays."""

    path: str
    code: str


Edit = TextEdit | BlockEdit


@dataclass(frozen=True)
class Malformed:
    """Why a completion could not be used. ``reason``: a short name, for counting; ``message``: a clause for the model, no full stop;
    ``quoted``: lines of a file that help it. Message and quote hold text of the model's and of the tree's: to be neutralised."""

    reason: str
    message: str
    quoted: str = ""


@dataclass(frozen=True)
class File:
    """A decoded file in lines, each with its end, and how to write it back."""

    path: str
    source: SourceText
    lines: tuple[str, ...]
    ends: tuple[str, ...]

    @property
    def end(self) -> str:
        return next((e for e in self.ends if e), "\n")

    def spliced(self, spans: Sequence[tuple[int, int, Sequence[str]]]) -> str:
        """The text with each span of lines replaced; what is put in has the file's own line end."""
        parts: list[str] = []
        at = 0
        for first, last, new in spans:
            parts += [a + b for a, b in zip(self.lines[at:first], self.ends[at:first], strict=True)]
            if first == len(self.lines) and at < first and parts and not self.ends[first - 1]:
                parts.append(self.end)
            tail = self.ends[last - 1] if last > first and last == len(self.lines) else self.end
            parts += [line + (self.end if n + 1 < len(new) else tail) for n, line in enumerate(new)]
            at = last
        return "".join([*parts, *(a + b for a, b in zip(self.lines[at:], self.ends[at:], strict=True))])


def opened(path: str, content: bytes) -> File | Malformed:
    if b"\0" in content or len(content) > MOST_FILE_BYTES:
        return Malformed("not_text", f"{path[:80]!r} is no text that can be edited")
    try:
        source = decode(content) if path.endswith((".py", ".pyi")) else SourceText(content.decode("utf-8"), "utf-8")
    except (SyntaxError, ValueError, LookupError):
        # One byte is one character: lines that are ASCII, which a model can write, are found, and all others stay as they are.
        source = SourceText(content.decode("latin-1"), "latin-1")
    pairs = [(m[1], m[2]) for m in _LINE.finditer(source.text)]
    if pairs and pairs[-1] == ("", ""):
        pairs.pop()
    return File(path, source, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
