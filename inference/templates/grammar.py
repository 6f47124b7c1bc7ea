"""Bucket 6: expressions in the order of how likely they are where they stand (``idioms``), from what is in scope.

At each place: the old expression as a part of a new one (what was lost around it), the old callee or call with arguments that it lacks, and
expressions made afresh, by ``enumeration``.
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Callable, Iterator

from inference.templates.enumeration import Enumeration, Key, Term
from inference.templates.facts import Facts
from inference.templates.idioms import contexts, head, locals_of, shipped
from inference.templates.operators import Draft
from inference.templates.unit import Site

DEPTH, MOST, SITES = 3, 2500, 12
"""Operators and calls inside each other, expressions at one place, places that are ordered together (most suspicious first)."""
_FRESH, _AROUND = 1.2, 0.3
"""Costs of making an expression afresh and of keeping the old one as a part."""
_SAVED, _MOST_SAVED = 0.5, 2.5
"""The share of the old expression's surprise that replacing it saves, and the most of it: mistakes lose more than they add."""


def grammar(facts: Facts, distance: Callable[[int], float]) -> Iterator[tuple[float, int, Draft]]:
    """(rank, line, draft), likeliest first over all places. ``distance``: what a line's place adds to a cost."""
    node = facts.unit.node
    if node is None:
        return
    idioms, local = shipped(), locals_of(node)
    where = {id(expression): context for context, expression, _ in contexts(node)}
    fresh: dict[tuple[str, ...], Enumeration] = {}
    line_of = facts.unit.source.line_of
    sites = [
        (distance(line_of(site.start)), order, site) for order, site in enumerate(facts.unit.sites)
        if id(site.node) in where and site.quoted is None and not isinstance(site.node, ast.Lambda | ast.Starred)]  # fmt: skip
    if len(sites) > SITES:
        sites.sort(key=lambda item: item[:2])
    for at in range(0, len(sites), SITES):
        streams = []
        for far, order, site in sites[at : at + SITES]:
            if site.bound not in fresh:
                fresh[site.bound] = Enumeration(facts, idioms, site.bound, site.start)
            names = local | set(site.bound)
            streams.append(_at(facts, site, where[id(site.node)], fresh[site.bound], names, far, line_of(site.start), order))
        for rank, _, line, draft in heapq.merge(*streams, key=lambda item: item[:2]):
            yield rank, line, draft


def _at(
    facts: Facts, site: Site, context: str, fresh: Enumeration, local: frozenset[str], far: float, line: int, order: int
) -> Iterator[tuple[float, int, int, Draft]]:
    words = facts.unit.words(site)
    if "\n" in words or "\r" in words:
        return
    idioms, node = fresh.idioms, site.node
    old = idioms.cost(context, head(node, local))
    whole = idioms.surprise_at(context, node, local)
    part = f"({words})" if isinstance(node, ast.GeneratorExp) and not words.startswith("(") else words
    kept = Enumeration(facts, idioms, site.bound, site.start, (node, part, local), fresh)
    ways = [
        _shifted(kept.best(Key(context, 2, (), True)), _AROUND - min(_SAVED * old, _MOST_SAVED)),
        _shifted(kept.completed(context), _AROUND - min(_SAVED * old, _MOST_SAVED)),
        _shifted(fresh.best(Key(context, DEPTH, (), False)), _FRESH - min(_SAVED * whole, _MOST_SAVED)),
    ]
    known = {words, part}
    for term in heapq.merge(*ways):
        if len(known) > MOST:
            return
        if term.text not in known:
            known.add(term.text)
            rank = round(term.cost + far, 3)
            yield rank, order, line, (rank, "synthesis", (facts.unit.put(site, term.text, term.strength),))


def _shifted(terms: Iterator[Term], by: float) -> Iterator[Term]:
    return (Term(term.cost + by, term.text, term.strength) for term in terms)
