"""Whole statements: a guard or branch forgotten; a statement forgotten, written twice, or in the wrong place."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from training.benchmark.mutation.source import Source, Span

Found = list[tuple[str, tuple[Span, ...]]]
LEAVING = (ast.Return, ast.Continue, ast.Break, ast.Raise)


def guard_mutations(source: Source) -> Found:
    """(operator, spans) of every forgotten guard, branch or handler."""
    found: Found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.If):
            found += _if(source, node)
        elif isinstance(node, ast.Try) and source.enclosing(node):
            found += [("deleted try", _unwrapped(source, node, node.body))]
        elif isinstance(node, (ast.For, ast.While)) and node.orelse:
            found += [("deleted else", (_else(source, node.body[-1], node.orelse),))]
    return found


def statement_mutations(source: Source) -> Found:
    """(operator, spans) of every deleted, duplicated or moved statement inside a function, and of every forgotten import."""
    found: Found = []
    for body in _bodies(source):
        for statement in body:
            if not _owns_lines(source, statement):
                continue
            found.append(("deleted statement", (_deleted(source, statement, body),)))
            if not isinstance(statement, (*LEAVING, ast.FunctionDef, ast.ClassDef, ast.Pass, ast.Import, ast.ImportFrom)):
                start, end = _lines(source, statement)
                found.append(("duplicated statement", (Span(end, end, _ended(source.text[start:end])),)))
        for first, second in itertools.pairwise(body):
            if _owns_lines(source, first) and _owns_lines(source, second):
                a, b = _lines(source, first), _lines(source, second)
                swapped = _ended(source.text[b[0] : b[1]]) + source.text[a[1] : b[0]] + _ended(source.text[a[0] : a[1]])
                found.append(("swapped statements", (Span(a[0], b[1], swapped),)))
                found += _moved(source, first, second)
    for top in source.tree.body:
        if isinstance(top, (ast.Import, ast.ImportFrom)) and _owns_lines(source, top):
            found.append(("deleted import", (Span(*_lines(source, top), ""),)))
    return found


def _if(source: Source, node: ast.If) -> Iterator[tuple[str, tuple[Span, ...]]]:
    start, _ = source.span(node)
    is_elif = source.text.startswith("elif", start)
    following = node.orelse[0] if len(node.orelse) == 1 else None
    chained = isinstance(following, ast.If) and source.text.startswith("elif", source.span(following)[0])
    if not _owns_lines(source, node):
        return
    head = source.starts[node.lineno - 1]
    if is_elif:
        yield "deleted branch", (Span(head, _lines(source, node.body[-1])[1], ""),)
    elif chained:
        # The next branch takes the deleted one's place: "elif" loses its first two letters.
        yield "deleted branch", (Span(start, source.span(node.orelse[0])[0] + 2, ""),)
    elif node.orelse:
        yield "always taken", _unwrapped(source, node, node.body)
        yield "never taken", _unwrapped(source, node, node.orelse)
    else:
        leaves = isinstance(node.body[-1], LEAVING)
        yield ("deleted guard" if leaves else "deleted branch"), (_deleted(source, node, _body_of(source, node)),)
        yield "always taken", _unwrapped(source, node, node.body)
    if node.orelse and not chained:
        yield "deleted else", (_else(source, node.body[-1], node.orelse),)


def _else(source: Source, last: ast.stmt, orelse: list[ast.stmt]) -> Span:
    return Span(_lines(source, last)[1], _lines(source, orelse[-1])[1], "")


def _unwrapped(source: Source, node: ast.stmt, body: list[ast.stmt]) -> tuple[Span, ...]:
    """The statement replaced by one of its bodies, moved out to its indentation."""
    start, end = _lines(source, node)
    if body[0].lineno == node.lineno:
        text = " " * node.col_offset + source.text[source.span(body[0])[0] : source.span(body[-1])[1]]
        return (Span(start, end, _ended(text)),)
    inner_start, inner_end = _lines(source, body[0])[0], _lines(source, body[-1])[1]
    return (Span(start, end, _reindent(source.text[inner_start:inner_end], _margin(source, body[0]), _margin(source, node))),)


def _moved(source: Source, first: ast.stmt, second: ast.stmt) -> Found:
    """A statement drawn into the block before or after it, or left behind the block it closes."""
    found: Found = []
    a, b = _lines(source, first), _lines(source, second)
    blocks = (ast.For, ast.While, ast.If)
    if isinstance(first, blocks) and not first.orelse and not isinstance(second, ast.FunctionDef) and first.body[-1].lineno > first.lineno:
        moved = _reindent(source.text[b[0] : b[1]], _margin(source, second), _margin(source, first.body[-1]))
        found.append(("moved into the block", (Span(b[0], b[1], moved),)))
    if isinstance(second, blocks) and second.body[0].lineno > second.lineno and not isinstance(first, ast.FunctionDef):
        at = _lines(source, second.body[0])[0]
        moved = _reindent(source.text[a[0] : a[1]], _margin(source, first), _margin(source, second.body[0]))
        found.append(("moved into the block", (Span(a[0], a[1], ""), Span(at, at, moved))))
    for block in (first, second):
        last = block.body[-1] if isinstance(block, blocks) and not block.orelse and len(block.body) > 1 else None
        if last is not None and _owns_lines(source, last):
            start, end = _lines(source, last)
            out = _reindent(source.text[start:end], _margin(source, last), _margin(source, block))
            found.append(("moved out of the block", (Span(start, end, out),)))
    return found


def _bodies(source: Source) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) or not isinstance(node, ast.stmt):
            continue
        if source.enclosing(node) or isinstance(node, ast.FunctionDef):
            for name in ("body", "orelse", "finalbody"):
                body = getattr(node, name, None)
                if body:
                    yield body


def _body_of(source: Source, node: ast.stmt) -> list[ast.stmt]:
    parent = source.parent(node)
    for name in ("body", "orelse", "finalbody"):
        body = getattr(parent, name, None)
        if isinstance(body, list) and any(statement is node for statement in body):
            return body
    return [node]


def _deleted(source: Source, statement: ast.stmt, body: list[ast.stmt]) -> Span:
    start, end = _lines(source, statement)
    filler = _margin(source, statement) + "pass\n" if len(body) == 1 else ""
    return Span(start, end, filler)


def _owns_lines(source: Source, statement: ast.stmt) -> bool:
    """Whether no other statement shares the statement's first or last line."""
    start, end = source.span(statement)
    first, last = _lines(source, statement)
    after = source.text[end:last].split("#")[0].strip(" \t\r\n;")
    return not source.text[first:start].strip() and not after


def _lines(source: Source, statement: ast.stmt) -> tuple[int, int]:
    assert statement.end_lineno is not None
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(d.lineno for d in decorators)])
    return source.starts[first - 1], source.starts[statement.end_lineno]


def _margin(source: Source, statement: ast.stmt) -> str:
    line = source.lines[statement.lineno - 1]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _reindent(text: str, old: str, new: str) -> str:
    lines = (new + line[len(old) :] if line.startswith(old) else line for line in text.splitlines(keepends=True))
    return _ended("".join(lines))


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
