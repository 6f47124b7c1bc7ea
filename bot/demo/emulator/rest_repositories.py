"""Operations on a repository: contents, branches, commits, comparisons, and who may write."""

from __future__ import annotations

import base64
from typing import Any

from bot.demo.emulator import repositories, shapes, shapes_ci
from bot.demo.emulator.answers import Answer, Call, Route, found, missing
from bot.demo.emulator.repositories import GitError, git

_HERE = "/repos/{owner}/{repo}"
_READ = ("contents", "read")


def get_repository(call: Call) -> Answer:
    return Answer(200, {**shapes.repository(call.emulator.at, call.repository), "network_count": 0, "subscribers_count": 0})


def get_permission(call: Call) -> Answer:
    """What GitHub reports: maintain as write, triage as read, and none for people without a role on a private repository."""
    login = call.path["username"].lower()
    if login not in call.state.users:
        raise missing()
    user = call.state.users[login]
    role = "admin" if user is call.repository.owner else call.repository.roles.get(login, "none" if call.repository.private else "read")
    person = {**shapes.user(call.emulator.at, user), "role_name": role}
    return Answer(200, {"permission": role, "role_name": role, "user": person})


def get_contents(call: Call) -> Answer:
    """One file (base64) or the entries of a folder."""
    directory, path = call.repository.directory, call.path["path"].strip("/")
    name = call.query.get("ref", call.repository.default_branch)
    commit = found(repositories.sha(directory, name))
    if repositories.kind(directory, f"{commit}:{path}") == "tree":
        entries = repositories.tree(directory, f"{commit}:{path}", False)
        names = [f"{path}/{one['path']}".lstrip("/") for one in entries]
        listed = zip(names, entries, strict=True)
        return Answer(200, [_content(call, each, one["sha"], one.get("size", 0), one["type"], name) for each, one in listed])
    try:
        data = git(directory, "cat-file", "blob", f"{commit}:{path}")
        blob = git(directory, "rev-parse", f"{commit}:{path}").decode().strip()
    except GitError as error:
        raise missing() from error
    text = base64.encodebytes(data).decode()
    return Answer(200, {**_content(call, path, blob, len(data), "blob", name), "content": text, "encoding": "base64"})


def _content(call: Call, path: str, sha: str, size: int, kind: str, ref: str) -> dict[str, Any]:
    at, where = call.emulator.at, call.repository
    mine = f"{at.of(where)}/contents/{path}?ref={ref}"
    links = {"self": mine, "git": f"{at.of(where)}/git/{kind}s/{sha}", "html": f"{at.page(where)}/{kind}/{ref}/{path}"}
    return {
        "name": path.split("/")[-1], "path": path, "sha": sha, "size": size, "url": mine, "html_url": links["html"],
        "git_url": links["git"],
        "download_url": f"{at.page(where)}/raw/{ref}/{path}" if kind == "blob" else None, "type": "file" if kind == "blob" else "dir",
        "_links": links,
    }  # fmt: skip


def get_commit(call: Call) -> Answer:
    directory = call.repository.directory
    commit = found(repositories.sha(directory, call.path["ref"]))
    parents = repositories.commit_info(directory, commit).parents
    files = [file_shape(call, commit, one) for one in repositories.changes(directory, parents[0], commit)] if parents else []
    counts = [sum(one[key] for one in files) for key in ("additions", "deletions", "changes")]
    stats = dict(zip(("additions", "deletions", "total"), counts, strict=True))
    return Answer(200, {**shapes_ci.commit(call.emulator.at, call.repository, commit), "files": files, "stats": stats})


def file_shape(call: Call, commit: str, one: repositories.FileChange) -> dict[str, Any]:
    at, where = call.emulator.at, call.repository
    shape: dict[str, Any] = {
        "sha": one.blob, "filename": one.path, "status": one.status, "additions": one.additions, "deletions": one.deletions,
        "changes": one.additions + one.deletions, "blob_url": f"{at.page(where)}/blob/{commit}/{one.path}",
        "raw_url": f"{at.page(where)}/raw/{commit}/{one.path}", "contents_url": f"{at.of(where)}/contents/{one.path}?ref={commit}",
    }  # fmt: skip
    optional = {"patch": one.patch, "previous_filename": one.previous}
    return {**shape, **{key: value for key, value in optional.items() if value is not None}}


def compare(call: Call) -> Answer:
    at, where, directory = call.emulator.at, call.repository, call.repository.directory
    left, dots, right = call.path["basehead"].partition("...")
    if not dots:
        raise missing()
    base, head = (found(repositories.sha(directory, name.split(":")[-1])) for name in (left, right))
    middle = found(repositories.merge_base(directory, base, head))
    ahead, behind = repositories.log(directory, base, head), repositories.log(directory, head, base)
    word = "identical" if base == head else "diverged" if ahead and behind else "ahead" if ahead else "behind"
    page = f"{at.page(where)}/compare/{left}...{right}"
    return Answer(200, {
        "url": f"{at.of(where)}/compare/{left}...{right}", "html_url": page, "permalink_url": page, "diff_url": f"{page}.diff",
        "patch_url": f"{page}.patch", "base_commit": shapes_ci.commit(at, where, base),
        "merge_base_commit": shapes_ci.commit(at, where, middle),
        "status": word, "ahead_by": len(ahead), "behind_by": len(behind), "total_commits": len(ahead),
        "commits": [shapes_ci.commit(at, where, one) for one in ahead],
        "files": [file_shape(call, head, one) for one in repositories.changes(directory, base, head)],
    })  # fmt: skip


def get_branch(call: Call) -> Answer:
    at, where, name = call.emulator.at, call.repository, call.path["branch"]
    commit = found(repositories.branches(where.directory).get(name))
    links = {"self": f"{at.of(where)}/branches/{name}", "html": f"{at.page(where)}/tree/{name}"}
    protection = {"protection": {"enabled": False}, "protection_url": f"{links['self']}/protection", "protected": False}
    return Answer(200, {"name": name, "commit": shapes_ci.commit(at, where, commit), "_links": links, **protection})


ROUTES = (
    Route("GET", _HERE, get_repository, ("metadata", "read")),
    Route("GET", f"{_HERE}/collaborators/{{username}}/permission", get_permission, ("metadata", "read")),
    Route("GET", f"{_HERE}/contents/{{path}}", get_contents, _READ),
    Route("GET", f"{_HERE}/commits/{{ref}}", get_commit, _READ),
    Route("GET", f"{_HERE}/compare/{{basehead}}", compare, _READ),
    Route("GET", f"{_HERE}/branches/{{branch}}", get_branch, _READ),
)
