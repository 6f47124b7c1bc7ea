"""Which function runs which kind of job."""

from __future__ import annotations

from bot.context import Context, Handler, Result
from bot.handle_again import handle_rerequest
from bot.handle_command import handle_button, handle_command, handle_unasked
from bot.handle_feedback import handle_pull_request, handle_push
from bot.handle_rerun import handle_rerun
from bot.handle_run import handle_failed_run
from bot.store import Claim


def default_handlers() -> dict[str, Handler]:
    """Every kind that ``bot.planning`` makes; a kind without a function is dropped with its reason written down."""
    return {
        "installation": note_installation,
        "failed_run": handle_failed_run,
        "rerun": handle_rerun,
        "rerequest": handle_rerequest,
        "command": handle_command,
        "button": handle_button,
        "pull_request": handle_pull_request,
        "push": handle_push,
        "unasked": handle_unasked,
    }


def note_installation(_context: Context, claim: Claim) -> Result:
    """The tables were brought up to date with the delivery; the job is for the audit."""
    return Result(f"installation {claim.payload.get('action')}")
