"""What is known of a wrong code: which attempts are at the same one, and its verified fixes and explanations (R_c^w and E_c^w). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from inference.trajectory import Round, Trajectory
from training.reward import LIKED, Verified, worth_of


def group_of(trajectory: Trajectory) -> str:
    """Names the wrong code: repository, commit and failing tests. Its verified fixes are the references of all attempts at it."""
    failing = sorted(failure.test for failure in trajectory.problem.failures)
    text = json.dumps([trajectory.problem.repository, trajectory.problem.head_sha, failing])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def code_after(patch: str) -> str:
    """The code of a patch's hunks as it reads afterwards: what CodeBLEU compares, the same for every source of patches."""
    lines = [line[1:] for line in patch.split("\n") if line[:1] in ("+", " ") and not line.startswith("+++ ")]
    return "\n".join(lines)


def is_verified(round_: Round) -> bool:
    """Accepted by the verdict, at V3 or above."""
    verdict = round_.verdict or {}
    return verdict.get("refused_by", "") is None and str(verdict.get("level") or "V") >= "V3"


def is_correct(round_: Round) -> bool:
    """Accepted by the verdict, and no hidden test fails where there are any: the execution filter of all that is imitated or compared with.
    A patch that looks the shown answers up gets past the verdict alone."""
    hidden = round_.extra.get("hidden")
    return is_verified(round_) and (not isinstance(hidden, (list, tuple)) or hidden[0] == hidden[1])


def with_shared_verdicts(rounds: Sequence[Round]) -> list[Round]:
    """The rounds, those without a verdict with that of another round that came to the same patch: it was run once for all of them."""
    known = {one.patch: one for one in rounds if one.patch and one.verdict is not None}

    def shared(one: Round) -> Round:
        same = known.get(one.patch) if one.verdict is None else None
        if same is None:
            return one
        hidden = {"hidden": same.extra["hidden"]} if "hidden" in same.extra else {}
        return replace(one, verdict=same.verdict, extra={**hidden, **one.extra})

    return [shared(one) for one in rounds]


def is_judged(round_: Round) -> bool:
    """Whether anything is known of a round's worth. The bot records what a model said and nobody ran: the budget had ended, another patch
    was accepted first, or the warm tiers turned it down without a word. Such a round is neither right nor wrong."""
    return not round_.patch or round_.verdict is not None or any(name in round_.extra for name in ("visible", "refused"))


def refused_patch(trajectory: Trajectory) -> str | None:
    """The patch that was posted and that people refused; None where they did not."""
    worth, chosen = worth_of(trajectory.feedback), trajectory.chosen
    if worth is None or worth >= LIKED or chosen is None or not 0 <= chosen < len(trajectory.rounds):
        return None
    return trajectory.rounds[chosen].patch


def verified_of(trajectories: Iterable[Trajectory]) -> dict[str, Verified]:
    """R_c^w and E_c^w of every wrong code, each text once. What people made of a patch counts as verified: they merged it. A patch that
    they refused does not, whatever the tests said of it."""
    found: dict[str, Verified] = {}
    for one in trajectories:
        known = found.get(group_of(one), Verified())
        refused = refused_patch(one)
        rounds = [r for r in with_shared_verdicts(one.rounds) if is_correct(r) and r.patch != refused]
        codes = [code_after(r.patch) for r in rounds] + [code_after(f.human_patch) for f in one.feedback if f.human_patch]
        said = [explanation_of(r) for r in rounds]
        found[group_of(one)] = Verified(tuple(dict.fromkeys([*known.refinements, *(c for c in codes if c.strip())])),
                                        tuple(dict.fromkeys([*known.explanations, *(e for e in said if e)])))  # fmt: skip
    return found


def explanation_of(round_: Round) -> str | None:
    """The explanation of a round; the templates' completion is the explanation alone. None in the mode ``refine``."""
    if round_.completion is None:
        return None
    if round_.explanation_span is None:
        return round_.completion.strip() if round_.origin == "templates" else None
    return round_.completion[slice(*round_.explanation_span)]
