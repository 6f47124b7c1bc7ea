"""Workspace: a source tree at a commit, and patched views of it. The user's checkout is read, never written.

A workspace is a snapshot folder of ours plus an overlay of changed files. The sandbox copies both into a fresh tmpfs for every run, so
a patched view costs only the files it changes, on any file system.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox import WorkspaceError
from sandbox.git import blobs, git, listed_files, resolve, top_level
from sandbox.limits import MIB
from sandbox.runner import Tree

MAX_TREE_BYTES = 1024 * MIB
MAX_FILES = 200_000
MAX_PATCH_BYTES = MIB


@dataclass(frozen=True)
class Workspace:
    """``root`` is our snapshot; ``overlay`` holds changed files at the same relative paths; ``removed`` are files taken away."""

    root: Path
    name: str
    files: tuple[str, ...]
    commit: str | None = None
    overlay: Path | None = None
    removed: tuple[str, ...] = ()

    def tree(self) -> Tree:
        return Tree(root=self.root, name=self.name, overlay=self.overlay, removed=self.removed)

    def path(self, file: str) -> Path:
        """Where a file of this view lies on the host. Raises WorkspaceError for paths that leave the tree."""
        if file.startswith("/") or ".." in file.split("/") or "\0" in file:
            raise WorkspaceError(f"{file!r} leaves the work tree")
        if self.overlay is not None and os.path.lexists(self.overlay / file):
            return self.overlay / file
        return self.root / file

    def exists(self, file: str) -> bool:
        return file not in self.removed and file in self.files

    def read(self, file: str) -> bytes:
        """Content of a regular file; symbolic links are not followed, neither in the name nor in a folder of it."""
        path = self.path(file)
        if file in self.removed or self._beyond_link(file) or not (path.is_file() and not path.is_symlink()):
            raise WorkspaceError(f"{file!r} is no regular file of the work tree")
        return path.read_bytes()

    def _beyond_link(self, file: str) -> bool:
        """Whether a folder of this path is something else in the tree: a link, or a file."""
        roots = [r for r in (self.overlay, self.root) if r is not None]
        parents = [os.path.join(*file.split("/")[:n]) for n in range(1, file.count("/") + 1)]
        return any(os.path.lexists(r / p) and not _is_folder(r / p) and p not in self.removed for r in roots for p in parents)

    def with_files(self, changed: dict[str, bytes | None], into: Path) -> Workspace:
        """A view with these contents (None removes a file), its overlay in a new folder below ``into``."""
        overlay = Path(tempfile.mkdtemp(prefix="overlay-", dir=into))
        overlay.chmod(0o755)
        if self.overlay is not None:
            shutil.copytree(self.overlay, overlay, symlinks=True, dirs_exist_ok=True)
        for file, content in changed.items():
            source, target = self.path(file), overlay / file
            if self._beyond_link(file) or _is_folder(source) or source.is_symlink():
                raise WorkspaceError(f"{file!r} cannot be a regular file of the work tree: a link or a folder is in its way")
            if content is None:
                target.unlink(missing_ok=True)
                continue
            _make_folders(overlay, file)
            mode = stat.S_IMODE(source.lstat().st_mode) if file in self.files else 0o644
            target.write_bytes(content)
            target.chmod(mode | 0o444)
        removed = {*self.removed, *(f for f, c in changed.items() if c is None)} - {f for f, c in changed.items() if c is not None}
        files = ({*self.files, *(f for f, c in changed.items() if c is not None)}) - removed
        return replace(self, overlay=overlay, removed=tuple(sorted(removed)), files=tuple(sorted(files)))

    def patched(self, diff: bytes, into: Path) -> Workspace:
        """A view with a unified diff applied by git, which refuses paths outside the tree and beyond symbolic links.

        Raises WorkspaceError when it does not apply exactly (no fuzz, no partial application).
        """
        touched = patch_paths(diff)
        with tempfile.TemporaryDirectory(dir=into) as name:
            folder = Path(name)
            before: dict[str, bytes] = {}
            for file in touched:
                if self.exists(file):
                    before[file] = self.read(file)
                    _make_folders(folder, file)
                    (folder / file).write_bytes(before[file])
            _git_apply(folder, diff, "--whitespace=nowarn")
            after: dict[str, bytes | None] = {}
            for file in touched:
                path = folder / file
                if path.is_symlink() or (path.exists() and not path.is_file()):
                    raise WorkspaceError(f"the patch makes {file!r} something other than a regular file")
                content = path.read_bytes() if path.exists() else None
                if content != before.get(file):
                    after[file] = content
        return self.with_files(after, into)

    def diff_from(self, other: Workspace) -> dict[str, tuple[bytes | None, bytes | None]]:
        """Files that differ from ``other`` (same root): path -> (other's content, ours)."""
        touched: set[str] = {*self.removed, *other.removed}
        for view in (self, other):
            if view.overlay is not None:
                touched |= {str(p.relative_to(view.overlay)) for p in view.overlay.rglob("*") if p.is_file()}
        pairs = {f: (other.read(f) if other.exists(f) else None, self.read(f) if self.exists(f) else None) for f in sorted(touched)}
        return {f: p for f, p in pairs.items() if p[0] != p[1]}


def _git_apply(folder: Path, diff: bytes, *options: str) -> bytes:
    """git apply inside an empty repository of its own, so that no repository or configuration above ``folder`` is consulted."""
    git("init", "-q", "--template=", ".", cwd=folder)
    return git("apply", *options, "-p1", "-", cwd=folder, stdin=diff)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _make_folders(root: Path, file: str) -> None:
    """Parents of root/file, each world-readable whatever the umask. Raises WorkspaceError where root/file would lie elsewhere."""
    if file.startswith("/") or ".." in file.split("/"):
        raise WorkspaceError(f"{file!r} leaves the work tree")
    current = root
    for part in file.split("/")[:-1]:
        current /= part
        if os.path.lexists(current) and not _is_folder(current):
            raise WorkspaceError(f"{file!r} lies beyond a symbolic link or a file")
        current.mkdir(exist_ok=True)
        current.chmod(0o755)


def patch_paths(diff: bytes) -> list[str]:
    """Paths that a unified diff touches, as git reads them (before and after names), without duplicates.

    Raises WorkspaceError for a malformed diff and for paths that leave the tree or reach into ``.git``.
    """
    if not diff.strip():
        raise WorkspaceError("the patch is empty")
    if len(diff) > MAX_PATCH_BYTES:
        raise WorkspaceError(f"the patch has {len(diff)} bytes, over the limit of {MAX_PATCH_BYTES}")
    if b"\nGIT binary patch" in diff:  # a few bytes of it may stand for gigabytes
        raise WorkspaceError("the patch changes a binary file: only text patches are applied")
    with tempfile.TemporaryDirectory() as folder:
        listed = _git_apply(Path(folder), diff, "--numstat", "-z")
    paths: list[str] = []
    fields = listed.split(b"\0")
    at = 0
    while at < len(fields) and fields[at]:
        name = fields[at].split(b"\t", 2)[-1]
        names = [name] if name else [fields[at + 1], fields[at + 2]]
        at += 1 if name else 3
        paths += [os.fsdecode(n) for n in names]
    # A rename or copy names its source only in the header lines.
    for line in diff.split(b"\n"):
        for prefix in (b"rename from ", b"rename to ", b"copy from ", b"copy to "):
            if line.startswith(prefix):
                paths.append(os.fsdecode(line[len(prefix) :].rstrip(b"\r")))
    for path in paths:
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or any(p.lower() == ".git" for p in parts) or not path:
            raise WorkspaceError(f"the patch touches {path!r}, which is outside the work tree")
    return list(dict.fromkeys(paths))


def snapshot(checkout: Path, into: Path) -> Workspace:
    """Copy what git lists of a checkout (with uncommitted changes, without ignored files and ``.git``) to ``into/tree``.

    Symbolic links stay links. Modes are opened for reading, so that the sandbox's uid can copy them.
    Raises WorkspaceError when ``checkout`` is no git checkout or the tree is larger than MAX_TREE_BYTES.
    """
    if not checkout.exists():
        raise WorkspaceError(f"{checkout} does not exist: name a git checkout")
    if not checkout.is_dir():
        raise WorkspaceError(f"{checkout} is not a folder: name a git checkout")
    try:
        top = top_level(checkout)
    except WorkspaceError as error:
        raise WorkspaceError(f"{checkout} is no git checkout: run `git init` and commit, or name another folder") from error
    root = into / "tree"
    root.mkdir(parents=True)
    root.chmod(0o755)
    kept: list[str] = []
    inside: dict[Path, bool] = {}
    total = 0
    listed = listed_files(top)
    if len(listed) > MAX_FILES:
        raise WorkspaceError(f"the checkout lists {len(listed)} files, over the limit of {MAX_FILES}: ignore generated files in .gitignore")
    for file in listed:
        source = top / file
        try:
            information = source.lstat()
        except OSError:
            continue  # deleted in the work tree, or a path that runs through a file
        if source.parent not in inside:
            inside[source.parent] = _is_inside(top, source.parent)
        if not inside[source.parent]:
            continue  # Git takes a tracked file whose folder became a link for deleted; what the link leads to is not the checkout's
        if stat.S_ISREG(information.st_mode):
            total += information.st_size
            if total > MAX_TREE_BYTES:
                raise WorkspaceError(
                    f"the checkout is larger than {MAX_TREE_BYTES // MIB} MB ({file!r} passed it): ignore large files in .gitignore"
                )
            _make_folders(root, file)
            try:
                shutil.copyfile(source, root / file)
            except OSError as error:
                raise WorkspaceError(f"{file!r} cannot be read: {error.strerror}") from error
            (root / file).chmod(0o755 if information.st_mode & 0o100 else 0o644)
            os.utime(root / file, ns=(information.st_atime_ns, information.st_mtime_ns))
        elif stat.S_ISLNK(information.st_mode):
            _make_folders(root, file)
            (root / file).symlink_to(os.readlink(source))
        else:
            continue
        kept.append(file)
    try:
        commit = resolve(top, "HEAD")
    except WorkspaceError:
        commit = None
    return Workspace(root=root, name=_folder_name(top), files=tuple(kept), commit=commit)


def _folder_name(top: Path) -> str:
    """The checkout's name without what trips the tools: coverage.py keeps paths as UTF-8, pytest takes a bracket for a parameter."""
    return re.sub(r"[\x00-\x1f\x7f\ufffd\[\]]", "_", os.fsencode(top.name).decode("utf-8", "replace")) or "tree"


def _is_inside(top: Path, folder: Path) -> bool:
    """Whether neither the folder nor one between the two is a symbolic link."""
    return not any(path.is_symlink() for path in (folder, *folder.parents) if path != top and path.is_relative_to(top))


def at_revision(checkout: Path, revision: str, into: Path) -> Workspace:
    """The tree of a commit, laid out in ``into/tree`` without running any filter of the repository."""
    top = top_level(checkout)
    commit = resolve(top, revision)
    root = into / "tree"
    root.mkdir(parents=True)
    root.chmod(0o755)
    kept = []
    for blob in blobs(top, commit):
        _make_folders(root, blob.path)
        target = root / blob.path
        if os.path.lexists(target) or not target.name:  # a forged tree object may name one path twice, first as a link
            raise WorkspaceError(f"the commit's tree holds {blob.path!r} twice: it was not made by git")
        if blob.mode == "120000":
            target.symlink_to(os.fsdecode(blob.content))
        else:
            target.write_bytes(blob.content)
            target.chmod(0o755 if blob.mode == "100755" else 0o644)
        kept.append(blob.path)
    return Workspace(root=root, name=_folder_name(top), files=tuple(sorted(kept)), commit=commit)
