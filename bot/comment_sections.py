"""The sections of the one comment: every word that people read on a pull request is written here. Pure.

Whatever came from outside (tests, logs, code, the model) passes through ``bot.markdown``. A section with nothing to say is empty.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from bot.comment_view import CommentView, State
from bot.markdown import code, code_link, escape, fence, link, one_line, prose

INLINE_DIFF_LINES = 60
"""Of a longer patch no more than this is shown, with a note and, where there is one, a link."""
_SHOWN_FAILURES = 20
_SHOWN_OUTPUT = 40
_MAX_COMMAND = 12_000
EXPLANATION = 600
"""Characters that are seen before the whole is unfolded."""
PLACE = re.compile(r"\bAt (\S{1,300}):(\d{1,6}),")
"""How an explanation names the line that is to blame."""
_SHOWN_CAUSES = 5
_WITH_PATCH = frozenset({"fix_ready", "applied", "rejected"})
_TITLES: dict[State, str] = {
    "working": "Working", "fix_ready": "Fix ready", "explained": "Explanation only", "flaky": "Flaky",
    "pre_existing": "Fails on the base too", "infra": "Infrastructure", "not_reproduced": "Could not reproduce",
    "superseded": "Superseded", "applied": "Applied", "rejected": "Rejected", "off": "Off"}  # fmt: skip
_ASIDE: dict[State, str] = {
    "explained": "no fix reached V3", "pre_existing": "this pull request did not cause it", "infra": "the tests are not to blame",
    "superseded": "the pull request has a newer commit", "off": "for this pull request until `/ledex on`"}  # fmt: skip
_COMMANDS: dict[str, str] = {
    "apply": "commit it: `/ledex apply`", "pr": "stacked pull request: `/ledex pr`",
    "reject": "reject it: `/ledex reject` and why",
    "fix": "try a fix: `/ledex fix`", "retry": "try again: `/ledex retry` and a hint", "rerun": "repeat the tests: `/ledex rerun`",
    "explain": "explain it: `/ledex explain`", "on": "switch on: `/ledex on`"}  # fmt: skip
_STATUS = {"passed": "passed:", "failed": "failed:", "no_opinion": "no opinion:"}


def state_line(view: CommentView) -> str:
    parts = [f"**{_TITLES[view.state]}**"]
    if view.state in ("fix_ready", "applied") and view.level:
        parts.append(f"verified {view.level}")
    if view.check and view.state in ("fix_ready", "pre_existing"):
        parts.append(f"{code(view.check, 80)} {'now passes' if view.state == 'fix_ready' else 'fails'}")
    elif view.state == "fix_ready" and view.failing:
        tests = "tests now pass" if view.failing > 1 else "test now passes"
        parts.append(f"{view.fixed} of {view.failing} failing {tests}")
    if view.state == "fix_ready" and view.total:
        parts.append(f"{view.new_failures} new failures in {view.total}")
    if view.state in _ASIDE:
        parts.append("no fix is sure enough" if view.withheld and view.state == "explained" else _ASIDE[view.state])
    if view.state == "working" and view.failing and not view.check:
        parts.append(f"{view.failing} failing test{'s' if view.failing > 1 else ''}")
    if view.actor:
        parts.append(f"by {code(view.actor, 60)}")
    if view.result:
        parts.append(code(view.result, 60))
    if view.reason:
        parts.append(prose(view.reason, 200))
    if len(view.jobs) > 1:
        parts.append(f"{len(view.jobs)} jobs failed alike")
    return " · ".join(parts)


def why(view: CommentView, limit: int = EXPLANATION) -> str:
    if not view.explanation:
        return ""
    parts = causes(view.explanation)
    if len(parts) == 1:
        cause = {True: " This pull request caused it.", False: " The base branch fails in the same way.", None: ""}[view.caused_by_pr]
        return f"**Why it failed** {_placed(view, parts[0], limit)}{cause}"
    cause = {True: ", all brought in by this pull request", False: ", and the base branch fails alike", None: ""}[view.caused_by_pr]
    rows = [f"{n}. {_placed(view, c, limit // 2)}" for n, c in enumerate(parts[:_SHOWN_CAUSES], 1)]
    return f"**Why it failed** {len(parts)} causes{cause}:\n\n" + "\n".join(rows)


def _placed(view: CommentView, cause: str, limit: int) -> str:
    """A cause as prose that is at most so long; the place that it names in a file of the patch leads to that line."""
    text = one_line(_shortened(cause, limit), limit)
    place = PLACE.search(text)
    if place is None or place.group(1) not in changed_lines(view.patch)[0] or text[: place.start()].count("`") % 2:
        return prose(text, limit)
    path, line = place.groups()
    shown = code_link(f"{path}:{line}", f"{view.code_url}/{quote(path)}#L{line}" if view.code_url else "")
    return " ".join(p for p in (prose(text[: place.start()], limit), f"At {shown},", prose(text[place.end() :], limit)) if p)


def _shortened(text: str, limit: int) -> str:
    """Whole sentences that fit, so that no code span is torn; a first sentence that is too long itself is cut by whoever shows it."""
    text = one_line(text, 10_000)
    if len(text) <= limit:
        return text
    ends = [m.start() + 1 for m in re.finditer(r"\. ", text[:limit]) if text[: m.start()].count("`") % 2 == 0]
    return f"{text[: ends[-1]]} …" if ends else text


def whole_explanation(view: CommentView, limit: int = EXPLANATION) -> str:
    parts = causes(view.explanation)
    allowed = limit if len(parts) == 1 else limit // 2
    if len(parts) <= _SHOWN_CAUSES and all(len(one_line(p, 10_000)) <= allowed for p in parts):
        return ""
    rows = [f"{n}. {prose(p, 2000)}" for n, p in enumerate(parts[:20], 1)] if len(parts) > 1 else [prose(parts[0], 4000)]
    return _details("The whole explanation", "\n".join(rows))


def fix(view: CommentView, inline: bool) -> list[str]:
    if not view.patch or view.state not in _WITH_PATCH:
        return []
    files, added, removed = changed_lines(view.patch)
    shown = ", ".join(code(f, 80) for f in files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    count = f"+{added} −{removed}"
    text = view.patch.decode("utf-8", "replace")
    whole = text.count("\n") <= INLINE_DIFF_LINES
    where = f" · {link('the whole patch', view.patch_url)}" if view.patch_url else ""
    diff = fence(text, "diff", INLINE_DIFF_LINES)
    if inline and whole and view.state == "fix_ready":
        return [f"**Fix** {shown} {count}{where}", diff]
    return [f"**Fix** {shown} {count}{where}", _details("The patch", diff)]


def actions(view: CommentView) -> str:
    known = [_COMMANDS[c] for c in view.commands if c in _COMMANDS]
    if not known:
        return ""
    text = " · ".join(known)
    return text[0].upper() + text[1:]


def failing_tests(view: CommentView) -> str:
    if not view.failures:
        return ""
    if view.check:
        said = "\n".join(failure.text or failure.message for failure in view.failures)
        return _details("What the check says", fence(said, lines=_SHOWN_OUTPUT))
    rows = []
    for failure in view.failures[:_SHOWN_FAILURES]:
        first = (failure.message.strip().splitlines() or [""])[0]
        own = [f for f in failure.frames if not f.path.startswith(("/", "<")) and "site-packages" not in f.path] or failure.frames
        at = f" at {code(f'{own[-1].path}:{own[-1].line}', 120)}" if own else ""
        kind = "" if first.startswith(failure.exception) else one_line(failure.exception, 80)
        said = ": ".join(p for p in (kind, one_line(first, 200)) if p)
        rows.append(f"- {code(failure.test_id, 200)}{at}" + (f" · {code(said, 300)}" if said else ""))
    more = len(view.failures) - len(rows)
    rows += [f"- and {more} more"] if more > 0 else []
    if view.jobs:
        rows.append(f"\nFailed alike in {', '.join(code(j, 80) for j in view.jobs[:12])}{' and more' if len(view.jobs) > 12 else ''}.")
    count = len(view.failures)
    return _details(f"{count} failing test{'s' if count > 1 else ''}", "\n".join(rows))


def apply_details(view: CommentView) -> str:
    command = apply_command(view.patch) if view.apply_line and view.state == "fix_ready" else None
    if command is None:
        return ""
    said = f"The patch above, byte for byte, for a checkout of {code(view.head_sha[:12] or 'the head')}:"
    return _details("Apply the patch in your checkout", f"{said}\n\n{fence(command, 'sh', width=_MAX_COMMAND + 200)}")


def regression_test(view: CommentView) -> str:
    if not view.test_patch or view.state != "fix_ready":
        return ""
    said = "It fails without the patch and passes with it. It is an offer: `/ledex apply` commits the patch alone."
    return _details("A regression test", f"{said}\n\n{fence(view.test_patch.decode('utf-8', 'replace'), 'diff', INLINE_DIFF_LINES)}")


def proof_details(view: CommentView) -> str:
    proof = view.proof
    if proof is None:
        return ""
    rows = [f"- base {code(proof.base_sha[:12])}, head {code(proof.head_sha[:12])}"]
    if proof.environment:
        rows.append(f"- environment {code(proof.environment, 160)}")
    if proof.repeats:
        rows.append(f"- the repaired tests passed {proof.repeats} times out of {proof.repeats}")
    rows += [f"- {_STATUS.get(c.status, c.status)} V{c.level} {escape(c.name, 60)}: {escape(c.detail, 240)}" for c in proof.checks[:20]]
    parts = ["\n".join(rows)]
    if proof.before and proof.after:
        cells = [("before", proof.before), ("after", proof.after)]
        rows = [f"| {name} | {c.passed} | {c.failed} | {c.total} |" for name, c in cells]
        parts.append("\n".join(["| | passed | failed | tests |", "|---|---:|---:|---:|", *rows]))
    if proof.commands:
        parts.append(fence("\n".join(one_line(c, 500) for c in proof.commands[:10]), "sh"))
    if proof.replay:
        parts.append("Run it again:\n\n" + fence(one_line(proof.replay, 500), "sh"))
    if proof.bundle_url:
        parts.append(link("Proof bundle", proof.bundle_url))
    return _details("Proof", "\n\n".join(parts))


def unchecked(view: CommentView) -> str:
    rows = [f"- {prose(u, 300)}" for u in view.unchecked[:10]]
    if view.confidence:
        rows.append(f"- confidence: {prose(view.confidence, 300)}")
    return _details("What was not checked", "\n".join(rows)) if rows else ""


def footer(view: CommentView) -> str:
    what = "Text and patch" if view.patch and view.state in _WITH_PATCH else "Text"
    who = f"an AI model ({code(view.model, 60)})" if view.model else "a program, without an AI model"
    run = f" · {link('the failed run', view.run_url)}" if view.run_url else ""
    by = f"{what} by {who}; the status by test runs · " if view.explanation or what != "Text" else ""
    return f"<sub>{by}`/ledex help` · opt out: label `no-ledex`{run}</sub>"


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def apply_command(patch: bytes) -> str | None:
    """One line for a shell that applies exactly these bytes in a checkout of the head; None for a patch too long for a line."""
    encoded = base64.b64encode(patch).decode("ascii")
    return f"echo {encoded} | base64 --decode | git apply --index" if patch and len(encoded) <= _MAX_COMMAND else None


def changed_lines(patch: bytes) -> tuple[tuple[str, ...], int, int]:
    """Files of a unified diff, and the lines it adds and removes."""
    files: list[str] = []
    added = removed = 0
    in_hunk = False
    for line in patch.decode("utf-8", "replace").split("\n"):
        if line.startswith("diff --git "):
            in_hunk = False
        elif line.startswith("@@ "):
            in_hunk = True
        elif in_hunk:
            added, removed = added + line.startswith("+"), removed + line.startswith("-")
        elif line.startswith(("--- ", "+++ ")) and (name := line[4:].rstrip("\t").strip('"')) != "/dev/null":
            files.append(name[2:])
    return tuple(dict.fromkeys(files)), added, removed


def causes(explanation: str) -> list[str]:
    """The numbered paragraphs of a fix that repairs several things; otherwise the explanation as one."""
    paragraphs = [p for p in explanation.split("\n\n") if p.strip()]
    numbered = [p.removeprefix(f"{n}. ") for n, p in enumerate(paragraphs, 1) if p.startswith(f"{n}. ")]
    return numbered if len(numbered) == len(paragraphs) > 1 else [explanation]
