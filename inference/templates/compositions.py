"""Bucket 2: an expression becomes a part of a larger one: an index, a receiver, an operand, an argument, a condition's subject."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from inference.edits import Edit
from inference.templates.calls import METHOD_SIBLINGS
from inference.templates.facts import Facts
from inference.templates.kinds import SEQUENCES
from inference.templates.operators import Draft
from inference.templates.syntax import ARITH, ATOM, TERM, fit
from inference.templates.terms import expressions, filters
from inference.templates.unit import Site

MOST = 8
"""Larger expressions of one form tried at one place."""
MODULE_CALLS = {
    "math": "floor ceil sqrt log fabs", "re": "search findall match split compile escape", "heapq": "heapify heappop nlargest nsmallest",
    "copy": "deepcopy copy", "json": "loads dumps", "itertools": "chain groupby combinations", "collections": "Counter OrderedDict",
    "random": "choice", "functools": "partial reduce", "os": "fspath", "statistics": "mean median",
}  # fmt: skip
"""Functions worth a call where a file imports a module and never uses it."""


def compositions(facts: Facts, site: Site) -> Iterator[Draft]:
    node, parent = site.node, site.parent
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(
        parent, ast.Attribute | ast.Expr | ast.Slice | ast.Subscript
    ):
        return
    if site.role in ("func", "decorator_list", "type", "bases", "annotation", "returns", "target", "targets", "context_expr", "exc"):
        return
    if isinstance(node, ast.Name):
        yield from _as_index(facts, site, node)
        yield from _as_receiver(facts, site, node)
        yield from _in_unused_modules(facts, site, node)
    if isinstance(node, ast.Name | ast.Constant | ast.Call | ast.Subscript | ast.BinOp):
        yield from _as_operand(facts, site)
    if site.role in ("elt", "body") and isinstance(parent, ast.GeneratorExp | ast.Lambda) and isinstance(node, ast.Name):
        yield from _as_subject(facts, site, node)
    if site.role == "iter" and isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from _as_bound(facts, site)


def _as_index(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """``i`` becomes ``xs[i]``."""
    if facts.names.get(node.id) is not None and facts.names[node.id].kind not in ("num", "", "str"):
        return
    bases = [*site.bound, *(name for name, about in facts.names.items() if about.rank == 0 and about.kind in (*SEQUENCES, "dict", ""))]
    for at, name in enumerate([name for name in dict.fromkeys(bases) if name not in (node.id, "self", "cls")][:MOST]):
        yield 2.0 + 0.1 * at, "wrap", (facts.unit.splice(site.start, site.end, f"{name}[{node.id}]"),)


def _as_receiver(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """``match`` becomes ``match.start()``: methods that the unit calls on it elsewhere, and their siblings."""
    known = facts.attributes.get(node.id, Counter())
    found: dict[str, float] = {}
    for method in known:
        found.setdefault(method, 1.8)
        for other, cost in METHOD_SIBLINGS.get(method, ()):
            found.setdefault(other, 1.6 + cost)
    for method, cost in sorted(found.items(), key=lambda item: item[1])[: 2 * MOST]:
        yield cost, "wrap", (facts.unit.splice(site.end, site.end, f".{method}()"),)
        if method in known:
            yield cost + 0.4, "wrap", (facts.unit.splice(site.end, site.end, f".{method}"),)


def _in_unused_modules(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """``text`` becomes ``re.search(pattern, text)`` where the file imports ``re`` and never uses it."""
    for module in sorted(facts.unused_modules & MODULE_CALLS.keys()):
        for at, function in enumerate(MODULE_CALLS[module].split()):
            yield 1.8 + 0.1 * at, "wrap", (facts.unit.splice(site.start, site.end, f"{module}.{function}({node.id})"),)
            for first in sorted(facts.unread_globals)[:2]:
                yield 1.5 + 0.1 * at, "wrap", (facts.unit.splice(site.start, site.end, f"{module}.{function}({first}, {node.id})"),)


def _as_operand(facts: Facts, site: Site) -> Iterator[Draft]:
    """The expression and another one of the unit, added, multiplied, ..."""
    kind, words = facts.kind(site.node), facts.unit.words(site)
    if kind not in ("num", "", "list", "str"):
        return
    known = {name for penalty, name in facts.in_scope(site, 3) if penalty != 2.5}
    put = facts.unit.put
    found = 0
    for text, strength, other, used in expressions(facts):
        if text == words or not used <= known or other not in (kind, "") or found >= MOST:
            continue
        found += 1
        late = 0.05 * found + (0.0 if kind == other else 0.5)
        yield 2.4 + late, "arithmetic", (put(site, f"{fit(words, facts.unit.strength(site), ARITH)} + {fit(text, strength, TERM)}", ARITH),)
        if kind in ("num", ""):
            for symbol, level, right, cost in (("*", TERM, ATOM, 2.5), ("-", ARITH, TERM, 2.5), ("/", TERM, ATOM, 2.8)):
                new = f"{fit(words, facts.unit.strength(site), level)} {symbol} {fit(text, strength, right)}"
                yield cost + late, "arithmetic", (put(site, new, level),)


def _as_subject(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """The element of ``all(x for x in xs)`` becomes a condition on it."""
    for cost, text, strength in filters(facts, node.id, "", ""):
        if text != node.id:
            yield cost + 1.2, "strengthen", (facts.unit.put(site, text, strength),)


def _as_bound(facts: Facts, site: Site) -> Iterator[Draft]:
    """A number that is looped over becomes the start or the end of a range."""
    words = facts.unit.words(site)
    yield 1.0, "wrap", (facts.unit.put(site, f"range({words})"),)
    values = sorted(facts.values(site.statement), key=lambda name: (name not in facts.idle, name not in facts.parameters))
    for at, name in enumerate(values[:6]):
        for end in (name, f"{name} + 1", f"len({name})"):
            yield 1.0 + 0.1 * at, "wrap", (facts.unit.put(site, f"range({words}, {end})"),)


def bounds(facts: Facts, site: Site) -> Iterator[Draft]:
    """A lower or an upper bound for a slice that has none."""
    node = site.node
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice):
        return
    start, end = facts.unit.source.span(node.slice)
    lower, upper = node.slice.lower, node.slice.upper
    numbers = [
        name for name in (*site.bound, *facts.values(site.statement)) if name not in facts.names or facts.names[name].kind in ("num", "")
    ]
    for at, name in enumerate(dict.fromkeys(numbers)):
        if at >= MOST:
            return
        if lower is None:
            yield 1.6 + 0.1 * at, "slice", (Edit(start, start, name),)
        if upper is None and node.slice.step is None:
            yield 1.7 + 0.1 * at, "slice", (Edit(end, end, name),)
