"""Functions, types and constants of source text in any language, by indentation and a few words; and texts shortened. Pure.

No grammar stands behind it: formatted code of every common language indents what belongs to a header, and that is all this relies on.
What it finds goes to a reader, never to a judge, so a wrong border costs tokens and nothing else.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["function", "type", "constant"]
_LINE_END = re.compile(r"\r\n|\r|\n")
_SEEN = 300
"""Characters of a line that the patterns look at: generated files have lines of megabytes."""
_LONG = 150
"""Lines from which on an enclosing function is thought too wide to be the one that is meant."""
_ABOVE, _ASTRAY = 20, 60
_DEEPEST, _MOST_LINES = 40, 100_000
"""Columns and lines beyond which no definition is looked for: what lies there was made by a machine, or to keep this one busy."""
_OPENS = re.compile(r"(?:[{(\[:,]|=>|->|\b(?:do|then|else|begin|try|finally|ensure))\s*$")
_CLOSER = re.compile(r"[})\]]|\{\s*$|(?:end|else|elif|elsif|elseif|catch|except|finally|rescue|ensure|fi|done|esac)\b")
_PREPROCESSOR = re.compile(r"#\s*(?:if|ifdef|ifndef|else|elif|endif|define|undef|pragma|include|region|endregion)\b")
_LABEL = re.compile(r"(?!(?:try|else|finally|except|default|do)\b)\w+:\s*$")
_DECORATION = re.compile(r"@|//|/\*|\*|#|--\s|\[\w|template\s*<")
_COMMENT = re.compile(r"\s*(?://|/\*|\*|--\s|#(?!\s*define\b|\[))")
_KEYWORD = re.compile(
    r"[^=;\"'{}]*?\b(?:def|defp|func|function|fn|fun|sub|proc)\b\*?\s+"
    r"(?:\([^()]{0,80}\)\s*)?(?:self\.)?(\$?[A-Za-z_][\w$]*[?!]?)")  # fmt: skip
_ASSIGNED = re.compile(
    r"\s*(?:[\w.$]+\s+){0,4}(?:[\w$]+\.){0,4}([A-Za-z_$][\w$]*)\s*(?::[^=]{0,80})?[:=]\s*"
    r"(?:async\s*)?(?:function\b|[\w$]+\s*=>|\([^()]*\)[^=]{0,80}=>)")  # fmt: skip
_METHOD = re.compile(
    r"\s*((?:[\w$<>\[\],.*&:@?]+\s+){0,6})[*&#]*(?:[\w$]+::){0,4}(~?[A-Za-z_$][\w$]*)\s*(?:<[^<>]{0,80}>)?\(([^\"']*)$")  # fmt: skip
_TYPE = re.compile(
    r"\s*(?:[\w()]+\s+){0,4}(?:(?:class|struct|enum|interface|trait)\s+(?=[A-Za-z_])|"
    r"(?:record|type|protocol|module|object|union)\s+(?=[A-Z]))(\w+)")  # fmt: skip
_CONSTANT = re.compile(
    r"(?:(?:export|pub|public|private|protected|internal|static|final|const|constexpr|let|var|val|readonly|inline|declare)\s+)*"
    r"(?:[A-Za-z_][\w<>\[\],.&*]*\s+){0,2}([A-Za-z_]\w*)(?:\s*,\s*\w+){0,8}"
    r"(?:\s*:\s*[^=]{1,80})?\s*:?=(?![=>~])|#\s*define\s+(\w+)\s")  # fmt: skip
_NOT_NAMES = frozenset("if for while switch catch return else do with match foreach using lock synchronized elif when until unless"
                       " function assert await throw new yield typeof sizeof case loop select guard print super".split())  # fmt: skip


@dataclass(frozen=True, order=True)
class Block:
    """Lines ``first``..``last`` (from 1, both included). ``name`` is "" where the block is no definition."""

    first: int
    last: int
    name: str = ""
    kind: Kind = "function"


def split_lines(text: str) -> list[str]:
    """Lines without their ends, counted as compilers count them (a form feed or a U+2028 ends none)."""
    lines = _LINE_END.split(text)
    return lines[:-1] if lines[-1] == "" else lines


def definitions(lines: Sequence[str]) -> tuple[Block, ...]:
    """Every function and type, and the constants that stand outside functions, in the order of the file."""
    found = []
    for at, line in enumerate(lines[:_MOST_LINES]):
        named = _definition(lines, at) if (_indent(line) or 0) <= _DEEPEST else None
        if named is not None:
            name, kind = named
            first = at if kind == "constant" else _first(lines, at)
            found.append(Block(first + 1, _last(lines, at) + 1, name, kind))
        elif line[:1].strip() and (constant := _CONSTANT.match(line[:_SEEN])) is not None:
            found.append(Block(at + 1, _last(lines, at) + 1, constant[1] or constant[2], "constant"))
    return tuple(found)


def function_at(lines: Sequence[str], line: int, defined: Sequence[Block]) -> Block:
    """The function around a line (counted from 1): of those ``defined`` the outermost one of sensible length; else the block around the
    line, else its neighbourhood."""
    around = [b for b in defined if b.kind == "function" and b.first <= line <= b.last]
    if around:
        short = [b for b in around if b.last - b.first < _LONG]
        return max(short, key=lambda b: b.last - b.first) if short else min(around, key=lambda b: b.last - b.first)
    at = min(max(line, 1), max(len(lines), 1)) - 1
    for header in list(_headers(lines, at))[1:2] if lines else []:
        block = Block(header + 1, _last(lines, header) + 1)
        if block.first <= at + 1 <= block.last and block.last - block.first < _LONG:
            return block
    return Block(max(at - 9, 1), min(at + 11, max(len(lines), 1)))


def block_from(lines: Sequence[str], line: int) -> Block:
    """The block whose header stands in this line (from 1), with the decorators above it."""
    named = _definition(lines, line - 1)
    return Block(_first(lines, line - 1) + 1, _last(lines, line - 1) + 1, named[0] if named else "")


def outline(lines: Sequence[str], block: Block) -> Block:
    """The head of a type: up to its first method, and that one too where it constructs."""
    inner = None
    for at in range(block.first, min(block.last, block.first + 60)):
        named = _definition(lines, at)
        if named is not None and named[1] == "function" and at + 1 > block.first:
            inner = Block(_first(lines, at) + 1, _last(lines, at) + 1, named[0])
            break
    if inner is None:
        return Block(block.first, min(block.last, block.first + 60), block.name, block.kind)
    constructs = inner.name in ("__init__", "constructor", "initialize", "new", block.name)
    last = inner.last if constructs and inner.last - inner.first < 40 else max(inner.first - 1, block.first)
    return Block(block.first, last, block.name, block.kind)


@lru_cache(maxsize=4096)
def _named(line: str) -> tuple[str, Kind, bool] | None:
    """(name, kind, whether the following lines must show that a body opens) of a definition, from its first line alone."""
    if not line or _COMMENT.match(line):
        return None
    if (found := _TYPE.match(line)) is not None and "=" not in line[: found.end()] and not line.rstrip().endswith(";"):
        return found[1], "type", False
    if (found := _KEYWORD.match(line)) is not None or (found := _ASSIGNED.match(line)) is not None:
        return found[1], "function", False
    if (found := _METHOD.match(line)) is not None and found[2] not in _NOT_NAMES and not set(found[1].split()) & _NOT_NAMES:
        rest = found[3].rstrip()
        if "=>" not in rest and not rest.endswith(";"):
            in_one_line = bool(found[1].strip()) and "{" in rest and rest.endswith("}")
            return found[2], "function", not (rest.endswith("{") or in_one_line)
    return None


def _definition(lines: Sequence[str], at: int) -> tuple[str, Kind] | None:
    named = _named(lines[at][:_SEEN])
    if named is None:
        return None
    name, kind, unsure = named
    if unsure:  # a call looks the same up to where a body would open
        base = _indent(lines[at])
        for line in lines[at + 1 : at + 13]:
            text = line.strip()[:_SEEN]
            if text and (_indent(line) or 0) <= (base or 0):
                return (name, kind) if text.endswith("{") and text[0] in "{)" else None
        return None
    return name, kind


def _indent(line: str) -> int | None:
    head = line[:_SEEN]
    text = head.lstrip(" \t")
    return len(head[: len(head) - len(text)].expandtabs(4)) if text.strip() else None


def _headers(lines: Sequence[str], at: int) -> Iterator[int]:
    """The line itself, then the lines that it hangs from, innermost first."""
    yield at
    level = _indent(lines[at])
    if level is not None and _CLOSER.match(lines[at].lstrip()):
        level += 1
    for n in range(at - 1, -1, -1):
        if level == 0:
            return
        indent = _indent(lines[n])
        if indent is None or level is not None and indent >= level:
            continue
        text = lines[n].lstrip()[:_SEEN]
        if _PREPROCESSOR.match(text) or _LABEL.match(text) or _COMMENT.match(text):
            continue
        if _CLOSER.match(text):
            level = indent + 1
            continue
        if level is not None:  # a blank line to start from only looks for its neighbour's depth
            yield n
        level = indent


def _first(lines: Sequence[str], at: int) -> int:
    """The header with the decorators and comments that stand right above it."""
    base, first = _indent(lines[at]), at
    while first > 0 and at - first < _ABOVE and _indent(lines[first - 1]) is not None and _DECORATION.match(lines[first - 1].lstrip()):
        if abs((_indent(lines[first - 1]) or 0) - (base or 0)) > 1 or _PREPROCESSOR.match(lines[first - 1].lstrip()):
            break
        first -= 1
    return first


def _last(lines: Sequence[str], at: int) -> int:
    base, last = _indent(lines[at]) or 0, at
    opened = lines[at].rstrip().endswith("{")
    astray = 0
    for n in range(at + 1, len(lines)):
        indent = _indent(lines[n])
        if indent is None:
            continue
        if indent > base:
            last = n if not astray else last
            continue
        text = lines[n].strip()[:_SEEN]
        if _PREPROCESSOR.match(text) or _LABEL.match(text) and indent < 4:
            continue
        if indent == base and _CLOSER.match(text):
            last, astray, opened = n, 0, text.endswith("{")
            if not _OPENS.search(text):
                return last
            continue
        # Inside braces the text of a literal may stand further left than the code; what follows shows whether the block went on.
        astray += 1
        if not opened or astray > _ASTRAY or _CLOSER.match(text) or _named(lines[n][:_SEEN]) is not None:
            return last
    return last


def shortened(
    lines: Sequence[str], first: int, important: Collection[int], fits: Callable[[str], bool], absent_from: str, widest: int = 400
) -> str | None:
    """Head, tail and the important lines (numbers counted from ``first``) of a text, as many as fit; None where not even one does.

    What is left out is replaced by lines that name it and hold a mark that does not occur in ``absent_from``, so that nobody can mistake
    them for the file's own. Lines wider than ``widest`` characters are cut with the same mark.
    """
    mark = "⋯"
    while f"{mark} line" in absent_from:
        mark += "⋯"
    anchors = sorted(n - first for n in important if 0 <= n - first < len(lines))

    def rank(at: int) -> tuple[float, int]:
        place = bisect_left(anchors, at)
        near = min((abs(at - a) for a in anchors[max(place - 1, 0) : place + 1]), default=1 << 30)
        return min(at, near, 1.5 * (len(lines) - at)), at

    order = sorted(range(len(lines)), key=rank)
    cut = [line if len(line) <= widest else f"{line[:widest]} {mark} line goes on" for line in lines]

    def render(count: int) -> str:
        kept = sorted(order[:count])
        parts, at = [], 0
        for n in [*kept, len(lines)]:
            if n - at > 2:
                parts.append(f"{mark} lines {first + at}-{first + n - 1} are not shown {mark}")
            else:
                parts += cut[at:n]
            if n < len(lines):
                parts.append(cut[n])
            at = n + 1
        return "\n".join(parts)

    best, low, high = None, 1, len(lines)
    while low <= high:
        middle = (low + high) // 2
        text = render(middle)
        if fits(text):
            best, low = text, middle + 1
        else:
            high = middle - 1
    return best
