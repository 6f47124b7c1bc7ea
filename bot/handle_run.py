"""A failed CI run becomes one comment, or a recorded reason why not: looked at, repaired, told."""

from __future__ import annotations

from collections.abc import Callable

from bot.checkout import Commits, fetch
from bot.contained import repair_anywhere
from bot.context import Context, Result
from bot.github.protocol import READING
from bot.kept_outcome import repair_once
from bot.looking import Work, look
from bot.near import named_paths
from bot.posting import announce, tell, told_before
from bot.steps import app_of, repository_folder, step, talking_to_github
from bot.store import Claim
from bot.telling import told, told_without_repair
from bot.triage import after_reproduction
from inference import InferenceError
from inference.outcome import Outcome
from inference.repair import RepairRequest
from sandbox import SandboxError

Repair = Callable[[RepairRequest], Outcome]


@talking_to_github
def handle_failed_run(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``failed_run``. ``extra["repair"]`` replaces ``repair_anywhere`` in tests."""
    app = app_of(context)
    with step(app, claim, READING) as github:
        found = look(context, claim, github)
        if isinstance(found, Result):
            return found
        if (ended := told_before(context, claim, found)) is not None:
            return ended
        if not found.triaged.repairable:
            view = told_without_repair(found.pull, found.run, found.triaged)
            return tell(context, claim, app, found, view, None, "triaged")
        announce(app, claim, found)
        pull = found.pull
        commits = fetch(github.git_access(), repository_folder(context, claim), pull.number, pull.head_sha, pull.base_sha)
    policy = found.policy.policy
    try:
        outcome = repair_once(context, claim, repair_request(context, claim, found, commits), repair_of(context))
    except (SandboxError, InferenceError) as error:
        outcome = Outcome("broken", str(error))
    triaged = after_reproduction(found.triaged, outcome.status, outcome.reason)
    view = told(found.pull, found.run, triaged, outcome, policy, commits.base_sha)
    return tell(context, claim, app, found, view, outcome, outcome.status)


def repair_of(context: Context) -> Repair:
    repair: Repair = context.extra.get("repair", repair_anywhere)
    return repair


def repair_request(context: Context, claim: Claim, work: Work, commits: Commits, search: bool = True) -> RepairRequest:
    settings = context.settings
    return RepairRequest(
        path=commits.path, head=commits.head_sha, base=commits.base_sha, budget=settings.repair_seconds,
        setup_timeout=settings.setup_seconds, jobs=settings.repair_jobs, policy=work.policy.policy, search=search,
        near=named_paths(work.triaged), hint=str(claim.payload.get("hint") or ""),
        repository=f"{claim.repository}{'#fork' if work.pull.is_fork else ''}",
        fixer=None if work.triaged.failures else work.triaged.fixer)  # fmt: skip
