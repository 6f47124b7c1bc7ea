"""Edits of whole statements: lines moved, removed, inserted and indented anew, in the file's own indentation and line ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.syntax import LINE_END, Source
from inference.templates.unit import Statement, Unit


@lru_cache(maxsize=16)
def fixed_lines(source: Source) -> frozenset[int]:
    """Lines that begin inside a string literal: their indentation is data."""
    found: set[int] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno is not None and node.end_lineno > node.lineno:
            found.update(range(node.lineno + 1, node.end_lineno + 1))
    return frozenset(found)


def step_of(facts: Facts) -> str:
    """What one level of indentation adds here."""
    for statement in facts.unit.statements:
        for block in statement.blocks:
            inner = block[0].indent
            if block[0].whole and inner.startswith(statement.indent) and len(inner) > len(statement.indent):
                return inner[len(statement.indent) :]
    return "    "


def lines_of(unit: Unit, statement: Statement) -> str:
    """The statement's physical lines, the last one ended."""
    start, end = unit.span(statement)
    words = unit.text[start:end]
    return words if words[-1:] in "\r\n" else words + unit.source.line_end(start)


def indented(unit: Unit, first: int, last: int, old: str, new: str) -> str | None:
    """The physical lines between two offsets with ``old`` indentation replaced by ``new``; None where a line has other indentation."""
    fixed, source = fixed_lines(unit.source), unit.source
    parts: list[str] = []
    at = first
    while at < last:
        until = min(source.next_line(at), last)
        line = unit.text[at:until]
        if source.line_of(at) in fixed or not line.strip():
            parts.append(line)
        elif line.startswith(old):
            parts.append(new + line[len(old) :])
        elif line.lstrip(" \t")[:1] in ("#", ")", "]", "}") or at > first:
            parts.append(line)
        else:
            return None
        at = until
    if parts and not LINE_END.search(parts[-1]):
        parts[-1] += source.line_end(first)
    return "".join(parts)


def removed(unit: Unit, statement: Statement) -> Edit | None:
    """A statement taken out; ``pass`` where its block would be empty."""
    if len(statement.block) == 1 or statement.is_elif:
        return None if statement.is_elif else Edit(statement.start, statement.end, "pass")
    if statement.whole:
        start, end = unit.span(statement)
        return Edit(start, end, "")
    return Edit(statement.start, statement.end, "pass")


def before(unit: Unit, statement: Statement, *lines: str) -> Edit | None:
    """``lines`` put before a statement, at its indentation; None where it has no line of its own or must stay first."""
    if not statement.whole or statement.is_elif or is_docstring(statement) or leads(statement):
        return None
    start, _ = unit.span(statement)
    end = unit.source.line_end(start)
    return Edit(start, start, "".join(f"{statement.indent}{line}{end}" for line in lines))


def after(unit: Unit, statement: Statement, *lines: str, indent: str | None = None) -> Edit | None:
    """``lines`` put after a statement, at its indentation or the given one."""
    if not statement.whole or statement.is_elif:
        return None
    _, at = unit.span(statement)
    end = unit.source.line_end(statement.start)
    new = "".join(f"{statement.indent if indent is None else indent}{line}{end}" for line in lines)
    return Edit(at, at, new if unit.text[at - 1 : at] in "\r\n" else end + new)


def is_docstring(statement: Statement) -> bool:
    node = statement.node
    first = bool(statement.block) and statement.block[0] is statement
    return first and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def leads(statement: Statement) -> bool:
    """Whether the statement must stay where it is, before the others."""
    node = statement.node
    return isinstance(node, ast.Global | ast.Nonlocal) or isinstance(node, ast.ImportFrom) and node.module == "__future__"


def inner(statement: Statement) -> Iterator[Statement]:
    """A statement and all inside it."""
    yield statement
    for block in statement.blocks:
        for child in block:
            yield from inner(child)


def leaves(statement: Statement) -> bool:
    """Whether control never goes on behind the statement."""
    return isinstance(statement.node, ast.Return | ast.Raise | ast.Break | ast.Continue)
