"""The check run ``ledex``: CheckRunView -> what GitHub is told. Pure.

Never ``failure``: our own trouble and our own opinion must not turn a pull request red. What the comment leaves out (silent abstention,
mistakes in the policy, the effective configuration) stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.comment import render
from bot.comment_view import CommentView
from bot.markdown import escape, fence, one_line, prose, visible
from bot.policy import EffectivePolicy, policy_text
from bot.runs import Annotation

NAME = "ledex"
MAX_TEXT = 60_000
MAX_ANNOTATIONS = 50
Conclusion = Literal["success", "neutral"]


@dataclass(frozen=True)
class Action:
    """A button: at most 20 characters of label, 40 of description, 20 of identifier."""

    label: str
    description: str
    identifier: str


APPLY = Action("Apply fix", "Commit the verified patch to this branch", "apply")
STACKED_PR = Action("Open stacked PR", "Open a pull request with the patch", "pr")
REJECT = Action("Reject fix", "Say that the patch is not wanted", "reject")
_ACTIONS = {action.identifier: action for action in (APPLY, STACKED_PR, REJECT)}
_TITLES = {
    "working": "Looking at the failure", "fix_ready": "Fix ready", "explained": "Explanation only", "flaky": "Flaky test",
    "pre_existing": "Fails on the base too", "infra": "Infrastructure failure", "not_reproduced": "Could not reproduce",
    "superseded": "Superseded by a newer commit", "applied": "Fix applied", "rejected": "Fix rejected", "off": "Switched off"}  # fmt: skip


@dataclass(frozen=True)
class CheckRunView:
    """``comment`` is what the comment says, None when the bot abstains silently; ``reason`` is then the sentence that says why. ``causes``
    are annotations at the root cause's lines."""

    comment: CommentView | None
    policy: EffectivePolicy
    reason: str = ""
    causes: tuple[Annotation, ...] = ()


@dataclass(frozen=True)
class CheckRun:
    """``conclusion`` is None while ``status`` is in_progress; buttons appear only once it is completed."""

    status: Literal["in_progress", "completed"]
    conclusion: Conclusion | None
    title: str
    summary: str
    text: str
    actions: tuple[Action, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    name: str = NAME


def render_check_run(view: CheckRunView) -> CheckRun:
    comment = view.comment
    state = comment.state if comment is not None else None
    working = state == "working"
    ready = state in ("fix_ready", "applied")
    return CheckRun(
        status="in_progress" if working else "completed",
        conclusion=None if working else "success" if ready else "neutral",
        title=_title(comment),
        summary=_summary(view),
        text=_details(view),
        actions=tuple(_ACTIONS[c] for c in comment.commands if c in _ACTIONS)[:3] if comment is not None and state == "fix_ready" else (),
        annotations=tuple(_annotation(a) for a in view.causes[:MAX_ANNOTATIONS]),
    )


def _title(comment: CommentView | None) -> str:
    if comment is None:
        return "Nothing to say"
    title = _TITLES[comment.state]
    if comment.state == "fix_ready":
        counts = f": {comment.fixed} of {comment.failing} failing tests now pass" if comment.failing else ""
        title = f"{title}, verified {comment.level}{counts}"
    return title


def _summary(view: CheckRunView) -> str:
    parts = [prose(view.reason, 600)] if view.reason else []
    if view.comment is not None:
        body = render(view.comment).split("\n", 1)[1].strip()  # without the marker: a check run is no comment
        parts.append(body)
    if view.policy.warnings:
        parts.append("**Policy**\n\n" + "\n".join(f"- {escape(w, 300)}" for w in view.policy.warnings[:20]))
    if len(view.causes) > MAX_ANNOTATIONS:
        parts.append(f"The first {MAX_ANNOTATIONS} of {len(view.causes)} annotations are shown.")
    text = "\n\n".join(parts) or "The bot looked at the failure and has nothing to say."
    return text if len(text) <= MAX_TEXT else prose(view.reason, 600) or "See the comment on the pull request."


def _details(view: CheckRunView) -> str:
    shown = fence(policy_text(view.policy), "toml", lines=300, chars=MAX_TEXT - 1000)
    return f"<details><summary>Effective configuration</summary>\n\n{shown}\n\n</details>"


def _annotation(cause: Annotation) -> Annotation:
    level = cause.level if cause.level in ("notice", "warning") else "warning"  # never "failure": that would look like a red check
    message = visible(cause.message)[:4000]
    return Annotation(cause.path, cause.start_line, max(cause.start_line, cause.end_line), level, message, one_line(cause.title, 200))
