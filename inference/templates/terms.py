"""What conditions and donors are made of: expressions that the unit uses, and atoms, the conditions that may be asked at a place."""

from __future__ import annotations

import ast
from collections import Counter
from functools import lru_cache

from inference.templates.facts import Facts
from inference.templates.syntax import ATOM, COMPARE, NOT, fit, precedence
from inference.templates.unit import Statement


def forms(table: str) -> tuple[tuple[str, float], ...]:
    """(form, cost) pairs of a table like ``abs({}) 0.9 | int({}) 0.9``."""
    pairs = [row.rpartition(" ") for row in table.split(" | ") if row]
    return tuple((form, float(cost)) for form, _, cost in pairs)


MOST = 140
"""Atoms kept at one place."""
NUMBER_FORMS = forms(
    "{} == 0 0.4 | {} < 0 0.5 | {} == 1 0.7 | {} <= 0 0.7 | {} <= 1 0.8 | {} > 0 0.9 | {} < 1 1.1"
    " | {} < 2 1.1 | {} % 2 == 0 1.1 | {} % 2 != 0 1.1 | {} != 0 1.1 | {} == 2 1.6 | {} > 1 1.6 | {} == -1 1.7 | {} % 2 == 1 1.6"
)
SIZED_FORMS = forms("len({}) == 0 1.6 | len({}) == 1 1.1 | len({}) < 2 1.2 | len({}) > 1 1.5 | len({}) % 2 == 0 1.9")


@lru_cache(maxsize=64)
def expressions(facts: Facts) -> tuple[tuple[str, int, str, frozenset[str]], ...]:
    """Expressions of the unit worth reusing: (text, strength, kind, names), most frequent first."""
    found: Counter[str] = Counter()
    about: dict[str, tuple[int, str, frozenset[str]]] = {}
    for site in facts.unit.sites:
        node = site.node
        if not isinstance(
            node, ast.Call | ast.BinOp | ast.Subscript | ast.Attribute | ast.Compare | ast.ListComp | ast.UnaryOp | ast.IfExp | ast.BoolOp
        ):
            continue
        if site.quoted is not None or site.bound or isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or site.role == "func":
            continue
        text = facts.unit.words(site)
        if (
            len(text) <= 70
            and "\n" not in text
            and "\r" not in text
            and not any(isinstance(inner, ast.NamedExpr | ast.Yield | ast.Await) for inner in ast.walk(node))
        ):
            found[text] += 1
            used = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
            about[text] = precedence(node, text), facts.kind(node), used
    return tuple((text, *about[text]) for text, _ in found.most_common(40))


@lru_cache(maxsize=512)
def atoms(facts: Facts, statement: Statement) -> tuple[tuple[float, str, int], ...]:
    """Conditions that may be asked at a statement: (cost, text, strength), likeliest first."""
    found: dict[str, tuple[float, int]] = {}

    def add(cost: float, text: str, strength: int) -> None:
        if text not in found or found[text][0] > cost:
            found[text] = cost, strength

    for text, strength in facts.conditions:
        add(0.5, text, strength)
        add(0.9, f"not {fit(text, strength, NOT)}", NOT)
    first = statement.blocks[0][0] if isinstance(statement.node, ast.If) and statement.blocks else statement
    for cost, text, strength in _assigned(facts, first):
        add(cost, text, strength)
    values = facts.values(statement)[:8]
    terms = [(_late(facts, statement, name, at), name, facts.names[name].kind) for at, name in enumerate(values)]
    elements = _elements(facts, statement, values)
    for late, text, kind in (*terms, *elements):
        for cost, atom, strength in _about(text, kind):
            add(cost + late, atom, strength)
    every = sorted([*terms, *elements])[:10]
    for at, (late, one, kind) in enumerate(every):
        for later, other, its in every[at + 1 :]:
            for cost, atom in _between(one, kind, other, its):
                add(cost + 0.5 * (late + later), atom, COMPARE)
    for name in facts.parameters:
        if facts.names[name].kind == "func":
            for late, text, kind in terms:
                if kind != "func":
                    add(1.0 + late, f"{name}({text})", ATOM)
                    add(1.1 + late, f"not {name}({text})", NOT)
    if "self" in facts.parameters:
        for text in list(facts.attributes.get("self", {}))[:20]:
            if not text.startswith("__"):
                add(1.6, f"self.{text}", ATOM)
                add(1.4, f"not self.{text}", NOT)
                add(1.7, f"self.{text} is None", COMPARE)
    ranked = sorted(((cost, text, strength) for text, (cost, strength) in found.items()), key=lambda item: (item[0], item[1]))
    return tuple(ranked[:MOST])


def _late(facts: Facts, statement: Statement, name: str, at: int) -> float:
    """Loop variables and parameters are asked about before other locals."""
    if name in _targets(statement):
        return 0.05
    if name in facts.idle:
        return -0.2
    return 0.08 * at + (0.0 if name in facts.parameters else 0.3)


def _targets(statement: Statement) -> list[str]:
    """Variables of the loops around a statement, innermost first."""
    found: list[str] = []
    at = statement.parent
    while at is not None:
        if isinstance(at.node, ast.For | ast.AsyncFor):
            found += [node.id for node in ast.walk(at.node.target) if isinstance(node, ast.Name)]
        at = at.parent
    return found


def _elements(facts: Facts, statement: Statement, values: list[str]) -> list[tuple[float, str, str]]:
    """Elements of sequences at the loop variables, and short subscripts that the unit uses already."""
    found: dict[str, tuple[float, str]] = {}
    scope = set(facts.names) - {name for name, about in facts.names.items() if about.first > statement.start}
    for text, _, kind, used in expressions(facts):
        if len(text) <= 20 and text.endswith("]") and ":" not in text and used <= scope:
            found[text] = 0.2, kind or "num"
    for index in _targets(statement)[:2]:
        if index in facts.names and facts.names[index].kind == "num":
            for name in values:
                idle = name in facts.parameters and not facts.names[name].kinds
                if idle or facts.names[name].kind in ("list", "str", "seq", "tuple"):
                    found.setdefault(
                        f"{name}[{index}]", (0.0 if name in facts.idle else 0.3, "str" if facts.names[name].kind == "str" else "num")
                    )
    return [(late, text, kind) for text, (late, kind) in found.items()][:8]


def _assigned(facts: Facts, statement: Statement) -> list[tuple[float, str, int]]:
    """For `best = value`: whether the value beats the old one; for `seen.add(x)`: whether x is in it."""
    node, unit = statement.node, facts.unit
    if not hasattr(node, "value") or node.lineno != node.end_lineno:
        return []
    match node:
        case ast.Assign(targets=[ast.Name() | ast.Subscript() as target], value=value):
            old, new = unit.segment(target), unit.segment(value)
            if precedence(value, new) > COMPARE and len(new) < 60:
                return [(0.4, f"{old} < {new}", COMPARE), (0.45, f"{old} > {new}", COMPARE), (1.2, f"{old} != {new}", COMPARE)]
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append" | "add" | "remove" | "discard"), args=[argument])
        ):
            words = fit(unit.segment(argument), precedence(argument, unit.segment(argument)), COMPARE + 1)
            return [(0.6, f"{words} not in {name}", COMPARE), (0.9, f"{words} in {name}", COMPARE)]
    return []


def _about(text: str, kind: str) -> list[tuple[float, str, int]]:
    """Conditions on one value."""
    found: list[tuple[float, str, int]] = []
    if kind in ("num", ""):
        found += [(cost + (0.0 if kind else 0.7), form.format(text), COMPARE) for form, cost in NUMBER_FORMS]
    if kind in ("list", "str", "seq", "tuple", "dict", "set"):
        found += [(0.3, f"not {text}", NOT), (0.9, text, ATOM), *((cost, form.format(text), COMPARE) for form, cost in SIZED_FORMS)]
    elif kind not in ("func", "num"):
        found += [(0.6, f"not {text}", NOT), (0.8, text, ATOM)]
    if kind in ("str", ""):
        extra = 1.5 if kind else 2.0
        found += [
            (extra + 0.1 * at, f"{text}.{name}()", ATOM) for at, name in enumerate(("isdigit", "isalpha", "isupper", "islower", "isspace"))
        ]
    if kind not in ("func", "bool"):
        none = 0.6 if kind in ("", "none") else 1.0
        found += [(none, f"{text} is None", COMPARE), (none + 0.5, f"{text} is not None", COMPARE)]
    if kind in ("", "seq"):
        found += [(1.7 + 0.1 * at, f"isinstance({text}, {name})", ATOM) for at, name in enumerate(("list", "str", "int", "tuple", "dict"))]
    return found


def _between(one: str, kind: str, other: str, its: str) -> list[tuple[float, str]]:
    """Conditions that compare two values, the one more particular on the left."""
    if "[" in other and "[" not in one:
        one, kind, other, its = other, its, one, kind
    if "func" in (kind, its):
        return []
    found: list[tuple[float, str]] = []
    sized = ("list", "seq", "set", "dict", "str", "tuple")
    if kind == its or "" in (kind, its) and "bool" not in (kind, its):
        found += [(1.1, f"{one} == {other}"), (1.2, f"{one} != {other}")]
        if kind in ("num", "") and its in ("num", ""):
            found += [(1.3, f"{one} {symbol} {other}") for symbol in ("<", ">", "<=", ">=")]
            if kind == its == "num":
                found += [(1.8, f"{one} % {other} == 0"), (1.9, f"{one} % {other} != 0")]
    if kind in sized and its in sized and "seq" not in (kind, its):
        found.append((1.6, f"len({one}) != len({other})"))
    for part, its_kind, whole, whole_kind in ((one, kind, other, its), (other, its, one, kind)):
        if whole_kind in sized and (its_kind not in ("list", "dict", "set") or whole_kind == "") and part != whole:
            found += [(1.2, f"{part} in {whole}"), (1.1, f"{part} not in {whole}")]
    return found


@lru_cache(maxsize=256)
def filters(facts: Facts, item: str, kind: str, source: str) -> tuple[tuple[float, str, int], ...]:
    """Conditions on the variable of a comprehension over ``source``."""
    found = [(cost, text, strength) for cost, text, strength in _about(item, kind) if text != f"not {item}"]
    for name in [name for name, about in facts.names.items() if about.rank == 0]:
        if name not in ("self", "cls", source, item):
            late = (0.0 if name in facts.idle else 0.5) + (0.0 if name in facts.parameters else 0.3)
            found += [(cost + late, text, COMPARE) for cost, text in _between(item, kind, name, facts.names[name].kind)]
            if facts.names[name].kind == "":
                found += [(1.5 + late, f"{item} in {name}", COMPARE), (1.4 + late, f"{item} not in {name}", COMPARE)]
            if name in facts.parameters and facts.names[name].kind in ("func", ""):
                found += [(1.2 + late, f"{name}({item})", ATOM)]
    return tuple(sorted(found))[:50]
