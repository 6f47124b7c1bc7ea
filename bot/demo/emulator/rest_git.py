"""Operations on git objects: blobs, trees, commits and refs."""

from __future__ import annotations

import base64
from typing import Any

from bot.demo.emulator import events, repositories, shapes, shapes_ci
from bot.demo.emulator.answers import Answer, Call, Route, found, invalid, missing
from bot.demo.emulator.repositories import GitError, git
from bot.demo.emulator.state import Repository

_HERE = "/repos/{owner}/{repo}"
_READ, _WRITE = ("contents", "read"), ("contents", "write")


def create_blob(call: Call) -> Answer:
    content = call.body["content"]
    try:
        data = base64.b64decode(content) if call.body.get("encoding") == "base64" else content.encode()
    except ValueError as error:
        raise invalid("content is not valid Base64") from error
    sha = git(call.repository.directory, "hash-object", "-w", "--stdin", stdin=data).decode().strip()
    return Answer(201, {"url": f"{call.emulator.at.of(call.repository)}/git/blobs/{sha}", "sha": sha})


def create_tree(call: Call) -> Answer:
    directory, index = call.repository.directory, call.repository.directory / f"index-{call.state.new_id()}"
    own = {"GIT_INDEX_FILE": str(index)}
    lines = []
    try:
        base = call.body.get("base_tree")
        git(directory, "read-tree", *([str(base)] if base else ["--empty"]), environment=own)
        for one in call.body["tree"]:
            sha = one.get("sha")
            if "content" in one:
                sha = git(directory, "hash-object", "-w", "--stdin", stdin=one["content"].encode()).decode().strip()
            lines.append(f"{one.get('mode', '100644')} {sha}\t{one['path']}" if sha else f"0 {'0' * 40}\t{one['path']}")
        git(directory, "update-index", "--index-info", stdin=("\n".join(lines) + "\n").encode(), environment=own)
        tree = git(directory, "write-tree", environment=own).decode().strip()
    except GitError as error:
        raise invalid(str(error), "Tree") from error
    finally:
        index.unlink(missing_ok=True)
    return Answer(201, _tree_shape(call, tree, False))


def get_tree(call: Call) -> Answer:
    name = call.path["tree_sha"]
    if name.startswith("-") or repositories.kind(call.repository.directory, f"{name}^{{tree}}") != "tree":
        raise missing()
    tree = git(call.repository.directory, "rev-parse", f"{name}^{{tree}}").decode().strip()
    return Answer(200, _tree_shape(call, tree, "recursive" in call.query))


def _tree_shape(call: Call, tree: str, recursive: bool) -> dict[str, Any]:
    git_url = f"{call.emulator.at.of(call.repository)}/git"
    listed = repositories.tree(call.repository.directory, tree, recursive)
    entries = [{**one, "url": f"{git_url}/{one['type']}s/{one['sha']}"} for one in listed]
    return {"sha": tree, "url": f"{git_url}/trees/{tree}", "tree": entries, "truncated": False}


def create_commit(call: Call) -> Answer:
    directory, body = call.repository.directory, call.body
    author = body.get("author") or {"name": call.actor.login, "email": f"{call.actor.id}+{call.actor.login}@users.noreply.example.org"}
    committer = body.get("committer") or author
    own: dict[str, str] = {}
    for role, who in (("AUTHOR", author), ("COMMITTER", committer)):
        own |= {f"GIT_{role}_NAME": who["name"], f"GIT_{role}_EMAIL": who["email"]}
        own |= {f"GIT_{role}_DATE": who["date"]} if "date" in who else {}
    parents = [word for parent in body.get("parents", []) for word in ("-p", parent)]
    try:
        commit = (
            git(directory, "commit-tree", body["tree"], *parents, "-F", "-", stdin=body["message"].encode(), environment=own)
            .decode()
            .strip()
        )
    except GitError as error:
        raise invalid(str(error), "Commit") from error
    return Answer(201, shapes_ci.git_commit(call.emulator.at, call.repository, commit))


def get_git_commit(call: Call) -> Answer:
    commit = found(repositories.sha(call.repository.directory, call.path["commit_sha"]))
    return Answer(200, shapes_ci.git_commit(call.emulator.at, call.repository, commit))


def _ref_shape(call: Call, ref: str, sha: str) -> dict[str, Any]:
    mine = f"{call.emulator.at.of(call.repository)}/git"
    inner = {"type": "commit", "sha": sha, "url": f"{mine}/commits/{sha}"}
    return {"ref": ref, "node_id": shapes.node("Ref", int(sha[:8], 16)), "url": f"{mine}/{ref}", "object": inner}


def _tip(where: Repository, ref: str) -> str | None:
    return repositories.sha(where.directory, ref)


def get_ref(call: Call) -> Answer:
    ref = f"refs/{call.path['ref']}"
    return Answer(200, _ref_shape(call, ref, found(_tip(call.repository, ref))))


def create_ref(call: Call) -> Answer:
    ref, sha = call.body["ref"], call.body["sha"]
    if not ref.startswith("refs/") or ref.count("/") < 2:
        raise invalid("Reference name must start with 'refs/' and have at least two slashes.")
    if repositories.sha(call.repository.directory, sha) is None:
        raise invalid("Object does not exist")
    if _tip(call.repository, ref) is not None:
        raise invalid("Reference already exists")
    _move(call, ref, None, sha)
    return Answer(201, _ref_shape(call, ref, sha))


def update_ref(call: Call) -> Answer:
    ref, sha = f"refs/{call.path['ref']}", call.body["sha"]
    before = _tip(call.repository, ref)
    if before is None:
        raise invalid("Reference does not exist")
    if repositories.sha(call.repository.directory, sha) is None:
        raise invalid("Object does not exist")
    if not call.body.get("force") and not repositories.is_ancestor(call.repository.directory, before, sha):
        raise invalid("Update is not a fast forward")
    _move(call, ref, before, sha)
    return Answer(200, _ref_shape(call, ref, sha))


def delete_ref(call: Call) -> Answer:
    ref = f"refs/{call.path['ref']}"
    before = _tip(call.repository, ref)
    if before is None:
        raise invalid("Reference does not exist")
    git(call.repository.directory, "update-ref", "-d", ref)
    if ref.startswith("refs/heads/"):
        events.branch_moved(call.emulator, call.repository, ref.removeprefix("refs/heads/"), before, None, call.actor)
    return Answer(204)


def _move(call: Call, ref: str, before: str | None, sha: str) -> None:
    try:
        repositories.set_ref(call.repository.directory, ref, sha)
    except GitError as error:
        raise invalid(f"{ref} is not a valid ref name.") from error
    if ref.startswith("refs/heads/"):
        events.branch_moved(call.emulator, call.repository, ref.removeprefix("refs/heads/"), before, sha, call.actor)


ROUTES = (
    Route("POST", f"{_HERE}/git/blobs", create_blob, _WRITE),
    Route("POST", f"{_HERE}/git/trees", create_tree, _WRITE),
    Route("GET", f"{_HERE}/git/trees/{{tree_sha}}", get_tree, _READ),
    Route("POST", f"{_HERE}/git/commits", create_commit, _WRITE),
    Route("GET", f"{_HERE}/git/commits/{{commit_sha}}", get_git_commit, _READ),
    Route("GET", f"{_HERE}/git/ref/{{ref}}", get_ref, _READ),
    Route("POST", f"{_HERE}/git/refs", create_ref, _WRITE),
    Route("PATCH", f"{_HERE}/git/refs/{{ref}}", update_ref, _WRITE),
    Route("DELETE", f"{_HERE}/git/refs/{{ref}}", delete_ref, _WRITE),
)
