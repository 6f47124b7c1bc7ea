"""GitHub's JSON for commits, check suites, check runs, workflow runs, jobs and artifacts."""

from __future__ import annotations

from bot.demo.emulator import repositories
from bot.demo.emulator.shapes import Addresses, Json, actions_app, integration, minimal_repository, node, pull_minimal, repository, user
from bot.demo.emulator.state import Annotation, Artifact, CheckRun, CheckSuite, Job, Repository, Run, State, stamp

ACTIONS_APP, OTHER_APP = 15368, 90_000


def app_id(state: State, suite: CheckSuite) -> int:
    """The App that a suite belongs to."""
    return {"actions": ACTIONS_APP, "other": OTHER_APP}.get(suite.app, state.app.id)


def simple_commit(where: Repository, commit: str) -> Json:
    info = repositories.commit_info(where.directory, commit)
    who = [{"name": name, "email": email} for name, email, _ in (info.author, info.committer)]
    return {
        "id": commit, "tree_id": info.tree, "message": info.message, "timestamp": info.committer[2], "author": who[0], "committer": who[1],
    }  # fmt: skip


def git_commit(at: Addresses, where: Repository, commit: str) -> Json:
    info, git = repositories.commit_info(where.directory, commit), f"{at.of(where)}/git"
    who = [{"name": name, "email": email, "date": date} for name, email, date in (info.author, info.committer)]
    page = f"{at.page(where)}/commit"
    return {
        "sha": commit, "node_id": node("Commit", int(commit[:8], 16)), "url": f"{git}/commits/{commit}", "html_url": f"{page}/{commit}",
        "author": who[0], "committer": who[1], "tree": {"sha": info.tree, "url": f"{git}/trees/{info.tree}"}, "message": info.message,
        "parents": [{"sha": one, "url": f"{git}/commits/{one}", "html_url": f"{page}/{one}"} for one in info.parents],
        "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None},
    }  # fmt: skip


def commit(at: Addresses, where: Repository, name: str) -> Json:
    inner, mine = git_commit(at, where, name), f"{at.of(where)}/commits"
    keep = {key: inner[key] for key in ("author", "committer", "message", "tree", "verification", "url")}
    return {
        "sha": name, "node_id": inner["node_id"], "url": f"{mine}/{name}", "html_url": inner["html_url"],
        "comments_url": f"{mine}/{name}/comments",
        "commit": {**keep, "comment_count": 0}, "author": None, "committer": None,
        "parents": [{"sha": one["sha"], "url": f"{mine}/{one['sha']}", "html_url": one["html_url"]} for one in inner["parents"]],
    }  # fmt: skip


def mentioned(at: Addresses, state: State, suite: CheckSuite) -> list[Json]:
    """The pull requests that a run names: matched by branch name, so none for forks."""
    return [
        pull_minimal(at, one)
        for one in state.pulls
        if one.repository is suite.repository and not one.is_fork and one.state == "open" and one.head_ref == suite.head_branch
    ]


def _app(at: Addresses, state: State, suite: CheckSuite) -> Json:
    if suite.app == "actions":
        return actions_app(at)
    if suite.app == "other":
        return {**actions_app(at), "id": OTHER_APP, "slug": "other-ci", "name": "Other CI", "html_url": f"{at.web}/apps/other-ci"}
    own = state.installation_of(suite.repository)
    return integration(at, state.app, dict(own.permissions) if own else {})


def check_suite(at: Addresses, state: State, one: CheckSuite) -> Json:
    mine = f"{at.of(one.repository)}/check-suites/{one.id}"
    return {
        "id": one.id, "node_id": node("CheckSuite", one.id), "head_branch": one.head_branch, "head_sha": one.head_sha, "status": one.status,
        "conclusion": one.conclusion, "url": mine, "before": None, "after": one.head_sha, "pull_requests": mentioned(at, state, one),
        "app": _app(at, state, one), "created_at": stamp(one.created), "updated_at": stamp(one.updated),
        "latest_check_runs_count": sum(run.suite is one for run in state.check_runs.values()), "check_runs_url": f"{mine}/check-runs",
        "head_commit": simple_commit(one.repository, one.head_sha), "repository": repository(at, one.repository),
    }  # fmt: skip


def check_run(at: Addresses, state: State, one: CheckRun) -> Json:
    where = one.suite.repository
    mine, page = f"{at.of(where)}/check-runs/{one.id}", f"{at.page(where)}/runs/{one.id}"
    return {
        "id": one.id, "node_id": node("CheckRun", one.id), "head_sha": one.suite.head_sha, "external_id": one.external_id or "",
        "url": mine,
        "html_url": page, "details_url": one.details_url or page, "status": one.status, "conclusion": one.conclusion,
        "started_at": None if one.started is None else stamp(one.started),
        "completed_at": None if one.completed is None else stamp(one.completed),
        "output": {
            "title": one.title, "summary": one.summary, "text": one.text,
            "annotations_count": len(one.annotations), "annotations_url": f"{mine}/annotations",
        },
        "name": one.name, "check_suite": {"id": one.suite.id}, "app": _app(at, state, one.suite),
        "pull_requests": mentioned(at, state, one.suite),
    }  # fmt: skip


def annotation(at: Addresses, one: CheckRun, entry: Annotation) -> Json:
    return {
        "path": entry.path, "blob_href": f"{at.page(one.suite.repository)}/blob/{one.suite.head_sha}/{entry.path}",
        "start_line": entry.start_line,
        "end_line": entry.end_line, "start_column": None, "end_column": None, "annotation_level": entry.level, "title": entry.title,
        "message": entry.message, "raw_details": entry.raw_details,
    }  # fmt: skip


def workflow(at: Addresses, one: Run) -> Json:
    number = one.repository.id * 100
    mine = f"{at.of(one.repository)}/actions/workflows/{number}"
    return {
        "id": number, "node_id": node("Workflow", number), "name": one.name, "path": one.path, "state": "active",
        "created_at": stamp(one.created),
        "updated_at": stamp(one.created), "url": mine, "html_url": f"{at.page(one.repository)}/blob/HEAD/{one.path}",
        "badge_url": f"{at.page(one.repository)}/workflows/{one.name}/badge.svg",
    }  # fmt: skip


def run(at: Addresses, state: State, one: Run) -> Json:
    mine, suite = f"{at.of(one.repository)}/actions/runs/{one.id}", one.suite
    message = repositories.commit_info(one.repository.directory, suite.head_sha).message
    links = {f"{name}_url": f"{mine}/{name}" for name in ("jobs", "logs", "artifacts", "cancel", "rerun")}
    return {
        "id": one.id, "name": one.name, "node_id": node("WorkflowRun", one.id), "head_branch": suite.head_branch,
        "head_sha": suite.head_sha,
        "path": one.path, "display_title": message.split("\n")[0], "run_number": one.number, "event": one.event, "status": suite.status,
        "conclusion": suite.conclusion, "workflow_id": one.repository.id * 100, "check_suite_id": suite.id,
        "check_suite_node_id": node("CheckSuite", suite.id), "url": mine, "html_url": f"{at.page(one.repository)}/actions/runs/{one.id}",
        "pull_requests": mentioned(at, state, suite), "created_at": stamp(one.created), "updated_at": stamp(one.updated),
        "actor": user(at, one.actor), "triggering_actor": user(at, one.actor), "run_attempt": one.attempt,
        "run_started_at": stamp(one.created),
        **links, "check_suite_url": f"{at.of(one.repository)}/check-suites/{suite.id}", "previous_attempt_url": None,
        "workflow_url": workflow(at, one)["url"], "head_commit": simple_commit(one.repository, suite.head_sha),
        "repository": minimal_repository(at, one.repository),
        "head_repository": minimal_repository(at, one.head_repository or one.repository),
        "referenced_workflows": [],
    }  # fmt: skip


def job(at: Addresses, one: Job) -> Json:
    mine, check = f"{at.of(one.run.repository)}/actions/jobs/{one.id}", one.check_run
    start, end = stamp(check.started or one.run.created), None if check.completed is None else stamp(check.completed)
    steps = [
        {"name": name, "status": "completed", "conclusion": word, "number": number, "started_at": start, "completed_at": end or start}
        for number, (name, word) in enumerate(one.steps, 1)
    ]
    return {
        "id": one.id, "run_id": one.run.id, "workflow_name": one.run.name, "head_branch": one.run.suite.head_branch,
        "run_attempt": one.run.attempt,
        "run_url": f"{at.of(one.run.repository)}/actions/runs/{one.run.id}", "node_id": node("Job", one.id),
        "head_sha": one.run.suite.head_sha,
        "url": mine, "html_url": f"{at.page(one.run.repository)}/actions/runs/{one.run.id}/job/{one.id}", "status": check.status,
        "conclusion": check.conclusion, "created_at": start, "started_at": start, "completed_at": end, "name": check.name, "steps": steps,
        "check_run_url": f"{at.of(one.run.repository)}/check-runs/{check.id}", "labels": ["ubuntu-latest"], "runner_id": 1,
        "runner_name": "Hosted Agent", "runner_group_id": 2, "runner_group_name": "GitHub Actions",
    }  # fmt: skip


def artifact(at: Addresses, one: Artifact) -> Json:
    mine, made = f"{at.of(one.run.repository)}/actions/artifacts/{one.id}", stamp(one.created)
    head = one.run.head_repository or one.run.repository
    return {
        "id": one.id, "node_id": node("Artifact", one.id), "name": one.name, "size_in_bytes": len(one.content), "url": mine,
        "archive_download_url": f"{mine}/zip", "expired": one.expired, "created_at": made, "updated_at": made,
        "expires_at": stamp(one.created + 90 * 86400),
        "workflow_run": {
            "id": one.run.id, "repository_id": one.run.repository.id, "head_repository_id": head.id,
            "head_branch": one.run.suite.head_branch or "", "head_sha": one.run.suite.head_sha,
        },
    }  # fmt: skip
