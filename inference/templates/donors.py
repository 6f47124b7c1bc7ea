"""Buckets 2 and 3: statements made of names in scope, and expressions and statements taken from elsewhere in the function or file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from inference.edits import FunctionSource
from inference.templates.facts import Facts
from inference.templates.names import agreement
from inference.templates.operators import Draft
from inference.templates.syntax import precedence
from inference.templates.terms import expressions
from inference.templates.unit import Site, parse

MOST = 18
"""Donor expressions tried at one place."""


@lru_cache(maxsize=64)
def foreign(text: str, qualname: str, start: int, end: int) -> tuple[tuple[str, int, frozenset[str]], ...]:
    """Short expressions of another function."""
    try:
        tree = parse(text)
    except (SyntaxError, ValueError):
        return ()
    found: dict[str, tuple[str, int, frozenset[str]]] = {}
    for node in ast.walk(tree.tree):
        if (
            isinstance(node, ast.Call | ast.BinOp | ast.Subscript | ast.Compare)
            and start <= tree.offset(node.lineno, node.col_offset) < end
        ):
            words = tree.segment(node)
            if len(words) <= 50 and "\n" not in words and "\r" not in words:
                used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
                found[words] = words, precedence(node, words), used
    return tuple(found.values())[:40]


def donors(facts: Facts, site: Site) -> Iterator[Draft]:
    """Another expression of the function in an expression's place."""
    node = site.node
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(
        node, ast.Starred | ast.Slice | ast.JoinedStr | ast.Lambda
    ):
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
                yield (
                    (1.2 if isinstance(node, ast.Constant) else 1.5) + penalty,
                    "constant-to-name",
                    (facts.unit.splice(site.start, site.end, name),),
                )


def foreign_donors(facts: Facts, site: Site, sources: tuple[FunctionSource, ...]) -> Iterator[Draft]:
    """Expressions of other functions whose names are all in scope here."""
    if not isinstance(site.node, ast.Call | ast.BinOp | ast.Subscript | ast.Compare) or site.role in (
        "func",
        "decorator_list",
        "type",
        "bases",
    ):
        return
    if isinstance(getattr(site.node, "ctx", None), ast.Store | ast.Del):
        return
    known, words = {name for penalty, name in facts.in_scope(site, 3) if penalty != 2.5}, facts.unit.words(site)
    for source in sources[:8]:
        for text, strength, used in foreign(source.text, source.qualname, source.start, source.end):
            if used <= known and text != words:
                yield 2.8, "donor", (facts.unit.put(site, text, strength),)
