"""Failures to learn from: bugs planted in published programs and in any repository with tests, opened as production opens a failure.

A planted bug is a git checkout whose tests fail, and the text that the file had before. What the model reads of it, and what judges its
answers, is what the bot's repairs use: ``reproduce``, ``build_context``, ``render_prompt``, ``verify``.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from inference.attempt import Attempt as RepairAttempt
from inference.attempt import suspects_of
from inference.policy import Policy
from inference.proposer import Problem, Search
from inference.repair import RepairRequest, open_bench
from inference.trajectory import RecordedEnvironment, RecordedFailure, RecordedProblem
from sandbox import SandboxError
from sandbox.report import Failure
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Runner
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.workspace import Workspace, snapshot
from training.benchmark.checkout import commit_all
from training.benchmark.judging import execute, make_oracle, same
from training.benchmark.mbpp import Bug, Task, lay_out, plant
from training.benchmark.mutation import KINDS, Kind, mutants

Hidden = Callable[[str], tuple[int, int]]
"""The repaired text of the file -> (passed, total) of what nobody was shown."""


@dataclass(frozen=True)
class Planted:
    """A bug and the way back. ``write`` makes the checkout in a folder that does not exist yet. ``repository`` is what splits are made by;
    ``right`` the text of ``path`` before the bug, ``wrong`` after. ``problem``: a failure that the bot has met; nothing was planted
    then, no way back is known (``path`` and ``right`` are empty), and the project's own environment is built."""

    id: str
    repository: str
    kind: str
    operator: str
    path: str
    wrong: str
    right: str
    licence: str
    write: Callable[[Path], Path]
    task: str | None = None
    hidden: Hidden | None = None
    problem: RecordedProblem | None = None

    @property
    def project(self) -> str:
        """What shares an environment: the tasks of a public set, or a repository."""
        return "mbpp" if self.repository.startswith("mbpp/") else self.repository


def planted_in_tasks(
    runner: Runner, tasks: Sequence[Task], seed: int, kinds: Sequence[Kind] = KINDS, each: int = 1, licence: str = "CC-BY-4.0 (MBPP)",
    texts: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[Planted]:  # fmt: skip
    """Up to ``each`` bugs of every kind in every task that can be judged on held-back inputs; made when they are asked for. ``texts``: what
    each task asks for, by its id."""
    for task in tasks:
        oracle, _ = make_oracle(runner, task.program, task.asserts, seed)
        if oracle is None:
            continue
        taken: set[str] = set()
        for kind in kinds:
            for number in range(each):
                bug = plant(runner, task, oracle, kind, seed + number, taken, Counter())
                if bug is None:
                    break
                taken.add(bug.mutant.text)
                yield replace(from_bug(runner, bug, licence), task=texts.get(task.id))


def from_bug(runner: Runner, bug: Bug, licence: str = "CC-BY-4.0 (MBPP)") -> Planted:
    """A bug of the benchmark's form; its oracle is the hidden test."""

    def hidden(text: str) -> tuple[int, int]:
        outcomes = execute(runner, text, [bug.oracle.hidden], bug.oracle.calls)
        agreed = sum(same(a, b) for a, b in zip(bug.oracle.expected, outcomes.calls, strict=True))
        return agreed + outcomes.holds(0), len(bug.oracle.expected) + 1

    return Planted(
        bug.id, f"mbpp/{bug.task.id}", bug.mutant.kind, bug.mutant.operator, "solution.py", bug.mutant.text, bug.task.program, licence,
        lambda folder: lay_out(bug, folder), None, hidden)  # fmt: skip


def planted_in_repository(
    checkout: Path, name: str, seed: int, licence: str, kinds: Sequence[Kind] = KINDS, each: int = 1
) -> Iterator[Planted]:
    """Bugs in the Python files of a checkout that are not tests. Whether a test notices one is seen when it is opened."""
    files = [p for p in sorted(checkout.rglob("*.py")) if not _is_test(p.relative_to(checkout))]
    for file in files:
        path = file.relative_to(checkout).as_posix()
        try:
            text = file.read_text(encoding="utf-8")
            ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            continue
        for kind in kinds:
            for number, mutant in zip(range(each), mutants(text, kind, seed), strict=False):
                digest = hashlib.sha256(mutant.text.encode()).hexdigest()[:12]
                yield Planted(
                    f"{name}/{path}/{kind}/{number}/{digest}", name, kind, mutant.operator, path, mutant.text, text, licence,
                    _copier(checkout, path, mutant.text))  # fmt: skip


def _copier(checkout: Path, path: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        shutil.copytree(checkout, folder, symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__", ".venv"))
        (folder / path).write_text(text, encoding="utf-8")
        commit_all(folder)
        return folder

    return write


def _is_test(path: Path) -> bool:
    named = path.name.startswith("test_") or path.name in ("conftest.py", "setup.py")
    return named or bool({"tests", "test", ".venv", ".git"} & set(path.parts))


@dataclass(frozen=True)
class Opened:
    """A reproduced failure, ready for proposers, with a cold ``check``."""

    planted: Planted
    head: Workspace
    bench: Bench
    reproduction: Reproduction
    problem: Problem
    folder: Path


def open_planted(
    planted: Planted, runner: Runner, folder: Path, *, python: Path | None = None, bench: Bench | None = None, seconds: float = 60.0
) -> Opened | str:
    """Write, reproduce and localize a planted bug below ``folder`` (made, readable to all); the reason where that cannot be done.

    ``python``: an interpreter that has the project's packages and pytest; this process's own for single files. ``bench``: of another bug in
    the same project, so that its environment is not looked at again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        checkout = planted.write(folder / "checkout")
        request = RepairRequest(path=checkout, python=None if planted.problem is not None else python or Path(sys.executable))
        head = snapshot(checkout, folder / "head")
        if bench is None:
            bench, _ = open_bench(request, runner, SandboxSettings(), head, lambda _: None)
        reproduction = reproduce(bench, head)
    except (SandboxError, OSError, tarfile.TarError) as error:
        return f"cannot be opened: {error}"
    if reproduction.status != "failing":
        return "no test notices the bug" if reproduction.status == "passing" else f"its tests do not run: {reproduction.reason}"
    policy = Policy()
    attempt = RepairAttempt(head, bench, (), policy, folder, lambda _: None, 1, Search(), 0.0, float("inf"))
    problem = Problem(head, bench, reproduction, suspects_of(head, reproduction), seconds)
    problem = replace(problem, check=lambda proposal: attempt.checked(reproduction, proposal))
    return Opened(planted, head, bench, reproduction, problem, folder)


def recorded_problem(opened: Opened) -> RecordedProblem:
    """The failure as trajectories name it: the wrong code's own hash stands for a commit."""
    planted = opened.planted
    failures = tuple(map(_recorded, opened.reproduction.failures))
    if planted.problem is not None:
        return replace(planted.problem, failures=failures, extra={**planted.problem.extra, "kind": planted.kind})
    extra = {"kind": planted.kind, "operator": planted.operator, "licence": planted.licence, "planted": planted.id}
    if planted.task is not None:
        extra["solution"] = planted.right
    return RecordedProblem(
        planted.repository, None, hashlib.sha256(planted.wrong.encode()).hexdigest()[:40],
        RecordedEnvironment(".".join(map(str, sys.version_info[:2]))), opened.bench.plan.describe(),
        failures, None, planted.task, extra)  # fmt: skip


def _recorded(failure: Failure) -> RecordedFailure:
    frames = tuple((f.path, f.line, f.function) for f in failure.frames)
    return RecordedFailure(failure.test_id, failure.exception, failure.message, frames)
