"""How probably a verified patch is right, estimated from numbers that are known of it."""

from __future__ import annotations

from collections.abc import Mapping

from inference.choice import changed_lines
from inference.proposer import Proposal
from sandbox.reproduction import Reproduction


def verified_signals(proposal: Proposal, reproduction: Reproduction) -> Mapping[str, float]:
    """What a proposal with its verdict adds to what the search knew: other behaviours, the size of the change, the tests, the rung."""
    verdict = proposal.verdict
    opinions = {check.name: float(check.status == "passed") for check in verdict.checks if check.level == 4} if verdict is not None else {}
    return {
        "alternatives": float(proposal.alternatives), "lines": float(changed_lines(proposal.patch)),
        "failing": float(len(reproduction.failing)), "passing": float(len(reproduction.passing)),
        "level": float(verdict.level) if verdict is not None else -1.0, "mutation": opinions.get("mutation", 0.0),
        "overfit": opinions.get("overfit", 0.0),
    }  # fmt: skip
