"""Buckets 2 and 3: statements put in: assignments and steps of names in scope, copies of statements, first values, missing returns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from inference.templates.facts import Facts
from inference.templates.layout import after, before, is_docstring, leaves
from inference.templates.operators import Draft
from inference.templates.unit import Site, Statement


def insertions(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Bucket 2: an assignment, an append or a step of names in scope, before or behind a statement."""
    if not statement.block or not statement.whole or statement.is_elif or is_docstring(statement) or statement.within is None:
        return
    lines: list[tuple[float, str]] = []
    values = facts.values(statement)[:6]
    for at, name in enumerate(values):
        kind, late = facts.names[name].kind, 0.1 * at
        if kind == "num":
            counted = 0.0 if _counts(statement, name) else 1.0
            lines += [(1.5 + late + counted, f"{name} {step}") for step in ("//= 10", "*= 2", "//= 2")]
            lines += [(1.2 + late, f"{name} += 1"), (1.4 + late, f"{name} -= 1"), (1.9 + late, f"{name} = 0"), (2.4 + late, f"{name} = 1")]
        elif kind == "list":
            lines += [
                (2.2 + late, f"{name} = []"),
                (2.4 + late, f"{name}.sort()"),
                (2.6 + late, f"{name}.reverse()"),
                (2.4 + late, f"{name}.pop()"),
            ]
        elif kind == "str":
            lines += [(2.2 + late, f"{name} = {name}.lower()"), (2.2 + late, f"{name} = {name}.strip()"), (2.6 + late, f"{name} = ''")]
        elif kind in ("seq", ""):
            lines += [(2.4 + late, f"{name} = list({name})"), (2.4 + late, f"{name} = sorted({name})")]
        for other in values:
            if other == name:
                continue
            far = 0.05 * values.index(other) + late
            if kind == "list":
                lines += [(1.3 + far, f"{name}.append({other})"), (2.2 + far, f"{name}.extend({other})")]
            elif kind == "set":
                lines.append((1.3 + far, f"{name}.add({other})"))
            elif kind == "num" == facts.names[other].kind:
                lines += [(1.7 + far, f"{name} = {other}"), (1.7 + far, f"{name} += {other}"), (2.1 + far, f"{name} -= {other}")]
            elif kind == facts.names[other].kind or not kind:
                lines.append((2.0 + far, f"{name} = {other}"))
    if "self" in facts.parameters:
        for name in values[:4]:
            if name in facts.attributes.get("self", ()):
                lines.append((1.0, f"self.{name} = {name}"))
    last = statement is statement.block[-1] and not leaves(statement)
    for cost, line in lines:
        edit = before(facts.unit, statement, line)
        if edit is not None:
            yield cost + 0.4, "insert-statement", (edit,)
        if last:
            edit = after(facts.unit, statement, line)
            if edit is not None:
                yield cost + 0.2, "insert-statement", (edit,)


def _counts(statement: Statement, name: str) -> bool:
    """Whether a while loop around the statement asks for the name."""
    at = statement.parent
    while at is not None:
        if isinstance(at.node, ast.While) and any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(at.node.test)):
            return True
        at = at.parent
    return False


@lru_cache(maxsize=64)
def simple_statements(facts: Facts) -> tuple[tuple[str, frozenset[str], int], ...]:
    """One-line statements of the unit that may be copied: (text, names it reads, offset)."""
    found: dict[str, tuple[str, frozenset[str], int]] = {}
    for statement in facts.unit.statements:
        node = statement.node
        if (
            isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Break | ast.Continue | ast.Raise)
            and node.lineno == node.end_lineno
        ):
            text = facts.unit.text[statement.start : statement.end]
            if (
                not is_docstring(statement)
                and len(text) <= 80
                and not any(isinstance(inner, ast.Yield | ast.Await) for inner in ast.walk(node))
            ):
                used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load))
                found.setdefault(text, (text, used, statement.start))
    return tuple(found.values())[:40]


def copies(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Bucket 3: a copy of another simple statement, before or behind this one, or in its place."""
    if not statement.block or not statement.whole or statement.is_elif or is_docstring(statement) or statement.within is None:
        return
    here = facts.unit.text[statement.start : statement.end]
    last = statement is statement.block[-1] and not leaves(statement)
    known = set(facts.names) - {name for name, about in facts.names.items() if about.first > statement.start and not statement.loop}
    simple = not statement.blocks and statement.node.lineno == statement.node.end_lineno
    for text, used, _ in simple_statements(facts):
        if text == here or not used <= known or text in ("break", "continue") and not statement.loop:
            continue
        edit = before(facts.unit, statement, text)
        cost = 1.8 if not text.startswith(("return", "break", "continue", "raise")) else 2.6
        if edit is not None:
            yield cost, "copy-statement", (edit,)
        if last:
            edit = after(facts.unit, statement, text)
            if edit is not None:
                yield 1.6, "copy-statement", (edit,)
        if simple:
            yield 2.2, "replace-statement", (facts.unit.splice(statement.start, statement.end, text),)


def first_values(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Bucket 2: a first value for a name that is read before anything surely gave it one."""
    if statement.parent is None or statement.parent.node is not facts.unit.node or facts.unit.node is None:
        return
    for name, (first, sure) in unset_names(facts).items():
        if first is not statement:
            continue
        about = facts.names.get(name)
        for at, value in enumerate(_first_values(facts, name, about.kind if about else "")):
            edit = before(facts.unit, statement, f"{name} = {value}")
            if edit is not None:
                yield (0.2 if sure else 1.0) + 0.08 * at, "initialise", (edit,)


def _first_values(facts: Facts, name: str, kind: str) -> list[str]:
    given = [parameter for parameter in facts.parameters if parameter not in ("self", "cls")]
    typical = {"num": ("0", "1", "-1"), "list": ("[]",), "set": ("set()",), "dict": ("{}", "[]"), "str": ("''",), "seq": ("[]", "{}", "''")}
    found = [*typical.get(kind, ()), *(f"len({parameter})" for parameter in given), *(f"{parameter}[0]" for parameter in given)]
    donors = [statement.node.value for statement in facts.unit.statements if isinstance(statement.node, ast.Assign)]
    texts = [facts.unit.segment(value) for value in donors]
    found += [text for value, text in zip(donors, texts, strict=True) if len(text) <= 70 and "\n" not in text and "\r" not in text
              and not any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))]  # fmt: skip
    found += ["0", "[]", "set()", "{}", "None", "False", "''", "1", "-1", "True", "float('inf')", "float('-inf')", *given]
    return list(dict.fromkeys(found))


@lru_cache(maxsize=64)
def unset_names(facts: Facts) -> dict[str, tuple[Statement, bool]]:
    """Names read where no binding before is certain: (top-level statement of the first such read, whether there is no binding at all)."""
    unit, homes, found = facts.unit, _homes(facts), {}
    for site in unit.sites:
        name = getattr(site.node, "id", "")
        reads = isinstance(getattr(site.node, "ctx", None), ast.Load) or isinstance(site.parent, ast.AugAssign) and site.role == "target"
        about = facts.names.get(name)
        if not name or not reads or name in site.bound or name in found or name in facts.parameters or about is not None and about.rank:
            continue
        if about is not None and about.called and about.kind == "":
            continue
        chain = _chain(site)
        if not any(start < site.statement.start and parent in chain for start, parent in homes.get(name, ())):
            top = site.statement
            while top.parent is not None and top.parent.node is not unit.node:
                top = top.parent
            found[name] = top, not homes.get(name)
    return found


def _chain(site: Site) -> set[Statement | None]:
    found: set[Statement | None] = set()
    at: Statement | None = site.statement
    while at is not None:
        found.add(at)
        at = at.parent
    return found


def _homes(facts: Facts) -> dict[str, list[tuple[int, Statement | None]]]:
    """Where each name gets a value: (offset, the statement in whose block the value is certain)."""
    homes: dict[str, list[tuple[int, Statement | None]]] = {}
    for site in facts.unit.sites:
        if isinstance(site.node, ast.Name) and isinstance(site.node.ctx, ast.Store) and not isinstance(site.parent, ast.AugAssign):
            inside = isinstance(site.statement.node, ast.For | ast.AsyncFor)
            place = site.statement if inside else site.statement.parent
            homes.setdefault(site.node.id, []).append((site.statement.start - inside, place))
    for statement in facts.unit.statements:
        for alias in getattr(statement.node, "names", ()):
            word = alias if isinstance(alias, str) else alias.asname or alias.name.split(".")[0]
            homes.setdefault(word, []).append((statement.start, statement.parent))
        for handler in getattr(statement.node, "handlers", ()):
            if handler.name:
                homes.setdefault(handler.name, []).append((statement.start - 1, statement))
        if isinstance(statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            homes.setdefault(statement.node.name, []).append((statement.start, statement.parent))
    return homes


def results_missing(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Bucket 1: a return of a local at the end of a function that returns nothing anywhere."""
    node = facts.unit.node
    if (
        node is None
        or statement.parent is None
        or statement.parent.node is not node
        or statement is not statement.block[-1]
        or leaves(statement)
    ):
        return
    if any(
        isinstance(inner, ast.Yield | ast.YieldFrom) or isinstance(inner, ast.Return) and inner.value is not None
        for inner in ast.walk(node)
    ):
        return
    names = [
        name
        for name, about in sorted(facts.names.items(), key=lambda item: -item[1].first)
        if about.rank == 0 and name not in ("self", "cls")
    ][:7]
    ways = [(0.1 * at, name) for at, name in enumerate(names)]
    ways += [(0.7 + 0.1 * at, f"({one}, {other})") for at, one in enumerate(names[:4]) for other in names[:4] if one != other]
    for at, name in enumerate(names):
        if facts.names[name].kind in ("list", "seq", "dict", "str"):
            ways += [(0.6 + 0.1 * at, f"{name}[{other}]") for other in names if facts.names[other].kind == "num"]
            ways += [(0.7 + 0.1 * at, f"{name}[-1]"), (0.8 + 0.1 * at, f"{name}[0]"), (0.8 + 0.1 * at, f"len({name})")]
    for cost, text in ways:
        edit = after(facts.unit, statement, f"return {text}")
        if edit is not None:
            yield 0.3 + cost, "missing-return", (edit,)
