"""Git as a reader of hostile repositories: no configuration, hook, filter or file-system monitor of the repository ever runs.

No transport is allowed either: a repository may declare itself incomplete, and Git would run the programs that its configuration
names to get the rest.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import WorkspaceError

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false", "-c", "safe.directory=*",
         "-c", "protocol.ext.allow=never", "-c", "core.quotePath=false", "-c", "gc.auto=0", "-c", "core.autocrlf=false")  # fmt: skip


@dataclass(frozen=True)
class Blob:
    """One entry of a commit's tree; ``mode`` is git's (100644, 100755, 120000, 160000)."""

    mode: str
    path: str
    content: bytes


def git(*arguments: str | Path, cwd: Path, stdin: bytes | None = None) -> bytes:
    """Standard output of one git command. Raises WorkspaceError with git's last line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
                    "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ALLOW_PROTOCOL": "none",
                    "GIT_NO_LAZY_FETCH": "1"}  # fmt: skip
    try:
        done = subprocess.run(
            ["git", *_SAFE, *map(str, arguments)], cwd=cwd, env=environment, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise WorkspaceError("git is not installed: apt-get install git") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise WorkspaceError(f"git {arguments[0]} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
    return done.stdout


def top_level(path: Path) -> Path:
    """The work tree's root that holds ``path``. Raises WorkspaceError when there is none."""
    top = Path(os.fsdecode(git("rev-parse", "--show-toplevel", cwd=path)).removesuffix("\n"))
    if not os.path.lexists(top / ".git") or not path.resolve().is_relative_to(top):  # core.worktree may name any folder, a home too
        raise WorkspaceError(f"the repository's configuration says that its work tree is {top}, which is elsewhere")
    return top


def resolve(repository: Path, revision: str) -> str:
    """The commit id of a revision."""
    if revision.startswith("-"):
        raise WorkspaceError(f"{revision!r} is no revision: name a branch, tag or commit")
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", cwd=repository).decode().strip()
    except WorkspaceError as error:
        raise WorkspaceError(f"{revision!r} names no commit in this repository: check --base, or fetch it first") from error


def listed_files(repository: Path) -> list[str]:
    """Paths of tracked files and of untracked ones that git does not ignore, submodules' tracked files included."""
    found = git("ls-files", "-z", "--cached", "--recurse-submodules", cwd=repository)
    found += git("ls-files", "-z", "--others", "--exclude-standard", cwd=repository)
    return sorted({os.fsdecode(name) for name in found.split(b"\0") if name})


def blobs(repository: Path, commit: str) -> Iterator[Blob]:
    """Every entry of a commit's tree with its raw content (no filters), submodules left out.

    Raises WorkspaceError where an object is missing.
    """
    entries = []
    for line in git("ls-tree", "-r", "-z", "--full-tree", commit, cwd=repository).split(b"\0"):
        if line:
            description, name = line.split(b"\t", 1)
            mode, _, object_id = description.decode().split(" ")
            entries.append((mode, object_id, os.fsdecode(name)))
    wanted = [e for e in entries if e[0] != "160000"]
    answer = git("cat-file", "--batch", "--buffer", cwd=repository, stdin="".join(f"{i}\n" for _, i, _ in wanted).encode())
    at = 0
    for mode, _, file in wanted:
        end = answer.index(b"\n", at)
        header = answer[at:end].split(b" ")
        if len(header) != 3:
            raise WorkspaceError(f"the content of {file!r} is missing from the repository: fetch the commit in full")
        size = int(header[2])
        yield Blob(mode, file, answer[end + 1 : end + 1 + size])
        at = end + 2 + size
