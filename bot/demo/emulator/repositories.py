"""Bare git repositories on disk: what the emulator reads from them and writes to them, by the git command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_AUTHOR = ("Emulated GitHub", "noreply@example.org")


class GitError(Exception):
    """git refused; the text is what it said."""


def git(directory: Path, *arguments: str, stdin: bytes | None = None, environment: Mapping[str, str] | None = None) -> bytes:
    """What git prints, run in ``directory`` without the settings of this machine. Raises GitError."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        input=stdin,
        capture_output=True,
        check=False,
        env={**clean_environment(), **(environment or {})},
    )
    if done.returncode:
        raise GitError(done.stderr.decode(errors="replace").strip() or f"git {arguments[0]} failed")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """PATH, an identity, and no configuration but the repository's."""
    name, email = _AUTHOR
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", name), ("EMAIL", email))}
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **who}


def create(directory: Path, default_branch: str) -> None:
    """An empty bare repository that is served over HTTP, pull-request refs and single commits included."""
    directory.mkdir(parents=True)
    git(directory, "init", "-q", "--bare", "-b", default_branch, ".")
    configure(directory)


def configure(directory: Path) -> None:
    # A push is allowed by the token's permissions, checked before git sees it; GitHub serves any commit that it has.
    for key in ("http.receivepack", "uploadpack.allowAnySHA1InWant"):
        git(directory, "config", key, "true")


def copy(source: Path, directory: Path) -> None:
    """``directory`` becomes a bare copy of a repository, all branches and tags included."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    git(directory.parent, "clone", "-q", "--bare", "--no-local", str(source), str(directory))
    configure(directory)


def sha(directory: Path, name: str) -> str | None:
    """The commit that a branch, tag or (abbreviated) SHA names, or None. Anything that looks like an option is refused."""
    if name.startswith("-") or not name:
        return None
    try:
        return git(directory, "rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except GitError:
        return None


def branches(directory: Path) -> dict[str, str]:
    """Branch name -> commit."""
    lines = git(directory, "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads").decode().splitlines()
    return {name: commit for commit, name in (line.split(" ", 1) for line in lines)}


def commit_files(directory: Path, branch: str, parent: str | None, files: Mapping[str, str | bytes | None], message: str) -> str:
    """``branch`` moves to a new commit on top of ``parent`` with ``files`` written (None removes a path); the commit's SHA."""
    name, email = _AUTHOR
    text = message.encode()
    stream = [f"commit refs/heads/{branch}\nmark :1\ncommitter {name} <{email}> now\ndata {len(text)}\n".encode() + text + b"\n"]
    stream += [f"from {parent}\n".encode()] if parent else []
    for path, content in files.items():
        quoted = '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        if content is None:
            stream.append(f"D {quoted}\n".encode())
        else:
            data = content.encode() if isinstance(content, str) else content
            stream.append(f"M 100644 inline {quoted}\ndata {len(data)}\n".encode() + data + b"\n")
    stream.append(b"\nget-mark :1\ndone\n")
    # One process, where plumbing commands would take seven.
    done = git(directory, "fast-import", "--quiet", "--force", "--done", "--date-format=now", stdin=b"".join(stream))
    return done.decode().strip()


def set_ref(directory: Path, ref: str, commit: str) -> None:
    git(directory, "update-ref", ref, commit)


def fetch(directory: Path, source: Path, commit: str, ref: str) -> None:
    """Bring ``commit`` of another repository here as ``ref`` (a fork's head as refs/pull/N/head)."""
    git(directory, "fetch", "-q", "--no-tags", str(source), f"+{commit}:{ref}")


def merge_base(directory: Path, one: str, other: str) -> str | None:
    try:
        return git(directory, "merge-base", one, other).decode().strip()
    except GitError:
        return None


def is_ancestor(directory: Path, old: str, new: str) -> bool:
    return merge_base(directory, old, new) == old


@dataclass(frozen=True)
class CommitInfo:
    sha: str
    tree: str
    parents: tuple[str, ...]
    author: tuple[str, str, str]
    committer: tuple[str, str, str]
    message: str


@lru_cache(maxsize=2048)
def commit_info(directory: Path, commit: str) -> CommitInfo:
    """A commit by its full SHA (so the answer can be kept). People are (name, e-mail, ISO time)."""
    form = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
    parts = git(directory, "show", "-s", f"--format={form}", commit).decode(errors="replace").split("\0")
    who, by = (parts[3], parts[4], parts[5]), (parts[6], parts[7], parts[8])
    return CommitInfo(parts[0], parts[1], tuple(parts[2].split()), who, by, parts[9].strip("\n"))


@dataclass(frozen=True)
class FileChange:
    """``status`` is GitHub's word; ``patch`` the hunks without the file header, None for binary files."""

    path: str
    status: str
    additions: int
    deletions: int
    blob: str
    patch: str | None
    previous: str | None = None


_STATUS = {"A": "added", "D": "removed", "M": "modified", "R": "renamed", "C": "copied", "T": "changed"}


@lru_cache(maxsize=512)
def changes(directory: Path, base: str, head: str) -> tuple[FileChange, ...]:
    """What ``head`` changes over its merge base with ``base`` (three dots, as GitHub compares)."""
    start = merge_base(directory, base, head) or base
    raw = git(directory, "diff", "--raw", "-z", "-M", "--no-abbrev", start, head).decode(errors="replace").split("\0")
    found, position = [], 0
    while position < len(raw) and raw[position].startswith(":"):
        fields = raw[position].split()
        letter = fields[4][0]
        path = raw[position + 1]
        previous = path if letter in "RC" else None
        if previous:
            path = raw[position + 2]
        position += 3 if previous else 2
        patch = git(directory, "diff", "-M", start, head, "--", path, *([previous] if previous else [])).decode(errors="replace")
        hunks = patch[patch.index("\n@@ ") + 1 :].rstrip("\n") if "\n@@ " in patch else None
        body = (hunks or "").splitlines()
        counts = [sum(line.startswith(sign) for line in body) for sign in "+-"]
        found.append(FileChange(path, _STATUS.get(letter, "changed"), counts[0], counts[1], fields[3], hunks, previous))
    return tuple(found)


@lru_cache(maxsize=512)
def log(directory: Path, base: str, head: str) -> tuple[str, ...]:
    """The commits of ``head`` that ``base`` lacks, oldest first; both are full SHAs (so the answer can be kept)."""
    return tuple(git(directory, "rev-list", "--reverse", "--topo-order", f"{base}..{head}").decode().split())


def kind(directory: Path, name: str) -> str:
    """blob, tree, commit or tag; empty where there is no such object."""
    try:
        return git(directory, "cat-file", "-t", name).decode().strip()
    except GitError:
        return ""


def tree(directory: Path, name: str, recursive: bool) -> list[dict[str, Any]]:
    """The entries of a tree in GitHub's form, without their addresses."""
    options = ["-r", "-t"] if recursive else []
    entries = []
    for line in git(directory, "ls-tree", "-l", "-z", *options, name).decode(errors="replace").split("\0")[:-1]:
        left, path = line.split("\t", 1)
        mode, kind, sha, size = left.split()
        entry: dict[str, Any] = {"path": path, "mode": mode, "type": kind, "sha": sha}
        entries.append({**entry, "size": int(size)} if size != "-" else entry)
    return entries
