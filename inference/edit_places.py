"""Where in a file an edit belongs, and the lines that it puts there; or the reason why it fits no place or several. Pure.

A model's memory of whitespace is poor, so a search text may differ from the file in its line ends, in blanks at the ends of lines, in
blank lines around it and in how far it is indented; never in anything else. It may also be a piece of one line, from the border of one
token to that of another. It has to fit one place only, else the edit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from inference.blocks import Block, split_lines
from inference.sources import definitions_of, is_import
from inference.text_edits import BlockEdit, File, Malformed, Span, TextEdit
from inference.untrusted import restored

MOST_LINES = 2_000
_ELIDED = re.compile(r"\s*(?:(?:#|//|--|/\*|<!--)?\s*(?:\.\.\.|…)|⋯)")
_OPERATOR = frozenset("=<>!+-*/%&|^~@:")
_NEAREST = 12
"""Lines of the file that a refusal quotes."""


def replaced(file: File, edit: TextEdit, seen: Sequence[tuple[int, int]]) -> list[Span] | Malformed:
    search, replace = split_lines(restored(edit.search)), split_lines(restored(edit.replace))
    if max(len(search), len(replace)) > MOST_LINES:
        return Malformed("too_long", f"a change of {file.path[:80]} has more than {MOST_LINES} lines")
    if not any(line.strip() for line in search):
        if not any(line.strip() for line in file.lines):
            return [(0, len(file.lines), replace)]
        return Malformed("empty_search", f"a change of {file.path[:80]} has nothing between SEARCH and =======: write the lines to replace")
    exact = _once(file, search, lambda line: line, seen)
    if isinstance(exact, int):
        return [_trimmed(file, exact, exact + len(search), search, replace)]
    search, replace = _without_blank_edges(search, replace)
    for key in (str.rstrip, str.strip):
        at = exact if isinstance(exact, Malformed) else _once(file, search, key, seen)
        if isinstance(at, Malformed):
            return at
        if at is not None:
            here = file.lines[at : at + len(search)]
            moved = replace if key is str.rstrip else _indented(search, here, replace)
            if moved is None:
                return Malformed("indentation", f"a search text of {file.path[:80]} is indented otherwise than the file", "\n".join(here))
            return [_trimmed(file, at, at + len(search), here, moved)]
    if len(search) == 1 and len(replace) <= 1:
        piece = _piece(file, search[0].strip(), "".join(replace).strip(), seen)
        if piece is not None:
            return piece
    if any(_ELIDED.match(line) for line in search):
        return Malformed("elided", "a search text leaves lines out: write every line, or choose fewer of them", _nearest(file, search))
    return Malformed("no_match", f"{file.path[:80]} has no such lines as a search text has; the nearest are these", _nearest(file, search))


def _once(file: File, search: Sequence[str], key: Callable[[str], str], seen: Sequence[tuple[int, int]]) -> int | Malformed | None:
    """The only place of these lines; of several the one that the model saw. None where there is none."""
    wanted = [key(line) for line in search]
    keyed = [key(line) for line in file.lines]
    places = [n for n, line in enumerate(keyed) if line == wanted[0] and keyed[n : n + len(wanted)] == wanted]
    if len(places) > 1:
        visible = [n for n in places if any(first <= n and n + len(wanted) <= last for first, last in seen)]
        if len(visible) != 1:
            return Malformed("ambiguous", f"a search text fits {len(places)} places of {file.path[:80]}: add the lines around it",
                             "\n".join(search))  # fmt: skip
        return visible[0]
    return places[0] if places else None


def _piece(file: File, search: str, replace: str, seen: Sequence[tuple[int, int]]) -> list[Span] | Malformed | None:
    """The line whose only piece this is, with the new one in its place. None where no line has it."""
    places = [(n, at) for n, line in enumerate(file.lines) for at in _starts(line, search)]
    if len(places) > 1:
        places = [(n, at) for n, at in places if any(first <= n < last for first, last in seen)]
        if len(places) != 1:
            return Malformed("ambiguous", f"a search text fits several places of {file.path[:80]}: write the whole line", search[:200])
    if not places:
        return None
    n, at = places[0]
    line = file.lines[n]
    return [(n, n + 1, [line[:at] + replace + line[at + len(search) :]])]


def _starts(line: str, piece: str) -> Iterator[int]:
    """Where a piece stands in a line as whole tokens: ``= 1`` does not stand in ``x == 1``, nor ``max`` in ``maximum``."""
    at = line.find(piece)
    while at >= 0:
        end = at + len(piece)
        if not (at and _joined(line[at - 1], piece[0])) and not (end < len(line) and _joined(piece[-1], line[end])):
            yield at
        at = line.find(piece, at + 1)


def _joined(one: str, other: str) -> bool:
    return (one in _OPERATOR and other in _OPERATOR) or ((one.isalnum() or one == "_") and (other.isalnum() or other == "_"))


def _without_blank_edges(search: Sequence[str], replace: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both without the blank lines that the search text begins and ends with, as far as the replacement has them too."""
    search, replace = list(search), list(replace)
    for at in (0, -1):
        while len(search) > 1 and not search[at].strip():
            search.pop(at)
            if replace and not replace[at].strip():
                replace.pop(at)
    return search, replace


def _indented(search: Sequence[str], here: Sequence[str], replace: Sequence[str]) -> list[str] | None:
    """The replacement moved as the search text has to be moved to stand where the file's lines stand; None where no one move does it.

    The first line may be moved by itself: models lose its indentation, and no other's.
    """
    moves = [_move(s, h) for s, h in zip(search, here, strict=True) if s.strip()]
    rest = moves[1:] or moves
    if any(move is None or move != rest[0] for move in rest) or moves[0] is None:
        return None
    own = True
    moved = []
    for line in replace:
        if not line.strip():
            moved.append(line)
            continue
        out = _moved(line, moves[0] if own else rest[0])
        own = False
        if out is None:
            return None
        moved.append(out)
    return moved


_Move = tuple[str, str]
"""(indentation to take away, indentation to put before the line)."""


def _move(line: str, there: str) -> _Move | None:
    have, want = _indent(line), _indent(there)
    if want.endswith(have):
        return "", want[: len(want) - len(have)]
    return (have[: len(have) - len(want)], "") if have.endswith(want) else None


def _moved(line: str, move: _Move | None) -> str | None:
    if move is None or not line.startswith(move[0]):
        return None
    return move[1] + line[len(move[0]) :]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _trimmed(file: File, first: int, last: int, search: Sequence[str], replace: Sequence[str]) -> Span:
    """The span without a header that stands right before it in the file and is repeated at the head of the replacement alone."""
    new = list(replace)
    while (len(new) > 1 and first and new[0].rstrip() == file.lines[first - 1].rstrip() and new[0].rstrip().endswith((":", "{"))
           and new[0].strip() != search[0].strip()):  # fmt: skip
        new.pop(0)
    return first, last, new


def _nearest(file: File, search: Sequence[str]) -> str:
    """The lines of the file that are most like the search text."""
    wanted = [line.strip() for line in search if line.strip()][:_NEAREST]
    if not wanted or not file.lines:
        return ""
    width = min(len(search), _NEAREST)
    words = set(re.findall(r"\w+", " ".join(wanted)[:4000]))
    hits = [len(words & set(re.findall(r"\w+", line[:300]))) + 5 * (line.strip() in wanted) for line in file.lines[:50_000]]
    total, best, at = sum(hits[:width]), sum(hits[:width]), 0
    for n in range(1, max(len(hits) - width + 1, 1)):
        total += (hits[n + width - 1] if n + width - 1 < len(hits) else 0) - hits[n - 1]
        if total > best:
            best, at = total, n
    return "\n".join(line[:200] for line in file.lines[at : at + width]) if best else ""


def redefined(file: File, edit: BlockEdit, seen: Sequence[tuple[int, int]]) -> list[Span] | Malformed:
    """Spans that put each function of the block in the place of the file's function of that name."""
    code = split_lines(restored(edit.code))
    if len(code) > MOST_LINES:
        return Malformed("too_long", f"a block for {file.path[:80]} has more than {MOST_LINES} lines")
    text = "\n".join(code)
    given = [b for b in definitions_of(file.path, text, code) if b.kind == "function"]
    given = [b for b in given if not any(o.first <= b.first and b.last <= o.last and o != b for o in given)]
    if not given:
        return Malformed("no_definition", f"the block for {file.path[:80]} holds no whole function: use SEARCH and REPLACE")
    own = [b for b in definitions_of(file.path, file.source.text, file.lines) if b.kind == "function"]
    spans: list[Span] = []
    new: list[Block] = []
    for block in given:
        same = [b for b in own if b.name == block.name]
        if len(same) > 1:
            same = [b for b in same if any(first < b.last and b.first <= last for first, last in seen)] or same
        if len(same) > 1:
            return Malformed("ambiguous", f"{file.path[:80]} defines {block.name} {len(same)} times: use SEARCH and REPLACE")
        if not same:
            new.append(block)
            continue
        body = code[block.first - 1 : block.last]
        move = _move(next(x for x in body if x.strip()), file.lines[same[0].first - 1])
        moved = [line if not line.strip() else _moved(line, move) for line in body]
        if any(line is None for line in moved):
            return Malformed("indentation", f"the function {block.name} is indented otherwise than in {file.path[:80]}")
        spans.append((same[0].first - 1, same[0].last, [line for line in moved if line is not None]))
    if not spans:
        return Malformed("no_definition", f"{file.path[:80]} defines no {given[0].name}: use SEARCH and REPLACE")
    stray = _stray(code, given, file)
    if stray is not None:
        return Malformed("stray", "a block may hold functions and imports only; write this as SEARCH and REPLACE", stray)
    first = min(span[0] for span in spans)
    known = {line.strip() for line in file.lines}
    before = [line for n, line in enumerate(code, 1) if is_import(line) and line.strip() not in known and not _inside(n, given)]
    added = [line for block in new for line in [*code[block.first - 1 : block.last], "", ""]]
    if added and _indent(file.lines[first]):
        return Malformed("stray", f"where the new function {new[0].name} belongs cannot be told: use SEARCH and REPLACE")
    if before and _head(file) == first:
        before, added = [], [*before, "", "", *added]
    if before:
        spans.append((_head(file), _head(file), before))
    if added:
        spans.append((first, first, added))
    return spans


def _inside(line: int, blocks: Sequence[Block]) -> bool:
    return any(block.first <= line <= block.last for block in blocks)


def _stray(code: Sequence[str], given: Sequence[Block], file: File) -> str | None:
    """A line of a block outside its functions that is no import and not in the file either: to leave it out would not be what was said."""
    known = {line.strip() for line in file.lines}
    for n, line in enumerate(code, 1):
        text = line.strip()
        if text and not _inside(n, given) and text not in known and not is_import(line) and not text.startswith(("#", "//")):
            return line
    return None


def _head(file: File) -> int:
    """Before which line (from 0) an import goes: the file's first one, else its first definition."""
    for n, line in enumerate(file.lines):
        if line[:1].strip() and is_import(line) and not line.startswith("from __future__"):
            return n
    found = definitions_of(file.path, file.source.text, file.lines)
    return found[0].first - 1 if found else 0
