"""A request whose failures lie in several projects of one tree, perhaps in several languages: each repaired by itself, told as one outcome.

A patch for one project is verified by that project's tests; patches for several are joined and verified again by the tests of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from inference.outcome import Outcome, Status, Timings
from inference.patch import unified_diff
from inference.policy import Policy
from inference.proposer import Progress, Proposal, Report, Search
from sandbox import EnvironmentFailed, WorkspaceError
from sandbox.frameworks import TestPlan
from sandbox.frameworks.records import Coverage
from sandbox.report import TestReport
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench
from sandbox.verification import Counts, Verdict, verify
from sandbox.workspace import Workspace

RepairOne = Callable[[TestPlan, float], tuple[Bench, Outcome]]
"""Builds one project and repairs it within so many seconds. Raises EnvironmentFailed, WorkspaceError."""


@dataclass(frozen=True)
class Repaired:
    """One project's plan, with what came of it."""

    plan: TestPlan
    bench: Bench
    outcome: Outcome


def repair_projects(
    plans: Sequence[TestPlan], one: RepairOne, head: Workspace, policy: Policy, folder: Path, report: Report, budget: float, *, named: bool
) -> Outcome:
    """Repair each project that fails. ``named``: something pointed at these projects, so all are looked at; else the first that fails is
    the one, and the rest are not even built."""
    done: list[Repaired] = []
    cannot: list[str] = []
    spent = 0.0
    for number, plan in enumerate(plans):
        report(Progress("project", plan.describe()))
        began = time.monotonic()
        try:
            bench, outcome = one(plan, max(budget - spent, 1.0) / (len(plans) - number))
        except (EnvironmentFailed, WorkspaceError) as error:
            cannot.append(f"{plan.describe()}: {error}")
            continue
        done.append(Repaired(plan, bench, outcome))
        if outcome.status != "passing":
            spent += time.monotonic() - began - outcome.timings.reproduction
            if not named:
                break
    failing = [d for d in done if d.outcome.status not in ("passing", "broken")] or [d for d in done if d.outcome.status == "broken"]
    if not failing:
        if not done:
            return Outcome("broken", "; ".join(cannot))
        return replace(done[0].outcome, notes=(*done[0].outcome.notes, *cannot))
    if len(failing) == 1:
        return replace(failing[0].outcome, notes=(*failing[0].outcome.notes, *cannot))
    return _joined(failing, head, policy, folder, report, tuple(cannot))


def _joined(found: Sequence[Repaired], head: Workspace, policy: Policy, folder: Path, report: Report, notes: tuple[str, ...]) -> Outcome:
    """One outcome of several projects that fail."""
    # A proposal names its round by its place, which moves as the projects' rounds are put in one list.
    before = accumulate((len(d.outcome.search.rounds) for d in found), initial=0)
    found = [replace(d, outcome=replace(d.outcome, proposals=tuple(_moved(p, n) for p in d.outcome.proposals)))
             for d, n in zip(found, before, strict=False)]  # fmt: skip
    fixed = [d for d in found if d.outcome.status == "fixed"]
    proposals = tuple(d.outcome.best for d in fixed if d.outcome.best is not None)
    search = _searches([d.outcome.search for d in found])
    complete = len(fixed) == len(found)
    if len(proposals) > 1:
        together = _together(fixed, proposals, head, policy, folder, report)
        if together is None:
            search.notes.append("the patches of the projects do not go together: the first is shown")
            complete = False
        else:
            proposals = (together,)
    refused = [p for d in found for p in d.outcome.proposals if p.verdict is None or not p.verdict.accepted]
    status: Status = "fixed" if complete and proposals else "unfixed"
    statuses = {d.outcome.status for d in found}
    if not proposals and len(statuses) == 1:
        status = found[0].outcome.status
    counts = f"repairs {len(fixed)} of {len(found)} projects" if proposals else ""
    told = "; ".join(f"{d.plan.describe()}: {d.outcome.reason}" for d in found)
    reason = f"{counts}; {told}" if counts else told
    first = found[0].outcome
    return replace(
        first, status=status, reason=reason, reproduction=_reproductions(found), proposals=(*proposals, *refused), search=search,
        suspects=tuple(s for d in found for s in d.outcome.suspects), timings=_timings([d.outcome.timings for d in found]),
        notes=(*(n for d in found for n in d.outcome.notes), *notes), test_command="; ".join(d.plan.describe() for d in found))  # fmt: skip


def _moved(proposal: Proposal, rounds: int) -> Proposal:
    return replace(proposal, round=proposal.round + rounds) if proposal.round is not None else proposal


def _together(
    found: Sequence[Repaired], proposals: Sequence[Proposal], head: Workspace, policy: Policy, folder: Path, report: Report
) -> Proposal | None:
    """The patches as one, seen to be accepted by the tests of every project; None where they are not."""
    workspace = head
    try:
        for proposal in proposals:
            workspace = workspace.patched(proposal.patch, folder)
    except WorkspaceError:
        return None
    patch = unified_diff(workspace.diff_from(head))
    verdicts = []
    for one in found:
        assert one.outcome.reproduction is not None
        report(Progress("verify", f"{len(proposals)} patches together: {one.plan.describe()}"))
        verdict = verify(one.bench, head, one.outcome.reproduction, patch, policy.patch_scope(), folder, policy.verify.repeats)
        if not verdict.accepted or verdict.level < int(policy.verify.level[1:]):
            return None
        verdicts.append(verdict)
    explanation = "\n\n".join(f"{number}. {p.explanation}" for number, p in enumerate(proposals, 1))
    prior = min(p.prior for p in proposals)
    return replace(
        proposals[0], patch=patch, explanation=explanation, prior=prior, verdict=joined_verdict([one.plan for one in found], verdicts),
        round=None, tests={})  # fmt: skip


def joined_verdict(plans: Sequence[TestPlan], verdicts: Sequence[Verdict]) -> Verdict:
    """What the accepted verdicts of several projects say of one patch: the lowest rung, the checks of each with its command."""
    checks = tuple(
        replace(check, detail=f"{plan.describe()}: {check.detail}")
        for plan, verdict in zip(plans, verdicts, strict=True)
        for check in verdict.checks
    )
    counts = [v.after for v in verdicts if v.after is not None]
    return Verdict(
        min(v.level for v in verdicts), None, checks, min(v.repeats for v in verdicts), _sum([v.before for v in verdicts]), _sum(counts),
        sum(v.seconds for v in verdicts), _reports([v.report for v in verdicts]), "\n".join(v.output for v in verdicts))  # fmt: skip


def _sum(counts: Sequence[Counts]) -> Counts:
    return Counts(sum(c.passed for c in counts), sum(c.failed for c in counts), sum(c.total for c in counts))


def _reports(reports: Sequence[TestReport | None]) -> TestReport:
    found = [r for r in reports if r is not None]
    return TestReport(
        {test: outcome for r in found for test, outcome in r.outcomes.items()}, tuple(f for r in found for f in r.failures),
        tuple(f for r in found for f in r.collection_errors), all(r.complete for r in found), sum(r.seconds for r in found))  # fmt: skip


def _reproductions(found: Sequence[Repaired]) -> Reproduction | None:
    """The projects' reproductions as one; ids begin with paths, so they do not meet."""
    each = [d.outcome.reproduction for d in found if d.outcome.reproduction is not None]
    if not each:
        return None
    return replace(
        each[0], reason="; ".join(r.reason for r in each), failures=tuple(f for r in each for f in r.failures),
        failing=tuple(t for r in each for t in r.failing), passing=tuple(t for r in each for t in r.passing),
        flaky=tuple(t for r in each for t in r.flaky), expected=tuple(t for r in each for t in r.expected),
        coverage=Coverage({path: lines for r in each for path, lines in r.coverage.lines.items()}),
        suite_seconds=sum(r.suite_seconds for r in each), seconds=sum(r.seconds for r in each),
        output="\n".join(r.output for r in each), report=_reports([r.report for r in each]),
        passes_on_base=all(r.passes_on_base for r in each))  # fmt: skip


def _searches(found: Sequence[Search]) -> Search:
    whole = Search(exhausted=all(s.exhausted for s in found), tier=", ".join(dict.fromkeys(s.tier for s in found if s.tier)))
    for search in found:
        whole.generated += search.generated
        whole.notes += search.notes
        whole.rounds += search.rounds
        whole.gpu_seconds += search.gpu_seconds
        whole.cost += search.cost
        whole.models += [m for m in search.models if m not in whole.models]
        for name in ("judged", "seconds", "tokens"):
            table = getattr(whole, name)
            for key, value in getattr(search, name).items():
                table[key] = table.get(key, 0) + value
    return whole


def _timings(found: Sequence[Timings]) -> Timings:
    def least(values: Sequence[float | None]) -> float | None:
        return min((v for v in values if v is not None), default=None)

    return Timings(
        environment=sum(t.environment for t in found), reproduction=sum(t.reproduction for t in found), search=sum(t.search for t in found),
        first_plausible=least([t.first_plausible for t in found]), chosen=least([t.chosen for t in found]),
        total=sum(t.total for t in found))  # fmt: skip
