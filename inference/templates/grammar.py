"""Bucket 6: expressions in the order of how likely they are where they stand (``idioms``), from what is in scope.

At each place: the old expression as a part of a new one (what was lost around it), the old callee or call with arguments that it lacks, and
expressions made afresh. The k-th best expression of a context is found lazily from the k-th best of its parts' contexts (Huang and Chiang,
Better k-best parsing, 2005); nesting is bounded, so that contexts never need themselves.
"""

from __future__ import annotations

import ast
import heapq
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from inference.templates.facts import Facts
from inference.templates.idioms import TEXT, VARIABLE, Idioms, contexts, head, locals_of, shipped
from inference.templates.kinds import BUILTINS
from inference.templates.operators import Draft
from inference.templates.syntax import AND, ATOM, COMPARE, FACTOR, NOT, OR, STRENGTH, TEST, fit, precedence
from inference.templates.unit import Site

DEPTH, LONGEST, MOST, SITES = 3, 90, 2500, 12
"""Operators and calls inside each other, characters of an expression, expressions at one place, places that are ordered together (most
suspicious first)."""
_FRESH, _AROUND = 1.2, 0.3
"""Costs of making an expression afresh and of keeping the old one as a part."""
_SAVED, _MOST_SAVED = 0.5, 2.5
"""The share of the old expression's surprise that replacing it saves, and the most of it: mistakes lose more than they add."""
_LEAST = 0.4
"""Below what any part costs: where a place in a heap is first guessed."""
_CALL = re.compile(r"(\.?)([A-Za-z_][\w.]*)/(\d)((?:,\w+)*)$")
_SLICE = re.compile(r"\[(a?):(b?)(:c)?\]$")
_COMPARISONS = frozenset("== != < > <= >= in is".split()) | {"not in", "is not"}
_BRACKETS = {"list": ("[", "]"), "set": ("{", "}"), "iter": ("(", ")")}
_DISPLAYS = {
    "#list/0": "[]", "#list/1": "[{}]", "#list/2": "[{}, {}]", "#tuple/1": "({},)", "#tuple/2": "({}, {})", "#tuple/3": "({}, {}, {})",
}  # fmt: skip
_MORE = (
    "abs/1 round/1 round/2 bool/1 ord/1 chr/1 bin/1 any/1 all/1 sum/1 reversed/1 enumerate/1 zip/2 set/1 tuple/1 dict/1 "
    "iter/1 next/1 isinstance/2 .lower/0 .upper/0 .strip/0 .title/0 .capitalize/0 .copy/0 .items/0 .keys/0 .values/0 .get/1 "
    ".get/2 .split/0 .pop/0 .index/1 .count/1 .find/1 .startswith/1 .endswith/1 .isalpha/0 .isupper/0 .islower/0 .isspace/0 "
    ".isalnum/0 .union/1 .intersection/1 .elements/0 .most_common/0 .most_common/1 .setdefault/2 .sort/0 .reverse/0 .add/1 "
    ".extend/1 math.sqrt/1 math.ceil/1 math.floor/1 math.gcd/2 math.pow/2 math.factorial/1 math.log/1 math.log2/1 "
    "math.log10/1 math.sin/1 math.cos/1 math.tan/1 math.radians/1 re.match/2 re.search/2 re.findall/2 re.split/2 re.sub/3 "
    "re.compile/1 re.fullmatch/2 heapq.nlargest/2 heapq.nsmallest/2 bisect.bisect_left/2 bisect.bisect_right/2 "
    "bisect.bisect/2 sys.getsizeof/1 collections.Counter/1 itertools.chain/2 itertools.groupby/1 Counter/1 OrderedDict/1 "
    "defaultdict/1 deque/1 chain/2 combinations/2 permutations/1 product/2 reduce/2 itemgetter/1 bisect_left/2 sqrt/1 "
    "heapq.heapify/1 heapq.heappop/1 heapq.heappush/2 copy.deepcopy/1 deepcopy/1 [::c] [a:b] [:b] [a:] [:]"
).split()
"""Heads of common Python that a small corpus may lack; each is as likely as one never seen."""
_MISFIT = 3.5
_ITERATED = frozenset({
    "for", "list for@1", "set for@1", "iter for@1", "list for if@1", "iter for if@1", "in@1", "not in@1", "map/2@1", ".join/1@1"
})  # fmt: skip
_OF_MANY = frozenset(
    "len/1 sum/1 sorted/1 max/1 min/1 list/1 set/1 tuple/1 any/1 all/1 enumerate/1 reversed/1 zip/2 dict/1 Counter/1".split()
)
_ARITHMETIC = frozenset("- / // ** -/1 abs/1 pow/2 << >>".split())
_OF_NOTHING_ELSE = frozenset({"str", "list", "dict", "set", "tuple", "seq"})
"""Contexts that ask for many values or for numbers, and kinds that arithmetic does not take; a misfit costs so much: kinds are guesses."""
_FRESH_NAMES = ("x", "y", "z")


class Term(NamedTuple):
    cost: float
    text: str
    strength: int


@dataclass(frozen=True)
class Production:
    """A way to write a head: ``form`` takes the parts, each bracketed unless it binds as strongly as ``needs`` says."""

    head: str
    form: str
    needs: tuple[int, ...]
    strength: int
    binds: str = ""
    """A name that all parts but the second may read (a comprehension's, a lambda's)."""


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


class Enumeration:
    """Expressions of every context in one scope, likeliest first; with ``old`` also those around an old expression."""

    def __init__(
        self, facts: Facts, idioms: Idioms, bound: tuple[str, ...], start: int,
        old: tuple[ast.expr, str, frozenset[str]] | None = None, fresh: Enumeration | None = None,
    ) -> None:  # fmt: skip
        self.facts, self.idioms, self.old, self.fresh = facts, idioms, old, fresh
        self.names: dict[str, float] = fresh.names if fresh is not None else _names(facts, bound, start)
        self.constants: list[tuple[str, str, float]] = fresh.constants if fresh is not None else _constants(facts, idioms)
        self.productions: list[Production] = fresh.productions if fresh is not None else list(_productions(facts, idioms))
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
            unfit = _MISFIT if about is not None and name not in key.scope and _unfit(key.context, about.kind) else 0.0
            yield base - math.log(weight / total) + unfit, (name, ATOM)
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


def _unfit(context: str, kind: str) -> bool:
    """Whether a value of this kind (as its other uses suggest) has no business in a context."""
    name, _, place = context.partition("@")
    if kind in ("num", "bool"):
        return (name[:1] in ".[" and place == "0" and len(name) > 1) or context in _ITERATED or name in _OF_MANY
    if kind in _OF_NOTHING_ELSE:
        return name in _ARITHMETIC or name.startswith(("range/", "math.")) or context == "[]@1" or name == "%" and place == "1"
    return False


def _names(facts: Facts, bound: tuple[str, ...], start: int) -> dict[str, float]:
    """Names that may stand at a place, with weights: what nothing reads yet is likelier to be what is missing."""
    weights = dict.fromkeys(bound, 3.0)
    for name, about in facts.names.items():
        if name in weights or about.called and about.rank or name in ("self", "cls"):
            continue
        if name in facts.idle:
            weights[name] = 6.0
        elif about.rank == 0:
            weights[name] = (3.0 if name in facts.unread else 1.5) if about.first <= start else 0.3
        elif name in facts.unread_globals:
            weights[name] = 3.0
        elif about.rank == 1 and name not in facts.modules:
            weights[name] = 1.0
    return weights


def _constants(facts: Facts, idioms: Idioms) -> list[tuple[str, str, float]]:
    """(head, text, extra cost): the corpus' frequent constants, and the unit's own, which share their head."""
    own = [text for text, _ in facts.literals.most_common(12)]
    found: dict[str, tuple[str, float]] = {}
    for what in idioms.heads():
        if what.lstrip("-").isdigit() or what in ("True", "False", "None") or what[:1] in "'\"":
            found[what] = what, 0.0
    for text in own:
        kind = head(ast.parse(text, mode="eval").body, frozenset())
        if text in found:
            found[text] = found[text][0], -0.7
        elif kind in (TEXT, "int", "float") or kind[:1] in "'\"":
            found[text] = kind, 0.5
    return [(what, text, share) for text, (what, share) in found.items()]


def _productions(facts: Facts, idioms: Idioms) -> Iterator[Production]:
    taken: set[str] = set()
    for what in dict.fromkeys((*idioms.heads(), *_MORE)):
        production = _production(facts, what)
        if production is not None:
            taken.add(what.split("/")[0])
            yield production
    for name, about in facts.names.items():
        if name not in taken and about.called and about.rank in (1, 2) and name.isidentifier():
            yield from (Production(f"{name}/{n}", f"{name}({', '.join(['{}'] * n)})", (TEST,) * n, ATOM) for n in (1, 2))


def _production(facts: Facts, what: str) -> Production | None:
    if what in STRENGTH:
        level = STRENGTH[what]
        left, right = (level + 1, level) if what == "**" else (level, level + 1)
        return Production(what, f"{{}} {what} {{}}", (left, right), level)
    if what in _COMPARISONS:
        return Production(what, f"{{}} {what} {{}}", (COMPARE + 1, COMPARE + 1), COMPARE)
    if what in ("and", "or"):
        level = AND if what == "and" else OR
        return Production(what, f"{{}} {what} {{}}", (level + 1, level + 1), level)
    if what in ("-/1", "~/1", "not/1"):
        level = NOT if what == "not/1" else FACTOR
        return Production(what, "not {}" if level == NOT else what[0] + "{}", (level,), level)
    if what == "[]":
        return Production(what, "{}[{}]", (ATOM, TEST), ATOM)
    if what == "if else":
        return Production(what, "{} if {} else {}", (OR, OR, TEST), TEST)
    if match := _SLICE.match(what):
        form = "{}[" + ("{}" if match[1] else "") + ":" + ("{}" if match[2] else "") + (":{}" if match[3] else "") + "]"
        return Production(what, form, (ATOM, *(TEST,) * (form.count("{}") - 1)), ATOM)
    if what.endswith((" for", " for if")):
        opening, closing = _BRACKETS[what.split()[0]]
        name = next(n for n in (*_FRESH_NAMES, "_x") if n not in facts.names)
        condition, needs = (" if {}", (OR,)) if what.endswith("if") else ("", ())
        opening, closing = (opening * 2, closing * 2) if opening == "{" else (opening, closing)
        return Production(what, f"{opening}{{}} for {name} in {{}}{condition}{closing}", (TEST, OR, *needs), ATOM, name)
    return _called(facts, what)


def _called(facts: Facts, what: str) -> Production | None:
    if what in _DISPLAYS:
        form = _DISPLAYS[what]
        return Production(what, form, (TEST,) * (form.count("{}")), ATOM)
    match = _CALL.match(what)
    if match is None:
        return None
    dot, name, given, words = match[1], match[2], int(match[3]), match[4].split(",")[1:]
    if name == "lambda":
        fresh = next(n for n in (*_FRESH_NAMES, "_x") if n not in facts.names)
        return Production(what, f"lambda {fresh}: {{}}", (TEST,), TEST, fresh) if given == 1 else None
    known = name in BUILTINS or name in facts.names or name.split(".")[0] in facts.modules and "." in name
    if not dot and not known:
        return None
    parts = ["{}"] * given + [f"{word}={{}}" for word in words]
    needs = (TEST,) * len(parts)
    return Production(what, f"{'{}' if dot else ''}{dot}{name}({', '.join(parts)})", (ATOM, *needs) if dot else needs, ATOM)


def _module(node: ast.Attribute, local: frozenset[str]) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id not in local


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
