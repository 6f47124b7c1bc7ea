"""``/ledex rerun``: the failing tests once more in the sandbox, without looking for a fix, and the way to GitHub's own button."""

from __future__ import annotations

from bot.checkout import fetch
from bot.context import Context, Result
from bot.github.protocol import COMMENTING, READING
from bot.handle_run import repair_of, repair_request
from bot.looking import look
from bot.markdown import code, link, prose
from bot.posting import finish_run
from bot.steps import app_of, repository_folder, step, talking_to_github
from bot.store import Claim
from inference import InferenceError
from inference.outcome import Outcome
from sandbox import SandboxError

ANSWER = "<!-- ledex:v1 answer:{} -->"
_SHOWN = 5


@talking_to_github
def handle_rerun(context: Context, claim: Claim) -> Result:
    """The handler of jobs of the kind ``rerun``."""
    app = app_of(context)
    with step(app, claim, READING) as github:
        found = look(context, claim, github)
        if not isinstance(found, Result):
            pull = found.pull
            commits = fetch(github.git_access(), repository_folder(context, claim), pull.number, pull.head_sha, pull.base_sha)
    assert claim.pr_number is not None
    if isinstance(found, Result):
        text, ended = f"`/ledex rerun` was not carried out: {prose(found.reason or 'there is nothing to repeat', 300)}.", found
    else:
        try:
            outcome = repair_of(context)(repair_request(context, claim, found, commits, search=False))
        except (SandboxError, InferenceError) as error:
            outcome = Outcome("broken", str(error))
        finish_run(context, found, f"rerun: {outcome.status}"[:30], outcome.reason, outcome)
        text, ended = rerun_reply(outcome, found.pull.head_sha, found.run.url), Result(f"rerun: {outcome.status}")
    mark = ANSWER.format(claim.payload["comment_id"])
    with step(app, claim, COMMENTING) as github:
        github.upsert_comment(claim.pr_number, mark, f"{mark}\n{text}")
    return ended


def rerun_reply(outcome: Outcome, head_sha: str, run_url: str) -> str:
    """What the repetition came to. GitHub gives no App the right to press its button without much wider permissions: it is linked."""
    seen = outcome.reproduction
    tests = seen.flaky or seen.failing if seen is not None else ()
    named = ", ".join(code(test, 120) for test in tests[:_SHOWN]) + (f" and {len(tests) - _SHOWN} more" if len(tests) > _SHOWN else "")
    said = {
        "passing": "every test passes here", "flaky": "some tests both passed and failed here: flaky",
        "pre_existing": "the same tests fail on the base too", "broken": f"the tests could not be run here ({prose(outcome.reason, 300)})",
    }.get(outcome.status, "the same tests fail here every time: not flaky")  # fmt: skip
    sentences = [f"Repeated in the sandbox on {code(head_sha[:12])}: {said}{f' ({named})' if named else ''}."]
    if run_url:
        sentences.append(f"GitHub's own *Re-run failed jobs* is on {link('the page of the run', run_url)}.")
    return " ".join(sentences)
