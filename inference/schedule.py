"""Which candidate is tried next: every function and bucket gets turns in proportion to its weight (stride scheduling), none starves."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from inference.edits import Candidate, FunctionSource
from inference.localization import Suspect
from inference.templates import Partners, Space, combine
from sandbox.candidates import Unit

_BUCKET_WEIGHT = {1: 1.0, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.25, 6: 0.25}
_EXCEPTION_WEIGHT = 0.9
_SEEDS = 12
_COMPOSED = 6
"""The suspects for which expressions are composed: to begin with a long function takes a second."""
_MODULE_WEIGHT, _IMPORT_ERROR_WEIGHT = 0.08, 0.6
"""A module-level candidate costs an import, some fifty times a swap, so it gets that much less of the turns (errors of names excepted)."""


def unit_of(function: FunctionSource) -> Unit:
    return Unit(function.path, function.qualname, function.start, function.end)


def trial_unit(candidate: Candidate) -> Unit:
    """What has to be compiled anew: the function, or the whole module where an edit (an added import, say) lies outside of it."""
    function = candidate.function
    if all(function.start <= e.start and e.end <= function.end for e in candidate.edits):
        return unit_of(function)
    return Unit(function.path, "<module>", 0, len(function.text))


def edits_of(candidate: Candidate) -> tuple[tuple[int, int, str], ...]:
    return tuple((e.start, e.end, e.new) for e in candidate.edits)


@dataclass(order=True)
class _Stream:
    """Candidates of one bucket of one function; ``due`` is its virtual time (stride scheduling: smallest goes next)."""

    due: float
    number: int
    stride: float = field(compare=False)
    candidates: Iterator[Candidate] = field(compare=False)
    endless: bool = field(compare=False, default=False)
    module: bool = field(compare=False, default=False)


class Schedule:
    """Draws candidates from every function and bucket in proportion to their weights, so that none starves another."""

    def __init__(self, suspects: Sequence[Suspect]) -> None:
        self._heap: list[_Stream] = []
        self._count = 0
        self.generated = 0
        best = max((s.score for s in suspects), default=1.0)
        self._weights: dict[Unit, float] = {}
        self._seen: dict[Unit, set[int]] = {}
        self._seeded: dict[Unit, int] = {}
        self._partners: dict[Unit, Partners] = {}
        for place, suspect in enumerate(suspects):
            function = suspect.function
            share = 1.0
            if function.qualname == "<module>":
                share = _IMPORT_ERROR_WEIGHT if function.exception in ("NameError", "ImportError", "AttributeError") else _MODULE_WEIGHT
            self._weights[unit_of(function)] = share * (suspect.score / best) ** 2 / (1 + place) ** 0.6
            self._seen[unit_of(function)] = set()
            for bucket in (1, 2, 3, 5):
                weight = _BUCKET_WEIGHT[bucket]
                if bucket == 5 and function.hot is not None and function.exception not in ("AssertionError", "Failed"):
                    weight = _EXCEPTION_WEIGHT
                self._add(function, self._bucket(function, bucket), weight)
            self._add(function, self._pairs(function), 0.05)
            if function.qualname != "<module>" and place < _COMPOSED:
                self._add(function, self._bucket(function, 6), _BUCKET_WEIGHT[6], endless=True)

    @property
    def exhausted(self) -> bool:
        """Whether every typed edit was drawn; composed expressions (bucket 6) hardly ever end."""
        return all(stream.endless for stream in self._heap)

    def draw(self, count: int) -> list[Candidate]:
        found: list[Candidate] = []
        while self._heap and len(found) < count:
            stream = heapq.heappop(self._heap)
            candidate = next(stream.candidates, None)
            if candidate is None:
                continue
            found.append(candidate)
            stream.due += stream.stride
            heapq.heappush(self._heap, stream)
        self.generated += len(found)
        return found

    def slow_modules(self, factor: float) -> None:
        """Give modules' candidates so many times fewer turns: where functions are judged in process, an import costs hundreds of them."""
        for stream in self._heap:
            if stream.module:
                stream.stride *= factor
                stream.due *= factor
        heapq.heapify(self._heap)

    def seed(self, candidate: Candidate) -> None:
        """A candidate that gained something: try it together with a second edit."""
        function, unit = candidate.function, unit_of(candidate.function)
        if self._seeded.get(unit, 0) < _SEEDS:
            self._seeded[unit] = self._seeded.get(unit, 0) + 1
            self._add(function, self._pairs(function, candidate), _BUCKET_WEIGHT[4])

    def _add(self, function: FunctionSource, candidates: Iterator[Candidate], weight: float, *, endless: bool = False) -> None:
        self._count += 1
        stride = 1.0 / (weight * self._weights[unit_of(function)])
        now = self._heap[0].due if self._heap and self.generated else 0.0
        heapq.heappush(self._heap, _Stream(now + stride, self._count, stride, candidates, endless, function.qualname == "<module>"))

    def _bucket(self, function: FunctionSource, bucket: int) -> Iterator[Candidate]:
        yield from Space(function).candidates(bucket, self._seen[unit_of(function)])

    def _pairs(self, function: FunctionSource, *seeds: Candidate) -> Iterator[Candidate]:
        unit = unit_of(function)
        if unit not in self._partners:
            self._partners[unit] = Partners(function)
        yield from combine(seeds, function, self._partners[unit])
