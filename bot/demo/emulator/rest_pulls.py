"""Operations on pull requests: reading them, opening one, and reviews."""

from __future__ import annotations

from bot.demo.emulator import events, repositories, shapes, shapes_ci
from bot.demo.emulator.answers import Answer, Call, Route, found, invalid, invalid_simply
from bot.demo.emulator.rest_repositories import file_shape
from bot.demo.emulator.state import Pull, Repository, Review, ReviewComment, State

_HERE = "/repos/{owner}/{repo}"
_READ, _WRITE = ("pull_requests", "read"), ("pull_requests", "write")


def pull_of(call: Call, name: str = "pull_number") -> Pull:
    """The pull request that the path names. Raises Refusal 404."""
    return found(call.state.pull(call.repository, call.number(name)))


def list_pulls(call: Call) -> Answer:
    """By ``state`` (open by default), ``head`` (OWNER:BRANCH) and ``base``; newest first."""
    chosen = [one for one in reversed(call.state.pulls) if one.repository is call.repository]
    wanted = call.query.get("state", "open")
    chosen = [one for one in chosen if wanted in ("all", one.state)]
    if "head" in call.query:
        chosen = [one for one in chosen if _label(one) == call.query["head"]]
    if "base" in call.query:
        chosen = [one for one in chosen if one.base_ref == call.query["base"]]
    if call.query.get("direction") == "asc":
        chosen.reverse()
    return call.paginate([shapes.pull_simple(call.emulator.at, one) for one in chosen])


def _label(one: Pull) -> str:
    owner = one.head_repository.owner if one.head_repository else one.author
    return f"{owner.login}:{one.head_ref}"


def get_pull(call: Call) -> Answer:
    return Answer(200, shapes.pull(call.emulator.at, call.state, pull_of(call)))


def list_files(call: Call) -> Answer:
    one = pull_of(call)
    changed = repositories.changes(call.repository.directory, one.base_sha, one.head_sha)
    return call.paginate([file_shape(call, one.head_sha, change) for change in changed])


def list_commits(call: Call) -> Answer:
    one = pull_of(call)
    names = repositories.log(call.repository.directory, one.base_sha, one.head_sha)
    return call.paginate([shapes_ci.commit(call.emulator.at, call.repository, name) for name in names])


def commit_pulls(call: Call) -> Answer:
    """The pull requests that hold a commit. For commits of forks GitHub answers [], and so does this."""
    sha, directory = call.path["commit_sha"], call.repository.directory
    if repositories.sha(directory, sha) is None:
        raise invalid(f"No commit found for SHA: {sha}")
    own = [one for one in call.state.pulls if one.repository is call.repository and not one.is_fork]
    holding = [one for one in own if sha == one.head_sha or sha in repositories.log(directory, one.base_sha, one.head_sha)]
    return call.paginate([shapes.pull_simple(call.emulator.at, one) for one in holding])


def create_pull(call: Call) -> Answer:
    body, where = call.body, call.repository
    tips = repositories.branches(where.directory)
    owner, _, branch = body["head"].rpartition(":")
    if owner and owner.lower() != where.owner.login.lower() or branch not in tips:
        raise invalid("head is invalid", "PullRequest", "invalid", "head")
    if body["base"] not in tips:
        raise invalid("base is invalid", "PullRequest", "invalid", "base")
    if tips[branch] == tips[body["base"]]:
        raise invalid(f"No commits between {body['base']} and {branch}", "PullRequest")
    for one in call.state.pulls:
        if one.repository is where and one.state == "open" and not one.is_fork and (one.head_ref, one.base_ref) == (branch, body["base"]):
            raise invalid(f"A pull request already exists for {where.owner.login}:{branch}.", "PullRequest")
    made = new_pull(call.state, where, where, branch, tips[branch], body["base"], tips[body["base"]])
    made.title, made.body, made.author = body.get("title", branch), body.get("body"), call.actor
    made.draft = bool(body.get("draft", False))
    events.publish_head(made)
    events.pull_request(call.emulator, "opened", made, call.actor)
    return Answer(201, shapes.pull(call.emulator.at, call.state, made))


def new_pull(state: State, where: Repository, head: Repository, head_ref: str, head_sha: str, base_ref: str, base_sha: str) -> Pull:
    """A pull request with the next number, in the state; the caller sets its text and author."""
    where.last_number += 1
    now = state.clock()
    made = Pull(
        state.new_id(), where.last_number, where, head, head_ref, head_sha, base_ref, base_sha, head_ref, None, state.app.bot, now, now
    )
    state.pulls.append(made)
    return made


def list_reviews(call: Call) -> Answer:
    one = pull_of(call)
    return call.paginate([shapes.review(call.emulator.at, review) for review in call.state.reviews if review.pull is one])


def create_review(call: Call) -> Answer:
    """A review with its comments. Lines that the diff does not show are refused as a whole, as GitHub does."""
    pull, body, now = pull_of(call), call.body or {}, call.state.clock()
    word = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}.get(body.get("event", ""), "PENDING")
    if word in ("CHANGES_REQUESTED", "COMMENTED") and not body.get("body") and not body.get("comments"):
        raise invalid_simply("You need to leave a comment indicating the requested changes.")
    commit = body.get("commit_id", pull.head_sha)
    if repositories.sha(call.repository.directory, commit) is None:
        raise invalid_simply("The commit_id is not part of the pull request")
    shown = {one.path: _shown_lines(one.patch or "") for one in repositories.changes(call.repository.directory, pull.base_sha, commit)}
    for entry in body.get("comments", []):
        lines = {entry.get("line"), entry.get("start_line")} - {None}
        side = entry.get("side", "RIGHT")
        if not lines or any((side, number) not in shown.get(entry["path"], set()) for number in lines):
            raise invalid_simply("Pull request review thread line must be part of the diff")
    made = Review(call.state.new_id(), pull, call.actor, body.get("body", ""), word, commit, now)
    call.state.reviews.append(made)
    for entry in body.get("comments", []):
        number, start, side = entry["line"], entry.get("start_line"), entry.get("side", "RIGHT")
        one = ReviewComment(call.state.new_id(), made, pull, call.actor, entry["body"], entry["path"], number, start, side, commit, now)
        call.state.review_comments[one.id] = one
        events.review_comment(call.emulator, one, call.actor)
    return Answer(200, shapes.review(call.emulator.at, made))


def _shown_lines(patch: str) -> set[tuple[str, int]]:
    """(side, line number) of everything that the hunks show."""
    shown, left, right = set(), 0, 0
    for line in patch.splitlines():
        if line.startswith("@@"):
            old, new = line.split()[1:3]
            left, right = int(old[1:].split(",")[0]), int(new[1:].split(",")[0])
            continue
        if line[:1] in ("-", " ", ""):
            shown.add(("LEFT", left))
            left += 1
        if line[:1] in ("+", " ", ""):
            shown.add(("RIGHT", right))
            right += 1
    return shown


def list_review_comments(call: Call) -> Answer:
    pull = pull_of(call)
    return call.paginate([shapes.review_comment(call.emulator.at, one) for one in call.state.review_comments.values() if one.pull is pull])


_PULL = f"{_HERE}/pulls/{{pull_number}}"
ROUTES = (
    Route("GET", f"{_HERE}/pulls", list_pulls, _READ),
    Route("POST", f"{_HERE}/pulls", create_pull, _WRITE),
    Route("GET", _PULL, get_pull, _READ),
    Route("GET", f"{_PULL}/files", list_files, _READ),
    Route("GET", f"{_PULL}/commits", list_commits, _READ),
    Route("GET", f"{_PULL}/comments", list_review_comments, _READ),
    Route("GET", f"{_PULL}/reviews", list_reviews, _READ),
    Route("POST", f"{_PULL}/reviews", create_review, _WRITE),
    Route("GET", f"{_HERE}/commits/{{commit_sha}}/pulls", commit_pulls, _READ),
)
