"""What is told of a failure: Triage and Outcome -> CommentView and CheckRunView. Pure."""

from __future__ import annotations

from dataclasses import replace

from bot.check_run import CheckRunView
from bot.comment import CommentView, ProofFacts, State
from bot.policy import EffectivePolicy, RepositoryPolicy, may_commit
from bot.runs import Annotation, FailedRun, PullRequest
from bot.triage import Triage
from inference.outcome import Outcome
from inference.proposer import Proposal

SILENT = frozenset({"infra", "not_reproduced", "explained"})
"""States of which nobody is notified unless they asked: the check run says them."""
_STATE: dict[str, State] = {
    "fixed": "fix_ready", "unfixed": "explained", "flaky": "flaky", "pre_existing": "pre_existing", "passing": "not_reproduced",
    "broken": "not_reproduced"}  # fmt: skip


def told_without_repair(pull: PullRequest, run: FailedRun, triaged: Triage) -> CommentView:
    """The view of a failure that no repair was tried on."""
    state: State = "infra" if triaged.kind in ("infra", "timeout", "dependency", "config") else "explained"
    fixer = triaged.fixer
    reason = triaged.evidence[0] if triaged.evidence else "the failure was not understood"
    if fixer is not None:
        reason = f"{reason}: run {' '.join(fixer.command)}"
    explanation = ". ".join(triaged.evidence[1:3])
    return CommentView(
        pull.number, state, head_sha=pull.head_sha, reason=reason, explanation=explanation, failures=triaged.failures, jobs=triaged.jobs,
        run_url=run.url, commands=("fix",))  # fmt: skip


def told(pull: PullRequest, run: FailedRun, triaged: Triage, outcome: Outcome, policy: RepositoryPolicy, base_sha: str) -> CommentView:
    """The view of what a repair came to."""
    state = _STATE[outcome.status]
    best = outcome.best
    reproduction = outcome.reproduction
    failures = reproduction.failures if reproduction is not None else triaged.failures
    failing = len(reproduction.failing) if reproduction is not None else 0
    ready = state == "fix_ready"
    view = CommentView(
        pull.number, "explained" if ready else state, head_sha=pull.head_sha, reason="" if ready else _reason(outcome), failing=failing,
        failures=failures, jobs=triaged.jobs, run_url=run.url, commands=_commands(state, policy, pull))  # fmt: skip
    if ready and best is not None and best.verdict is not None:
        if policy.mode == "explain":
            return replace(view, explanation=best.explanation, reason="the policy asks for explanations only", commands=("fix",))
        verdict = best.verdict
        return replace(
            view, state="fix_ready", level=f"V{verdict.level}", fixed=failing, total=verdict.after.total if verdict.after else 0,
            explanation=best.explanation, patch=best.patch, apply_line=pull.is_fork,
            proof=proof_facts(pull, outcome, best, base_sha), unchecked=_unchecked(best))  # fmt: skip
    if state == "pre_existing":
        return replace(view, caused_by_pr=False)
    return view


def proof_facts(pull: PullRequest, outcome: Outcome, proposal: Proposal, base_sha: str) -> ProofFacts:
    verdict = proposal.verdict
    assert verdict is not None
    environment = f"Python {outcome.python}" if outcome.python else ""
    return ProofFacts(
        base_sha, pull.head_sha, environment, (outcome.test_command,) if outcome.test_command else (), verdict.before, verdict.after,
        verdict.repeats, verdict.checks)  # fmt: skip


def check_view(comment: CommentView | None, policy: EffectivePolicy, reason: str = "", best: Proposal | None = None) -> CheckRunView:
    causes: tuple[Annotation, ...] = ()
    if best is not None and best.path and best.line:
        causes = (Annotation(best.path, best.line, best.line, "warning", best.explanation, "Root cause"),)
    return CheckRunView(comment, policy, reason, causes)


def _reason(outcome: Outcome) -> str:
    """One sentence on why there is no fix."""
    if outcome.status == "passing":
        return f"the failing tests pass here, under Python {outcome.python}" if outcome.python else "the failing tests pass here"
    return outcome.reason


def _commands(state: State, policy: RepositoryPolicy, pull: PullRequest) -> tuple[str, ...]:
    if state == "fix_ready":
        committing = ("apply", "pr") if may_commit(policy, pull) else ()
        return (*committing, "reject")
    return {"flaky": ("rerun",), "explained": ("retry",), "not_reproduced": ("retry", "rerun")}.get(state, ())


def _unchecked(proposal: Proposal) -> tuple[str, ...]:
    """What a reader should know that the badge does not say."""
    assert proposal.verdict is not None
    open_checks = [f"{c.name}: {c.detail}" for c in proposal.verdict.checks if c.status == "no_opinion"]
    return (*open_checks, "behaviour that no test of the repository runs")
