"""Which test framework a tree uses, from a typed command or from its files. Pure but for reading the workspace."""

from __future__ import annotations

import os
import re
import shlex

from sandbox import WorkspaceError
from sandbox.frameworks import TestPlan
from sandbox.workspace import Workspace

_TEST_FILE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests?)\.py$")
_TEST_FOLDER = re.compile(r"(^|/)(tests?|testing|__tests__|__mocks__|src/(?:test\w*|\w*Test\w*|\w+_tests?))/")
_OTHER_TEST_FILE = re.compile(
    r"\.(?:test|spec)\.[cm]?[jt]sx?$|_test\.go$|(?:^|/)(?:tests?|benches/[^/]+)\.rs$|(?:^|/)[\w.-]*[._-]test\.[cm]?[jt]sx?$"
    r"|(?:^|/)(?:specs?|e2e|cypress)/.*\.[cm]?[jt]sx?$|(?:^|/)test[_-]?(?:utils?|helpers?|support|kit)/.*\.(?:go|rs|java|kt|[cm]?[jt]sx?)$"
    r"|(?:^|/)(?:[A-Z]\w*(?:Tests?|TestCase|IT|Spec)|Test[A-Z]\w*)\.(?:java|kt|groovy|scala)$")
_PYTHON = re.compile(r"^(\S*/)?python[\d.]*$")
_SHELL = re.compile(r"[|&;<>`$(){}*?\n]|\b(if|for|while)\b")
_RUNNERS = (("poetry", "run"), ("uv", "run"), ("pipenv", "run"), ("pdm", "run"), ("hatch", "run"), ("coverage", "run", "-m"))


def is_test_file(path: str) -> bool:
    """Whether a path looks like a test, its fixtures or its configuration rather than the code under test."""
    name = path.rsplit("/", 1)[-1]
    named = _TEST_FILE.search(path) or _TEST_FOLDER.search(path) or _OTHER_TEST_FILE.search(path)
    return bool(named or name in ("conftest.py", "sitecustomize.py", "usercustomize.py"))


def plan_from_command(command: str, junit: str | None = None) -> TestPlan:
    """Read a typed test command: pytest and unittest are recognised behind interpreters, runners and assignments; else a shell command."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise WorkspaceError(f"the test command cannot be read ({error}): check its quotes") from error
    variables: list[tuple[str, str]] = []
    while words and re.match(r"^[A-Za-z_]\w*=", words[0]):
        name, value = words.pop(0).split("=", 1)
        variables.append((name, value))
    rest = words
    for prefix in _RUNNERS:
        if tuple(rest[: len(prefix)]) == prefix and "--" not in rest[:4]:
            rest = rest[len(prefix) :]
            if prefix[-1] == "-m":
                rest = ["python", "-m", *rest]
    other = _other_language(command, tuple(variables), words)
    if other is not None:
        return other
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]", "", command)
    if rest and not _SHELL.search(unquoted):
        if _PYTHON.match(rest[0]):
            options = [w for w in rest[1:] if w.startswith("-") and w not in ("-m", "-B", "-u")][:1]
            at = rest.index("-m") if "-m" in rest else -1
            if at > 0 and at + 1 < len(rest) and (not options or rest.index(options[0]) > at):
                module = rest[at + 1]
                if module in ("pytest", "unittest"):
                    return TestPlan("pytest" if module == "pytest" else "unittest", tuple(rest[at + 2 :]), variables=tuple(variables))
        elif rest[0].rsplit("/", 1)[-1] in ("pytest", "py.test"):
            return TestPlan("pytest", tuple(rest[1:]), cwd_on_path=False, variables=tuple(variables))
    found = re.search(r"--junit-?xml(?:=|\s+)(\S+)", command)
    return TestPlan("command", shell=command, junit=junit or (found.group(1) if found else None))


_IN_FOLDER = re.compile(r"^\s*cd\s+(?P<folder>[\w./@+-]+)\s*&&\s*(?P<rest>.*)$", re.S)
_SCRIPTS = ("node", "tsx", "vitest", "jest")


def _other_language(command: str, variables: tuple[tuple[str, str], ...], words: list[str]) -> TestPlan | None:
    """The plan of a command that tests another language than Python, behind ``cd FOLDER &&`` too; None for everything else."""
    folder = "."
    inside = _IN_FOLDER.match(command)
    if inside:
        folder = os.path.normpath(inside["folder"])
        words = shlex.split(inside["rest"])
    text = inside["rest"] if inside else command
    if not words or folder.startswith(("/", "..")) or _SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"|\./\.\.\.", "", text)):
        return None
    if words[:2] == ["go", "test"]:
        return TestPlan("go", tuple(w for w in words[2:] if w not in ("./...", "-json")), variables=variables, folder=folder)
    if words[:2] == ["cargo", "test"]:
        return TestPlan("cargo", tuple(w for w in words[2:] if w != "--workspace"), variables=variables, folder=folder)
    if words[0] == "mvn" and {"test", "verify", "install", "package"} & set(words):
        more = tuple(w for w in words[1:] if w not in ("clean", "test", "verify", "install", "package", "-B", "-fae"))
        return TestPlan("maven", more, variables=variables, folder=folder)
    if words[0] in ("gradle", "./gradlew") and {"test", "check", "build"} & set(words):
        more = tuple(w for w in words[1:] if w not in ("clean", "test", "check", "build", "--no-daemon", "--continue"))
        return TestPlan("gradle", more, shell="./gradlew test" if words[0] == "./gradlew" else "", variables=variables, folder=folder)
    called = words[1:] if words[0] == "npx" else words
    if called[:1] and called[0] in _SCRIPTS and (called[0] not in ("node", "tsx") or "--test" in called):
        name = "node" if called[0] in ("node", "tsx") else called[0]
        return TestPlan(name, shell=text.strip().removeprefix("npx "), variables=variables, folder=folder)  # type: ignore[arg-type]
    return None


def plan_for(workspace: Workspace) -> TestPlan:
    """Detect the framework of a tree without a given command. Raises WorkspaceError where no tests are found."""
    python = [f for f in workspace.files if f.endswith(".py")]
    tests = [f for f in python if is_test_file(f)]
    if _configures_pytest(workspace):
        return TestPlan("pytest")
    if not tests:
        raise WorkspaceError("no tests were found: name the command that runs them with --test")
    uses_unittest = False
    for file in tests[:400]:
        text = workspace.read(file).decode("utf-8", "replace") if workspace.path(file).is_file() else ""
        if re.search(r"^\s*(import|from)\s+pytest\b|^def test|^async def test|^\s+def test\w*\(self", text, re.M):
            is_case = "unittest" in text and re.search(r"^class .*TestCase", text, re.M)
            if not is_case or re.search(r"^\s*(import|from)\s+pytest\b|^def test", text, re.M):
                return TestPlan("pytest")
            uses_unittest = True
    if uses_unittest:
        folders = {f.rsplit("/", 1)[0] if "/" in f else "" for f in tests}
        if "" in folders or any(f"{folder}/__init__.py" in python for folder in folders):
            return TestPlan("unittest", ("discover",))
        return TestPlan("unittest", ("discover", "-s", min(folders, key=len)))
    return TestPlan("pytest")


def _configures_pytest(workspace: Workspace) -> bool:
    if any(workspace.exists(f) for f in ("pytest.ini", ".pytest.ini", "conftest.py", "tests/conftest.py", "test/conftest.py")):
        return True
    marks = {"pyproject.toml": "[tool.pytest", "setup.cfg": "[tool:pytest]", "tox.ini": "[pytest]"}
    for file, mark in marks.items():
        if workspace.exists(file) and workspace.path(file).is_file() and mark.encode() in workspace.read(file):
            return True
    return False
