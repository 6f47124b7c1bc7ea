"""Which plausible patch to believe: clusters by behaviour, agreement, size and kind of the change, overfit signals."""

from __future__ import annotations

import ast
import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from inference.edits import Candidate, FunctionSource
from inference.templates.idioms import shipped
from inference.templates.space import Space
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.proposer import Proposal

_BUCKET_COST = {1: 0.0, 2: 1.0, 3: 1.6, 4: 2.9, 5: 1.0, 6: 2.6}
_MOST_CLUSTERED = 60
_MEMBERS = 2
_RELIABILITY = {
    "drop-index": -0.8, "drop-operand": -0.5, "builtin": -0.6, "unwrap": -0.4, "name": -0.4, "method": -0.4, "arithmetic-operator": -0.1,
    "compare-operator": 0.5, "wrap": 0.2, "guard": 0.8, "weaken": 0.9, "donor": 1.0, "constant-to-name": 0.7, "condition": 0.8,
    "strengthen": 1.7, "arithmetic": 1.4, "augment": 0.4, "cast": 0.4, "unwrap-statement": 0.8, "negate": 0.7, "synthesis": 0.6,
}  # fmt: skip
"""Half the log odds of wrong to right, one added to each, among the behaviours that passed the shown tests of 112 bugs planted into MBPP
ids 601-974 (2026-11-26): what a condition that is strengthened makes pass is hardly ever right."""
_TEMPLATE, _SURPRISE, _IDLE, _CROWD = 0.8, 0.15, 2.0, 0.5
_LESS, _MORE = -3.0, 5.0
"""Weights of the template's own cost, of how much less likely the function reads (nats, cut off at both ends), of a parameter more or
less that nothing reads, and of the logarithm of how many candidates of the same templates the function has: each passes by luck as easily.
Chosen on the same bugs: the right behaviour comes first in 102 of the 112 where it is among the plausible (96 before), and in 60 of 69 on
ids 511-600 (53)."""
_MOST_COUNTED = 8000


def changed_lines(patch: bytes) -> int:
    """Lines that a unified diff takes away and adds."""
    return sum(line[:1] in (b"+", b"-") and line[:3] not in (b"+++", b"---") for line in patch.split(b"\n"))


def best(accepted: Sequence[Proposal]) -> Proposal | None:
    """Of accepted patches of several origins the one to believe: what two origins agree on first, then the higher rung, then the one that
    fewer other behaviours compete with, then the smaller change, then the earlier. No probability stands behind that order."""

    def believed(one: Proposal) -> tuple[bool, int, int, int]:
        others = [o for o in accepted if o.origin != one.origin]
        agreed = any(o.patch == one.patch or o.behaviour is not None and o.behaviour == one.behaviour for o in others)
        return agreed, one.verdict.level if one.verdict is not None else 0, -one.alternatives, -changed_lines(one.patch)

    return max(accepted, key=believed, default=None)


def is_doubtful(accepted: Proposal) -> bool:
    """Whether a dearer proposer is worth asking: the overfit checks had no opinion, and other behaviours passed the failing tests too."""
    return accepted.verdict is None or accepted.verdict.level < 4 and accepted.alternatives > 0


@dataclass(frozen=True)
class Plausible:
    """A candidate that passed on the warm tiers. ``behaviour`` names its cluster; ``alternatives`` counts other behaviours found."""

    candidate: Candidate
    unit: Unit
    edits: tuple[tuple[int, int, str], ...]
    score: float = 0.0
    behaviour: str | None = None
    alternatives: int = 0


Crowd = Mapping[str, int]
"""Template -> how many candidates of it a function has."""


def cost(candidate: Candidate, crowd: Crowd | None = None) -> float:
    """How unlikely a candidate is before anything is run: its templates' cost, number and record, its bucket, what it removes and writes,
    and how the function reads with it. A model's candidate (bucket 0) has its own likelihood, and only its size counts beside it."""
    written = sum(len(e.new.strip()) for e in candidate.edits)
    removed = sum(len(candidate.function.text[e.start : e.end].strip()) for e in candidate.edits)
    size = 0.01 * written + 0.01 * max(removed - written, 0)
    if candidate.bucket == 0:
        return candidate.cost + 2.0 + size
    trust = _RELIABILITY.get(candidate.template, 0.0)
    others = sum(math.log(max((crowd or {}).get(part, 1), 1)) for part in candidate.template.split("+"))
    return _TEMPLATE * candidate.cost + _BUCKET_COST[candidate.bucket] + size + trust + _CROWD * others + reading(candidate)


def _crowd(function: FunctionSource) -> Crowd:
    space, seen = Space(function), set[int]()
    found = (c.template for bucket in (1, 2, 3) for c in space.candidates(bucket, seen))
    return Counter(islice(found, _MOST_COUNTED))


def reading(candidate: Candidate) -> float:
    """What the edited function's text adds to the cost: how unusual its expressions became, and parameters that nothing reads."""
    function = candidate.function
    if function.qualname == "<module>" or any(e.start < function.start or e.end > function.end for e in candidate.edits):
        return 0.0
    start = max(function.text.rfind("\n", 0, function.start), function.text.rfind("\r", 0, function.start)) + 1
    before, after = _reads(function.text[start : function.end]), _reads(candidate.apply()[start : _end(candidate)])
    if before is None or after is None:
        return 0.0
    return _SURPRISE * min(max(after[0] - before[0], _LESS), _MORE) + _IDLE * (after[1] - before[1])


def _end(candidate: Candidate) -> int:
    return candidate.function.end + sum(len(e.new) - (e.end - e.start) for e in candidate.edits)


@lru_cache(maxsize=512)
def _reads(text: str) -> tuple[float, int] | None:
    """(surprise of a function's expressions, parameters that it never reads); None for what does not parse alone."""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError):
        return None
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    parameters = [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg not in ("self", "cls")]
    return shipped().surprise(tree), sum(name not in read for name in parameters)


def rank(plausible: Sequence[Plausible], server: CandidateServer) -> list[Plausible]:
    """Best first: first one patch of each behaviour, by the summed likelihood of the patches that act alike; then the rest by cost."""
    crowds: dict[tuple[str, str, int], Crowd] = {}
    for function in (p.candidate.function for p in plausible if p.candidate.bucket):
        key = function.path, function.qualname, function.start
        if key not in crowds:
            crowds[key] = _crowd(function)
    costs = [cost(c, crowds.get((c.function.path, c.function.qualname, c.function.start))) for c in (p.candidate for p in plausible)]
    weighed = [replace(p, score=-price) for p, price in zip(plausible, costs, strict=True)]
    ordered = sorted(weighed, key=lambda p: (-p.score, p.candidate.line, p.edits))
    behaviours = _behaviours(ordered[:_MOST_CLUSTERED], server)
    return arrange(replace(p, behaviour=behaviours.get(n)) for n, p in enumerate(ordered))


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
