"""The webhooks that GitHub sends for what happens on it: payloads, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.demo.emulator import repositories, shapes, shapes_ci
from bot.demo.emulator.state import CheckRun, CheckSuite, Comment, Installation, Pull, Repository, ReviewComment, Run, User, stamp

if TYPE_CHECKING:
    from bot.demo.emulator.deliveries import Delivery
    from bot.demo.emulator.emulator import Emulator

NOTHING = "0" * 40
_NOT_IN_CHECK_RUNS = ("check_runs_url", "head_commit", "latest_check_runs_count")


def tell(emulator: Emulator, event: str, payload: dict[str, Any], where: Repository, sender: User) -> Delivery | None:
    """Send to the App if it is installed on ``where``; None where it is not."""
    own = emulator.state.installation_of(where)
    if own is None or own.suspended is not None:
        return None
    common = {
        "repository": shapes.repository(emulator.at, where), "sender": shapes.user(emulator.at, sender),
        "installation": {"id": own.id, "node_id": shapes.node("Installation", own.id)},
    }  # fmt: skip
    if where.owner.type == "Organization":
        common["organization"] = shapes.organization(emulator.at, where.owner)
    return emulator.deliveries.send(event, {**payload, **common}, where, own.id)


def pull_request(emulator: Emulator, action: str, pull: Pull, sender: User, **extra: Any) -> Delivery | None:
    shape = shapes.pull(emulator.at, emulator.state, pull)
    return tell(
        emulator, "pull_request", {"action": action, "number": pull.number, "pull_request": shape, **extra}, pull.repository, sender
    )


def issue_comment(emulator: Emulator, action: str, comment: Comment, sender: User, **extra: Any) -> Delivery | None:
    pull = comment.pull
    full, page = shapes.pull_simple(emulator.at, pull), f"{emulator.at.page(pull.repository)}/pull/{pull.number}"
    issue = {key: full[key] for key in (*shapes.ISSUE_KEYS, "assignees", "draft")}
    issue |= {
        "url": full["issue_url"], "repository_url": emulator.at.of(pull.repository), "labels_url": f"{full['issue_url']}/labels{{/name}}",
        "comments_url": full["comments_url"], "events_url": f"{full['issue_url']}/events", "html_url": page, "active_lock_reason": None,
        "reactions": shapes.reactions(full["issue_url"], []), "comments": sum(one.pull is pull for one in emulator.state.comments.values()),
        "pull_request": {
            "url": full["url"], "html_url": page, "diff_url": f"{page}.diff", "patch_url": f"{page}.patch", "merged_at": full["merged_at"],
        },
    }  # fmt: skip
    own = emulator.state.installation_of(pull.repository)
    shape = shapes.comment(emulator.at, emulator.state.app, dict(own.permissions) if own else {}, comment)
    return tell(emulator, "issue_comment", {"action": action, "issue": issue, "comment": shape, **extra}, pull.repository, sender)


def review_comment(emulator: Emulator, comment: ReviewComment, sender: User) -> Delivery | None:
    pull = comment.pull
    payload = {
        "action": "created", "comment": shapes.review_comment(emulator.at, comment), "pull_request": shapes.pull_simple(emulator.at, pull),
    }  # fmt: skip
    return tell(emulator, "pull_request_review_comment", payload, pull.repository, sender)


def check_run(emulator: Emulator, action: str, one: CheckRun, sender: User, **extra: Any) -> Delivery | None:
    shape = shapes_ci.check_run(emulator.at, emulator.state, one)
    suite = _suite(emulator, one.suite)
    shape["check_suite"] = {key: value for key, value in suite.items() if key not in _NOT_IN_CHECK_RUNS}
    return tell(emulator, "check_run", {"action": action, "check_run": shape, **extra}, one.suite.repository, sender)


def check_suite(emulator: Emulator, action: str, one: CheckSuite, sender: User) -> Delivery | None:
    return tell(emulator, "check_suite", {"action": action, "check_suite": _suite(emulator, one)}, one.repository, sender)


def _suite(emulator: Emulator, one: CheckSuite) -> dict[str, Any]:
    shape = shapes_ci.check_suite(emulator.at, emulator.state, one)
    del shape["repository"]  # in webhooks it stands beside, not inside
    return shape


def workflow_run(emulator: Emulator, action: str, one: Run, sender: User) -> Delivery | None:
    shape = shapes_ci.run(emulator.at, emulator.state, one)
    payload = {"action": action, "workflow_run": shape, "workflow": shapes_ci.workflow(emulator.at, one)}
    return tell(emulator, "workflow_run", payload, one.repository, sender)


def installation(emulator: Emulator, action: str, one: Installation, sender: User) -> Delivery:
    chosen = [emulator.state.repositories[number] for number in sorted(one.repositories)]
    payload = {
        "action": action, "installation": shapes.installation(emulator.at, emulator.state.app, one),
        "repositories": [_brief(each) for each in chosen],
        "sender": shapes.user(emulator.at, sender),
    }  # fmt: skip
    return emulator.deliveries.send("installation", payload, None, one.id)


def installation_repositories(
    emulator: Emulator, one: Installation, added: list[Repository], removed: list[Repository], sender: User
) -> Delivery:
    payload = {
        "action": "added" if added else "removed", "installation": shapes.installation(emulator.at, emulator.state.app, one),
        "repository_selection": "selected", "repositories_added": [_brief(each) for each in added],
        "repositories_removed": [_brief(each) for each in removed], "requester": None, "sender": shapes.user(emulator.at, sender),
    }  # fmt: skip
    return emulator.deliveries.send("installation_repositories", payload, None, one.id)


def ping(emulator: Emulator) -> Delivery:
    app = emulator.state.app
    hook = {
        "type": "App", "id": app.id, "name": "web", "active": True, "events": list(app.events), "app_id": app.id,
        "config": {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": emulator.deliveries.url or ""},
        "created_at": stamp(app.created), "updated_at": stamp(app.created), "deliveries_url": f"{emulator.at.api}/app/hook/deliveries",
    }  # fmt: skip
    return emulator.deliveries.send("ping", {"zen": "Approachable is better than simple.", "hook_id": app.id, "hook": hook})


def _brief(one: Repository) -> dict[str, Any]:
    return {
        "id": one.id, "node_id": shapes.node("Repository", one.id), "name": one.name, "full_name": one.full_name, "private": one.private,
    }  # fmt: skip


def branch_moved(emulator: Emulator, where: Repository, branch: str, before: str | None, after: str | None, sender: User) -> None:
    """A branch was made, moved or deleted: heads and bases of pull requests follow, and ``push`` and ``synchronize`` are sent."""
    push(emulator, where, branch, before, after, sender)
    if after is None:
        return
    for pull in emulator.state.pulls:
        if pull.state != "open":
            continue
        if pull.repository is where and pull.base_ref == branch:
            pull.base_sha = after
        if pull.head_repository is where and pull.head_ref == branch and pull.head_sha != after:
            old, pull.head_sha, pull.updated = pull.head_sha, after, emulator.state.clock()
            publish_head(pull)
            pull_request(emulator, "synchronize", pull, sender, before=old, after=after)


def publish_head(pull: Pull) -> None:
    """Give the base repository ``refs/pull/N/head``, with the commits of a fork."""
    ref = f"refs/pull/{pull.number}/head"
    if pull.head_repository is not None and pull.is_fork:
        repositories.fetch(pull.repository.directory, pull.head_repository.directory, pull.head_sha, ref)
    else:
        repositories.set_ref(pull.repository.directory, ref, pull.head_sha)


def push(emulator: Emulator, where: Repository, branch: str, before: str | None, after: str | None, sender: User) -> Delivery | None:
    new = repositories.log(where.directory, before, after)[-20:] if before and after else [after] if after else []
    commits = []
    for name in new:
        start = repositories.commit_info(where.directory, name).parents[:1]
        changed = repositories.changes(where.directory, start[0], name) if start else ()
        lists = {
            key: [one.path for one in changed if one.status in words]
            for key, words in (("added", ("added", "copied")), ("removed", ("removed",)), ("modified", ("modified", "renamed", "changed")))
        }
        url = f"{emulator.at.page(where)}/commit/{name}"
        commits.append({**shapes_ci.simple_commit(where, name), "distinct": True, "url": url, **lists})
    payload = {
        "ref": f"refs/heads/{branch}", "before": before or NOTHING, "after": after or NOTHING, "created": before is None,
        "deleted": after is None,
        "forced": bool(before and after) and not repositories.is_ancestor(where.directory, before or "", after or ""), "base_ref": None,
        "compare": f"{emulator.at.page(where)}/compare/{(before or NOTHING)[:12]}...{(after or NOTHING)[:12]}", "commits": commits,
        "head_commit": commits[-1] if commits else None, "pusher": {"name": sender.login, "email": "noreply@example.org"},
    }  # fmt: skip
    return tell(emulator, "push", payload, where, sender)
