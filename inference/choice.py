"""Which plausible patch to believe: clusters by behaviour, agreement, size and kind of the change, overfit signals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.edits import Candidate
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

_BUCKET_COST = {1: 0.0, 2: 0.8, 3: 1.2, 4: 2.2, 5: 0.8, 6: 2.0}
_MOST_CLUSTERED = 60
_MEMBERS = 2


@dataclass(frozen=True)
class Plausible:
    """A candidate that passed on the warm tiers. ``behaviour`` names its cluster; ``alternatives`` counts other behaviours found."""

    candidate: Candidate
    unit: Unit
    edits: tuple[tuple[int, int, str], ...]
    score: float = 0.0
    behaviour: str | None = None
    alternatives: int = 0


def cost(candidate: Candidate) -> float:
    """How unlikely a candidate is before anything is run: its template's cost, its bucket, what it removes and how much it writes."""
    written = sum(len(e.new.strip()) for e in candidate.edits)
    removed = sum(len(candidate.function.text[e.start : e.end].strip()) for e in candidate.edits)
    return candidate.cost + _BUCKET_COST.get(candidate.bucket, 2.0) + 0.01 * written + 0.01 * max(removed - written, 0)


def rank(plausible: Sequence[Plausible], server: CandidateServer) -> list[Plausible]:
    """Best first: first one patch of each behaviour, by the summed likelihood of the patches that act alike; then the rest by cost."""
    ordered = sorted(plausible, key=lambda p: (cost(p.candidate), p.candidate.line, p.edits))
    behaviours = _behaviours(ordered[:_MOST_CLUSTERED], server)
    named = [replace(p, behaviour=behaviours.get(n), score=-cost(p.candidate)) for n, p in enumerate(ordered)]
    return arrange(named)


def arrange(named: Iterable[Plausible]) -> list[Plausible]:
    """Order clusters by log-sum of their likeliest members' likelihoods; each cluster's cheapest member comes before any second member.

    Two members count: agreement is evidence, but forty ways to write `if False` are not forty times as likely as one right operator.
    """
    clusters: dict[str, list[Plausible]] = {}
    for number, found in enumerate(named):
        clusters.setdefault(found.behaviour or f"alone-{number}", []).append(found)
    weighed = [(math.log(sum(math.exp(p.score) for p in members[:_MEMBERS])), members) for members in clusters.values()]
    weighed.sort(key=lambda w: -w[0])
    others = len(clusters) - 1
    first = [replace(members[0], score=weight, alternatives=others) for weight, members in weighed]
    rest = sorted((replace(p, alternatives=others) for _, members in weighed for p in members[1:]), key=lambda p: -p.score)
    return first + rest


def _behaviours(ordered: Sequence[Plausible], server: CandidateServer) -> Mapping[int, str]:
    """Position -> name of the cluster, for patches of functions that take plain data."""
    found: dict[int, str] = {}
    by_unit: dict[Unit, list[int]] = {}
    for number, item in enumerate(ordered):
        if item.unit.qualname != "<module>":
            by_unit.setdefault(item.unit, []).append(number)
    for unit, numbers in by_unit.items():
        if len(numbers) < 2:
            continue
        try:
            answers = server.behave(unit, [ordered[n].edits for n in numbers])
        except CandidateServerError:
            continue
        for number, digests in zip(numbers, answers, strict=True):
            if digests:
                found[number] = f"{unit.path}:{unit.qualname}:{hash(digests) & 0xFFFFFFFF:08x}"
    return found
