"""Plant human-like bugs in Python functions: five kinds of mistakes as edits of character spans, nothing else touched.

The operators model slips that people make; they were written without looking at what any repair engine can undo, and this package
imports none. ``enumerate_mutations`` is pure and ordered; ``mutants`` draws from it with a seed.
"""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from training.benchmark.mutation.expressions import expression_mutations
from training.benchmark.mutation.source import Source, Span, parse
from training.benchmark.mutation.statements import guard_mutations, statement_mutations
from training.benchmark.mutation.tokens import token_mutations

Kind = Literal["token", "expression", "guard", "statement", "two_places"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MIX: dict[Kind, float] = {"token": 0.25, "expression": 0.35, "guard": 0.15, "statement": 0.15, "two_places": 0.10}
"""Share of each kind in a suite: fixed, so that figures of different days compare."""
LABELS: dict[str, str] = {
    "token": "one token",
    "expression": "one expression",
    "guard": "deleted guard or branch",
    "statement": "deleted, duplicated or moved statement",
    "two_places": "two places",
}


@dataclass(frozen=True)
class Mutation:
    """One or more non-overlapping replacements. ``operator`` names the kind of slip, ``line`` (1-based) the first edited line."""

    kind: Kind
    operator: str
    spans: tuple[Span, ...]
    line: int


@dataclass(frozen=True)
class Mutant:
    """The mutated text of a whole file."""

    kind: Kind
    operator: str
    line: int
    text: str


def quotas(tasks: int) -> dict[Kind, int]:
    """How many tasks each kind gets, by largest remainder, so that they add up to ``tasks``."""
    exact = {kind: share * tasks for kind, share in MIX.items()}
    whole = {kind: int(value) for kind, value in exact.items()}
    rest = tasks - sum(whole.values())
    for kind in sorted(KINDS, key=lambda k: (whole[k] - exact[k], KINDS.index(k)))[:rest]:
        whole[kind] += 1
    return whole


def enumerate_mutations(text: str, kind: Kind) -> list[Mutation]:
    """All mutations of one single-place kind, in file order. Raises SyntaxError when ``text`` does not parse, ValueError for two_places."""
    source = Source.parse(text)
    finders = {"token": token_mutations, "expression": expression_mutations, "guard": guard_mutations, "statement": statement_mutations}
    if kind not in finders:
        raise ValueError("two_places is drawn from the other kinds; call mutants()")
    found = finders[kind](source)
    unique = dict.fromkeys(Mutation(kind, name, tuple(sorted(spans)), source.line_of(min(spans).start)) for name, spans in found)
    return sorted(unique, key=lambda m: (m.spans, m.operator))


def apply(text: str, spans: tuple[Span, ...]) -> str:
    """``text`` with every span replaced. Spans must not overlap."""
    parts, at = [], 0
    for span in sorted(spans):
        if span.start < at:
            raise ValueError("spans overlap")
        parts += [text[at : span.start], span.new]
        at = span.end
    return "".join([*parts, text[at:]])


def mutants(text: str, kind: Kind, seed: int) -> Iterator[Mutant]:
    """Valid mutants of one kind in a random order fixed by ``seed``, each text once.

    An operator is drawn first, then a place: otherwise the operator with most places (names, usually) would crowd out the rest.
    Every mutant compiles and its syntax tree differs from the original's.
    """
    rng = random.Random(f"{seed}/{kind}")
    original = ast.dump(parse(text))
    seen = {original}
    drawn = _draw_pairs(text, rng) if kind == "two_places" else _draw(enumerate_mutations(text, kind), rng)
    for mutation in drawn:
        mutated = apply(text, mutation.spans)
        tree = _tree(mutated)
        if tree is not None and tree not in seen:
            seen.add(tree)
            yield Mutant(kind, mutation.operator, mutation.line, mutated)


def _draw(mutations: list[Mutation], rng: random.Random) -> Iterator[Mutation]:
    by_operator: dict[str, list[Mutation]] = defaultdict(list)
    for mutation in mutations:
        by_operator[mutation.operator].append(mutation)
    for places in by_operator.values():
        rng.shuffle(places)
    while by_operator:
        operator = rng.choice(sorted(by_operator))
        yield by_operator[operator].pop()
        if not by_operator[operator]:
            del by_operator[operator]


def _draw_pairs(text: str, rng: random.Random) -> Iterator[Mutation]:
    """Two mistakes on different lines, each of a single-place kind in the proportions of MIX."""
    pools = {kind: enumerate_mutations(text, kind) for kind in KINDS if kind != "two_places"}
    pools = {kind: pool for kind, pool in pools.items() if pool}
    if not pools:
        return
    kinds = list(pools)
    for _ in range(400):
        picked: list[Mutation] = []
        for kind in rng.choices(kinds, weights=[MIX[k] for k in kinds], k=2):
            operator = rng.choice(sorted({m.operator for m in pools[kind]}))
            picked.append(rng.choice([m for m in pools[kind] if m.operator == operator]))
        first, second = sorted(picked, key=lambda m: m.spans)
        if first.line != second.line and max(s.end for s in first.spans) < min(s.start for s in second.spans):
            yield Mutation("two_places", f"{first.operator} + {second.operator}", first.spans + second.spans, first.line)


def _tree(text: str) -> str | None:
    """The syntax tree of a text that compiles, else None."""
    try:
        return ast.dump(parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
