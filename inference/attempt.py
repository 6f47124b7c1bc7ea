"""One attempt at a failure: its groups of failing tests, each searched and verified, and their patches joined."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference import choice
from inference.confidence import estimate, verified_signals
from inference.localization import Suspect, localize
from inference.patch import merged, unified_diff
from inference.policy import Policy
from inference.proposer import Problem, Progress, Proposal, Proposer, Report, Search
from inference.templates import functions
from sandbox import CandidateServerError, WorkspaceError
from sandbox.regression import holds, with_regression_test
from sandbox.reproduction import Reproduction
from sandbox.source_text import decode
from sandbox.testing import Bench
from sandbox.verification import verify
from sandbox.workspace import Workspace

_MOST_VERIFIED = 12
_SHARE = 0.4
"""Of the time that is left, what a proposer gets that another one follows."""
_MOST_NEAR_MISSES = 4


def suspects_of(head: Workspace, reproduction: Reproduction, touched: Mapping[str, frozenset[int]] | None = None) -> list[Suspect]:
    """The suspects of a failure; those that the pull request ``touched`` come first."""
    return localize(reproduction, lambda path: _text(head, path), functions, touched)


@dataclass
class Attempt:
    """What stays the same while the groups of one failure are repaired."""

    head: Workspace
    bench: Bench
    proposers: tuple[Proposer, ...]
    policy: Policy
    folder: Path
    report: Report
    jobs: int
    search: Search
    started: float
    deadline: float
    touched: Mapping[str, frozenset[int]] = field(default_factory=dict)
    hint: str = ""
    first: float | None = None
    """Seconds from ``started`` to the first plausible patch of any group."""

    def accepts(self, proposal: Proposal) -> bool:
        """Whether its verdict reaches the rung that the policy asks for; one rule for single and for joined patches."""
        verdict = proposal.verdict
        if verdict is None or not verdict.accepted or verdict.level < int(self.policy.verify.level[1:]):
            return False
        return self.policy.verify.regression_test != "require" or holds(verdict)

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def groups(
        self, reproduction: Reproduction, groups: Sequence[tuple[str, ...]]
    ) -> tuple[list[tuple[tuple[str, ...], Proposal]], list[Proposal]]:
        """Repair each group within an even share of what is left: (accepted with their tests, refused)."""
        accepted: list[tuple[tuple[str, ...], Proposal]] = []
        refused: list[Proposal] = []
        for number, targets in enumerate(groups):
            if self.left() <= 0:
                break
            part = replace(reproduction, failing=targets, failures=tuple(f for f in reproduction.failures if f.test_id in targets))
            best, worse = self.one(part, time.monotonic() + self.left() / (len(groups) - number))
            refused += worse
            if best is not None:
                accepted.append((targets, best))
        return accepted, refused

    def one(self, reproduction: Reproduction, deadline: float) -> tuple[Proposal | None, list[Proposal]]:
        """Search and verify for one group of failing tests: (accepted, refused).

        A later proposer is asked where the earlier ones found nothing, or only what is doubtful; of what is accepted the best wins,
        whoever made it.
        """
        refused: list[Proposal] = []
        accepted: list[Proposal] = []
        known, searches = len(self.search.near_misses), len(self.search.ranked)
        suspects = suspects_of(self.head, reproduction, self.touched)
        for place, proposer in enumerate(self.proposers):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if place + 1 < len(self.proposers):
                left *= _SHARE
            problem = Problem(
                self.head, self.bench, reproduction, suspects, left, self.jobs, lambda p: self.checked(reproduction, p), self.accepts,
                self.policy.patch_scope(), self.touched,
                (*map(_near_miss, refused[:_MOST_NEAR_MISSES]), *self.search.near_misses[known:][:_MOST_NEAR_MISSES]),
                (*accepted, *(p for ranked in self.search.ranked[searches:] for p in ranked)), self.hint)  # fmt: skip
            found, worse = self._tried(proposer, problem, reproduction, deadline)
            refused += worse
            if found is not None:
                accepted.append(found)
                if not choice.is_doubtful(found):
                    break
        asked = self.policy.verify.confidence
        chosen = choice.best([p for p in accepted if choice.weakness(p, asked) is None] or accepted)
        if chosen is None:
            return None, refused
        weak = choice.weakness(chosen, asked)
        if weak is not None:
            return None, [replace(chosen, withheld=weak), *refused]
        if choice.agreed(chosen, accepted):
            self.search.notes.append("two engines came by themselves to patches that act alike")
        rest = [p for p in accepted if p.patch != chosen.patch and p.patch not in chosen.alike and chosen.patch not in p.alike]
        if rest:
            self.search.notes.append(f"{len(rest)} other patch{'es' if len(rest) > 1 else ''} was accepted too and is thought less likely")
        return chosen, refused

    def _tried(
        self, proposer: Proposer, problem: Problem, reproduction: Reproduction, deadline: float
    ) -> tuple[Proposal | None, list[Proposal]]:
        """What one proposer comes to: (accepted, refused)."""
        refused: list[Proposal] = []
        began = time.monotonic() - self.started
        try:
            proposals = list(proposer.propose(problem, self.search, self.report))
        except CandidateServerError as error:
            self.search.notes.append(str(error))
            return None, refused
        if self.first is None and self.search.first_plausible is not None:
            self.first = began + self.search.first_plausible
        for number, proposal in enumerate(proposals[:_MOST_VERIFIED]):
            if number and proposal.verdict is None and time.monotonic() > deadline:
                self.search.notes.append(f"the budget ended before {len(proposals) - number} plausible patches could be verified")
                break
            checked = proposal
            if proposal.verdict is None:
                self.report(Progress("verify", f"patch {number + 1} of {len(proposals)}: {proposal.path}:{proposal.line}"))
                checked = self.checked(reproduction, proposal)
            if self.accepts(checked):
                return checked, refused
            refused.append(checked)
        return None, refused

    def checked(self, reproduction: Reproduction, proposal: Proposal) -> Proposal:
        """The proposal with its cold verdict."""
        verdict = verify(self.bench, self.head, reproduction, proposal.patch, self.policy.patch_scope(), self.folder,
                         self.policy.verify.repeats, lambda text: self.report(Progress("verify", text)), self.deadline)  # fmt: skip
        if verdict.accepted and proposal.tests and self.policy.verify.regression_test != "off" and self.left() > verdict.seconds:
            self.report(Progress("verify", "the regression test without and with the fix"))
            verdict = with_regression_test(self.bench, self.head, reproduction, proposal.patch, verdict, proposal.tests, self.folder)
        self.search.judged["cold"] = self.search.judged.get("cold", 0) + 1
        self.search.seconds["cold"] = self.search.seconds.get("cold", 0.0) + verdict.seconds
        checked = replace(proposal, verdict=verdict, tests=proposal.tests if holds(verdict) else {})
        signals = {**proposal.signals, **verified_signals(checked, reproduction)}
        return replace(checked, signals=signals, score=estimate(proposal.origin, signals) if verdict.accepted else None)

    def joined(
        self, reproduction: Reproduction, accepted: Sequence[tuple[tuple[str, ...], Proposal]]
    ) -> list[tuple[tuple[str, ...], Proposal]]:
        """One proposal of several accepted ones, with its tests, verified as a whole; where they do not go together, all as they were."""
        workspace = self.head
        kept: list[tuple[tuple[str, ...], Proposal]] = []
        for targets, proposal in accepted:
            together = self.together(workspace, proposal)
            if together is None:
                self.search.notes.append(f"the patch for {targets[0]} overlaps another and was left out")
                continue
            workspace = together
            kept.append((targets, proposal))
        if len(kept) < 2:
            return list(accepted)
        targets = tuple(t for t in reproduction.failing if any(t in tests for tests, _ in kept))
        part = replace(reproduction, failing=targets, failures=tuple(f for f in reproduction.failures if f.test_id in targets))
        patch = unified_diff(workspace.diff_from(self.head))
        first = kept[0][1]
        explanation = "\n\n".join(f"{number}. {p.explanation}" for number, (_, p) in enumerate(kept, 1))
        whole = replace(first, patch=patch, explanation=explanation, prior=min(p.prior for _, p in kept), round=None, tests={}, signals={})
        self.report(Progress("verify", f"{len(kept)} patches together"))
        scores = [p.score for _, p in kept if p.score is not None]
        checked = replace(self.checked(part, whole), signals={}, score=min(scores) if len(scores) == len(kept) else None, parts=len(kept))
        return [(targets, checked)] if self.accepts(checked) else list(accepted)

    def together(self, workspace: Workspace, proposal: Proposal) -> Workspace | None:
        """The workspace with a patch of the head added to the changes it has; None where both change the same lines."""
        texts: dict[str, bytes | None] = {}
        for path, (before, after) in self.head.patched(proposal.patch, self.folder).diff_from(self.head).items():
            if before is None or after is None or not workspace.exists(path):
                return None
            texts[path] = merged(before, workspace.read(path), after)
            if texts[path] is None:
                return None
        return workspace.with_files(texts, self.folder)


def _near_miss(refused: Proposal) -> str:
    """A refused patch in a line: where, what, and why not."""
    changed = [line.decode("utf-8", "replace")[:120] for line in refused.patch.split(b"\n") if line[:1] in (b"-", b"+")]
    detail = next((c.detail for c in refused.verdict.checks if c.status == "failed"), "") if refused.verdict is not None else ""
    return f"{refused.path}:{refused.line}: {' '.join(line for line in changed if line[:3] not in ('---', '+++'))[:300]} ({detail[:160]})"


def _text(head: Workspace, path: str) -> str | None:
    try:
        return decode(head.read(path)).text if head.exists(path) else None
    except (SyntaxError, ValueError, OSError, WorkspaceError):
        return None
