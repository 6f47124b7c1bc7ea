"""Go: ``go test -json``. Ids: ``stats/mean_test.go::TestMean/two_values``; a package that does not build is ``stats/[build]``."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sandbox.frameworks import BUILD, TestPlan
from sandbox.frameworks.adapter import (
    MOST_MESSAGE,
    MOST_TEXT,
    REPORT,
    Adapter,
    Invocation,
    collected,
    in_tree,
    joined,
    manifests,
    own_frames,
    text_of,
)
from sandbox.report import Failure, Frame, Outcome, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

_FUNCTION = re.compile(r"^func\s+((?:Test|Example|Fuzz|Benchmark)\w*)\s*\(", re.M)
_MODULE = re.compile(r"^module\s+(\S+)", re.M)
_WORK_USE = re.compile(r"^\s*use\s+(?:\(([^)]*)\)|(\S+))", re.M)
LOCATION = re.compile(r"^\s+(?P<file>[\w.+-]+\.go):(?P<line>\d{1,7}): ?(?P<message>.*)$")
STACK = re.compile(
    r"^ {0,2}(?P<function>[\w./*()\[\]~-]{1,300})\([^)\n]{0,500}\)\n(?:\t| {6})(?P<path>[^\s:]{1,400}\.go):(?P<line>\d{1,7})", re.M
)
PANIC = re.compile(r"^(?:panic|fatal error): (?P<message>.*)$", re.M)
COMPILER = re.compile(r"^(?P<path>[\w./+@-]+\.go):(?P<line>\d{1,7}):(?:\d{1,5}:)? (?P<message>.*)$", re.M)
_PACKAGE_HEAD = re.compile(r"^# (?P<package>\S+)(?: \[(?P<test>\S+)\])?$")
_OWN_GO = re.compile(r"/go(?:-[\d.]+)?/(?:\d[\w.]*/x64/)?src/|/hostedtoolcache/go/|/pkg/mod/|_testmain\.go$")
"""Go's own sources, and modules."""
NOISE = re.compile(r"^\s*(?:=== (?:RUN|PAUSE|CONT|NAME)\b|--- (?:PASS|FAIL|SKIP): )")
_ENDS: dict[str, Outcome] = {"pass": "passed", "fail": "failed", "skip": "skipped"}


def detect(workspace: Workspace) -> Iterator[TestPlan]:
    """A plan for each module that has tests; a ``go.work`` at the top does not join them, since each is tested by its own command."""
    folders = manifests(workspace, "go.mod")
    for folder in folders:
        inner = tuple(f"{f}/" for f in folders if f != folder and (folder == "." or f.startswith(f"{folder}/")))
        head = "" if folder == "." else f"{folder}/"
        if any(f.startswith(head) and f.endswith("_test.go") and not (inner and f.startswith(inner)) for f in workspace.files):
            yield TestPlan("go", folder=folder)


def invocation(plan: TestPlan, only: Sequence[str]) -> Invocation:
    flags = [a for a in plan.arguments if a.startswith("-")]
    packages = [a for a in plan.arguments if not a.startswith("-")] or ["./..."]
    names: dict[str, None] = {}
    if only:
        packages = list(dict.fromkeys("./" + _package(plan.folder, t) for t in only))
        names = dict.fromkeys(t.partition("::")[2] for t in only if not t.endswith(BUILD))
    if names and len(names) == len(dict.fromkeys(only)):
        flags += ["-run", _pattern(list(names))]
    words = shlex.join(["go", "test", "-json", "-count=1", *flags, *packages])
    # Go writes to its cache even when it only reads it.
    prepare = "[ -d /env/gocache ] && cp -a /env/gocache /tmp/gocache && chmod -R u+w /tmp/gocache"
    errors = f"{REPORT}.err"
    return Invocation(f"{prepare}\n{words} >{REPORT} 2>{errors}\nstatus=$?; cat {errors} >&2; exit $status", (REPORT, errors))


def _package(folder: str, test_id: str) -> str:
    """The folder of a test's package, relative to the module's."""
    path = test_id.removesuffix(BUILD).rstrip("/") if test_id.endswith(BUILD) else test_id.split("::")[0].rpartition("/")[0]
    return path if folder == "." else path.removeprefix(folder).lstrip("/")


def _pattern(names: Sequence[str]) -> str:
    """``-run`` splits its pattern at slashes, one level of subtests each; a number that Go added to a name is no part of it."""
    if len(names) == 1:
        return "/".join(f"^{_quoted(re.sub(r'#[0-9]+$', '', part))}$" for part in names[0].split("/"))
    return "^(" + "|".join(dict.fromkeys(_quoted(name.split("/")[0]) for name in names)) + ")$"


def _quoted(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def read(plan: TestPlan, workspace: Workspace, execution: Execution) -> TestReport:
    modules = _modules(workspace)
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    printed: dict[tuple[str, str], list[str]] = {}
    files: dict[str, dict[str, str]] = {}
    builds = build_output(collected(execution, f"{REPORT}.err").decode("utf-8", "replace"))
    failed_packages: dict[str, None] = {}
    records = list(_records(collected(execution)))
    has_children = {
        (str(r.get("Package")), "/".join(parts[:n]))
        for r in records
        if "/" in str(r.get("Test", ""))
        for parts in [str(r["Test"]).split("/")]
        for n in range(1, len(parts))
    }
    ended = False
    for record in records:
        action, package, test = (str(record.get(k, "")) for k in ("Action", "Package", "Test"))
        if action == "build-output":  # since Go 1.24
            package = str(record.get("ImportPath", "")).split(" ")[0].removesuffix(".test")
            builds.setdefault(package, []).append(str(record.get("Output", "")))
        elif action == "output":
            printed.setdefault((package, test), []).append(str(record.get("Output", ""))[:4000])
        elif action in _ENDS and not test:
            ended = True
            folder = _folder(package, modules)
            if action == "fail" and not _has_result(outcomes, folder, "failed"):
                failed_packages[package] = None
        elif action in _ENDS:
            folder = _folder(package, modules)
            known = files.setdefault(folder, _test_functions(workspace, folder))
            test_id = f"{joined(folder, known.get(test.split('/')[0], ''))}::{test}"
            text = "".join(printed.get((package, test), []))
            if (package, test) in has_children and _ENDS[action] == "failed" and not own_words(text):
                continue  # its subtests say it
            if (package, test) in has_children and _ENDS[action] == "passed":
                continue
            outcomes[test_id] = _ENDS[action]
            if action == "fail":
                failures.append(_failure(test_id, folder, text, workspace))
    text = collected(execution).decode("utf-8", "replace")
    for package in dict.fromkeys([*failed_packages, *re.findall(r"^FAIL\t(\S+) \[(?:build|setup) failed\]", text, re.M), *builds]):
        folder = _folder(package.removesuffix(".test").removesuffix("_test"), modules)
        test_id = joined(folder, BUILD)
        if test_id in outcomes:
            continue
        said = "".join(builds.get(package, [])) or "".join(printed.get((package, ""), []))
        outcomes[test_id] = "failed"
        failures.append(_build_failure(test_id, said, workspace, plan.folder))
    complete = ended or bool(outcomes)
    return TestReport(outcomes, tuple(failures), complete=complete, seconds=execution.seconds)


def _has_result(outcomes: dict[str, Outcome], folder: str, wanted: Outcome) -> bool:
    return any(o == wanted and t.split("::")[0].rpartition("/")[0] == ("" if folder == "." else folder) for t, o in outcomes.items())


def _records(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if line[:1] != b"{":
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def build_output(text: str) -> dict[str, list[str]]:
    """What the compiler and vet said of each package (before Go 1.24 they print it as text)."""
    found: dict[str, list[str]] = {}
    package = ""
    for line in text.splitlines():
        head = _PACKAGE_HEAD.match(line)
        if head:
            package = (head["test"] or head["package"]).removesuffix(".test")
        elif package and COMPILER.match(line.removeprefix("vet: ")) or package and line.startswith(("\t", "vet: ")):
            found.setdefault(package, []).append(line.removeprefix("vet: ") + "\n")
    return found


def _modules(workspace: Workspace) -> list[tuple[str, str]]:
    """(module path, folder), the longest paths first."""
    found = []
    for folder in manifests(workspace, "go.mod"):
        name = _MODULE.search(text_of(workspace, joined(folder, "go.mod")))
        if name:
            found.append((name[1].strip('"'), folder))
    return sorted(found, key=lambda pair: -len(pair[0]))


def _folder(package: str, modules: Sequence[tuple[str, str]]) -> str:
    """The folder of a package in the tree."""
    for module, folder in modules:
        if package == module or package.startswith(f"{module}/"):
            return joined(folder, package[len(module) :].lstrip("/"))
    return package


def _test_functions(workspace: Workspace, folder: str) -> dict[str, str]:
    """Test function -> the name of its file, for one package."""
    head = "" if folder == "." else f"{folder}/"
    names = [f for f in workspace.files if f.startswith(head) and f.endswith("_test.go") and "/" not in f[len(head) :]]
    return {name: f[len(head) :] for f in reversed(names) for name in _FUNCTION.findall(text_of(workspace, f))}


def own_words(text: str) -> bool:
    """Whether a test with subtests said something itself."""
    places = (m for line in text.splitlines() if (m := LOCATION.match(line)))
    return any(m["file"] != "testing.go" for m in places) or bool(PANIC.search(text)) or "DATA RACE" in text


def told(text: str, name: str) -> tuple[str, str, tuple[Frame, ...], str]:
    """(exception, message, frames outermost first with paths as printed, what is worth reading) of a failed test's output."""
    body = "\n".join(line for line in text.splitlines() if not NOISE.match(line)).strip("\n")
    panic, race = PANIC.search(body), "WARNING: DATA RACE" in body
    stack = [Frame(m["path"], int(m["line"]), m["function"].rpartition("/")[2]) for m in STACK.finditer(body)]
    own = [f for f in stack if not _OWN_GO.search(f.path)]
    places = [(m["file"], int(m["line"]), m["message"]) for line in body.splitlines() if (m := LOCATION.match(line))]
    places = [p for p in places if p[0] != "testing.go"]
    message = "\n".join(m for *_, m in places) or body
    if panic:
        message = panic["message"].removesuffix(" [recovered]")
    elif race and not places:
        message = "race detected during execution of test"
    frames = [*reversed(own)] or [Frame(file, line, name.split("/")[0]) for file, line, _ in places[:1]]
    return "panic" if panic else "data race" if race else "", message.strip()[:MOST_MESSAGE], own_frames(frames), body[:MOST_TEXT]


def _failure(test_id: str, folder: str, text: str, workspace: Workspace) -> Failure:
    exception, message, frames, body = told(text, test_id.rpartition("::")[2])
    placed = (replace(f, path=in_tree(f.path, workspace, folder)) for f in frames)
    return Failure(test_id, exception, message, tuple(f for f in placed if not f.path.startswith("/")), body)


def _build_failure(test_id: str, text: str, workspace: Workspace, folder: str) -> Failure:
    found = list(COMPILER.finditer(text))
    frames = [Frame(in_tree(m["path"].removeprefix("./"), workspace, folder), int(m["line"]), "") for m in found[:5]]
    panic = PANIC.search(text)
    message = "\n".join(m["message"] for m in found) or (panic["message"] if panic else "") or text.strip()
    return Failure(test_id, "build failed" if found else "panic" if panic else "", message[:MOST_MESSAGE], own_frames(reversed(frames)),
                   text[:MOST_TEXT])  # fmt: skip


ADAPTER = Adapter("go", detect, invocation, read)
