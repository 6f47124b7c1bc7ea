"""The candidates of one unit: every family's drafts, ordered by cost and suspicion, each resulting text once."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache

from inference.edits import Candidate, Edit, FunctionSource
from inference.templates import (
    calls,
    completions,
    compositions,
    constants,
    donors,
    exceptions,
    grammar,
    guards,
    names,
    operators,
    snippets,
    statements,
    wraps,
)
from inference.templates.facts import Facts
from inference.templates.operators import Draft
from inference.templates.unit import Site, Statement, Unit, parse

CHUNK = {1: 60, 2: 60, 3: 24}
"""Statements ordered together in each bucket; of longer units the most suspicious ones come first."""
SITE_FAMILIES: dict[int, tuple[Callable[[Facts, Site], Iterator[Draft]], ...]] = {
    1: (operators.operators, constants.constants, names.names, calls.calls),
    2: (wraps.wraps, completions.completions, compositions.compositions, compositions.bounds),
    3: (donors.donors,),
}
STATEMENT_FAMILIES: dict[int, tuple[Callable[[Facts, Statement], Iterator[Draft]], ...]] = {
    1: (operators.assignments, calls.control, snippets.results_missing),
    2: (statements.statements, snippets.first_values, snippets.insertions),
    3: (guards.guards, guards.branches, snippets.copies),
}


class Space:
    """Everything that candidates of one function are made from. Build once, ask per bucket."""

    def __init__(self, function: FunctionSource, others: tuple[FunctionSource, ...] = ()) -> None:
        self.function, self.others = function, others
        self.facts = facts_of(function.text, function.qualname, function.start, function.end, function.test_literals)

    def drafts(self, bucket: int) -> Iterator[tuple[float, int, Draft]]:
        """(rank, line, draft) of a bucket, best first within each chunk of statements."""
        if bucket == 5:
            hints = exceptions.exceptions(self.facts, self.function)
            found = [(draft[0], self.facts.unit.source.line_of(draft[2][0].start), at, draft) for at, draft in enumerate(hints)]
            yield from ((cost, line, draft) for cost, line, _, draft in sorted(found, key=lambda item: (item[0], item[2])))
            return
        if bucket == 6:
            yield from grammar.grammar(self.facts, self.distance)
            return
        for chunk in self._chunks(CHUNK[bucket]):
            ranked: list[tuple[float, int, int, Draft]] = []
            for statement in chunk:
                for draft in self._of(statement, bucket):
                    if draft[2]:
                        line = self.facts.unit.source.line_of(draft[2][0].start)
                        ranked.append((draft[0] + self.distance(line), line, len(ranked), draft))
            ranked.sort(key=lambda item: item[:3])
            for rank, line, _, draft in ranked:
                yield rank, line, draft

    def distance(self, line: int) -> float:
        """What a line's place adds to a cost: nothing for the most suspicious one."""
        function = self.function
        if line == function.hot:
            return -0.6
        if function.suspicion:
            most = max(function.suspicion.values(), default=0.0)
            if most > 0:
                return 2.0 * (1.0 - function.suspicion.get(line, 0.0) / most)
        return 0.0 if not function.lines or line in function.lines else 2.0

    def _chunks(self, size: int) -> Iterator[list[Statement]]:
        statements = self.facts.unit.statements
        if len(statements) > size:
            line_of = self.facts.unit.source.line_of
            statements = sorted(statements, key=lambda statement: self.distance(line_of(statement.start)))
        for at in range(0, len(statements), size):
            yield statements[at : at + size]

    def _of(self, statement: Statement, bucket: int) -> Iterator[Draft]:
        for site in statement.sites:
            for family in SITE_FAMILIES.get(bucket, ()):
                if site.quoted is None:
                    yield from family(self.facts, site)
                else:
                    yield from (draft for draft in family(self.facts, site) if _whole(self.facts.unit.text, site.quoted, draft[2]))
            if bucket == 3 and self.others:
                yield from donors.foreign_donors(self.facts, site, self.others)
        for other in STATEMENT_FAMILIES.get(bucket, ()):
            yield from other(self.facts, statement)

    def candidates(self, bucket: int, seen: set[int]) -> Iterator[Candidate]:
        """Candidates of a bucket whose text is not in ``seen`` (hashes of texts), which grows."""
        function, source = self.function, self.facts.unit.source
        whole = bucket == 5
        first, last = (0, len(function.text)) if whole else (source.line_start(function.start), source.next_line(function.end))
        seen.add(hash(function.text[first:last]))
        for rank, line, (_, template, edits) in self.drafts(bucket):
            key = hash(edited(function.text, first, last, edits))
            if key not in seen:
                seen.add(key)
                yield Candidate(function, edits, template, bucket, rank, line)


def edited(text: str, first: int, last: int, edits: tuple[Edit, ...]) -> str:
    """``text[first:last]`` with the edits made."""
    parts, at = [], first
    for edit in edits:
        parts += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*parts, text[at:last]])


@lru_cache(maxsize=128)
def facts_of(text: str, qualname: str, start: int, end: int, literals: frozenset[str]) -> Facts:
    return Facts(Unit(parse(text), FunctionSource("", text, qualname, start, end, test_literals=literals)))


def _whole(text: str, quoted: tuple[int, int], edits: tuple[Edit, ...]) -> bool:
    """Whether an f-string with edits inside still parses: quotes and backslashes may not stand in older ones' fields."""
    start, end = quoted
    if not edits or edits[0].start < start or edits[-1].end > end:
        return True
    try:
        ast.parse(f"({edited(text, start, end, edits)})", mode="eval")
    except (SyntaxError, ValueError):
        return False
    return True


def seen_before(space: Space, bucket: int) -> set[int]:
    """The texts of the buckets 1-3 before this one, as hashes."""
    seen: set[int] = set()
    for earlier in range(1, min(bucket, 4)):
        for _ in space.candidates(earlier, seen):
            pass
    return seen
