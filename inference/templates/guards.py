"""Bucket 3: guards before statements (``if atom: return / continue / break / raise / assign``), else branches, missing returns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.layout import after, before, is_docstring, leaves, step_of
from inference.templates.operators import Draft
from inference.templates.snippets import simple_statements
from inference.templates.terms import atoms
from inference.templates.unit import Statement

LIMIT = 2.7
"""Cost of atom and exit together up to which a guard is tried."""
EMPTIES = {
    "num": ("0", "1", "-1"),
    "str": ("''",),
    "list": ("[]",),
    "bool": ("False", "True"),
    "dict": ("{}",),
    "set": ("set()",),
    "tuple": ("()",),
    "iter": ("[]",),
    "none": ("None",),
}


@lru_cache(maxsize=64)
def results(facts: Facts) -> tuple[tuple[float, str], ...]:
    """What a new return may give: (cost, text), likeliest first."""
    found: dict[str, float] = {}

    def add(cost: float, text: str) -> None:
        found[text] = min(cost, found.get(text, 9.0))

    kinds: list[str] = []
    loads: set[str] = set()
    for statement in facts.unit.statements:
        if isinstance(statement.node, ast.Return) and statement.within is facts.unit.node:
            value = statement.node.value
            kinds.append("none" if value is None else facts.kind(value))
            loads |= {inner.id for inner in ast.walk(value) if isinstance(inner, ast.Name)} if value is not None else set()
    for at, text in enumerate(facts.returns):
        constant = text in ("True", "False", "None") or text[0] in "'\"-0123456789[]{}"
        add(0.1 + 0.15 * at if constant else 0.6 + 0.15 * at, text)
    for kind in kinds:
        for at, text in enumerate(EMPTIES.get(kind, ())):
            add((0.0 if kind in ("bool", "list", "str", "dict") else 0.3) + 0.25 * at, text)
    for at, name in enumerate(facts.parameters):
        if name not in ("self", "cls"):
            add(0.7 + 0.15 * at, name)
    add(0.6 if None in kinds or not kinds else 0.8, "None")
    for cost, text in ((1.1, "False"), (1.1, "True"), (1.1, "0"), (1.2, "[]"), (1.2, "''"), (1.3, "-1"), (1.4, "1"), (1.6, "{}")):
        add(cost, text)
    for text in facts.literals:
        add(1.8, text)
    return tuple(sorted((cost, text) for text, cost in found.items()))


@lru_cache(maxsize=64)
def raised(facts: Facts) -> tuple[tuple[float, str], ...]:
    """Exceptions that the function or its file raises, ValueError at least."""
    found: dict[str, float] = {}
    for node in ast.walk(facts.unit.source.tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            own = facts.unit.node is not None and facts.unit.node.lineno <= node.lineno <= (facts.unit.node.end_lineno or 0)
            name = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(name, ast.Name | ast.Attribute) and (own or len(found) < 4):
                text = facts.unit.segment(node.exc) if own else facts.unit.segment(name)
                if "\n" not in text and "\r" not in text and (own or text[:1].isupper()):
                    found.setdefault(text, 0.9 if own else 1.6)
    for text in ("ValueError", "TypeError"):
        found.setdefault(text, 1.8)
    return tuple(sorted((cost, text) for text, cost in found.items()))[:6]


def exits(facts: Facts, statement: Statement) -> list[tuple[float, str]]:
    """Statements that a guard may hold at this place."""
    found: list[tuple[float, str]] = []
    if statement.loop:
        found += [(0.1, "continue"), (0.5, "break")]
    if statement.within is not None:
        extra = 0.7 if statement.loop else 0.0
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(statement.within)):
            found.append((0.3, "return"))
        else:
            found += [(cost + extra, f"return {text}" if text != "None" else "return None") for cost, text in results(facts)[:14]]
            bare = all(inner.node.value is None for inner in facts.unit.statements if isinstance(inner.node, ast.Return))
            found += [(0.2 + extra, "return")] if bare else []
        found += [(cost + extra, f"raise {text}") for cost, text in raised(facts)]
    return sorted(found)


def guards(facts: Facts, statement: Statement) -> Iterator[Draft]:
    if not statement.block or is_docstring(statement) or before(facts.unit, statement, "") is None:
        return
    at = statement.block.index(statement)
    first = at == 0 or at == 1 and is_docstring(statement.block[0])
    place = 0.0 if first and statement.within is not None else 0.5
    if isinstance(statement.node, ast.Return):
        place = 0.3 if not first else 0.2
    if isinstance(statement.node, ast.Break | ast.Continue | ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
        return
    ways, step = exits(facts, statement), step_of(facts)
    start, _ = facts.unit.span(statement)
    indent, end = statement.indent, facts.unit.source.line_end(start)
    behind = None
    if statement is statement.block[-1] and statement.loop and not leaves(statement):
        behind = facts.unit.span(statement)[1]
        if facts.unit.text[behind - 1] not in "\r\n":
            behind = None
    for cost, text, _ in atoms(facts, statement):
        head = f"{indent}if {text}:{end}{indent}{step}"
        for more, way in ways:
            if cost + more > LIMIT:
                break
            yield 0.9 + cost + more + place, "guard", (Edit(start, start, f"{head}{way}{end}"),)
            if behind is not None and way != "continue":
                yield 1.2 + cost + more, "guard", (Edit(behind, behind, f"{head}{way}{end}"),)
    yield from _defaults(facts, statement, step, place)
    yield from _wrapped(facts, statement, step)


def _defaults(facts: Facts, statement: Statement, step: str, place: float) -> Iterator[Draft]:
    """``if x is None: x = []`` and the like."""
    for at, name in enumerate(facts.values(statement)[:5]):
        kind = facts.names[name].kind
        empties = EMPTIES.get(kind, ("[]", "{}", "0", "''")) if kind != "seq" else ("[]", "''")
        for more, empty in enumerate(empties):
            edit = before(facts.unit, statement, f"if {name} is None:", f"{step}{name} = {empty}")
            if edit is not None:
                yield 1.5 + 0.2 * at + 0.2 * more + place, "guard", (edit,)
        for other in facts.values(statement)[:5]:
            if other != name and kind == facts.names[other].kind:
                for symbol in ("<", ">") if kind == "num" else ():
                    edit = before(facts.unit, statement, f"if {name} {symbol} {other}:", f"{step}{name} = {other}")
                    if edit is not None:
                        yield 2.4 + 0.1 * at + place, "guard", (edit,)


def _wrapped(facts: Facts, statement: Statement, step: str) -> Iterator[Draft]:
    """A simple statement put under a condition."""
    node, unit = statement.node, facts.unit
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Delete | ast.Raise) or not statement.whole:
        return
    if node.end_lineno != node.lineno or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    end = unit.source.line_end(statement.start)
    weight = 0.4 if isinstance(node, ast.Return) and statement is statement.block[-1] else 0.0
    for cost, text, _ in atoms(facts, statement):
        yield 0.9 + cost + weight, "condition", (Edit(statement.start, statement.start, f"if {text}:{end}{statement.indent}{step}"),)


def branches(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Else branches, a return at the end, a mutable default moved into the body."""
    node, unit, step = statement.node, facts.unit, step_of(facts)
    last = statement.block and statement is statement.block[-1]
    parent = statement.parent
    if last and statement.whole and not leaves(statement) and statement.within is not None and not statement.is_elif:
        top = parent is not None and parent.node is statement.within
        for cost, text in results(facts)[:14] if top else ():
            edit = after(unit, statement, f"return {text}")
            if edit is not None:
                yield 0.8 + cost, "missing-return", (edit,)
        for at, name in enumerate(facts.values(statement)[:5] if top else ()):
            edit = after(unit, statement, f"return {name}")
            if edit is not None:
                yield 0.9 + 0.2 * at, "missing-return", (edit,)
        if statement.loop and not top:
            for cost, way in exits(facts, statement)[:10]:
                edit = after(unit, statement, way)
                if edit is not None and way != "continue":
                    yield 1.2 + cost, "insert-exit", (edit,)
    if isinstance(node, ast.If | ast.For | ast.While) and not node.orelse and statement.whole and statement.blocks:
        yield from _else(facts, statement, step)
    elif (
        isinstance(node, ast.If)
        and node.orelse
        and not (isinstance(node.orelse[0], ast.If) and unit.segment(node.orelse[0]).startswith("elif"))
    ):
        yield from _elif(facts, statement)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node is unit.node:
        yield from _mutable(facts, node, step)


def _else(facts: Facts, statement: Statement, step: str) -> Iterator[Draft]:
    body = statement.blocks[0]
    if not body[0].whole:
        return
    head = statement.indent
    unit = facts.unit
    _, at = unit.span(statement)
    end = unit.source.line_end(statement.start)
    lead = "" if unit.text[at - 1 : at] in "\r\n" else end

    def put(word: str, line: str) -> Edit:
        return Edit(at, at, f"{lead}{head}{word}{end}{head}{step}{line}{end}")

    if isinstance(statement.node, ast.If):
        lines = [(cost, way) for cost, way in exits(facts, statement)[:10] if cost < 1.6]
        single = body[0].node if len(body) == 1 else None
        if isinstance(single, ast.Assign | ast.AugAssign):
            for change, cost in _variants(facts, single):
                lines.append((cost, change))
        for name in facts.values(statement)[:4]:
            if facts.names[name].kind == "num":
                lines += [(1.2, f"{name} += 1"), (1.4, f"{name} -= 1"), (1.5, f"{name} = 0")]
            elif facts.names[name].kind == "list":
                lines.append((1.9, f"{name} = []"))
        lines += _containers(facts, statement)
        lines += [(1.0, text) for text, _, _ in simple_statements(facts)[:16] if statement.loop or text not in ("break", "continue")]
        for cost, line in lines:
            yield 1.2 + cost, "else-branch", (put("else:", line),)
        ways = [(cost, way) for cost, way in exits(facts, statement)[:7] if cost < 1.2]
        for cost, text, _ in atoms(facts, statement)[:16]:
            for more, way in ways:
                yield 2.2 + cost + more, "elif-branch", (put(f"elif {text}:", way),)
    else:
        for cost, way in [item for item in exits(facts, statement)[:6] if item[1].startswith(("return", "raise"))]:
            yield 2.2 + cost, "else-branch", (put("else:", way),)


def _containers(facts: Facts, statement: Statement) -> list[tuple[float, str]]:
    """A value put into a collection."""
    found: list[tuple[float, str]] = []
    values = facts.values(statement)[:6]
    for name in values:
        method = {"list": "append", "set": "add"}.get(facts.names[name].kind)
        if method:
            found += [
                (1.0, f"{name}.{method}({other})") for other in values if other != name and facts.names[other].kind not in ("list", "set")
            ]
    return found


def _elif(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """An else branch that gets a condition."""
    node, unit = statement.node, facts.unit
    assert isinstance(node, ast.If)
    first = unit.source.span(node.orelse[0])[0]
    found = unit.source.gap_token(unit.source.span(node.body[-1])[1], first, "else")
    if found is not None:
        for cost, text, _ in atoms(facts, statement.blocks[-1][0]):
            yield 1.0 + cost, "elif-branch", (Edit(*found, f"elif {text}"),)


def _variants(facts: Facts, node: ast.Assign | ast.AugAssign) -> list[tuple[str, float]]:
    """The assignment of a branch with another value or sign, for the other branch."""
    target = facts.unit.segment(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    words = facts.unit.segment(node.value)
    if "\n" in target + words or "\r" in target + words:
        return []
    if isinstance(node, ast.AugAssign):
        return [(f"{target} -= {words}", 0.9), (f"{target} += {words}", 0.9), (f"{target} = 0", 1.0), (f"{target} = {words}", 1.1)]
    flips = {"True": "False", "False": "True"}
    return [(f"{target} = {new}", 0.8 if words in flips else 1.2) for new in (flips.get(words, "None"), "0", "[]", "''") if new != words]


def _mutable(facts: Facts, node: ast.FunctionDef | ast.AsyncFunctionDef, step: str) -> Iterator[Draft]:
    positional = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults, strict=True)]
    pairs += [(one, two) for one, two in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if two is not None]
    body = [statement for statement in facts.unit.statements if statement.parent is not None and statement.parent.node is node]
    first = next((statement for statement in body if not is_docstring(statement)), None)
    for argument, default in pairs:
        if isinstance(default, ast.List | ast.Dict | ast.Set | ast.Call) and first is not None:
            start, end = facts.unit.source.span(default)
            words = facts.unit.text[start:end]
            edit = before(facts.unit, first, f"if {argument.arg} is None:", f"{step}{argument.arg} = {words}")
            if edit is not None and "\n" not in words and "\r" not in words:
                yield 0.6, "mutable-default", (Edit(start, end, "None"), edit)
