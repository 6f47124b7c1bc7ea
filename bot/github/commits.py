"""Commits through the git data API: a stacked pull request, or a commit on the pull request's own branch.

Nothing is forced: a branch moves only forward from the commit the patch was verified on.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Sequence
from typing import Any

from bot.github import Conflict, NotFound, Rejected
from bot.github.access import RepositoryAccess
from bot.github.protocol import CommitText, FileChange, Posted
from bot.github.transport import land
from bot.runs import PullRequest

RUN_TRAILER = "Ledex-Run"


class Commits(RepositoryAccess):
    def open_stacked(
        self,
        pull_request: PullRequest,
        verified_sha: str,
        signature: str,
        files: Sequence[FileChange],
        text: CommitText,
        title: str,
        body: str,
    ) -> Posted:
        if pull_request.is_fork:
            raise Rejected("A stacked pull request cannot go into a fork's branch: offer the patch instead.")
        clock = self.requester.manners.clock
        branch = f"ledex/{pull_request.number}-{signature}"
        with self._one_at_a_time(f"branch {self.repository} {branch}"):
            found = self._open_from(branch, pull_request.head_ref)
            if found is not None:
                return posted(found, created=False)
            sha, _ = land(lambda: self._tip(branch), lambda: self._branch(branch, verified_sha, files, text), clock)
            if not is_our_commit(self._read_commit(sha), verified_sha, text.run_id):
                raise Conflict(f"The branch {branch} exists and holds something else: delete it, then ask again.")
            request = {"title": title[:256], "head": branch, "base": pull_request.head_ref, "body": body, "maintainer_can_modify": True}
            made, created = land(
                lambda: self._open_from(branch, pull_request.head_ref), lambda: self._answered("POST", "pulls", request), clock
            )
            return posted(made, created)

    def commit_to_head(self, pull_request: PullRequest, verified_sha: str, files: Sequence[FileChange], text: CommitText) -> str:
        if pull_request.is_fork:
            raise Rejected("The App cannot push to a fork: offer the patch instead.")
        branch, clock = pull_request.head_ref, self.requester.manners.clock
        with self._one_at_a_time(f"branch {self.repository} {branch}"):
            head = self._tip(branch)
            if head is None:
                raise Conflict(f"The branch {branch} is gone, so nothing was committed.")
            if head != verified_sha:
                return self._ours_or_conflict(head, verified_sha, text.run_id)
            commit = self._commit(verified_sha, files, text)

            def look() -> str | None:
                return commit if self._tip(branch) == commit else None

            def write() -> str:
                try:
                    self._send("PATCH", f"git/refs/heads/{quoted(branch)}", {"sha": commit, "force": False})
                except Rejected as error:
                    raise Conflict(str(error)) from None
                return commit

            return land(look, write, clock)[0]

    def is_our_commit(self, sha: str, parent_sha: str, run_id: str) -> bool:
        return is_our_commit(self._read_commit(sha), parent_sha, run_id)

    def _ours_or_conflict(self, head: str, verified_sha: str, run_id: str) -> str:
        if is_our_commit(self._read_commit(head), verified_sha, run_id):
            return head
        raise Conflict(f"The patch was verified on {verified_sha[:12]} and the branch has moved on to {head[:12]}: verify it there first.")

    def _branch(self, branch: str, parent: str, files: Sequence[FileChange], text: CommitText) -> str:
        commit = self._commit(parent, files, text)
        self._send("POST", "git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        return commit

    def _commit(self, parent: str, files: Sequence[FileChange], text: CommitText) -> str:
        """A commit that no branch points to yet; one left over by a lost answer is GitHub's to collect."""
        tree = {"base_tree": self._read_commit(parent)["tree"]["sha"], "tree": [self._tree_entry(change) for change in files]}
        tree_sha = self._repeated("git/trees", tree)["sha"]
        return str(self._repeated("git/commits", {"message": commit_message(text), "tree": tree_sha, "parents": [parent]})["sha"])

    def _tree_entry(self, change: FileChange) -> dict[str, Any]:
        entry: dict[str, Any] = {"path": change.path, "mode": change.mode, "type": "blob"}
        if change.content is None:
            return entry | {"sha": None}
        try:
            return entry | {"content": change.content.decode("utf-8")}
        except UnicodeDecodeError:
            blob = {"content": base64.b64encode(change.content).decode(), "encoding": "base64"}
            return entry | {"sha": self._repeated("git/blobs", blob)["sha"]}

    def _repeated(self, rest: str, body: dict[str, Any]) -> dict[str, Any]:
        """Git objects that nothing points to: writing one twice does no harm."""
        return land(lambda: None, lambda: self._answered("POST", rest, body), self.requester.manners.clock)[0]

    def _read_commit(self, sha: str) -> dict[str, Any]:
        return self._read(f"git/commits/{sha}")

    def _tip(self, branch: str) -> str | None:
        try:
            return str(self._read(f"git/ref/heads/{quoted(branch)}")["object"]["sha"])
        except NotFound:
            return None

    def _open_from(self, branch: str, base: str) -> dict[str, Any] | None:
        owner = self.repository.split("/")[0]
        pulls = self._list("pulls", state="open", head=f"{owner}:{branch}", base=base)
        return next((p for p in pulls if p["head"]["ref"] == branch), None)


def quoted(branch: str) -> str:
    """For an address: git allows ``#`` and ``%`` in names, and the name is the contributor's."""
    return urllib.parse.quote(branch, safe="/")


def posted(pull: dict[str, Any], created: bool) -> Posted:
    return Posted(pull["id"], pull.get("html_url") or "", created, pull["number"])


def is_our_commit(commit: dict[str, Any], parent: str, run_id: str) -> bool:
    """Whether an earlier try of the same run made it."""
    trailers = commit["message"].rstrip().rsplit("\n\n", 1)[-1].splitlines()
    return [p["sha"] for p in commit["parents"]] == [parent] and f"{RUN_TRAILER}: {run_id}" in trailers


def commit_message(text: CommitText) -> str:
    """Subject, body and trailers; nothing in them can add a line that reads as a trailer of its own."""
    subject = " ".join(text.subject.split())[:120] or "Apply a verified fix"
    trailers = [f"{RUN_TRAILER}: {' '.join(text.run_id.split())}"]
    if text.co_author is not None:
        name, address = (" ".join(part.replace("<", "").replace(">", "").split()) for part in text.co_author)
        trailers.append(f"Co-authored-by: {name} <{address}>")
    return "\n\n".join(part for part in (subject, text.body.strip(), "\n".join(trailers)) if part) + "\n"
