"""Real bugs: fixes from project histories, laid out as the broken repository with the fix's tests; the project's own tests judge.

A manifest holds facts only (commits, paths, test ids, pinned requirements); the code comes from a local mirror or from github.com.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.runner import Command, Mount, Runner, Tree
from training.benchmark.attempt import never_searched, was_withheld
from training.benchmark.checkout import Place, apply_patch, changed_places, commit_all, compose, run_git
from training.benchmark.isolation import QUIET, interpreter_mounts, limits

MANIFEST = Path(__file__).with_name("data") / "real_bugs_dev.jsonl"
_LAUNCHER = Path(__file__).with_name("_ledex_outcomes.py")
_INSIDE = "/opt/ledex-benchmark"
_BAD = ("failed", "error")


class MaterializeError(Exception):
    """A bug could not be laid out; one sentence with the way out."""


@dataclass(frozen=True)
class RealBug:
    """One line of the manifest. Paths are relative to the repository, ``fail_to_pass`` are pytest node ids."""

    id: str
    repository: str
    base: str
    fix: str
    source_file: str
    test_files: tuple[str, ...]
    fail_to_pass: tuple[str, ...]
    test_command: tuple[str, ...]
    environment: Mapping[str, str]
    requirements: tuple[str, ...]
    stub: tuple[str, str]
    kind: str
    edit: str
    places: int
    lines_old: int
    lines_new: int

    @property
    def test(self) -> str:
        return shlex.join(self.test_command)


@dataclass(frozen=True)
class Check:
    """Whether a bug reproduces here: its tests fail before the true fix and pass after it, and nothing else breaks."""

    id: str
    ok: bool
    detail: str


def read_manifest(path: Path = MANIFEST) -> list[RealBug]:
    """Raises KeyError for a manifest that lacks a field."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [
        RealBug(
            id=row["id"], repository=row["repo"], base=row["base"], fix=row["fix"], source_file=row["source_file"],
            test_files=tuple(row["test_files"]), fail_to_pass=tuple(row["fail_to_pass"]), test_command=tuple(row["test_cmd"]),
            environment=row["env"], requirements=tuple(row["requirements"]), stub=(row["stub_dist"][0], row["stub_dist"][1]),
            kind=row["logical_kind"], edit=row["ast_edit"], places=row["logical_places"],
            lines_old=row["logical_lines_old"], lines_new=row["logical_lines_new"],
        )
        for row in rows
    ]  # fmt: skip


def find_mirror(repository: str, mirrors: Path | None, work: Path) -> Path:
    """The git directory of ``owner/name``: in ``mirrors``, else a clone kept in ``work``.

    A mirror lies at owner+name/repo, owner+name, owner+name.git or owner/name, bare or not. Raises MaterializeError.
    """
    owner, name = repository.split("/")
    folder = mirrors or work / "mirrors"
    joined = f"{owner}+{name}"
    for place in (f"{joined}/repo", joined, f"{joined}.git", f"{owner}/{name}", f"{owner}/{name}.git"):
        for git_dir in (folder / place / ".git", folder / place):
            if (git_dir / "HEAD").is_file() and (git_dir / "objects").is_dir():
                return git_dir
    if mirrors is not None:
        raise MaterializeError(f"no git mirror of {repository} in {mirrors}: clone it to {mirrors / (joined + '.git')}")
    target = folder / f"{joined}.git"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run_git(["clone", "-q", "--bare", f"https://github.com/{repository}.git", str(target)], folder)
    except subprocess.CalledProcessError as error:
        raise MaterializeError(f"{repository} could not be cloned ({_last(error.stderr)}): give --mirrors DIR") from error
    return target


def materialize(bug: RealBug, git_dir: Path, folder: Path) -> Path:
    """The broken repository, of one commit, in ``folder`` (made): the base with the fix's tests, and no later history."""
    _compose(bug, git_dir, folder, bug.test_files)
    commit_all(folder)
    return folder


def build_environment(bug: RealBug, work: Path) -> Path:
    """The interpreter of a virtual environment with the pinned requirements, built once for each set of them in ``work``.

    The project itself is not installed: its metadata are a stub, so that code that asks for its own version works.
    """
    python = shutil.which("python3.11") or sys.executable
    key = hashlib.sha256("\n".join([python, *bug.requirements, *bug.stub]).encode()).hexdigest()[:10]
    folder = work.resolve() / "environments" / f"{bug.repository.replace('/', '+')}-{key}"
    executable, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists():
        return executable
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with_pip = [] if bug.requirements else ["--without-pip"]
        subprocess.run([python, "-m", "venv", *with_pip, str(folder)], check=True, capture_output=True)
        if bug.requirements:
            install = [str(executable), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", *bug.requirements]
            subprocess.run(install, check=True, capture_output=True, timeout=900)
    except subprocess.CalledProcessError as error:
        why = f"the environment of {bug.repository} could not be built ({_last(error.stderr)}): look at the index pip uses"
        raise MaterializeError(why) from error
    name, version = bug.stub
    packages = next(folder.glob("lib/python3*/site-packages"))
    metadata = packages / f"{re.sub(r'[-.]+', '_', name)}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "RECORD").write_text("")
    complete.write_text("")
    return executable


def run_tests(runner: Runner, bug: RealBug, root: Path, python: Path, seconds: float = 180.0) -> dict[str, str] | None:
    """{node id: outcome} of the manifest's tests on the tree in ``root``, or None where the run did not end by itself."""
    tree = Tree(root)
    environment = {**QUIET, **bug.environment}
    environment["PYTHONPATH"] = ":".join(f"{tree.inside}/{part}" for part in environment.get("PYTHONPATH", ".").split(":"))
    environment["PATH"] = f"{python.parent}:/usr/local/bin:/usr/bin:/bin"
    with tempfile.TemporaryDirectory() as scratch:
        launcher = Path(scratch, "launcher")
        launcher.mkdir(mode=0o755)
        shutil.copy(_LAUNCHER, launcher / _LAUNCHER.name)
        after_pytest = bug.test_command[bug.test_command.index("pytest") + 1 :]
        execution = runner.run(
            Command(
                argv=(str(python), f"{_INSIDE}/{_LAUNCHER.name}", *after_pytest),
                tree=tree,
                environment=environment,
                mounts=(*interpreter_mounts(python), Mount(launcher, _INSIDE)),
                limits=limits(seconds, 2048),
                report=True,
            )
        )
    try:
        outcomes: dict[str, str] = json.loads(execution.report)
    except ValueError:
        return None
    return outcomes


def check(runner: Runner, bug: RealBug, git_dir: Path, python: Path) -> Check:
    """Runs the tests on the broken tree and on the tree with the true fix."""
    before = _outcomes_of(runner, bug, git_dir, python, bug.test_files)
    after = _outcomes_of(runner, bug, git_dir, python, (*bug.test_files, bug.source_file))
    if before is None or after is None:
        return Check(bug.id, False, "the tests did not run to their end")
    passing = [i for i in bug.fail_to_pass if before.get(i) not in _BAD]
    failing = [i for i in bug.fail_to_pass if after.get(i) != "passed"]
    if passing or failing:
        detail = f"{len(passing)} of its tests do not fail before the fix, {len(failing)} do not pass after it"
        return Check(bug.id, False, detail)
    passed = sum(outcome == "passed" for outcome in after.values())
    return Check(bug.id, True, f"{len(bug.fail_to_pass)} fail before and pass after, {passed} pass in all")


def verdict(runner: Runner, bug: RealBug, repository: Path, python: Path, patch: str) -> tuple[bool, str]:
    """Whether a patch makes the bug's tests pass and breaks none that passed; and in words why not."""
    before = run_tests(runner, bug, repository, python)
    with tempfile.TemporaryDirectory() as scratch:
        patched = Path(scratch, "tree")
        shutil.copytree(repository, patched, symlinks=True)
        if not apply_patch(patched, patch):
            return False, "the patch does not apply"
        after = run_tests(runner, bug, patched, python)
    if before is None or after is None:
        return False, "the tests did not run to their end"
    still = [i for i in bug.fail_to_pass if after.get(i) != "passed"]
    broken = [i for i, outcome in before.items() if outcome == "passed" and after.get(i) != "passed"]
    if still or broken:
        return False, f"{len(still)} of the bug's tests do not pass, {len(broken)} others broke"
    return True, ""


def true_places(bug: RealBug, git_dir: Path) -> set[Place]:
    """The functions that the true fix changes, named in the broken source."""
    git = ["--git-dir", str(git_dir)]
    old = run_git([*git, "show", f"{bug.base}:{bug.source_file}"], git_dir).decode(errors="replace")
    patch = run_git([*git, "diff", "-U0", bug.base, bug.fix, "--", bug.source_file], git_dir).decode(errors="replace")
    return changed_places(patch, {bug.source_file: old})


def patch_places(repository: Path, patch: str) -> set[Place]:
    """The functions that a proposed patch changes, named in the repository's files."""
    named = re.findall(r"^--- (?:a/)?([^\t\n]+)", patch, re.MULTILINE)
    sources = {name: (repository / name).read_text(encoding="utf-8", errors="replace") for name in named if (repository / name).is_file()}
    return changed_places(patch, {name: text for name, text in sources.items() if name.endswith(".py")})


def miss_reason(bug: RealBug, outcome: Mapping[str, Any] | None, true: set[Place]) -> str:
    """Why a bug was not fixed: the first rule that holds.

    - environment: the repair crashed or overran, could not run the tests, or saw no failure (broken, flaky, passing, pre_existing),
      or could not run one candidate;
    - withheld: a patch that verification accepted was thought too weak to be shown;
    - several places: the true fix changes more than one place (the manifest's ``logical_places`` or ``logical_kind``);
    - not localized: no function of the true fix is among the suspects;
    - missing logic: the true fix adds statements, a branch or a handler (more logical lines than before, or such an ``ast_edit``);
    - too slow: candidates were left when the budget ended;
    - edit not generated: every candidate was tried.
    """
    if outcome is None or never_searched(outcome):
        return "environment"
    if was_withheld(outcome):
        return "withheld"
    if bug.kind == "multi-hunk" or bug.places > 1:
        return "several places"
    suspects = {(s.get("path", ""), s.get("function", "")) for s in outcome.get("suspects", ())}
    if suspects and true and not suspects & true:
        return "not localized"
    branch = bug.edit.endswith(("->If", "->Try", "->IfExp")) and not bug.edit.endswith(":If->If")
    if bug.edit.startswith("stmt-insert") or branch or bug.lines_new > bug.lines_old:
        return "missing logic"
    return "edit not generated" if outcome.get("candidates", {}).get("exhausted") else "too slow"


def _compose(bug: RealBug, git_dir: Path, folder: Path, from_fix: tuple[str, ...]) -> None:
    try:
        compose(git_dir, bug.base, bug.fix, from_fix, folder)
    except subprocess.CalledProcessError as error:
        raise MaterializeError(f"{bug.id} could not be laid out ({_last(error.stderr)}): update the mirror {git_dir}") from error


def _outcomes_of(runner: Runner, bug: RealBug, git_dir: Path, python: Path, from_fix: tuple[str, ...]) -> dict[str, str] | None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "tree")
        _compose(bug, git_dir, root, from_fix)
        return run_tests(runner, bug, root, python)


def _last(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
