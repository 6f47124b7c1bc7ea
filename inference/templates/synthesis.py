"""Bucket 6: expressions composed of what is in scope, cheapest first, where the typed edits of the other buckets are used up.

Terms of size one (names, literals, expressions of the unit), two (a call, an index or an operator on them) and three; what stands at a
place may be any part of it. The kinds of value that uses suggest prune most of them.
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from typing import NamedTuple

from inference.templates.compositions import MODULE_CALLS
from inference.templates.facts import Facts
from inference.templates.kinds import SEQUENCES, SIZED
from inference.templates.operators import Draft
from inference.templates.syntax import ARITH, ATOM, COMPARE, FACTOR, NOT, POWER, TERM, fit
from inference.templates.terms import expressions
from inference.templates.unit import Site
from inference.templates.wraps import WRAPS

ATOMS, PAIRED, GROWN, TERMS = 14, 9, 160, 12_000
"""Atoms of one scope, those paired with each other, terms of size two that grow on, and terms tried at one place."""
LONGEST = 70
OPERATORS = (("+", ARITH, TERM), ("-", ARITH, TERM), ("*", TERM, POWER), ("//", TERM, POWER), ("/", TERM, POWER), ("%", TERM, POWER))
COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
LEVELS = {"not {}": NOT, "-{}": FACTOR, "~{}": FACTOR}
PLACES = {
    ast.Return: 0.0, ast.Assign: 0.0, ast.AugAssign: 0.0, ast.For: 0.0, ast.comprehension: 0.2, ast.If: 0.2, ast.While: 0.2, ast.Call: 0.4,
    ast.Lambda: 0.3, ast.ListComp: 0.3, ast.GeneratorExp: 0.3, ast.SetComp: 0.3, ast.BinOp: 0.5, ast.Compare: 0.4, ast.IfExp: 0.5,
    ast.Subscript: 0.6, ast.Tuple: 0.6,
}  # fmt: skip


class Term(NamedTuple):
    cost: float
    text: str
    strength: int
    kind: str


def synthesis(facts: Facts, distance: Callable[[int], float]) -> Iterator[tuple[float, int, Draft]]:
    """(rank, line, draft), cheapest first over all places. ``distance``: what a line's place adds to a cost."""
    scopes: dict[tuple[str, ...], list[Term]] = {}
    streams = []
    order = count()
    for site in facts.unit.sites:
        place = PLACES.get(type(site.parent))
        node = site.node
        if place is None or site.quoted is not None or site.role in ("func", "target", "targets", "ctx", "keywords"):
            continue
        if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(node, ast.Starred | ast.Slice | ast.Lambda):
            continue
        if site.bound not in scopes:
            scopes[site.bound] = list(_terms(facts, site.bound))
        line = facts.unit.source.line_of(site.start)
        streams.append(_at(facts, site, scopes[site.bound], place + distance(line), line, next(order)))
    for rank, _, line, draft in heapq.merge(*streams):
        yield rank, line, draft


def _at(facts: Facts, site: Site, terms: list[Term], cost: float, line: int, order: int) -> Iterator[tuple[float, int, int, Draft]]:
    asked = site.role in ("test", "ifs")
    looped = site.role == "iter"
    words = facts.unit.words(site)
    for term in terms:
        if term.text == words or looped and term.kind in ("num", "bool") or (term.kind == "range" and not looped):
            continue
        if term.kind == "bool" and not asked and site.role not in ("value", "body", "elt"):
            continue
        rank = round(term.cost + cost - (0.5 if words in term.text and len(words) > 2 else 0.0), 3)
        yield rank, order, line, (rank, "synthesis", (facts.unit.put(site, term.text, term.strength),))


def _terms(facts: Facts, bound: tuple[str, ...]) -> Iterator[Term]:
    atoms = sorted(_atoms(facts, bound))[:ATOMS]
    found: dict[str, Term] = {}
    for term in sorted([*atoms, *_larger(facts, atoms)]):
        if len(term.text) <= LONGEST:
            found.setdefault(term.text, term)
    small = sorted(found.values())
    base = small[:GROWN]
    few = atoms[:PAIRED]
    for term in (*(t for one in base for t in _grown(facts, one)), *_paired(facts, base, few), *_paired(facts, few, base[: GROWN // 2])):
        if len(term.text) <= LONGEST and (term.text not in found or found[term.text].cost > term.cost):
            found[term.text] = term
    yield from sorted(found.values())[:TERMS]


def _larger(facts: Facts, atoms: list[Term]) -> Iterator[Term]:
    for one in atoms:
        yield from _grown(facts, one)
    yield from _paired(facts, atoms[:PAIRED], atoms[:PAIRED])


def _atoms(facts: Facts, bound: tuple[str, ...]) -> Iterator[Term]:
    names = set(facts.names) | set(bound)
    for name in bound:
        yield Term(0.2, name, ATOM, "")
    for name, about in facts.names.items():
        if name in ("self", "cls") or name in bound or about.called:
            continue
        forgotten = name in facts.unread_globals or name in facts.idle
        if about.rank <= 1 or forgotten:
            yield Term(0.0 if forgotten else 0.3 + about.rank, name, ATOM, about.kind)
    for text, strength, kind, used in expressions(facts):
        if used <= names:
            yield Term(0.8, text, strength, kind)
    for text in dict.fromkeys([*(t for t, _ in facts.literals.most_common(5)), "1", "0", "2"]):
        kind = "num" if text[0].isdigit() else "str" if text[0] in "'\"" else ""
        yield Term(0.9, text, FACTOR if text.startswith("-") else ATOM, kind)


def _grown(facts: Facts, term: Term) -> Iterator[Term]:
    """Calls, methods and indexes that take one value."""
    for form, cost in WRAPS.get(term.kind, WRAPS[""]):
        if form.startswith(("math.", "re.")) and form.split(".")[0] not in facts.modules:
            continue
        level = LEVELS.get(form, ATOM)
        inside = fit(term.text, term.strength, level) if form in LEVELS or form.startswith("{}") else term.text
        same = form in ("{}.copy()", "{}[:]") or form.startswith("{}[") and ":" in form
        yield Term(term.cost + 0.6 * cost + 0.3, form.format(inside), level, term.kind if same else _kind(facts, form))
    for name, about in facts.names.items():
        if about.called and about.rank in (0, 1) and name.islower():
            yield Term(term.cost + 1.2, f"{name}({term.text})", ATOM, "")
    for module in facts.modules & MODULE_CALLS.keys():
        for at, function in enumerate(MODULE_CALLS[module].split()):
            yield Term(term.cost + 1.4 + 0.1 * at, f"{module}.{function}({term.text})", ATOM, "num" if module == "math" else "")
    if term.kind in ("num", ""):
        yield Term(term.cost + 1.0, f"range({term.text})", ATOM, "range")
    if term.kind in (*SIZED, ""):
        yield Term(term.cost + 1.1, f"range(len({term.text}))", ATOM, "range")


def _paired(facts: Facts, ones: list[Term], others: list[Term]) -> Iterator[Term]:
    """Operators, indexes, comparisons and calls that take two values."""
    functions = [name for name, about in facts.names.items() if about.called and about.rank in (0, 1) and name.islower()]
    functions += [f"{m}.{f}" for m in sorted(facts.modules & MODULE_CALLS.keys()) for f in MODULE_CALLS[m].split()[:3]]
    for one in ones:
        for other in others:
            if one.text == other.text or one.text[0].isdigit() and other.text[0].isdigit():
                continue
            cost = one.cost + other.cost + 0.4 * ((one.kind == "") + (other.kind == ""))
            numbers = one.kind in ("num", "") and other.kind in ("num", "")
            for symbol, left, right in OPERATORS:
                idle = other.text == "0" or other.text == "1" and symbol not in "+-"
                if not idle and (numbers or symbol == "+" and one.kind == other.kind and one.kind in SEQUENCES):
                    text = f"{fit(one.text, one.strength, left)} {symbol} {fit(other.text, other.strength, right)}"
                    yield Term(cost + 1.0, text, left, "num" if numbers else one.kind)
            if one.kind in ("list", "str", "tuple", "seq", "dict", "") and other.kind in ("num", "" if one.kind != "dict" else "str"):
                base = fit(one.text, one.strength, ATOM)
                yield Term(cost + 0.9, f"{base}[{other.text}]", ATOM, "")
                if one.kind not in ("dict", ""):
                    yield Term(cost + 1.5, f"{base}[:{other.text}]", ATOM, one.kind)
                    yield Term(cost + 1.5, f"{base}[{other.text}:]", ATOM, one.kind)
            if numbers:
                for name in ("max", "min"):
                    yield Term(cost + 1.4, f"{name}({one.text}, {other.text})", ATOM, "num")
                yield Term(cost + 1.2, f"range({one.text}, {other.text})", ATOM, "range")
                yield Term(cost + 1.6, f"range({one.text}, {fit(other.text, other.strength, ARITH)} + 1)", ATOM, "range")
            for symbol in COMPARISONS if numbers else COMPARISONS[:2] if one.kind == other.kind else ():
                text = f"{fit(one.text, one.strength, COMPARE + 1)} {symbol} {fit(other.text, other.strength, COMPARE + 1)}"
                yield Term(cost + 1.1, text, COMPARE, "bool")
            for at, name in enumerate(functions[:8]):
                yield Term(cost + 1.5 + 0.1 * at, f"{name}({one.text}, {other.text})", ATOM, "")


@lru_cache(maxsize=1024)
def _kind(facts: Facts, form: str) -> str:
    try:
        return facts.kind(ast.parse(form.format("x"), mode="eval").body)
    except SyntaxError:
        return ""
