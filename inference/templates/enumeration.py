"""The k best expressions of every context of the grammar in one scope, lazily.

The k-th best expression of a context is found from the k-th best of its parts' contexts (Huang and Chiang, Better k-best parsing, 2005);
nesting is bounded, so that contexts never need themselves.
"""

from __future__ import annotations

import ast
import heapq
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from inference.templates.facts import Facts
from inference.templates.idioms import VARIABLE, Idioms, head
from inference.templates.productions import Production, productions
from inference.templates.syntax import ATOM, FACTOR, OR, TEST, fit, precedence
from inference.templates.terminals import MISFIT, constants, unfit, weighed_names

LONGEST = 90
"""Characters of an expression."""
_LEAST = 0.4
"""Below what any part costs: where a place in a heap is first guessed."""


class Term(NamedTuple):
    cost: float
    text: str
    strength: int


class Key(NamedTuple):
    context: str
    depth: int
    scope: tuple[str, ...]
    around: bool


@dataclass
class _List:
    """The best expressions of one key so far, and the heap of what may come next: (bound, number, production, base, around, ranks)."""

    items: list[Term] = field(default_factory=list)
    heap: list[tuple[float, int, Production | Term, float, int, tuple[int, ...]]] = field(default_factory=list)
    known: set[str] = field(default_factory=set)


class Enumeration:
    """Expressions of every context in one scope, likeliest first; with ``old`` also those around an old expression."""

    def __init__(
        self, facts: Facts, idioms: Idioms, bound: tuple[str, ...], start: int,
        old: tuple[ast.expr, str, frozenset[str]] | None = None, fresh: Enumeration | None = None,
    ) -> None:  # fmt: skip
        self.facts, self.idioms, self.old, self.fresh = facts, idioms, old, fresh
        self.names: dict[str, float] = fresh.names if fresh is not None else weighed_names(facts, bound, start)
        self.constants: list[tuple[str, str, float]] = fresh.constants if fresh is not None else constants(facts, idioms)
        self.productions: list[Production] = fresh.productions if fresh is not None else list(productions(facts, idioms))
        self._lists: dict[Key, _List] = {}
        self._numbers = count()

    def best(self, key: Key) -> Iterator[Term]:
        for rank in count():
            term = self.nth(key, rank)
            if term is None:
                return
            yield term

    def nth(self, key: Key, rank: int) -> Term | None:
        if not key.around and self.fresh is not None:
            return self.fresh.nth(key, rank)
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = self._start(key)
        while len(found.items) <= rank:
            if not found.heap:
                return None
            self._step(key, found)
        return found.items[rank]

    def completed(self, context: str) -> Iterator[Term]:
        """The old callee called, the old call with one argument more, the old comprehension with a condition."""
        if self.old is None:
            return
        node, words, local = self.old
        made = _List()
        if isinstance(node, ast.Name | ast.Attribute) and words not in local:
            self._callee(made, node, words, local)
        elif isinstance(node, ast.Call) and node.args and not node.keywords:
            self._arguments(made, node, local)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp) and len(node.generators) == 1 and not node.generators[0].ifs:
            scope = tuple(n.id for n in ast.walk(node.generators[0].target) if isinstance(n, ast.Name))
            form = _escaped(words[:-1].rstrip()) + " if {}" + _escaped(words[-1:])
            if words[:1] + words[-1:] in ("()", "[]", "{}") and precedence(node, words) == ATOM:
                key = Key(f"{head(node, local)} if@2", 2, scope, False)
                self._push(made, Production("", form, (OR,), ATOM), 0.0, (key,))
        yield from self._drain(made)

    def _callee(self, made: _List, node: ast.expr, words: str, local: frozenset[str]) -> None:
        name = f".{node.attr}" if isinstance(node, ast.Attribute) and not _module(node, local) else words
        usual = [(self.idioms.cost("", p.head), p) for p in self.productions if p.head.split("/")[0] == name]
        total = sum(math.exp(-cost) for cost, _ in usual)
        for cost, production in usual:
            receiver = name.startswith(".")
            form = production.form
            if receiver and isinstance(node, ast.Attribute):
                form = _escaped(self.facts.unit.segment(node.value)) + form.removeprefix("{}")
            keys = tuple(Key(f"{production.head}@{at}", 2, (), False) for at in range(int(receiver), len(production.needs)))
            plain = Production(production.head, form, production.needs[int(receiver):], ATOM)
            self._push(made, plain, cost + math.log(total), keys)

    def _arguments(self, made: _List, node: ast.Call, local: frozenset[str]) -> None:
        name, given = head(node, local).split("/")[0], len(node.args)
        offset = int(name.startswith("."))
        callee = _escaped(self.facts.unit.segment(node.func))
        texts = [_escaped(self.facts.unit.segment(argument)) for argument in node.args]
        for at in range(given + 1):
            parts = [*texts[:at], "{}", *texts[at:]]
            context = f"{name}/{given + 1}@{min(at + offset, 3)}"
            base = 0.7 if context in self.idioms.counts else 2.0 if self.facts.names.get(name) is not None else 3.5
            self._push(made, Production("", f"{callee}({', '.join(parts)})", (TEST,), ATOM), base, (Key(context, 2, (), False),))

    def _push(self, made: _List, production: Production, base: float, keys: tuple[Key, ...]) -> None:
        for parts in self._combinations(keys):
            text = production.form.format(*(fit(t.text, t.strength, need) for t, need in zip(parts, production.needs, strict=True)))
            number = next(self._numbers)
            heapq.heappush(made.heap, (base + sum(t.cost for t in parts), number, Term(0.0, text, production.strength), 0.0, 0, ()))

    def _combinations(self, keys: tuple[Key, ...], most: int = 150) -> list[tuple[Term, ...]]:
        found: list[tuple[Term, ...]] = [()]
        for key in keys:
            terms = [term for term, _ in zip(self.best(key), range(most if len(keys) == 1 else 20), strict=False)]
            found = sorted(((*one, term) for one in found for term in terms), key=lambda parts: sum(t.cost for t in parts))[:most]
        return found

    def _drain(self, made: _List) -> Iterator[Term]:
        while made.heap:
            cost, _, term, *_ = heapq.heappop(made.heap)
            if isinstance(term, Term) and len(term.text) <= LONGEST:
                yield Term(cost, term.text, term.strength)

    def _start(self, key: Key) -> _List:
        made = _List()
        if key.around and self.old is not None:
            node, words, local = self.old
            cost = self.idioms.cost(key.context, head(node, local))
            heapq.heappush(made.heap, (cost, next(self._numbers), Term(cost, words, precedence(node, words)), 0.0, 0, ()))
        elif not key.around:
            for cost, term in self._terminals(key):
                heapq.heappush(made.heap, (cost, next(self._numbers), Term(cost, *term), 0.0, 0, ()))
        if key.depth > 0:
            for production in self.productions:
                base = self.idioms.cost(key.context, production.head) + self._bonus(production)
                ranks = (0,) * len(production.needs)
                if not ranks and key.around:
                    continue
                for around in range(len(ranks)) if key.around else (-1,):
                    bound = base + _LEAST * len(ranks)
                    heapq.heappush(made.heap, (bound, next(self._numbers), production, base, around, ranks))
        return made

    def _bonus(self, production: Production) -> float:
        """What the file imports and never uses was surely meant to be called."""
        name = production.head.split("/")[0]
        forgotten = name in self.facts.unused_imports or name.split(".")[0] in self.facts.unused_modules
        return -3.0 if forgotten else 0.0

    def _terminals(self, key: Key) -> Iterator[tuple[float, tuple[str, int]]]:
        names = {**self.names, **dict.fromkeys(key.scope, 3.0)}
        total = sum(names.values())
        base = self.idioms.cost(key.context, VARIABLE)
        for name, weight in names.items():
            about = self.facts.names.get(name)
            misfit = MISFIT if about is not None and name not in key.scope and unfit(key.context, about.kind) else 0.0
            yield base - math.log(weight / total) + misfit, (name, ATOM)
        for what, text, share in self.constants:
            yield self.idioms.cost(key.context, what) + share, (text, FACTOR if text.startswith("-") else ATOM)

    def _step(self, key: Key, made: _List) -> None:
        bound, _, what, base, around, ranks = heapq.heappop(made.heap)
        if isinstance(what, Term):
            self._keep(made, Term(bound, what.text, what.strength))
            return
        parts: list[Term] = []
        for at, rank in enumerate(ranks):
            scope = key.scope + ((what.binds,) if what.binds and at != 1 else ())
            part = self.nth(Key(f"{what.head}@{min(at, 3)}", key.depth - 1, scope, at == around), rank)
            if part is None:
                return
            parts.append(part)
        cost = base + sum(part.cost for part in parts)
        if made.heap and cost > made.heap[0][0] + 1e-9 and cost > bound + 1e-9:
            heapq.heappush(made.heap, (cost, next(self._numbers), what, base, around, ranks))
            return
        text = what.form.format(*(fit(part.text, part.strength, need) for part, need in zip(parts, what.needs, strict=True)))
        if not what.binds or re.search(rf"\b{what.binds}\b", parts[0].text):
            self._keep(made, Term(cost, text, what.strength))
        last = max((at for at, rank in enumerate(ranks) if rank), default=0)
        for at in range(last, len(ranks)):
            following = (*ranks[:at], ranks[at] + 1, *ranks[at + 1 :])
            heapq.heappush(made.heap, (cost, next(self._numbers), what, base, around, following))

    def _keep(self, made: _List, term: Term) -> None:
        if len(term.text) <= LONGEST and term.text not in made.known:
            made.known.add(term.text)
            made.items.append(term)


def _module(node: ast.Attribute, local: frozenset[str]) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id not in local


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
