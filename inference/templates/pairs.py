"""Bucket 4: two edits. Seeds that gained passing tests with candidates elsewhere in the function, and two small swaps in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice, pairwise

from inference.edits import Candidate, Edit, FunctionSource
from inference.templates.space import Space, edited, seen_before

PARTNERS = {1: 4000, 2: 3000, 3: 3000}
"""Candidates of each bucket that a seed is tried with."""
PER_STATEMENT = 60
"""Bucket-1 candidates of one statement that are paired with each other."""


class Partners:
    """What the second edits of one function are chosen from; made once, since a long function's take a second."""

    def __init__(self, function: FunctionSource) -> None:
        self.space = Space(function)
        self._lists: dict[int, list[Candidate]] = {}

    @cached_property
    def seen(self) -> set[int]:
        """Hashes of the texts that single candidates give, and of those that were paired already."""
        return seen_before(self.space, 4)

    def of(self, bucket: int) -> list[Candidate]:
        if bucket not in self._lists:
            self._lists[bucket] = list(islice(self.space.candidates(bucket, set()), PARTNERS[bucket]))
        return self._lists[bucket]


def combine(seeds: Sequence[Candidate], function: FunctionSource, partners: Partners | None = None) -> Iterator[Candidate]:
    """Candidates of two edits: each seed (best first) with the function's bucket 1-3 candidates that touch other places, then pairs of
    bucket 1 inside one statement. No resulting text twice (with the same ``partners``, in several calls), nor one that a single candidate
    of buckets 1-3 gives."""
    choice = partners or Partners(function)
    space, seen = choice.space, choice.seen
    source = space.facts.unit.source
    first, last = source.line_start(function.start), source.next_line(function.end)

    def both(one: Candidate, other: Candidate) -> Iterator[Candidate]:
        edits = joined(one.edits, other.edits)
        if edits is None:
            return
        key = hash(edited(function.text, first, last, edits))
        if key not in seen:
            seen.add(key)
            template = f"{one.template}+{other.template}"
            yield Candidate(function, edits, template, 4, one.cost + other.cost, min(one.line, other.line))

    for bucket, most in PARTNERS.items():
        if seeds:
            others = choice.of(bucket)
            for rounds in range(0, most, 50):
                for seed in seeds:
                    for partner in others[rounds : rounds + 50]:
                        yield from both(seed, partner)
        if bucket == 1:
            for one, other in _within(space):
                yield from both(one, other)


def joined(one: tuple[Edit, ...], other: tuple[Edit, ...]) -> tuple[Edit, ...] | None:
    """The edits of two candidates in order; None where they overlap or touch."""
    edits = tuple(sorted((*one, *other)))
    if any(left.end >= right.start for left, right in pairwise(edits) if (left in one) != (right in one)):
        return None
    return edits if all(left.end <= right.start for left, right in pairwise(edits)) else None


def _within(space: Space) -> Iterator[tuple[Candidate, Candidate]]:
    """Pairs of bucket-1 candidates of one statement, cheapest sums first within each statement, statements by their best pair."""
    statements = sorted(((one.start, one.end, one) for one in space.facts.unit.statements if not one.blocks), key=lambda item: item[0])
    heads = [(one.start, one.blocks[0][0].start) for one in space.facts.unit.statements if one.blocks]
    spans = [*((start, end) for start, end, _ in statements), *heads]
    groups: dict[tuple[int, int], list[Candidate]] = {span: [] for span in spans}
    for candidate in space.candidates(1, set()):
        start, end = candidate.edits[0].start, candidate.edits[-1].end
        for span in spans:
            if span[0] <= start and end <= span[1]:
                if len(groups[span]) < PER_STATEMENT:
                    groups[span].append(candidate)
                break
    for total in range(2 * PER_STATEMENT):
        for group in groups.values():
            for at in range(max(0, total - len(group) + 1), (total + 1) // 2):
                yield group[at], group[total - at]
