"""Which plausible patch to believe: clusters by behaviour, agreement, size and kind of the change, overfit signals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from inference.edits import Candidate
from inference.prior import Crowd, cost, crowd_of, terms
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.proposer import Proposal

_MOST_CLUSTERED = 60
_MEMBERS = 2
_DOUBTFUL = 0.8
"""Of 42 verified patches of held-out bugs (MBPP 511-600) 15 were estimated below this: 11 of the 12 that were wrong."""
_FAR = 12.0
"""A margin (nats) above which it says nothing more; what has no rival has this one."""


def changed_lines(patch: bytes) -> int:
    """Lines that a unified diff takes away and adds."""
    return sum(line[:1] in (b"+", b"-") and line[:3] not in (b"+++", b"---") for line in patch.split(b"\n"))


def best(accepted: Sequence[Proposal]) -> Proposal | None:
    """Of accepted patches of several origins the one to believe: first what two origins came to (``agreed``), then the higher rung, then
    what fewer other behaviours compete with, then the smaller change, then the earlier. No probability stands behind that order."""

    def believed(one: Proposal) -> tuple[bool, int, int, int]:
        return agreed(one, accepted), one.verdict.level if one.verdict is not None else 0, -one.alternatives, -changed_lines(one.patch)

    return max(accepted, key=believed, default=None)


def agreed(one: Proposal, accepted: Sequence[Proposal]) -> bool:
    """Whether another origin came to the same behaviour: by an accepted patch, or by one that it only had among others that pass."""
    others = [o for o in accepted if o.origin != one.origin]
    return bool(one.alike) or any(o.patch == one.patch or one.patch in o.alike for o in others)


def is_doubtful(accepted: Proposal) -> bool:
    """Whether a dearer proposer is worth asking: it is estimated to be right too seldom; where nothing was measured, the overfit checks had
    no opinion and other behaviours passed the failing tests too."""
    if accepted.score is not None:
        return accepted.score < _DOUBTFUL
    return accepted.verdict is None or accepted.verdict.level < 4 and accepted.alternatives > 0


def weakness(chosen: Proposal, asked: float) -> str | None:
    """Why the chosen patch is not to be shown, as one clause; None for one that is. ``asked``: how probably right it must be, 0 for no
    matter. One of an origin that was never measured is shown unless it is doubtful."""
    if asked <= 0:
        return None
    if chosen.score is not None:
        if chosen.score >= asked:
            return None
        return f"it is right with an estimated probability of {chosen.score:.2f}, and {asked:g} is asked for (verify.confidence)"
    if not is_doubtful(chosen):
        return None
    return (f"other behaviours pass the failing tests too ({chosen.alternatives}), the overfit checks had no opinion, and of such patches "
            "nobody has measured how many are right (verify.confidence)")  # fmt: skip


@dataclass(frozen=True)
class Plausible:
    """A candidate that passed on the warm tiers. ``behaviour`` names its cluster; ``alternatives`` counts other behaviours found;
    ``signals`` is what is known of it as numbers: see ``rank``."""

    candidate: Candidate
    unit: Unit
    edits: tuple[tuple[int, int, str], ...]
    score: float = 0.0
    behaviour: str | None = None
    alternatives: int = 0
    signals: Mapping[str, float] = field(default_factory=dict)


def rank(plausible: Sequence[Plausible], server: CandidateServer) -> list[Plausible]:
    """Best first: first one patch of each behaviour, by the summed likelihood of the patches that act alike; then the rest by cost.

    The ``signals`` of each are the terms of its cost (``inference.prior.terms``) and how its behaviour stands among the others
    (``arrange``); a model's patch has only the latter.
    """
    crowds: dict[tuple[str, str, int], Crowd] = {}
    for function in (p.candidate.function for p in plausible if p.candidate.bucket):
        key = function.path, function.qualname, function.start
        if key not in crowds:
            crowds[key] = crowd_of(function)
    weighed = []
    for found in plausible:
        candidate = found.candidate
        crowd = crowds.get((candidate.function.path, candidate.function.qualname, candidate.function.start))
        weighed.append(replace(found, score=-cost(candidate, crowd), signals=terms(candidate, crowd) if candidate.bucket else {}))
    ordered = sorted(weighed, key=lambda p: (-p.score, p.candidate.line, p.edits))
    behaviours = _behaviours(ordered[:_MOST_CLUSTERED], server)
    return arrange(replace(p, behaviour=behaviours.get(n)) for n, p in enumerate(ordered))


def arrange(named: Iterable[Plausible]) -> list[Plausible]:
    """Order clusters by log-sum of their likeliest members' likelihoods; each cluster's cheapest member comes before any second member.

    ``signals`` of a first member: ``margin`` to the likeliest other behaviour (nats), ``share`` of all likelihood, ``members``, and the
    ``agreement`` that a second one added. Two members count: agreement is evidence, but forty ways to write `if False` are not forty
    times as likely as one right operator.
    """
    clusters: dict[str, list[Plausible]] = {}
    for number, found in enumerate(named):
        clusters.setdefault(found.behaviour or f"alone-{number}", []).append(found)
    weighed = [(_log_sum([p.score for p in members[:_MEMBERS]]), members) for members in clusters.values()]
    weighed.sort(key=lambda w: -w[0])
    others = len(clusters) - 1
    whole = _log_sum([weight for weight, _ in weighed])
    first = []
    for place, (weight, members) in enumerate(weighed):
        rival = next((w for n, (w, _) in enumerate(weighed) if n != place), None)
        margin = _FAR if rival is None else max(min(weight - rival, _FAR), -_FAR)
        standing = {"margin": margin, "share": math.exp(weight - whole), "members": float(len(members)),
                    "agreement": weight - members[0].score}  # fmt: skip
        first.append(replace(members[0], score=weight, alternatives=others, signals={**members[0].signals, **standing}))
    rest = sorted((replace(p, alternatives=others) for _, members in weighed for p in members[1:]), key=lambda p: -p.score)
    return first + rest


def _log_sum(logarithms: Sequence[float]) -> float:
    """The logarithm of a sum of exponentials; -inf for none."""
    most = max(logarithms, default=-math.inf)
    return most + math.log(sum(math.exp(x - most) for x in logarithms)) if logarithms else most


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
