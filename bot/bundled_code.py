"""The code of a proof: two commits without their history as a git bundle, and back into a repository that tests can be run from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.git import git

_HEAD, _BASE = "refs/ledex/head", "refs/ledex/base"


def bundle_of(repository: Path, head_sha: str, base_sha: str) -> bytes:
    """A git bundle of the two commits and their trees, nothing that came before. Raises WorkspaceError where one is missing."""
    with _beside(repository, head_sha, base_sha) as folder:
        git("bundle", "create", "-q", folder / "tree.bundle", _HEAD, _BASE, cwd=folder)
        return (folder / "tree.bundle").read_bytes()


def patched_tree(repository: Path, head_sha: str, patch: bytes) -> str:
    """The git tree that the patch makes of the commit: what was tested. Raises WorkspaceError."""
    with _beside(repository, head_sha, head_sha) as folder:
        git("read-tree", head_sha, cwd=folder)
        git("apply", "--cached", "--whitespace=nowarn", "-", cwd=folder, stdin=patch)
        return git("write-tree", cwd=folder).decode().strip()


def unbundle(data: bytes, folder: Path, head_sha: str, base_sha: str) -> None:
    """Make ``folder`` a repository that holds the commits of a bundle. Git computes every object's name from its content again.

    Raises WorkspaceError for a bundle that git cannot read.
    """
    folder.mkdir(parents=True)
    _empty(folder, head_sha, base_sha)
    file = folder / ".git" / "tree.bundle"
    file.write_bytes(data)
    git("bundle", "unbundle", file, cwd=folder)
    file.unlink()


@contextmanager
def _beside(repository: Path, head_sha: str, base_sha: str) -> Iterator[Path]:
    """A repository of our own that sees the objects of another, in which the two commits have no parents; the other is only read."""
    with tempfile.TemporaryDirectory(prefix="ledex-") as name:
        folder = Path(name)
        _empty(folder, head_sha, base_sha)
        objects = repository / os.fsdecode(git("rev-parse", "--git-path", "objects", cwd=repository)).strip()
        (folder / ".git" / "objects" / "info" / "alternates").write_text(f"{objects.resolve()}\n", encoding="utf-8")
        git("update-ref", _HEAD, head_sha, cwd=folder)
        git("update-ref", _BASE, base_sha, cwd=folder)
        yield folder


def _empty(folder: Path, *parentless: str) -> None:
    git("init", "--quiet", "--template=", f"--object-format={'sha256' if len(parentless[0]) == 64 else 'sha1'}", ".", cwd=folder)
    (folder / ".git" / "objects" / "info").mkdir(exist_ok=True)
    (folder / ".git" / "shallow").write_text("".join(f"{sha}\n" for sha in sorted(set(parentless))), encoding="ascii")
