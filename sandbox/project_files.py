"""Reads from a tree what environment building needs to know. The tree is hostile: no link is followed, and every read is bounded."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sandbox.detection import wanted
from sandbox.runner import Tree

_FILE_BYTES = 1024 * 1024
_NATIVE = (".c", ".cc", ".cpp", ".cxx", ".h", ".hpp", ".pyx", ".pxd", ".pxi", ".rs", ".f", ".f90", "meson.build", "CMakeLists.txt",
           "Cargo.toml", "Cargo.lock")  # fmt: skip
_SKIPPED = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox"}
_FOLDERS_WALKED = 20_000


def read_project_files(tree: Tree) -> dict[str, str]:
    """Relative path to text for the dependency files, to "" for modules of the first two levels (they tell the layout)."""
    files: dict[str, str] = {}
    for root in (tree.root, *([tree.overlay] if tree.overlay is not None else [])):
        for path in _names(root):
            if wanted(path):
                text = _text(root / path)
                if text is not None:
                    files[path] = text
            elif path.endswith(".py"):
                files[path] = ""
    gone = set(tree.removed)
    return {p: t for p, t in files.items() if p not in gone and not any(p.startswith(f"{g}/") for g in gone)}


def native_sources_hash(tree: Tree) -> str:
    """A hash over the sources that a build compiles: when one changes, compiled modules are stale."""
    digest = hashlib.sha256()
    for root in (tree.root, *([tree.overlay] if tree.overlay is not None else [])):
        for number, (folder, folders, names) in enumerate(os.walk(root)):
            if number > _FOLDERS_WALKED:
                break
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            for name in sorted(names):
                if name.endswith(_NATIVE):
                    path = Path(folder, name)
                    digest.update(os.fsencode(path.relative_to(root)) + b"\0")
                    digest.update(hashlib.sha256((_text(path) or "").encode(errors="replace")).digest())
    return digest.hexdigest()


def _names(root: Path) -> Iterator[str]:
    """Files of the root and of its folders, and one level below ``src``; links are left out."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_file(follow_symlinks=False):
                yield path
            elif entry.is_dir(follow_symlinks=False) and folder in ("", "src") and entry.name not in _SKIPPED:
                folders.append(path)


def _text(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(_FILE_BYTES).decode("utf-8", errors="replace")
