"""Bucket 1: a name for another name in scope, an attribute for another attribute, call added or dropped."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise

from inference.templates.facts import Facts
from inference.templates.kinds import SEQUENCES, SIZED
from inference.templates.operators import Draft
from inference.templates.unit import Site

LIMIT = 14
"""Names tried at one place."""
CALLABLE_KINDS = frozenset({"func"})


def names(facts: Facts, site: Site) -> Iterator[Draft]:
    match site.node:
        case ast.Name(ctx=ast.Load()):
            yield from _name(facts, site, site.node)
        case ast.Name(ctx=ast.Store()):
            yield from _target(facts, site, site.node)
        case ast.Attribute(ctx=ast.Load()):
            yield from _attribute(facts, site, site.node)
        case ast.Attribute():
            yield from _siblings(facts, site, site.node, 1.6)
        case ast.Tuple(elts=[_, _, *_]):
            elements = site.node.elts
            for left, right in pairwise(elements):
                if not isinstance(left, ast.Starred) and not isinstance(right, ast.Starred):
                    (start, end), (then, until) = facts.unit.source.span(left), facts.unit.source.span(right)
                    yield (
                        1.3,
                        "swap-elements",
                        (
                            facts.unit.splice(start, end, facts.unit.text[then:until]),
                            facts.unit.splice(then, until, facts.unit.text[start:end]),
                        ),
                    )


def agreement(one: str, other: str) -> float:
    """A penalty for putting a value of one kind where the other kind stands; unknown kinds cost a little."""
    if one == other:
        return 0.0 if one else 0.4
    if not one or not other:
        return 0.5
    if one in SIZED and other in SIZED and ("seq" in (one, other)) or {one, other} <= SEQUENCES:
        return 0.3
    return 2.0


@lru_cache(maxsize=8192)
def close(one: str, other: str) -> float:
    """How alike two names are, 0 to 1."""
    if abs(len(one) - len(other)) > 4 or not set(one) & set(other):
        return 0.0
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _name(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    unit, old = facts.unit, node.id
    about = facts.names.get(old)
    called = isinstance(site.parent, ast.Call) and site.role == "func"
    receiver = isinstance(site.parent, ast.Attribute)
    kind = about.kind if about else ""
    ranked: list[tuple[float, str]] = []
    for penalty, name in facts.in_scope(site, 2 if called or about is not None and about.rank in (1, 2) else 1):
        if name == old or name in ("self", "cls") and not receiver:
            continue
        other = facts.names.get(name)
        if other is not None and called and not other.called and other.kind != "func":
            continue
        thing = other is not None and other.rank > 0 and (other.called or name in facts.modules)
        if thing and not called and not (about and about.called) and other is not None and other.rank >= (about.rank if about else 3):
            penalty += 2.0
        cost = 0.9 + penalty + (0.0 if other is None else agreement(kind, other.kind))
        if about is None and old not in dir(builtins):
            cost = 0.2 + penalty
        if name in facts.idle:
            cost -= 0.4
        likeness = close(old, name)
        cost -= 0.5 * likeness if likeness > 0.5 else 0.0
        ranked.append((cost + (1.5 if receiver and name not in facts.parameters else 0.0), name))
    ranked.sort()
    if isinstance(site.parent, ast.keyword) or isinstance(site.parent, ast.Call) and site.role == "args":
        ranked = [(cost - 0.2, name) for cost, name in ranked]
    for cost, name in ranked[:LIMIT]:
        yield cost, "name", (unit.splice(site.start, site.end, name),)
    if (
        not called
        and not receiver
        and isinstance(
            site.parent, ast.Call | ast.Return | ast.Assign | ast.BinOp | ast.Compare | ast.AugAssign | ast.ListComp | ast.GeneratorExp
        )
    ):
        for literal, count in list(facts.literals.items())[:6]:
            if kind == "num" and literal[0].isdigit():
                yield 2.8 - min(count, 3) * 0.1, "name-to-constant", (unit.splice(site.start, site.end, literal),)
        if kind == "num" or site.role == "elt":
            for literal in ("1", "0", "2", "10"):
                yield 2.9, "name-to-constant", (unit.splice(site.start, site.end, literal),)
    if old in facts.attributes.get("self", ()) and "self" in facts.parameters and (about is None or about.rank):
        yield 0.5, "missing-self", (unit.splice(site.start, site.start, "self."),)
    elif old in facts.attributes.get("self", ()) and "self" in facts.parameters:
        yield 1.8, "missing-self", (unit.splice(site.start, site.start, "self."),)
    if not called and about is not None and about.called and about.rank and not receiver and site.role != "decorator_list":
        yield 1.5, "add-call", (unit.splice(site.end, site.end, "()"),)


def _target(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """Another name where a value is bound: above all one that is read and bound nowhere, as after a misspelt target."""
    old = facts.names.get(node.id)
    kind = old.kind if old else ""
    unread = 0.5 if node.id in facts.unread else 0.0
    ranked = [(0.3 - 0.2 * close(name, node.id) - 0.2 * (unread > 0), name) for name in facts.lost if name != node.id]
    for name, about in facts.names.items():
        if about.rank == 0 and name not in (node.id, "self", "cls"):
            alike = close(name, node.id)
            ranked.append((1.5 - unread + agreement(kind, about.kind) - (0.5 if alike > 0.5 else 0.0), name))
    for cost, name in sorted(ranked)[:LIMIT]:
        yield cost, "target", (facts.unit.splice(site.start, site.end, name),)


def _attribute(facts: Facts, site: Site, node: ast.Attribute) -> Iterator[Draft]:
    unit = facts.unit
    called = isinstance(site.parent, ast.Call) and site.role == "func"
    yield from _siblings(facts, site, node, 1.2 if not called else 2.0)
    value = unit.segment(node.value)
    module = isinstance(node.value, ast.Name) and node.value.id in facts.modules
    if not called and not module:
        yield 1.6, "add-call", (unit.splice(site.end, site.end, "()"),)
        yield 2.0, "drop-attribute", (unit.splice(unit.source.span(node.value)[1], site.end, ""),) if value else ()


def _siblings(facts: Facts, site: Site, node: ast.Attribute, cost: float) -> Iterator[Draft]:
    """Other attributes that the class or file uses of the same receiver."""
    if not isinstance(node.value, ast.Name):
        return
    seen: dict[str, int] = dict(facts.attributes.get(node.value.id, {}))
    start = site.end - len(node.attr)
    if facts.unit.text[start : site.end] != node.attr:
        return
    ranked = sorted((-close(node.attr, name), -count, name) for name, count in seen.items() if name != node.attr)
    for at, (likeness, _, name) in enumerate(ranked[:LIMIT]):
        yield cost + at * 0.15 + (0.6 * likeness if likeness < -0.5 else 0.3), "attribute", (facts.unit.splice(start, site.end, name),)
