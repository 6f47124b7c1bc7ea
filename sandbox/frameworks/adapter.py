"""What every framework of another language than Python offers: which projects of a tree it tests, the command, and its report read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sandbox.frameworks import TestPlan
from sandbox.report import Frame, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

Language = Literal["javascript", "go", "rust", "java"]

REPORT = "/tmp/ledex-report"
"""A file or folder inside that a framework writes its report to; it is sent back when the command has ended."""
MOST_PROJECTS = 200
MOST_TEXT, MOST_MESSAGE = 6000, 2000


@dataclass(frozen=True)
class Invocation:
    """A command for ``/bin/sh -c``, run in the plan's folder, and the paths that it leaves its report at."""

    shell: str
    collect: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adapter:
    """``detect`` finds the projects of a tree; ``invocation`` gives the command of the whole plan, or of some tests by their ids;
    ``read`` makes a report of what came back. All three are pure but for reading the workspace."""

    language: Language
    detect: Callable[[Workspace], Iterable[TestPlan]]
    invocation: Callable[[TestPlan, Sequence[str]], Invocation]
    read: Callable[[TestPlan, Workspace, Execution], TestReport]


def joined(folder: str, path: str) -> str:
    """A path below a project's folder, relative to the tree."""
    return posixpath.normpath(posixpath.join(folder, path))


def in_tree(raw: str, workspace: Workspace, folder: str = ".") -> str:
    """A path as the tree knows it: what lies below the tree's place inside the sandbox, or, where it is relative, below ``folder``."""
    path = raw.removeprefix("file://")
    inside = workspace.tree().inside + "/"
    if path.startswith(inside):
        return posixpath.normpath(path[len(inside) :])
    return path if path.startswith("/") else joined(folder, path)


def collected(execution: Execution, path: str = REPORT) -> bytes:
    """What a command left at a path; archives name it without the leading slash."""
    return execution.collected.get(path.lstrip("/"), b"")


def said(execution: Execution) -> str:
    """What a command printed, standard output first."""
    return (execution.stdout + b"\n" + execution.stderr).decode("utf-8", "replace")


def manifests(workspace: Workspace, name: str) -> list[str]:
    """Folders that hold a file of this name, nearest to the top first; those of dependencies and hidden ones are left out."""
    foreign = re.compile(r"(?:^|/)(?:node_modules|vendor|third_party|testdata|fixtures|target|\.[^/]*)/")
    found = [f.rpartition("/")[0] or "." for f in workspace.files if f.rpartition("/")[2] == name and not foreign.search(f)]
    return sorted(found, key=lambda f: (f != ".", f.count("/"), f))[:MOST_PROJECTS]


def text_of(workspace: Workspace, path: str, most: int = 1 << 20) -> str:
    """A file's text; empty where it is none."""
    from sandbox import WorkspaceError

    try:
        return workspace.read(path)[:most].decode("utf-8", "replace")
    except (WorkspaceError, OSError):
        return ""


def unique_id(test_id: str, taken: dict[str, int]) -> str:
    """The id, with a number where one run reports several tests by one name."""
    taken[test_id] = taken.get(test_id, 0) + 1
    return test_id if taken[test_id] == 1 else f"{test_id} #{taken[test_id]}"


def own_frames(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    """At most 40 frames; of more the innermost, which stand last."""
    return tuple(frames)[-40:]
