"""Buckets 2 and 3: statements made of names in scope, and expressions and statements taken from elsewhere in the function or file."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from inference.edits import FunctionSource
from inference.templates.facts import Facts
from inference.templates.layout import after, before, is_docstring, leaves
from inference.templates.names import agreement
from inference.templates.operators import Draft
from inference.templates.syntax import precedence
from inference.templates.unit import Site, Statement, parse

MOST = 18
"""Donor expressions tried at one place."""


@lru_cache(maxsize=64)
def expressions(facts: Facts) -> tuple[tuple[str, int, str, frozenset[str]], ...]:
    """Expressions of the unit worth reusing: (text, strength, kind, names), most frequent first."""
    found: Counter[str] = Counter()
    about: dict[str, tuple[int, str, frozenset[str]]] = {}
    for site in facts.unit.sites:
        node = site.node
        if not isinstance(node, ast.Call | ast.BinOp | ast.Subscript | ast.Attribute | ast.Compare | ast.ListComp | ast.UnaryOp | ast.IfExp | ast.BoolOp):
            continue
        if site.quoted is not None or site.bound or isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or site.role == "func":
            continue
        text = facts.unit.words(site)
        if len(text) <= 70 and "\n" not in text and "\r" not in text and not any(isinstance(inner, ast.NamedExpr | ast.Yield | ast.Await) for inner in ast.walk(node)):
            found[text] += 1
            used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
            about[text] = precedence(node, text), facts.kind(node), used
    return tuple((text, *about[text]) for text, _ in found.most_common(40))


@lru_cache(maxsize=64)
def foreign(text: str, qualname: str, start: int, end: int) -> tuple[tuple[str, int, frozenset[str]], ...]:
    """Short expressions of another function."""
    try:
        tree = parse(text)
    except (SyntaxError, ValueError):
        return ()
    found: dict[str, tuple[str, int, frozenset[str]]] = {}
    for node in ast.walk(tree.tree):
        if isinstance(node, ast.Call | ast.BinOp | ast.Subscript | ast.Compare) and start <= tree.offset(node.lineno, node.col_offset) < end:
            words = tree.segment(node)
            if len(words) <= 50 and "\n" not in words and "\r" not in words:
                used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
                found[words] = words, precedence(node, words), used
    return tuple(found.values())[:40]


def donors(facts: Facts, site: Site) -> Iterator[Draft]:
    """Another expression of the function in an expression's place."""
    node = site.node
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(node, ast.Starred | ast.Slice | ast.JoinedStr | ast.Lambda):
        return
    if site.role in ("func", "decorator_list", "type", "bases") or isinstance(site.parent, ast.Expr):
        return
    kind, words = facts.kind(node), facts.unit.words(site)
    known = {name for penalty, name in facts.in_scope(site, 3) if penalty != 2.5}
    weight = 0.0 if isinstance(node, ast.Name | ast.Call | ast.Subscript) else 0.3 if not isinstance(node, ast.Constant) else 0.4
    ranked = sorted(
        (agreement(kind, other), at, text, strength)
        for at, (text, strength, other, used) in enumerate(expressions(facts))
        if text != words and used <= known
    )
    for penalty, at, text, strength in ranked[:MOST]:
        yield 1.6 + penalty + weight + 0.03 * at, "donor", (facts.unit.put(site, text, strength),)
    if isinstance(node, ast.Constant | ast.Call | ast.BinOp | ast.Subscript | ast.Attribute) and not isinstance(site.parent, ast.Attribute):
        names = sorted(
            (penalty + agreement(kind, facts.names[name].kind) if name in facts.names else penalty, name)
            for penalty, name in facts.in_scope(site)
            if penalty < 1 and name not in ("self", "cls") and not (name in facts.names and facts.names[name].called)
        )
        for penalty, name in names[:10]:
            if name != words:
                yield (1.2 if isinstance(node, ast.Constant) else 1.5) + penalty, "constant-to-name", (facts.unit.splice(site.start, site.end, name),)


def foreign_donors(facts: Facts, site: Site, sources: tuple[FunctionSource, ...]) -> Iterator[Draft]:
    """Expressions of other functions whose names are all in scope here."""
    if not isinstance(site.node, ast.Call | ast.BinOp | ast.Subscript | ast.Compare) or site.role in ("func", "decorator_list", "type", "bases"):
        return
    if isinstance(getattr(site.node, "ctx", None), ast.Store | ast.Del):
        return
    known, words = {name for penalty, name in facts.in_scope(site, 3) if penalty < 2.5}, facts.unit.words(site)
    for source in sources[:8]:
        for text, strength, used in foreign(source.text, source.qualname, source.start, source.end):
            if used <= known and text != words:
                yield 2.8, "donor", (facts.unit.put(site, text, strength),)


def insertions(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Bucket 2: an assignment, an append or a step of names in scope, before or behind a statement."""
    if not statement.block or not statement.whole or statement.is_elif or is_docstring(statement) or statement.within is None:
        return
    lines: list[tuple[float, str]] = []
    values = facts.values(statement)[:6]
    for at, name in enumerate(values):
        kind, late = facts.names[name].kind, 0.1 * at
        if kind == "num":
            lines += [(1.2 + late, f"{name} += 1"), (1.4 + late, f"{name} -= 1"), (1.9 + late, f"{name} = 0"), (2.4 + late, f"{name} = 1")]
        elif kind == "list":
            lines += [(2.2 + late, f"{name} = []"), (2.4 + late, f"{name}.sort()"), (2.6 + late, f"{name}.reverse()"), (2.4 + late, f"{name}.pop()")]
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


@lru_cache(maxsize=64)
def simple_statements(facts: Facts) -> tuple[tuple[str, frozenset[str], int], ...]:
    """One-line statements of the unit that may be copied: (text, names it reads, offset)."""
    found: dict[str, tuple[str, frozenset[str], int]] = {}
    for statement in facts.unit.statements:
        node = statement.node
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Break | ast.Continue | ast.Raise) and node.lineno == node.end_lineno:
            text = facts.unit.text[statement.start : statement.end]
            if not is_docstring(statement) and len(text) <= 80 and not any(isinstance(inner, ast.Yield | ast.Await) for inner in ast.walk(node)):
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
