"""JavaScript by Vitest and Jest: both write the same JSON report, told by an option, so no reporter has to be installed.

Ids: ``src/cart.test.ts::total > adds``; a file that cannot be loaded is ``src/cart.test.ts::[load]``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from sandbox.frameworks import LOAD, Framework, TestPlan
from sandbox.frameworks.adapter import MOST_MESSAGE, MOST_TEXT, REPORT, Adapter, Invocation, collected, in_tree, own_frames, unique_id
from sandbox.frameworks.node import RUNNER, below, frames_of, packages, with_programs
from sandbox.frameworks.scripts import manifest_of, package_folder, script_call, script_text
from sandbox.report import Failure, Outcome, TestReport
from sandbox.runner import Execution
from sandbox.workspace import Workspace

_COMMAND: dict[Framework, re.Pattern[str]] = {
    "vitest": re.compile(r"(?P<head>(?:^|.*[\s;&])vitest)(?:\s+(?:run|watch|dev))?(?=[\s;&]|$)(?P<tail>[^&|;]*)(?P<rest>.*)", re.S),
    "jest": re.compile(r"(?P<head>(?:^|.*[\s;&/])jest(?:\.js)?)(?=[\s;&]|$)(?P<tail>[^&|;]*)(?P<rest>.*)", re.S),
}
_PROGRAMS: dict[Framework, re.Pattern[str]] = {"node": RUNNER, **_COMMAND}
_OPTIONS = {
    "vitest": f" run --reporter=json --outputFile={REPORT} --no-color --watch=false",
    "jest": f" --json --outputFile={REPORT} --no-color --ci --watchAll=false",
}
_WATCH = re.compile(r"\s--(?:watch(?:All)?|ui|coverage)(?:=\S+)?(?=\s|$)")
_NAMED = re.compile(r"^(?P<name>(?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?: ?(?P<message>.*)", re.S)
_STACK_LINE = re.compile(r"^\s*(?:at |❯ )", re.M)
_OUTCOMES: dict[str, Outcome] = {"passed": "passed", "failed": "failed", "pending": "skipped", "skipped": "skipped", "todo": "skipped",
                                 "disabled": "skipped"}  # fmt: skip
_MOST_NAMES = 40


def detect(workspace: Workspace, framework: Framework) -> Iterator[TestPlan]:
    for folder in packages(workspace):
        manifest = manifest_of(workspace, folder)
        script = script_text(manifest, "test")
        wanted = {**_table(manifest, "dependencies"), **_table(manifest, "devDependencies")}
        if _COMMAND[framework].match(script) or not script and framework in wanted:
            yield TestPlan(framework, shell=script, folder=folder)


def script_plan(command: str, workspace: Workspace) -> TestPlan | None:
    """The plan of ``npm test`` and its like, where the package's script is one of node's runner, Vitest or Jest; None for all else."""
    call = script_call(command)
    folder = package_folder(call, workspace) if call is not None else None
    if call is None or folder is None:
        return None
    text, arguments = script_text(manifest_of(workspace, folder), call.script), call.arguments
    if not text and call.manager != "npm":  # a program of the dependencies, as `yarn vitest run`
        text, arguments = shlex.join([call.script, *call.arguments]), ()
    framework = next((name for name, pattern in _PROGRAMS.items() if pattern.match(text)), None)
    if framework is None:
        return None
    return TestPlan(framework, arguments, shell=text, variables=call.variables, folder=folder)


def _table(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    value = manifest.get(name)
    return value if isinstance(value, dict) else {}


def invocation(plan: TestPlan, only: Sequence[str]) -> Invocation:
    found = _COMMAND[plan.framework].match(plan.shell or plan.framework)
    head, tail, rest = (found["head"], found["tail"], found["rest"]) if found else (plan.framework, "", "")
    tail = _WATCH.sub(" ", f"{tail} ").rstrip()
    if only:
        files = dict.fromkeys(shlex.quote(below(plan.folder, t.split("::")[0])) for t in only)
        names = dict.fromkeys(_full_name(t) for t in only)
        tail += "".join(f" {file}" for file in files)
        if len(names) <= _MOST_NAMES and not any(t.endswith(LOAD) for t in only):
            tail += f" -t {shlex.quote('|'.join(names))}"
    more = "".join(f" {shlex.quote(a)}" for a in plan.arguments)
    return Invocation(with_programs(plan.folder, f"{head}{_OPTIONS[plan.framework]}{tail}{more}{rest}"), (REPORT,))


def _full_name(test_id: str) -> str:
    """A pattern for the name that both frameworks match: the titles with a blank between them."""
    name = re.sub(r" #\d+$", "", test_id.partition("::")[2]).replace(" > ", " ")
    return "^" + re.sub(r"([\\^$.*+?()\[\]{}|/])", r"\\\1", name) + "$"


def read(plan: TestPlan, workspace: Workspace, execution: Execution) -> TestReport:
    return read_json(collected(execution), workspace, plan.folder, execution.seconds)


def read_json(data: bytes, workspace: Workspace, folder: str, seconds: float) -> TestReport:
    """The report of ``jest --json`` and of Vitest's json reporter."""
    try:
        report = json.loads(data)
    except (ValueError, RecursionError):
        return TestReport({}, complete=False, seconds=seconds)
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    taken: dict[str, int] = {}
    for file in _rows(report, "testResults"):
        path = in_tree(str(file.get("name", "")), workspace, folder)
        tests = _rows(file, "assertionResults")
        for test in tests:
            titles = test.get("ancestorTitles")
            names = [str(t) for t in titles if t] if isinstance(titles, list) else []
            test_id = unique_id(f"{path}::{' > '.join([*names, str(test.get('title', ''))])}", taken)
            outcomes[test_id] = _OUTCOMES.get(str(test.get("status")), "error")
            if outcomes[test_id] in ("failed", "error"):
                messages = test.get("failureMessages")
                text = "\n".join(map(str, messages)) if isinstance(messages, list) else ""
                failures.append(_failure(test_id, text, workspace, folder))
        if file.get("status") == "failed" and not any(t.get("status") == "failed" for t in tests):
            test_id = f"{path}::{LOAD}"
            outcomes[test_id] = "failed"
            failures.append(_failure(test_id, str(file.get("message") or ""), workspace, folder))
    return TestReport(outcomes, tuple(failures), complete=isinstance(report, dict) and "testResults" in report, seconds=seconds)


def _rows(table: object, name: str) -> list[dict[str, Any]]:
    value = table.get(name) if isinstance(table, dict) else None
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _failure(test_id: str, text: str, workspace: Workspace, folder: str) -> Failure:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    stack = _STACK_LINE.search(text)
    said = text[: stack.start()].strip() if stack else text.strip()
    named = _NAMED.search(said) or re.search(r"(?m)^\s*(?P<name>(?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?: ?(?P<message>.*)", said)
    name, message = (named["name"], named["message"]) if named else ("", said)
    if name in ("", "Error") and message.startswith("expect("):  # Jest's matchers throw without a name of their own
        name = "AssertionError"
    message = message.removeprefix("● Test suite failed to run").strip()
    return Failure(test_id, name, message.strip()[:MOST_MESSAGE], own_frames(frames_of(text, workspace, folder)), text[:MOST_TEXT])


VITEST = Adapter("javascript", lambda workspace: detect(workspace, "vitest"), invocation, read)
JEST = Adapter("javascript", lambda workspace: detect(workspace, "jest"), invocation, read)
