"""What is told of a failure: Triage and Outcome -> CommentView and CheckRunView. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bot.check_run import CheckRunView
from bot.comment_sections import PLACE, causes, changed_lines
from bot.comment_view import CommentView, ProofFacts, State
from bot.markdown import code, fence
from bot.policy import EffectivePolicy, RepositoryPolicy, may_commit
from bot.runs import Annotation, FailedRun, PullRequest
from bot.triage import Triage
from inference.outcome import Outcome, test_patch
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
    if outcome.status == "broken" and (triaged.kind == "build" or (triaged.fixer is not None and not triaged.failures)):
        # What cannot be parsed cannot be run here either, and where a tool cannot be had its command line is still worth saying.
        known = replace(triaged, evidence=triaged.evidence[1:])  # without the sandbox's own sentence, which is the less telling one
        return replace(told_without_repair(pull, run, known), unchecked=(outcome.reason,))
    reproduction = outcome.reproduction
    failures = reproduction.failures if reproduction is not None else triaged.failures
    failing = len(reproduction.failing) if reproduction is not None else 0
    ready = state == "fix_ready"
    view = CommentView(
        pull.number, "explained" if ready else state, head_sha=pull.head_sha, reason="" if ready else _reason(outcome), failing=failing,
        failures=failures, jobs=triaged.jobs, run_url=run.url, commands=_commands(state, policy, pull),
        caused_by_pr=True if reproduction is not None and reproduction.passes_on_base else None, check=outcome.check_command,
        withheld=outcome.best is None and any(p.withheld for p in outcome.proposals))  # fmt: skip
    if ready and best is not None and best.verdict is not None:
        if policy.mode == "explain":
            return replace(view, explanation=best.explanation, reason="the policy asks for explanations only", commands=("fix",),
                           model=best.model)  # fmt: skip
        verdict = best.verdict
        return replace(
            view, state="fix_ready", level=f"V{verdict.level}", fixed=failing, total=verdict.after.total if verdict.after else 0,
            explanation=best.explanation, patch=best.patch, apply_line=pull.is_fork,
            proof=proof_facts(pull, outcome, best, base_sha), unchecked=_unchecked(best), model=best.model,
            confidence=_confidence(best), test_patch=test_patch(best))  # fmt: skip
    if state == "pre_existing":
        return replace(view, caused_by_pr=False)
    return view


def proof_facts(pull: PullRequest, outcome: Outcome, proposal: Proposal, base_sha: str) -> ProofFacts:
    verdict = proposal.verdict
    assert verdict is not None
    around = outcome.surroundings
    named = (("Python", around.python), ("pytest", around.pytest), ("lock", around.environment[:12]), ("isolation", around.isolation))
    environment = ", ".join(f"{name} {value}" for name, value in named if value)
    commands = tuple(c for c in (outcome.check_command, outcome.test_command) if c)
    return ProofFacts(
        base_sha, pull.head_sha, environment, commands, verdict.before, verdict.after, verdict.repeats, verdict.checks)  # fmt: skip


def replay_command(path: str, has_code: bool) -> str:
    """The line that runs a bundle again, from the folder that it was copied to."""
    return f"ledex replay {path.rpartition('/')[2]}" + ("" if has_code else " --repository .")


def with_replay(view: CommentView, path: str, has_code: bool) -> CommentView:
    """The view with the line that runs its proof again."""
    return replace(view, proof=replace(view.proof, replay=replay_command(path, has_code))) if view.proof is not None else view


def proof_reply(level: str, head_sha: str, path: str | None, proof: Mapping[str, Any] | None, sha256: str) -> str:
    """The answer to ``/ledex proof``: what the bundle says, or that there is none. The bundle is our own, yet holds texts from outside."""
    claim = f"Verified {level} on {code(head_sha[:12])}"
    if path is None or proof is None:
        return f"{claim}. Its proof bundle is not kept any more; what was run stands under *Proof* in the comment above."
    counts, versions = proof["verdict"]["counts"], proof["versions"]
    before, after = counts["before"], counts["after"]
    around = ", ".join(f"{n} {v}" for n, v in (("Python", versions["python"]), ("pytest", versions["pytest"])) if v)
    rows = [
        f"- patch {code(proof['patch']['sha256'], 64)} by {code(proof['patch']['origin'], 40)}, base {code(proof['base_sha'][:12])}",
        f"- tests: {before['failed']} failed of {before['total']} before, {after['failed']} of {after['total']} after; "
        f"{proof['repeats']} repeats",
        f"- command {code(proof['commands']['test'], 200)}" + (f" under {code(around, 80)}" if around else ""),
        f"- bundle {code(path, 80)} in the server's data folder, SHA-256 {code(sha256, 64)}",
    ]
    line = fence(replay_command(path, bool(proof["code"]["included"])), "sh")
    return "\n".join([f"{claim}.", "", *rows, "", "Run it again:", "", line])


def check_view(comment: CommentView | None, policy: EffectivePolicy, reason: str = "", best: Proposal | None = None) -> CheckRunView:
    return CheckRunView(comment, policy, reason, causes_of(best) if best is not None else ())


def causes_of(best: Proposal) -> tuple[Annotation, ...]:
    """One annotation for each cause that the explanation places in a file of the patch; otherwise one where the proposal says."""
    files, _, _ = changed_lines(best.patch)
    found = []
    for paragraph in causes(best.explanation):
        place = PLACE.search(paragraph)
        if place is not None and place.group(1) in files:
            line = int(place.group(2))
            found.append(Annotation(place.group(1), line, line, "warning", paragraph, "Root cause"))
    if not found and best.path and best.line:
        found = [Annotation(best.path, best.line, best.line, "warning", best.explanation, "Root cause")]
    return tuple(found)


def _reason(outcome: Outcome) -> str:
    """One sentence on why there is no fix."""
    if outcome.status == "passing":
        version = outcome.surroundings.python
        return f"the failing tests pass here, under Python {version}" if version else "the failing tests pass here"
    return outcome.reason


def _commands(state: State, policy: RepositoryPolicy, pull: PullRequest) -> tuple[str, ...]:
    if state == "fix_ready":
        committing = ("apply", "pr") if may_commit(policy, pull) else ()
        return (*committing, "reject")
    return {"flaky": ("rerun",), "explained": ("retry",), "not_reproduced": ("retry", "rerun")}.get(state, ())


def _confidence(proposal: Proposal) -> str:
    """How probably the patch is right; only where that was measured."""
    if proposal.score is None:
        return ""
    like = "this one" if proposal.parts == 1 else f"the least certain of its {proposal.parts} parts"
    return f"of patches like {like}, about {proposal.score:.0%} were right where the true fix was known"


def _unchecked(proposal: Proposal) -> tuple[str, ...]:
    """What a reader should know that the badge does not say."""
    assert proposal.verdict is not None
    open_checks = [f"{c.name}: {c.detail}" for c in proposal.verdict.checks if c.status == "no_opinion"]
    return (*open_checks, "behaviour that no test of the repository runs")
