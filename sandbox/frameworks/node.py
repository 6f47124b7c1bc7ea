"""JavaScript by node's own runner: ``node --test`` with a reporter of ours (``_ledex_node.mjs``) that tells every test with its file.

Ids: ``test/cart.test.js::suite > name``; a file that cannot be loaded is ``test/cart.test.js::[load]``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.frameworks import LOAD, TestPlan
from sandbox.frameworks.adapter import (
    MOST_MESSAGE,
    MOST_TEXT,
    REPORT,
    Adapter,
    Invocation,
    collected,
    in_tree,
    manifests,
    own_frames,
    text_of,
    unique_id,
)
from sandbox.frameworks.scripts import manifest_of, script_text
from sandbox.report import Failure, Frame, Outcome, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

REPORTER = "/run/ledex/_ledex_node.mjs"
RUNNER = re.compile(
    r"(?P<head>(?:^|.*?[\s;&])(?:node|tsx)\b(?:\s+(?![&|;])\S+){0,20}?\s+--test)(?=[\s;&]|$)(?P<tail>[^&|;]*)(?P<rest>.*)", re.S
)
_USES_RUNNER = re.compile(r"""(?:from|require\(|import)\s*['"]node:test['"]""")
_TEST_FILE = re.compile(r"(?:[.\-_]test|(?:^|/)test(?:-[^/]*)?|(?:^|/)test/.*)\.(?:[cm]?[jt]s)$")
_FRAME = re.compile(
    r"^\s*at (?:(?:async )?(?P<function>[^()\n]{1,200}?) \()?(?P<path>(?:file://)?[^\s():]{1,400}):(?P<line>\d{1,7}):\d+\)?$", re.M
)
_ERROR_LINE = re.compile(r"^(?P<name>(?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?: (?P<message>.*)$", re.M)
_SHOWN_PLACE = re.compile(r"^(?P<path>(?:file://)?/[^\s:]{1,400}):(?P<line>\d{1,7})$", re.M)
_MOST_NAMES = 40


@dataclass
class _Node:
    """A test that has begun; ``parent`` when another began below it."""

    name: str
    parent: bool = False


def packages(workspace: Workspace) -> list[str]:
    return manifests(workspace, "package.json")


def detect(workspace: Workspace) -> Iterator[TestPlan]:
    folders = packages(workspace)
    for folder in folders:
        script = script_text(manifest_of(workspace, folder), "test")
        if RUNNER.match(script) or not script and _has_tests(workspace, folder, folders):
            yield TestPlan("node", shell=script, folder=folder)
    if not folders and _has_tests(workspace, ".", []):
        yield TestPlan("node")


def _has_tests(workspace: Workspace, folder: str, folders: Sequence[str]) -> bool:
    """Whether files that node's runner would find by their names use it, outside the packages below."""
    inner = tuple(f"{f}/" for f in folders if f not in (".", folder) and (folder == "." or f.startswith(f"{folder}/")))
    found = (
        f for f in workspace.files
        if (folder == "." or f.startswith(f"{folder}/")) and not f.startswith(inner) and "node_modules/" not in f and _TEST_FILE.search(f)
    )  # fmt: skip
    return any(_USES_RUNNER.search(text_of(workspace, f)) for f, _ in zip(found, range(50), strict=False))


def with_programs(folder: str, command: str) -> str:
    """The command with the programs that the package's and the tree's dependencies bring on PATH, as npm runs a script."""
    up = "/".join([".."] * (folder.count("/") + 1)) if folder != "." else "."
    return f'PATH="$PWD/node_modules/.bin:$PWD/{up}/node_modules/.bin:$PATH"; export PATH\n{command}'


def below(folder: str, path: str) -> str:
    """A path of the tree as it is named in a project's folder."""
    return path.removeprefix(f"{folder}/") if folder != "." else path


def invocation(plan: TestPlan, only: Sequence[str]) -> Invocation:
    found = RUNNER.match(plan.shell or "node --test")
    head, tail, rest = (found["head"], found["tail"], found["rest"]) if found else ("node --test", "", "")
    flags = f" --test-reporter={REPORTER} --test-reporter-destination={REPORT}"
    if only:
        files = dict.fromkeys(shlex.quote(below(plan.folder, t.split("::")[0])) for t in only)
        # The names of what is around a test too: a parent that fits no pattern is skipped with all that it holds.
        names = dict.fromkeys(name for t in only for name in t.partition("::")[2].split(" > "))
        if len(names) <= _MOST_NAMES and LOAD not in names:
            flags += "".join(f" --test-name-pattern={shlex.quote(_pattern(name))}" for name in names)
        tail = "".join(f" {word}" for word in tail.split() if word.startswith("-")) + "".join(f" {file}" for file in files)
    more = "".join(f" {shlex.quote(a)}" for a in plan.arguments)
    return Invocation(with_programs(plan.folder, f"{head}{flags}{tail}{more}{rest}"), (REPORT,))


def _pattern(name: str) -> str:
    """A regular expression of JavaScript's for exactly this name, the number of a repeated one aside."""
    return "^" + re.sub(r"([\\^$.*+?()\[\]{}|/])", r"\\\1", re.sub(r" #\d+$", "", name)) + "$"


def read(plan: TestPlan, workspace: Workspace, execution: Execution) -> TestReport:
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    stacks: dict[str, list[_Node]] = {}
    errors: dict[str, str] = {}
    taken: dict[str, int] = {}
    complete = False
    for record in _records(collected(execution)):
        kind, file = record.get("kind"), str(record.get("file") or "")
        path = in_tree(file, workspace, plan.folder)
        if kind == "end":
            complete = True
        elif kind == "stderr":
            errors[path] = (errors.get(path, "") + str(record.get("text", "")))[:MOST_TEXT]
        elif kind in ("start", "result"):
            name = str(record.get("name", ""))
            nesting = record.get("nesting")
            depth = nesting if isinstance(nesting, int) and 0 <= nesting <= 200 else 0
            stack = stacks.setdefault(path, [])
            if kind == "start":
                del stack[depth:]
                if stack:
                    stack[-1].parent = True
                stack.append(_Node(name))
                continue
            error = record.get("error") if isinstance(record.get("error"), dict) else {}
            assert isinstance(error, dict)
            loaded = depth == 0 and in_tree(name, workspace, plan.folder) == path
            node = stack[depth] if depth < len(stack) else _Node(name)
            by_children = error.get("type") == "subtestsFailed"
            if not loaded and (record.get("suite") or node.parent or by_children) and (record.get("passed") or by_children):
                continue
            if loaded and record.get("passed"):
                continue  # a file without tests
            inner = LOAD if loaded else " > ".join([*(n.name for n in stack[:depth]), name])
            test_id = unique_id(f"{path}::{inner}", taken)
            outcomes[test_id] = _outcome(record)
            if outcomes[test_id] == "failed":
                failures.append(_failure(test_id, error, errors.get(path, "") if loaded else "", workspace, plan.folder))
    return TestReport(outcomes, tuple(failures), complete=complete, seconds=execution.seconds)


def _records(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            value = json.loads(line) if line else {}
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _outcome(record: dict[str, Any]) -> Outcome:
    if record.get("skip"):
        return "skipped"
    if record.get("passed"):
        return "passed"
    return "xfailed" if record.get("todo") else "failed"


def _failure(test_id: str, error: dict[str, Any], printed: str, workspace: Workspace, folder: str) -> Failure:
    name, message, stack = (str(error.get(k) or "") for k in ("name", "message", "stack"))
    text = stack or message
    if printed:  # a file that could not be loaded: its process printed why
        text = printed
        found = _ERROR_LINE.search(printed)
        name, message = (found["name"], found["message"]) if found else (name, message)
    return Failure(test_id, name, message[:MOST_MESSAGE], own_frames(frames_of(text, workspace, folder)), text[:MOST_TEXT])


def frames_of(text: str, workspace: Workspace, folder: str) -> Iterable[Frame]:
    """V8's stack lines, outermost first; those of node itself and of dependencies are left out."""
    found = [
        Frame(in_tree(m["path"], workspace, folder), int(m["line"]), (m["function"] or "").removeprefix("async ").strip())
        for m in _FRAME.finditer(text)
        if not m["path"].startswith("node:") and "/node_modules/" not in m["path"]
    ]
    # Of a syntax error the place stands above the excerpt, and in no stack line.
    shown = [Frame(in_tree(m["path"], workspace, folder), int(m["line"]), "") for m in _SHOWN_PLACE.finditer(text)]
    return [*reversed(found), *shown[:1]]


ADAPTER = Adapter("javascript", detect, invocation, read)
