"""Where things stand in a file: character spans of syntax nodes, precedence, and replacements that fit their place.

``ast`` counts columns in UTF-8 bytes and ends lines only at ``\\n``, ``\\r\\n`` and ``\\r``; a decoded file has characters and may hold
form feeds or U+2028, which ``str.splitlines`` would split at.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from functools import cached_property

LINE_END = re.compile(r"\r\n|\r|\n")
BLANK_OR_COMMENT = re.compile(r"[ \t\f]*(?:#[^\r\n]*)?(?=\r|\n|\Z)")

NAMED, TUPLE, YIELD, TEST, OR, AND, NOT, COMPARE, BIT_OR, BIT_XOR, BIT_AND, SHIFT, ARITH, TERM, FACTOR, POWER, AWAIT, ATOM = range(18)
"""Binding strength, weakest first, in the order of the language reference."""

BINARY: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", ARITH), ast.Sub: ("-", ARITH), ast.Mult: ("*", TERM), ast.Div: ("/", TERM), ast.FloorDiv: ("//", TERM),
    ast.Mod: ("%", TERM), ast.MatMult: ("@", TERM), ast.Pow: ("**", POWER), ast.LShift: ("<<", SHIFT), ast.RShift: (">>", SHIFT),
    ast.BitOr: ("|", BIT_OR), ast.BitXor: ("^", BIT_XOR), ast.BitAnd: ("&", BIT_AND),
}  # fmt: skip
STRENGTH = dict(BINARY.values())
COMPARISON: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


class Source:
    """A parsed file. Raises SyntaxError or ValueError where the text is no Python of this interpreter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text.removeprefix("\ufeff"))
        self.starts = [1 if text.startswith("\ufeff") else 0, *(match.end() for match in LINE_END.finditer(text))]
        self._ascii = text.isascii()
        self._columns: dict[int, list[int] | None] = {}

    @cached_property
    def read(self) -> frozenset[str]:
        """Every name that the file reads."""
        return frozenset(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))

    def offset(self, line: int, column: int) -> int:
        """The character offset of a 1-based line and a column in UTF-8 bytes."""
        start = self.starts[line - 1]
        if self._ascii:
            return start + column
        if line not in self._columns:
            words = self.text[start : self.starts[line]] if line < len(self.starts) else self.text[start:]
            columns = None if words.isascii() else [at for at, mark in enumerate(words) for _ in mark.encode()]
            if columns is not None:
                columns.append(len(words))
            self._columns[line] = columns
        found = self._columns[line]
        return start + (column if found is None else found[column])

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg | ast.alias | ast.excepthandler) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def line_of(self, offset: int) -> int:
        return max(1, bisect_right(self.starts, offset))

    def line_start(self, offset: int) -> int:
        return self.starts[self.line_of(offset) - 1]

    def next_line(self, offset: int) -> int:
        """Where the line after ``offset`` begins, or the end of the text."""
        line = self.line_of(offset)
        return self.starts[line] if line < len(self.starts) else len(self.text)

    def line_end(self, offset: int) -> str:
        """The line end used at ``offset``; the file's first one where the last line has none."""
        match = LINE_END.search(self.text, offset) or LINE_END.search(self.text)
        return match.group() if match else "\n"

    def gap_token(self, start: int, end: int, token: str) -> tuple[int, int] | None:
        """The span of an operator that stands between two operands, comments and brackets aside."""
        words = r"\s+".join(re.escape(word) for word in token.split())
        for match in re.finditer(r"#[^\r\n]*|(" + words + ")", self.text[start:end]):
            if match.group(1):
                return start + match.start(1), start + match.end(1)
        return None

    def enclosed(self, start: int, end: int) -> bool:
        """Whether a pair of round brackets stands directly around the span."""
        text, left, right = self.text, start - 1, end
        while left >= 0 and text[left] in " \t\r\n\f":
            left -= 1
        while right < len(text) and text[right] in " \t\r\n\f":
            right += 1
        return left >= 0 and right < len(text) and text[left] == "(" and text[right] == ")"


def precedence(node: ast.expr, segment: str) -> int:
    """How strongly the text of ``node`` holds together."""
    match node:
        case ast.BinOp():
            return BINARY[type(node.op)][1]
        case ast.BoolOp():
            return OR if isinstance(node.op, ast.Or) else AND
        case ast.UnaryOp():
            return NOT if isinstance(node.op, ast.Not) else FACTOR
        case ast.Compare():
            return COMPARE
        case ast.IfExp() | ast.Lambda():
            return TEST
        case ast.NamedExpr():
            return NAMED
        case ast.Tuple():
            return ATOM if _bracketed(segment) else TUPLE
        case ast.Yield() | ast.YieldFrom():
            return YIELD
        case ast.Await():
            return AWAIT
        case ast.Starred() | ast.Slice():
            return NAMED
        case _:
            return ATOM


def _bracketed(segment: str) -> bool:
    depth = 0
    if not segment.startswith("("):
        return False
    for at, mark in enumerate(segment):
        depth += (mark in "([{") - (mark in ")]}")
        if depth == 0:
            return at == len(segment) - 1
    return False


def needed(parent: ast.AST, role: str, child: ast.expr) -> int:
    """The weakest binding that may stand unbracketed as ``parent.role``."""
    match parent:
        case ast.BinOp():
            level = BINARY[type(parent.op)][1]
            if isinstance(parent.op, ast.Pow):
                return AWAIT if role == "left" else FACTOR
            return level if role == "left" else level + 1
        case ast.BoolOp():
            return OR if isinstance(parent.op, ast.Or) else AND
        case ast.UnaryOp():
            return NOT if isinstance(parent.op, ast.Not) else FACTOR
        case ast.Compare():
            return BIT_OR
        case ast.IfExp():
            return TEST if role == "orelse" else OR
        case ast.Attribute() | ast.Await():
            return ATOM
        case ast.Call():
            return ATOM if role == "func" else TEST
        case ast.Subscript():
            return ATOM if role == "value" else TEST
        case ast.Starred():
            return BIT_OR
        case ast.comprehension():
            return BIT_OR if role == "target" else OR
        case ast.Dict():
            return BIT_OR if role == "values" and parent.keys[parent.values.index(child)] is None else TEST
        case ast.Assign() | ast.AugAssign() | ast.Return() | ast.Expr():
            return TUPLE
        case _:
            return TEST


def fit(text: str, strength: int, need: int) -> str:
    """``text`` as it may stand in a place that needs ``need``; brackets only where precedence or a line break asks for them."""
    if strength < need or ("\n" in text or "\r" in text) and (strength < ATOM or _loose(text)):
        return f"({text})"
    if need == ATOM and text.isdigit():
        return f"({text})"
    return text


def _loose(text: str) -> bool:
    """Whether an atom over several lines is open between them: adjacent strings or a call chain."""
    quoted = re.match(r"[A-Za-z]*(\"\"\"|''')", text)
    return not (quoted and text.endswith(quoted.group(1)) and text.count(quoted.group(1)) == 2 or _bracketed_any(text))


def _bracketed_any(text: str) -> bool:
    """Whether every line break of ``text`` stands inside brackets."""
    depth = 0
    for mark in text:
        depth += (mark in "([{") - (mark in ")]}")
        if mark in "\r\n" and depth == 0:
            return False
    return True


def glue(before: str, text: str, after: str) -> str:
    """``text`` with a space where it would run into a word before or after it."""
    if text and before and (before.isalnum() or before == "_") and (text[0].isalnum() or text[0] in "_\"'"):
        text = " " + text
    if text and after and (after.isalnum() or after == "_") and (text[-1].isalnum() or text[-1] == "_"):
        text += " "
    return text
