"""Small mutants of a patch's changed lines, for the V4 check that the tests notice what the patch does. Pure."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator

from sandbox.source_text import decode, readable

_FLIPPED: dict[type[ast.AST], str] = {
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is",
    ast.In: "not in", ast.NotIn: "in"}  # fmt: skip
_OPPOSITE: dict[type[ast.AST], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*"}


def changed_lines(before: str, after: str) -> list[tuple[int, int, int, int]]:
    """Hunks as (first old line, end, first new line, end), 0-based, end exclusive; whitespace counts."""
    matcher = difflib.SequenceMatcher(None, lines_of(before), lines_of(after), autojunk=False)
    return [(a, b, c, d) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def mutated_files(before: bytes, after: bytes, most: int = 4) -> list[bytes]:
    """``mutants`` of a file's content, in the file's own encoding and with its line ends; none of what Python itself cannot decode.

    In another encoding no mutant could be imported, so no test would fail by its value, and a right fix would be refused for that.
    """
    try:
        source = decode(after)
    except (SyntaxError, ValueError):
        return []
    made = []
    for text in mutants(readable(before), source.text, most):
        try:
            made.append(source.encode(text))
        except UnicodeEncodeError:  # unparsed code may hold a letter that the file writes as an escape
            continue
    return made


def mutants(before: str, after: str, most: int = 4) -> list[str]:
    """Texts of ``after`` with one changed place damaged: each hunk undone (where there are several), comparisons and operators of changed
    lines flipped, constants moved, changed statements emptied. At most ``most``, the undone hunks first."""
    hunks = changed_lines(before, after)
    old, new = lines_of(before), lines_of(after)
    found: list[str] = []
    if len(hunks) > 1:
        found += ["".join(new[:c] + old[a:b] + new[d:]) for a, b, c, d in hunks]
    spans = changed_spans(old, new, hunks)
    try:
        tree = ast.parse(after)
    except (SyntaxError, ValueError, RecursionError):
        return found[:most]
    for text in _damaged(tree, after, spans):
        if len(found) >= most:
            break
        if text not in found and text not in (after, before) and _parses(text):
            found.append(text)
    return found[:most]


def lines_of(text: str) -> list[str]:
    """Lines as Python counts them, ends kept; ``str.splitlines`` also splits at form feeds and other marks inside a line."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def changed_spans(old: list[str], new: list[str], hunks: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Byte spans of the new text that a hunk changed: what differs from the old lines, or the whole of added lines."""
    spans = []
    for a, b, c, d in hunks:
        first = sum(len(line.encode()) for line in new[:c])
        before, after = "".join(old[a:b]).encode(), "".join(new[c:d]).encode()
        head = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), min(len(before), len(after)))
        most = min(len(before), len(after)) - head
        tail = next((n for n in range(most) if before[-1 - n] != after[-1 - n]), most)
        if after:
            spans.append((first + head, max(first + len(after) - tail, first + head + 1)))
    return spans


def _damaged(tree: ast.AST, text: str, spans: list[tuple[int, int]]) -> Iterator[str]:
    """Mutants of the nodes that a changed span cuts, unless they reach far beyond it: those are not what the patch is about."""
    encoded = [line.encode() for line in lines_of(text)]
    starts = [0]
    for line in encoded:
        starts.append(starts[-1] + len(line))
    whole = b"".join(encoded)

    def replaced(node: ast.expr | ast.stmt, new: str) -> str:
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return (whole[:first] + new.encode() + whole[last:]).decode()

    def touched(node: ast.expr | ast.stmt) -> bool:
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return any(first < e and s < last and last - first <= max(60, 3 * (e - s)) for s, e in spans)

    for node in ast.walk(tree):
        if not isinstance(node, (ast.expr, ast.stmt)) or not touched(node.test if isinstance(node, (ast.If, ast.While)) else node):
            continue
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield replaced(node, f"({ast.unparse(node.left)} {_FLIPPED[type(node.ops[0])]} {ast.unparse(node.comparators[0])})")
        elif isinstance(node, (ast.If, ast.While)) and not isinstance(node.test, ast.Compare):
            yield replaced(node.test, f"(not ({ast.unparse(node.test)}))")
        elif isinstance(node, ast.BinOp) and type(node.op) in _OPPOSITE:
            yield replaced(node, f"({ast.unparse(node.left)} {_OPPOSITE[type(node.op)]} {ast.unparse(node.right)})")
        elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield replaced(node, "return None")
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            yield replaced(node, repr(node.value + 7))
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, ast.Break, ast.Continue)):
            yield replaced(node, "pass")


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
