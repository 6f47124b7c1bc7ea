"""V5: a regression test that comes with a fix. It has to fail on the unpatched tree and to pass, twice, on the patched one.

The test is a new file beside the fix, never a part of it: V0 to V4 judge the fix without it, so that a test which its author wrote with
the answer in mind decides nothing. Whoever wrote it is as little trusted as the fix's author: it runs in the sandbox alone, and a test
that reaches for the interpreter, waits, retries or skips is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sandbox import WorkspaceError
from sandbox.forbidden import DELAYS, DELAYS_OF, FORBIDDEN_PATHS, REACHES
from sandbox.frameworks.detection import is_test_file
from sandbox.refusal import matches
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench, TestRun, run_tests
from sandbox.verification import Check, Verdict
from sandbox.workspace import Workspace

MOST_FILES, MOST_LINES = 2, 200
_WORD = re.compile(r"[A-Za-z_]\w*")
_FRAMEWORKS = frozenset({"pytest", "unittest", "kill", "abort", "modules"})
"""What a test has a use for, and a fix has not: a framework's name, and words that are also names of methods."""
_NO_TEST = REACHES.union(DELAYS, *DELAYS_OF.values()) - _FRAMEWORKS
_NAME = "regression"


def refused(tests: Mapping[str, bytes]) -> str | None:
    """Why these new files may not be a regression test; None where nothing speaks against running them."""
    if len(tests) > MOST_FILES or sum(content.count(b"\n") for content in tests.values()) > MOST_LINES:
        return f"it is longer than {MOST_LINES} lines in {MOST_FILES} files"
    for path, content in tests.items():
        name = path.rsplit("/", 1)[-1]
        if not is_test_file(path) or name.startswith(("conftest", "sitecustomize", "usercustomize", "__init__")):
            return f"{path} is no file of tests"
        if any(matches(path, pattern) for pattern in FORBIDDEN_PATHS) or b"\0" in content:
            return f"{path} may not be added"
        reached = sorted(set(_WORD.findall(content.decode("utf-8", "replace"))) & _NO_TEST)
        if reached:
            return f"it mentions {reached[0]}"
    return None


def with_regression_test(
    bench: Bench, head: Workspace, reproduction: Reproduction, patch: bytes, verdict: Verdict, tests: Mapping[str, bytes], into: Path
) -> Verdict:
    """An accepted verdict with the check ``regression`` of level 5: passed, or without an opinion where the test shows nothing, which
    says nothing against the fix. The level is 5 where V4 was reached and the test holds. ``tests``: path -> content of new files."""
    check = _check(bench, head, reproduction, patch, tests, into)
    level = 5 if check.status == "passed" and verdict.level == 4 else verdict.level
    return replace(verdict, level=level, checks=(*verdict.checks, check))


def holds(verdict: Verdict) -> bool:
    """Whether a regression test was seen to fail before the fix and to pass after it."""
    return any(check.name == _NAME and check.status == "passed" for check in verdict.checks)


def _check(
    bench: Bench, head: Workspace, reproduction: Reproduction, patch: bytes, tests: Mapping[str, bytes], into: Path
) -> Check:
    reason = refused(tests) if not any(head.exists(path) for path in tests) else "it replaces a test that is there already"
    if reason is not None:
        return _none(reason)
    try:
        before = head.with_files(dict(tests), into)
        after = head.patched(patch, into).with_files(dict(tests), into)
    except WorkspaceError as error:
        return _none(str(error))
    control = run_tests(bench, before)
    new = _new(control, reproduction)
    failing = [test for test in new if control.report.outcomes[test] == "failed"]
    if not new or not control.trustworthy:
        return _none("no new test is collected from it")
    if not failing or any(control.report.outcomes[test] not in ("failed", "passed") for test in new):
        return _none("it does not fail without the fix")
    for _ in range(2):
        run = run_tests(bench, after)
        wrong = [test for test in (*new, *reproduction.failing, *reproduction.passing) if run.outcome(test) not in ("passed", "xfailed")]
        if wrong or not _agrees(run, reproduction):
            return _none(f"{wrong[0] if wrong else 'the suite'} does not pass with the fix")
    return Check(_NAME, 5, "passed", f"{failing[0]} fails without the fix and passes with it, 2 of 2 times")


def _none(reason: str) -> Check:
    return Check(_NAME, 5, "no_opinion", f"the proposed regression test is left out: {reason}")


def _new(run: TestRun, reproduction: Reproduction) -> list[str]:
    known = {*reproduction.expected, *reproduction.failing, *reproduction.passing, *reproduction.flaky}
    return sorted(test for test in run.report.outcomes if test not in known)


def _agrees(run: TestRun, reproduction: Reproduction) -> bool:
    """Whether the run can be judged, and no test fails in it that was not known to fail for other reasons."""
    known = {test for test in reproduction.expected if test not in reproduction.passing}
    return run.trustworthy and not set(run.report.failed) - known
