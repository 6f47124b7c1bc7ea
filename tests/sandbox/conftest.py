"""Callers, sandboxed Python and small repositories for the sandbox's tests.

A claim about isolation is made twice: started by root and started by an ordinary user. Under root the ordinary user is a forked child
that changes its uid; it keeps the modules that are already loaded, so the suite's own interpreter may lie where that user cannot read.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import shutil
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sandbox import EnvironmentFailed
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.environment import Environment, existing_environment
from sandbox.frameworks.detection import plan_for
from sandbox.interpreters import locate
from sandbox.limits import MIB, Limits
from sandbox.runner import Command, Execution, Mount, Tree
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.workspace import Workspace, snapshot
from tests.git_repository import GitRepository

ORDINARY_UID = 61_187
_PR_SET_DUMPABLE = 4
T = TypeVar("T")

SMALL = Limits(
    wall_seconds=30,
    cpu_seconds=20,
    memory_bytes=256 * MIB,
    processes=24,
    file_bytes=16 * MIB,
    open_files=64,
    tree_bytes=8 * MIB,
    temporary_bytes=8 * MIB,
    output_bytes=64 * 1024,
    report_bytes=MIB,
)


def in_child(uid: int, function: Callable[[], T]) -> T:
    """The function's answer from a forked child that is ``uid``, which leads a session of its own."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread: the child only calls what is loaded already
        pid = os.fork()
    if pid == 0:
        answer: tuple[str, Any] = ("error", RuntimeError("the child did not answer"))
        try:
            os.close(reading)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # /proc/self belongs to root otherwise
            answer = ("value", function())
        except BaseException as error:
            answer = ("error", error)
        finally:
            with os.fdopen(writing, "wb") as file:
                file.write(pickle.dumps(answer))
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        kind, value = pickle.loads(file.read())
    os.waitpid(pid, 0)
    if kind == "error":
        raise value
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Caller:
    """Who starts the sandbox. ``folder`` is a 0700 folder of theirs; ``python`` starts inside, with ``mounts``."""

    name: str
    uid: int
    folder: Path
    python: str
    mounts: tuple[Mount, ...]

    def does(self, function: Callable[[], T]) -> T:
        """The function's answer when this caller calls it."""
        return function() if self.uid == os.geteuid() else in_child(self.uid, function)

    def own(self, path: Path) -> Path:
        """Give a path, and what lies below it, to this caller."""
        if os.geteuid() == 0:
            for entry in (path, *path.rglob("*")):
                os.lchown(entry, self.uid, self.uid)
        return path

    def run(self, command: Command) -> Execution:
        return self.does(lambda: BubblewrapRunner().run(command))

    def attack(
        self,
        source: str,
        *arguments: str,
        tree: Tree | None = None,
        limits: Limits = SMALL,
        mounts: Sequence[Mount] = (),
        environment: Mapping[str, str] | None = None,
        report: bool = False,
        collect: tuple[str, ...] = (),
    ) -> Execution:
        """Run Python source inside. It is told ``arguments`` as ``sys.argv[1:]``."""
        return self.run(
            Command(
                (self.python, "-I", "-c", textwrap.dedent(source), *arguments),
                tree=tree,
                limits=limits,
                mounts=(*self.mounts, *mounts),
                environment={"PATH": "/usr/bin:/bin", **(environment or {})},
                report=report,
                collect=collect,
            )
        )


def answer(execution: Execution) -> Any:
    """What an attack printed last, as JSON; the whole output in the message when it ended otherwise."""
    lines = execution.stdout.decode(errors="replace").strip().splitlines()
    assert lines, f"no answer: {execution.reason} {execution.exit_code} {execution.stderr.decode(errors='replace')[-1000:]}"
    return json.loads(lines[-1])


def _python_for(uid: int) -> tuple[str, tuple[Mount, ...]] | None:
    """An interpreter whose folders this uid can reach: root's binds reach all, a user's only what the user can read."""
    for candidate in (Path(os.path.realpath(sys.executable)), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        with contextlib.suppress(EnvironmentFailed, OSError):
            found = locate(candidate)
            paths = [found.executable, *(str(m.source) for m in found.mounts)]
            if uid == os.geteuid() or in_child(uid, lambda paths=paths: all(os.access(p, os.R_OK) for p in paths)):  # type: ignore[misc]
                return found.executable, found.mounts
    return None


def make_caller(name: str) -> Iterator[Caller]:
    if name == "root" and os.geteuid() != 0:
        pytest.skip("the suite does not run as root, so nothing can be started by root")
    uid = 0 if name == "root" else (ORDINARY_UID if os.geteuid() == 0 else os.geteuid())
    python = _python_for(uid)
    if python is None:
        pytest.skip("no Python here can be read by an ordinary user: install python3")
    folder = Path(tempfile.mkdtemp(prefix="ledex-caller-"))
    caller = Caller(name, uid, folder, *python)
    caller.own(folder)
    try:
        started = caller.run(Command(("/bin/true",), limits=SMALL))
        assert started.ok, started
        yield caller
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["root", "user"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    yield from make_caller(request.param)


@pytest.fixture(scope="session")
def runner() -> BubblewrapRunner:
    return BubblewrapRunner()


@pytest.fixture(scope="session")
def environment(runner: BubblewrapRunner, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The interpreter that runs this suite, which has pytest and coverage."""
    return existing_environment(Path(sys.executable), runner, settings=SandboxSettings(cache_folder=tmp_path_factory.mktemp("cache")))


@dataclass
class Repository(GitRepository):
    """A small repository, and workspaces made from it."""

    scratch: Path
    environment: Environment
    runner: BubblewrapRunner
    _count: int = field(default=0)

    def write(self, **files: str | bytes) -> Repository:
        return self.files({name.replace("__", "/") + ".py": content for name, content in files.items()})

    def space(self) -> Path:
        """A new folder for a snapshot or overlays."""
        self._count += 1
        path = self.scratch / str(self._count)
        path.mkdir()
        return path

    def workspace(self) -> Workspace:
        return snapshot(self.folder, self.space())

    def bench(self, workspace: Workspace, **limits: Any) -> Bench:
        base = Limits(wall_seconds=60, tree_bytes=64 * MIB, temporary_bytes=64 * MIB, memory_bytes=1024 * MIB)
        return Bench(self.runner, self.environment, plan_for(workspace), replace(base, **limits))


@pytest.fixture
def repository(tmp_path: Path, environment: Environment, runner: BubblewrapRunner) -> Repository:
    folder, scratch = tmp_path / "project", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    return Repository(folder, scratch, environment, runner)


def diff(path: str, before: str, after: str) -> bytes:
    """A unified diff of one file as git writes it; an empty ``before`` makes the file new."""
    import difflib

    old, new = textwrap.dedent(before), textwrap.dedent(after)
    header = "" if before else "new file mode 100644\n"
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{path}" if before else "/dev/null", f"b/{path}")
    return (f"diff --git a/{path} b/{path}\n{header}" + "".join(lines)).encode()
