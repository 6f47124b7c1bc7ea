"""What one step writes: comment, check run, review, reaction, labels. Each looks first for what an earlier try left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.github import GitHubError, Rejected, Unavailable
from bot.github.access import RepositoryAccess
from bot.github.protocol import Button, CheckRun, CommentKind, Posted, Reaction, ReviewComment
from bot.github.transport import land
from bot.runs import Annotation

COMMENT_LIMIT = 65_536
TEXT_LIMIT = 65_535
ANNOTATIONS_A_REQUEST = 50
MOST_FAILURES = 3
ANNOTATION_MESSAGE_LIMIT = 60_000
"""GitHub takes 64 kB."""
_CUT = "\n\n... cut here: GitHub takes no more."


class Writes(RepositoryAccess):
    # Comments and reviews

    def upsert_comment(self, number: int, marker: str, body: str) -> Posted:
        if marker not in body:
            raise Rejected("The comment does not hold its own marker, so it could never be found again: add the marker to its text.")
        if len(body) > COMMENT_LIMIT:
            raise Rejected(f"The comment has {len(body)} characters and GitHub takes {COMMENT_LIMIT}: shorten it.")

        clock = self.requester.manners.clock
        with self._one_at_a_time(f"comment {self.repository}#{number} {marker}"):
            comment, created = land(
                lambda: self._our_comment(number, marker),
                lambda: self._answered("POST", f"issues/{number}/comments", {"body": body}),
                clock,
            )
            if not same_text(comment["body"] or "", body):
                # The same edit twice is one edit: there is nothing to look for.
                comment, _ = land(lambda: None, lambda: self._answered("PATCH", f"issues/comments/{comment['id']}", {"body": body}), clock)
        return Posted(comment["id"], comment.get("html_url") or "", created)

    def _our_comment(self, number: int, marker: str) -> dict[str, Any] | None:
        """The oldest; a person who quotes the marker is not us."""
        comments = self._list(f"issues/{number}/comments")
        return next((c for c in comments if marker in (c["body"] or "") and self._is_ours(c)), None)

    def _is_ours(self, said: dict[str, Any]) -> bool:
        app = said.get("performed_via_github_app")
        if app:
            return bool(app["id"] == self._identity().id)
        user = said.get("user") or {}
        return user.get("type") == "Bot" and user.get("login") == self._identity().login

    def review(self, number: int, commit_sha: str, body: str, comments: Sequence[ReviewComment], marker: str) -> Posted:
        if marker not in body:
            raise Rejected("The review does not hold its own marker, so it could never be found again: add the marker to its text.")

        request = {"commit_id": commit_sha, "body": body, "event": "COMMENT", "comments": [review_comment(c) for c in comments]}
        with self._one_at_a_time(f"review {self.repository}#{number} {marker}"):
            made, created = land(
                lambda: self._our_review(number, marker),
                lambda: self._answered("POST", f"pulls/{number}/reviews", request),
                self.requester.manners.clock,
            )
        return Posted(made["id"], made.get("html_url") or "", created)

    def _our_review(self, number: int, marker: str) -> dict[str, Any] | None:
        reviews = self._list(f"pulls/{number}/reviews")
        return next((r for r in reviews if marker in (r.get("body") or "") and self._is_ours(r)), None)

    def react(self, comment_id: int, content: Reaction = "eyes", kind: CommentKind = "issue") -> bool:
        folder = "issues/comments" if kind == "issue" else "pulls/comments"
        try:
            self._send("POST", f"{folder}/{comment_id}/reactions", {"content": content})
        except GitHubError:
            return False
        return True

    def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """Adding a label that is there changes nothing, so a lost answer is simply tried again."""
        land(lambda: None, lambda: self._send("POST", f"issues/{number}/labels", {"labels": list(labels)}), self.requester.manners.clock)

    # The check run

    def upsert_check_run(self, head_sha: str, external_id: str, check: CheckRun) -> Posted:
        with self._one_at_a_time(f"check {self.repository}@{head_sha} {external_id}"):
            body = {"head_sha": head_sha, "external_id": external_id, **check_run_body(check, 0)}
            run, created = land(
                lambda: self._our_check_run(head_sha, external_id, check.name),
                lambda: self._answered("POST", "check-runs", body),
                self.requester.manners.clock,
            )
            sent = min(len(check.annotations), ANNOTATIONS_A_REQUEST) if created else annotation_count(run)
            if not created or sent < len(check.annotations):
                self._edit_check_run(run["id"], check, sent)
        return Posted(run["id"], run.get("html_url") or "", created)

    def _edit_check_run(self, check_run_id: int, check: CheckRun, sent: int) -> None:
        """GitHub appends annotations: only those it does not have yet are sent, and after a lost answer it is asked how many it has."""
        path, clock, failures = f"check-runs/{check_run_id}", self.requester.manners.clock, 0
        while True:
            try:
                self._send("PATCH", path, check_run_body(check, sent))
            except Unavailable:
                failures += 1
                if failures == MOST_FAILURES:
                    raise
                clock.backoff(failures)
                sent = annotation_count(self._read(path))
                continue
            sent += ANNOTATIONS_A_REQUEST
            if sent >= len(check.annotations):
                return

    def _our_check_run(self, head_sha: str, external_id: str, name: str) -> dict[str, Any] | None:
        runs = self._list(f"commits/{head_sha}/check-runs", "check_runs", check_name=name, filter="all")
        ours = (r for r in runs if (r.get("app") or {}).get("id") == self._identity().id)
        return next((r for r in ours if r.get("external_id") == external_id), None)


def same_text(left: str, right: str) -> bool:
    """As GitHub keeps it: it changes line ends and trims."""
    return left.replace("\r\n", "\n").strip() == right.replace("\r\n", "\n").strip()


def annotation_count(check_run: dict[str, Any]) -> int:
    return int((check_run.get("output") or {}).get("annotations_count") or 0)


def check_run_body(check: CheckRun, start: int) -> dict[str, Any]:
    """The request for a check run with its annotations from ``start`` on, as many as one request takes. Raises Rejected on ``failure``."""
    if check.conclusion == "failure":  # type: ignore[comparison-overlap]
        raise Rejected("A check run of ours never says failure: use neutral.")
    output: dict[str, Any] = {"title": check.title[:255], "summary": cut(check.summary, TEXT_LIMIT)}
    if check.text:
        output["text"] = cut(check.text, TEXT_LIMIT)
    annotations = check.annotations[start : start + ANNOTATIONS_A_REQUEST]
    if annotations:
        output["annotations"] = [annotation(a) for a in annotations]
    body: dict[str, Any] = {"name": check.name, "status": "in_progress", "output": output}
    if check.details_url:
        body["details_url"] = check.details_url
    if check.conclusion is not None:
        body |= {"status": "completed", "conclusion": check.conclusion, "actions": [action(b) for b in check.buttons[:3]]}
    return body


def annotation(a: Annotation) -> dict[str, Any]:
    made = {"path": a.path, "start_line": a.start_line, "end_line": a.end_line, "annotation_level": a.level}
    return made | {"message": cut(a.message, ANNOTATION_MESSAGE_LIMIT)} | ({"title": a.title[:255]} if a.title else {})


def action(button: Button) -> dict[str, str]:
    if len(button.identifier) > 20:
        raise Rejected(f"The identifier {button.identifier!r} is longer than the 20 characters that GitHub takes: shorten it.")
    return {"label": button.label[:20], "description": button.description[:40], "identifier": button.identifier}


def review_comment(comment: ReviewComment) -> dict[str, Any]:
    made: dict[str, Any] = {"path": comment.path, "line": comment.line, "side": "RIGHT", "body": comment.body}
    if comment.start_line < comment.line:
        made |= {"start_line": comment.start_line, "start_side": "RIGHT"}
    return made


def cut(text: str, limit: int) -> str:
    """GitHub counts bytes in some places and characters in others; ``limit`` holds for both."""
    if len(text.encode()) <= limit:
        return text
    return text.encode()[: limit - len(_CUT)].decode("utf-8", "ignore") + _CUT
