"""Bucket 2: statements deleted, unwrapped, swapped with their neighbour, moved one level out or in."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.layout import indented, inner, is_docstring, leads, leaves, lines_of, removed
from inference.templates.operators import Draft
from inference.templates.unit import Statement, Unit


def statements(facts: Facts, statement: Statement) -> Iterator[Draft]:
    node = statement.node
    if statement.block and not is_docstring(statement) and not statement.is_elif and not leads(statement):
        if not isinstance(node, ast.Pass | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            edit = removed(facts.unit, statement)
            if edit is not None:
                yield 1.2 + 0.4 * bool(statement.blocks) + 0.4 * isinstance(node, ast.Return), "delete-statement", (edit,)
        yield from _swap(facts, statement)
        yield from _move(facts, statement)
        yield from _out(facts, statement)
        yield from _in(facts, statement)
    yield from _unwrap(facts, statement)


def _swap(facts: Facts, statement: Statement) -> Iterator[Draft]:
    unit, at = facts.unit, statement.block.index(statement)
    if at + 1 >= len(statement.block):
        return
    other = statement.block[at + 1]
    if not (statement.whole and other.whole):
        return
    if leaves(statement):
        # What stands behind is never run: this statement is in the wrong place.
        last = statement.block[-1]
        start, end = unit.span(statement)
        _, until = unit.span(last)
        if last.whole and at + 2 < len(statement.block):
            yield 0.6, "move-statement", (Edit(start, end, ""), Edit(until, until, _ended(unit, until) + lines_of(unit, statement)))
    (start, end), (then, until) = unit.span(statement), unit.span(other)
    cost = 0.6 if leaves(statement) else 2.2 if leaves(other) else 1.3
    yield cost, "swap-statements", (Edit(start, end, lines_of(unit, other)), Edit(then, until, lines_of(unit, statement)))


def _move(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Two places on or back."""
    unit, block = facts.unit, statement.block
    at = block.index(statement)
    if not statement.whole or leaves(statement) or isinstance(statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    start, end = unit.span(statement)
    for place in range(at + 2, min(at + 4, len(block))):
        if block[place].whole and not leaves(block[place]):
            until = unit.span(block[place])[1]
            yield (
                1.9 + 0.2 * (place - at),
                "move-statement",
                (Edit(start, end, ""), Edit(until, until, _ended(unit, until) + lines_of(unit, statement))),
            )
    for place in range(max(0, at - 3), at - 1):
        if block[place].whole and not is_docstring(block[place]):
            ahead = unit.span(block[place])[0]
            yield 1.9 + 0.2 * (at - place), "move-statement", (Edit(ahead, ahead, lines_of(unit, statement)), Edit(start, end, ""))


def _ended(unit: Unit, at: int) -> str:
    return "" if unit.text[at - 1 : at] in "\r\n" else unit.source.line_end(0)


def _out(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """After the statement around it (its last statement only), or before it (one that gives a name its first value)."""
    unit, parent, node = facts.unit, statement.parent, statement.node
    if parent is None or not statement.whole or not parent.whole or not parent.block or isinstance(parent.node, ast.ClassDef):
        return
    if isinstance(parent.node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    leaving = [child.node for child in inner(statement) if isinstance(child.node, ast.Break | ast.Continue)]
    outer = parent
    while outer.is_elif and outer.parent is not None:
        outer = outer.parent
    if leaving and not outer.loop:
        return
    start, end = unit.span(statement)
    alone = len(statement.block) == 1
    moved = indented(unit, start, end, statement.indent, parent.indent)
    if moved is None:
        return
    last = statement is statement.block[-1]
    keep = f"{statement.indent}pass{unit.source.line_end(start)}" if alone else ""
    if last:
        _, behind = unit.span(outer)
        loop = isinstance(parent.node, ast.For | ast.While)
        cost = 0.9 if loop and isinstance(node, ast.Return) else 1.3
        if behind == end:
            yield cost, "move-out", (Edit(start, end, keep + moved),)
        elif behind > end:
            yield cost, "move-out", (Edit(start, end, keep), Edit(behind, behind, _ended(unit, behind) + moved))
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not outer.is_elif and outer.whole:
        ahead, _ = unit.span(outer)
        cost = 1.3 if isinstance(parent.node, ast.For | ast.While) and isinstance(node, ast.Assign) else 2.2
        yield cost, "move-out", (Edit(ahead, ahead, moved), Edit(start, end, keep))


def _in(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Into the end of the compound statement before it, or the start of the one behind it."""
    unit, at = facts.unit, statement.block.index(statement)
    if not statement.whole or isinstance(statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    start, end = unit.span(statement)
    if at:
        place = statement.block[at - 1]
        while place.blocks and not isinstance(place.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            last = place.blocks[-1][-1]
            if not last.whole:
                break
            if not last.is_elif:
                moved = indented(unit, start, end, statement.indent, last.indent)
                if moved is not None and len(last.indent) > len(statement.indent):
                    loop = isinstance(place.node, ast.For | ast.While)
                    yield 1.0 if loop else 1.4, "move-in", (Edit(start, end, moved),)
            place = last
    if at + 1 < len(statement.block):
        other = statement.block[at + 1]
        if (
            isinstance(other.node, ast.For | ast.While | ast.If | ast.With)
            and other.whole
            and isinstance(statement.node, ast.Assign | ast.AugAssign | ast.Expr)
        ):
            first = other.blocks[0][0]
            moved = indented(unit, start, end, statement.indent, first.indent)
            if first.whole and moved is not None:
                ahead, _ = unit.span(first)
                loop = isinstance(other.node, ast.For | ast.While)
                yield 1.2 if loop else 2.0, "move-in", (Edit(start, end, ""), Edit(ahead, ahead, moved))


def _unwrap(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """The body alone, without the statement around it; an else branch alone or dropped."""
    unit, node = facts.unit, statement.node
    if not isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try) or not statement.whole:
        return
    names = [name for name in ("body", "orelse", "finalbody") if getattr(node, name, None)]
    handlers = len(getattr(node, "handlers", ()))
    spans: dict[str, tuple[int, int]] = {}
    blocks = dict(zip(names if not handlers else ["body"], statement.blocks, strict=False))
    for name, block in blocks.items():
        if block[0].whole and block[-1].whole and not block[0].is_elif:
            spans[name] = unit.span(block[0])[0], unit.span(block[-1])[1]
    start, end = unit.span(statement)
    free = statement.loop or not any(isinstance(child.node, ast.Break | ast.Continue) for child in inner(statement))
    for name, cost in (("body", 1.5), ("orelse", 2.0)):
        if name in spans and free and not statement.is_elif:
            moved = indented(unit, *spans[name], blocks[name][0].indent, statement.indent)
            if moved is not None:
                yield cost, "unwrap-statement", (Edit(start, end, moved),)
    if "body" in spans and "orelse" in blocks and "finalbody" not in names:
        body_end = spans["body"][1]
        yield 1.9, "drop-else", (Edit(body_end, end, ""),)
        if "orelse" in spans and isinstance(node, ast.If | ast.For | ast.While) and free and not statement.is_elif:
            moved = indented(unit, *spans["orelse"], blocks["orelse"][0].indent, statement.indent)
            if moved is not None:
                yield 1.5, "else-always", (Edit(body_end, end, moved),)
    if isinstance(node, ast.If) and statement.is_elif and statement.parent is not None:
        yield 1.9, "drop-branch", (Edit(start, end, ""),) if not node.orelse else ()
