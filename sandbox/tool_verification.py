"""verify_tool(): the ladder for the patch of a linter's or formatter's own fixer -> Verdict.

What failed is a check command, not a test: V1 is the command, V2 its repetition with a control on the unpatched tree, V3 the whole suite as
ever. V4 asks whether a patch only fits a test; there is no such test here, so that it has no opinion.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sandbox import WorkspaceError
from sandbox.forbidden import FORBIDDEN_PATHS
from sandbox.frameworks.detection import is_test_file
from sandbox.refusal import Change, Scope, matches, refusal
from sandbox.reproduction import unusable
from sandbox.testing import Bench, TestRun, run_tests
from sandbox.verification import Check, CheckStatus, Counts, Verdict
from sandbox.workspace import Workspace

_GOOD = frozenset({"passed", "xfailed"})
_FAILED_ON_BOTH = "the suite cannot be judged"


class _Ladder:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def note(self, name: str, level: int, status: CheckStatus, detail: str) -> bool:
        """Whether to climb on."""
        self.checks.append(Check(name, level, status, detail))
        return status == "passed"


def verify_tool(
    suite: Bench,
    check: Bench,
    head: Workspace,
    patch: bytes,
    scope: Scope,
    into: Path,
    repeats: int = 3,
    report: Callable[[str], None] | None = None,
) -> Verdict:
    """Climb the ladder with a fixer's patch. ``check`` runs the command that failed, ``suite`` the tests; ``into``: a folder for overlays.

    Limits on the size of a fix do not count, since nothing in it was guessed. Test files may change where their syntax tree stays.
    """
    started = time.monotonic()
    say = report or (lambda _: None)
    ladder = _Ladder()
    before: TestRun | None = None
    after: TestRun | None = None
    repeats = max(repeats, 2)

    def climb() -> None:
        nonlocal before, after
        patched = _applied(ladder, head, patch, scope, into)
        if patched is None:
            return
        say("running the check on the patched tree")
        if not _check_passes(ladder, check, head, patched, repeats):
            return
        say("running the whole suite without and with the patch")
        before = run_tests(suite, head)
        trouble = unusable(before)
        if trouble is None and not before.report.passed:
            trouble = "no test passes without the patch"
        if trouble is not None:
            ladder.note("regressions", 3, "no_opinion", f"{_FAILED_ON_BOTH}: {trouble}")
            return
        after = run_tests(suite, patched)
        if _suite_stays(ladder, suite, patched, before, after):
            ladder.note("overfit", 4, "no_opinion", "no test is repaired that the patch could have been fitted to")

    climb()
    failed = next((c for c in ladder.checks if c.status == "failed"), None)
    passed = [c.level for c in ladder.checks if c.status == "passed"]
    level = failed.level - 1 if failed is not None else max(passed, default=-1)
    output = (after.execution.stdout[-4000:] + after.execution.stderr[-4000:]).decode("utf-8", "replace") if after is not None else ""
    return Verdict(
        level, failed.name if failed else None, tuple(ladder.checks), repeats, _counts(before) or Counts(0, 0, 0), _counts(after),
        time.monotonic() - started, after.report if after is not None else None, output)  # fmt: skip


def tool_refusal(changes: Mapping[str, Change], scope: Scope) -> str | None:
    """The first reason why a fixer's changes may not be a fix; None when none is found."""
    unlimited = replace(scope, max_files=max(len(changes), 1), max_changed_lines=10**9)
    for path, change in changes.items():
        if any(matches(path, pattern) for pattern in scope.deny):
            return f"the patch touches {path}, which a fix may not change"
        if scope.allow and not any(matches(path, pattern) for pattern in scope.allow):
            return f"the patch touches {path}, which is outside the allowed paths"
        if same_program(path, *change):
            continue  # nothing that runs is changed, so that tests and set-up files may be laid out anew
        if is_test_file(path):
            return f"the patch changes more than the layout of a test ({path})"
        if any(matches(path, pattern) for pattern in FORBIDDEN_PATHS):
            return f"the patch touches {path}, which a fix may not change"
        reason = refusal({path: change}, unlimited)
        if reason is not None:
            return reason
    return None if changes else "the patch changes nothing"


def same_program(path: str, before: bytes | None, after: bytes | None) -> bool:
    """Whether two texts of a Python file have the same syntax tree, the order of imports that stand together apart."""
    if before is None or after is None or not path.endswith((".py", ".pyi")):
        return False
    try:
        trees = [ast.parse(text) for text in (before, after)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _shape(trees[0]) == _shape(trees[1])


def _shape(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, _imports_sorted(statements))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                # Formatters strip and indent docstrings anew; an example in one stays the same words.
                first.value.value = "\n".join(line.strip() for line in first.value.value.strip().splitlines())
    return ast.dump(tree)


def _imports_sorted(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Imports that stand together as one name each, in a fixed order; those from ``__future__`` must stay first and do."""
    found: list[ast.stmt] = []
    run: list[ast.stmt] = []
    for statement in [*statements, ast.Pass()]:
        if isinstance(statement, ast.Import):
            run += [ast.Import([name]) for name in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            run += [ast.ImportFrom(statement.module, [name], statement.level) for name in statement.names]
        else:
            found += [*sorted(run, key=ast.dump), statement]
            run = []
    return found[:-1]


def _applied(ladder: _Ladder, head: Workspace, patch: bytes, scope: Scope, into: Path) -> Workspace | None:
    try:
        patched = head.patched(patch, into)
    except WorkspaceError as error:
        ladder.note("applies", 0, "failed", f"the patch does not apply: {error}")
        return None
    changes = patched.diff_from(head)
    ladder.note("applies", 0, "passed", f"applies to {', '.join(changes) or 'nothing'}")
    reason = tool_refusal(changes, scope)
    if reason is not None:
        ladder.note("allowed", 0, "failed", reason)
        return None
    laid_out = all(same_program(path, *change) for path, change in changes.items())
    kept = "the syntax tree of every changed file stays the same" if laid_out else "touches only allowed paths; no test"
    ladder.note("allowed", 0, "passed", kept)
    return patched


def _check_passes(ladder: _Ladder, check: Bench, head: Workspace, patched: Workspace, repeats: int) -> bool:
    command = check.plan.describe()
    for number in range(1, repeats + 1):
        run = run_tests(check, patched)
        if run.status != 0:
            lines = (run.execution.stdout + run.execution.stderr).decode("utf-8", "replace").strip().splitlines()
            what = f"`{command}` still fails after it" if number == 1 else f"run {number} of {repeats} of `{command}` fails"
            return ladder.note("target", 1 if number == 1 else 2, "failed", f"{what}{f' ({lines[-1][:160]})' if lines else ''}")
        if number == 1:
            ladder.note("target", 1, "passed", f"`{command}` passes")
    if run_tests(check, head).status == 0:
        return ladder.note("control", 1, "failed", f"`{command}` passes without the patch too")
    return ladder.note("repeats", 2, "passed", f"{repeats} of {repeats} runs pass; without the patch it still fails")


def _suite_stays(ladder: _Ladder, suite: Bench, patched: Workspace, before: TestRun, after: TestRun) -> bool:
    broken = _broken(before, after)
    if broken:
        broken = sorted(set(broken) & set(_broken(before, run_tests(suite, patched))))
    if broken:
        return ladder.note("regressions", 3, "failed", f"{broken[0]} passed before the patch and does not after it")
    trouble = unusable(after)
    if trouble is not None or not after.trustworthy:
        detail = trouble or "exit status, collected tests and report do not agree"
        return ladder.note("regressions", 3, "failed", f"the patched tree cannot be judged: {detail}")
    return ladder.note("regressions", 3, "passed", f"0 new failures in {len(after.report.outcomes)} tests")


def _broken(before: TestRun, after: TestRun) -> list[str]:
    return [t for t in before.report.passed if after.report.outcomes.get(t) not in _GOOD]


def _counts(run: TestRun | None) -> Counts | None:
    return Counts(len(run.report.passed), len(run.report.failed), len(run.report.outcomes)) if run is not None else None
