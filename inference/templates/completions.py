"""Bucket 2: functions that stand uncalled are called, values are given to functions of the file that nothing else calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import permutations

from inference.templates.facts import Facts
from inference.templates.kinds import BUILTINS, SIZED
from inference.templates.operators import Draft
from inference.templates.terms import forms
from inference.templates.unit import Site

TAKERS = frozenset(
    "map filter reduce sorted sort min max partial isinstance issubclass defaultdict starmap groupby nlargest nsmallest".split()
)
"""Calls that take a function or a class as an argument, so that one standing there misses no call."""
RANGES = forms("range({}) 0.6 | range(1, {} + 1) 0.9 | range({} + 1) 1.0 | range(1, {}) 1.0 | range({} - 1) 1.2 | range(2, {}) 1.4")
VALUES = 6
"""Values in scope that are tried as arguments, nearest first."""


def completions(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    if site.role in ("func", "decorator_list", "bases", "type", "annotation", "returns") or not isinstance(
        getattr(node, "ctx", None), ast.Load
    ):
        return
    if isinstance(node, ast.Name) and not isinstance(site.parent, ast.Attribute):
        yield from _name(facts, site, node)
    elif isinstance(node, ast.Attribute) and not isinstance(site.parent, ast.Attribute):
        yield from _attribute(facts, site, node)


def _name(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    about = facts.names.get(node.id)
    if about is None and node.id not in site.bound:
        return
    if about is not None and about.called and not _taken(site):
        yield from _call(facts, site, node)
    elif about is None or not about.called:
        functions = [(1.8, name) for name, other in facts.names.items() if other.called and other.rank in (0, 1) and name.islower()]
        functions += [(1.8, name) for name in facts.parameters if facts.names[name].kind == "func"]
        for at, (cost, name) in enumerate(functions[:6]):
            yield cost + 0.1 * at, "wrap", (facts.unit.splice(site.start, site.end, f"{name}({node.id})"),)
    for at, name in enumerate(sorted(facts.unused_imports)[:VALUES]):
        if name != node.id and isinstance(site.parent, ast.Assign | ast.Return | ast.For | ast.Call | ast.comprehension | ast.Compare):
            yield 1.2 + 0.1 * at, "wrap", (facts.unit.splice(site.start, site.end, f"{name}({node.id})"),)


def _call(facts: Facts, site: Site, node: ast.Name) -> Iterator[Draft]:
    """``node()`` with what may be its arguments: of the function's own names, what a builtin takes."""
    values = _values(facts, site, node.id)
    about = facts.names[node.id]
    end = site.end
    if node.id == "range" and about.rank == 3:
        for at, value in enumerate(values):
            inner = f"len({value})" if value in facts.names and facts.names[value].kind in SIZED else value
            for form, cost in RANGES:
                yield cost + 0.15 * at, "add-call", (facts.unit.splice(site.start, end, form.format(inner)),)
            if inner == value and (value not in facts.names or facts.names[value].kind == ""):
                yield 0.7 + 0.15 * at, "add-call", (facts.unit.splice(site.start, end, f"range(len({value}))"),)
        for at, (first, second) in enumerate(permutations(values[:4], 2)):
            for step, cost in (("", 1.4), (" + 1", 1.5)):
                yield cost + 0.05 * at, "add-call", (facts.unit.splice(site.start, end, f"range({first}, {second}{step})"),)
        return
    base = 1.0 if about.rank else 1.4
    if about.rank == 3:
        yield base, "add-call", (facts.unit.splice(end, end, "()"),)
    for at, value in enumerate(values):
        yield base + 0.1 * at - 0.3 * (value in facts.idle), "add-call", (facts.unit.splice(end, end, f"({value})"),)
    for at, (first, second) in enumerate(permutations(values[:4], 2)):
        yield base + 0.5 + 0.05 * at, "add-call", (facts.unit.splice(end, end, f"({first}, {second})"),)


def _attribute(facts: Facts, site: Site, node: ast.Attribute) -> Iterator[Draft]:
    """A method or a module's function that stands for itself as a statement, a condition or a returned value."""
    alone = isinstance(site.parent, ast.Expr)
    module = isinstance(node.value, ast.Name) and node.value.id in facts.modules
    if not alone and not (module and not _taken(site) and node.attr.islower()):
        return
    values = _values(facts, site, facts.unit.segment(node.value))
    base = 0.6 if alone else 1.4
    if alone or module:
        yield base + 0.2, "add-call", (facts.unit.splice(site.end, site.end, "()"),)
    for at, value in enumerate(values):
        yield base + 0.1 * at, "add-call", (facts.unit.splice(site.end, site.end, f"({value})"),)
    for at, (first, second) in enumerate(permutations(values[:4], 2)):
        yield base + 0.4 + 0.05 * at, "add-call", (facts.unit.splice(site.end, site.end, f"({first}, {second})"),)


def _taken(site: Site) -> bool:
    """Whether a function may be meant where it stands: as an argument of something that takes functions, or as a keyword's value."""
    parent = site.parent
    if isinstance(parent, ast.keyword | ast.Dict | ast.Tuple | ast.List):
        return True
    if not isinstance(parent, ast.Call):
        return False
    name = parent.func.id if isinstance(parent.func, ast.Name) else parent.func.attr if isinstance(parent.func, ast.Attribute) else ""
    return name in TAKERS


def _values(facts: Facts, site: Site, without: str) -> list[str]:
    names = dict.fromkeys((*site.bound, *facts.values(site.statement), *facts.parameters))
    values = [name for name in names if name not in ("self", "cls", without) and name not in BUILTINS]
    values.sort(key=lambda name: name not in facts.idle)
    return values[:VALUES]
