"""verify(): the ladder V0-V4 on cold, clean sandboxes -> Verdict. The only word that is ever posted.

The parent judges from four things that must agree: the test ids collected on the unpatched tree, the exit status, the report from a
descriptor that the child cannot reopen, and the static refusal of patches that reach for the judge. A control run of the unpatched tree,
after the patched ones, must still fail: what turned green by time, luck or a leftover is not the patch's doing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from sandbox import WorkspaceError
from sandbox.frameworks import BUILD
from sandbox.limits import Limits
from sandbox.mutants import mutated_files
from sandbox.refusal import Change, Scope, literals_of, readable_changes, refusal, special_cased
from sandbox.report import TestReport
from sandbox.reproduction import Reproduction, unusable
from sandbox.syntax_mutants import mutated_sources
from sandbox.testing import Bench, TestRun, run_tests
from sandbox.workspace import Workspace

CheckStatus = Literal["passed", "failed", "no_opinion"]


@dataclass(frozen=True)
class Check:
    """One check of the ladder; ``detail`` is one sentence."""

    name: str
    level: int
    status: CheckStatus
    detail: str


@dataclass(frozen=True)
class Counts:
    """Tests by outcome in one whole run."""

    passed: int
    failed: int
    total: int


@dataclass(frozen=True)
class Verdict:
    """``level`` is the highest rung reached, -1 when V0 refused. ``refused_by`` is the check that failed, None for an accepted patch.
    ``report`` and ``output`` are of the whole run of the patched tree, where there was one."""

    level: int
    refused_by: str | None
    checks: tuple[Check, ...]
    repeats: int
    before: Counts
    after: Counts | None
    seconds: float
    report: TestReport | None = field(default=None, compare=False, repr=False)
    output: str = field(default="", compare=False, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the patch may be shown as a fix: nothing refused it and it reached V3."""
        return self.refused_by is None and self.level >= 3

    def to_json(self) -> dict[str, object]:
        return {
            "level": f"V{self.level}" if self.level >= 0 else None,
            "refused_by": self.refused_by,
            "checks": [{"name": c.name, "level": f"V{c.level}", "status": c.status, "detail": c.detail} for c in self.checks],
            "repeats": self.repeats,
            "counts": {"before": vars(self.before), "after": vars(self.after) if self.after else None},
            "seconds": round(self.seconds, 3),
        }


class _Refused(Exception):
    """Ends the ladder at the failed check."""


class _Ladder:
    def __init__(self) -> None:
        self.checks: list[Check] = []

    def passed(self, name: str, level: int, detail: str) -> None:
        self.checks.append(Check(name, level, "passed", detail))

    def no_opinion(self, name: str, level: int, detail: str) -> None:
        self.checks.append(Check(name, level, "no_opinion", detail))

    def failed(self, name: str, level: int, detail: str) -> _Refused:
        self.checks.append(Check(name, level, "failed", detail))
        return _Refused()


def verify(
    bench: Bench,
    head: Workspace,
    reproduction: Reproduction,
    patch: bytes,
    scope: Scope,
    into: Path,
    repeats: int = 3,
    report: Callable[[str], None] | None = None,
    until: float = math.inf,
) -> Verdict:
    """Climb the ladder with a unified diff. ``into`` is a folder for overlays; ``repeats`` is the k of V2 (at least 2).

    No mutant of V4 is run past ``until`` (``time.monotonic()``); what V1 to V3 need is always run.

    Never raises for a bad patch: a patch that does not apply is refused at V0.
    """
    started = time.monotonic()
    say = report or (lambda _: None)
    ladder = _Ladder()
    after: TestRun | None = None
    try:
        patched, changes = _check_text(ladder, head, patch, scope, _test_files(reproduction.expected), into)
        say("running the whole suite on the patched tree")
        after = run_tests(bench, patched, limits=_patience(bench, reproduction, 60.0))
        _check_target(ladder, reproduction, after)
        say(f"repeating the repaired tests {repeats - 1} times, then the unpatched control")
        _check_repeats(ladder, bench, head, patched, reproduction, repeats)
        _check_rest(ladder, bench, patched, reproduction, after)
        say("looking for a fix that only fits the test")
        _check_overfit(ladder, bench, head, patched, reproduction, changes, into, until)
    except _Refused:
        pass
    failed = next((c for c in ladder.checks if c.status == "failed"), None)
    level = (failed.level if failed else 5) - 1
    if failed is None and any(c.level == 4 and c.status == "no_opinion" for c in ladder.checks):
        level = 3
    outcomes = len(reproduction.expected)
    before = Counts(len(reproduction.passing), len(reproduction.failing), outcomes)
    counts = Counts(len(after.report.passed), len(after.report.failed), len(after.report.outcomes)) if after is not None else None
    output = (after.execution.stdout[-4000:] + after.execution.stderr[-4000:]).decode("utf-8", "replace") if after is not None else ""
    return Verdict(
        level, failed.name if failed else None, tuple(ladder.checks), repeats, before, counts, time.monotonic() - started,
        after.report if after is not None else None, output)  # fmt: skip


def _test_files(expected: Sequence[str]) -> frozenset[str]:
    """Files that hold the tests that were collected, whatever the project calls them. Those with nothing but doctests are code."""
    files: set[str] = set()
    for test_id in expected:
        file, separator, name = test_id.partition("::")
        if separator and file.endswith(".rs"):
            continue  # Rust's tests stand in the file of the code they test: V0 compares them one by one
        if separator and "." not in name.split("[")[0]:
            files.add(file)
        elif not separator and test_id.count(".") >= 2:
            files.add("/".join(test_id.split(".")[:-2]) + ".py")
    return frozenset(files)


def _patience(bench: Bench, reproduction: Reproduction, least: float) -> Limits:
    """Time for a run of changed code: several times the unpatched suite's, so that an endless loop costs seconds, not the whole limit."""
    return replace(bench.limits, wall_seconds=min(bench.limits.wall_seconds, max(least, 4 * reproduction.suite_seconds + 2.0)))


def _witnesses(reproduction: Reproduction) -> tuple[str, ...]:
    """Tests that may notice a mutant: the repaired ones and those that stand beside them."""
    files = {t.split("::")[0] for t in reproduction.failing}
    return (*reproduction.failing, *[t for t in reproduction.passing if t.split("::")[0] in files][:300])


def _check_text(
    ladder: _Ladder, head: Workspace, patch: bytes, scope: Scope, tests: frozenset[str], into: Path
) -> tuple[Workspace, Mapping[str, Change]]:
    try:
        patched = head.patched(patch, into)
    except WorkspaceError as error:
        raise ladder.failed("applies", 0, f"the patch does not apply: {error}") from error
    changes = patched.diff_from(head)
    ladder.passed("applies", 0, f"applies to {', '.join(changes) or 'nothing'}")
    changed_tests = sorted(tests & set(changes))
    reason = f"the patch changes a test ({changed_tests[0]})" if changed_tests else refusal(changes, scope)
    if reason is not None:
        raise ladder.failed("allowed", 0, reason)
    ladder.passed("allowed", 0, "touches only allowed paths; no test, test setting, wait, retry or judge")
    return patched, changes


def _check_target(ladder: _Ladder, reproduction: Reproduction, after: TestRun) -> None:
    if not reproduction.failing:
        raise ladder.failed("target", 1, "no test failed before the patch, so none can be seen to pass by it")
    trouble = unusable(after)
    if trouble is not None:
        raise ladder.failed("target", 1, f"the patched tree cannot be judged: {trouble}")
    missing = sorted(t for t in set(reproduction.expected) if after.outcome(t) is None)
    if missing:
        raise ladder.failed("target", 1, f"{missing[0]} was collected before the patch and has no outcome after it")
    if not after.trustworthy:
        raise ladder.failed("target", 1, "exit status, collected tests and report do not agree")
    still = [t for t in reproduction.failing if after.outcome(t) != "passed"]
    if still:
        raise ladder.failed("target", 1, f"{still[0]} still {_word(after, still[0])}")
    ladder.passed("target", 1, f"{len(reproduction.failing)} of {len(reproduction.failing)} failing tests pass")


def _word(run: TestRun, test_id: str) -> str:
    return {"failed": "fails", "error": "ends in an error", "skipped": "is skipped"}.get(
        run.outcome(test_id) or "", "does not pass"
    )


def _check_repeats(ladder: _Ladder, bench: Bench, head: Workspace, patched: Workspace, reproduction: Reproduction, repeats: int) -> None:
    targets = reproduction.failing
    for number in range(1, max(repeats, 2)):
        run = run_tests(bench, patched, only=targets, limits=_patience(bench, reproduction, 60.0))
        if not run.trustworthy or any(run.outcome(t) != "passed" for t in targets):
            raise ladder.failed("repeats", 2, f"repeat {number + 1} of {repeats} did not pass")
    control = run_tests(bench, head, only=targets)
    turned = [t for t in targets if control.report.outcomes.get(t) not in ("failed", "error")]
    if turned:  # then it is not the patch that made it pass: not even V1
        raise ladder.failed("control", 1, f"{turned[0]} no longer fails without the patch either: it is flaky")
    ladder.passed("repeats", 2, f"{repeats} of {repeats} runs pass; without the patch it still fails")


def _check_rest(ladder: _Ladder, bench: Bench, patched: Workspace, reproduction: Reproduction, after: TestRun) -> None:
    new = sorted(set(after.report.failed) - set(reproduction.expected) - set(reproduction.flaky))
    if new:  # it could not run before: what was built by the patch is not right yet
        raise ladder.failed("regressions", 3, f"{new[0]} could not run before the patch, and {_word(after, new[0])} after it")
    broken = [t for t in reproduction.passing if after.report.outcomes.get(t) not in ("passed", "xfailed")]
    if broken:
        again = run_tests(bench, patched, limits=_patience(bench, reproduction, 60.0))
        broken = [t for t in broken if again.report.outcomes.get(t) not in ("passed", "xfailed")]
    if broken:
        raise ladder.failed("regressions", 3, f"{broken[0]} passed before the patch and {_word(after, broken[0])} after it")
    ladder.passed("regressions", 3, f"0 new failures in {len(after.report.outcomes)} tests")


def _check_overfit(
    ladder: _Ladder,
    bench: Bench,
    head: Workspace,
    patched: Workspace,
    reproduction: Reproduction,
    changes: Mapping[str, Change],
    into: Path,
    until: float,
) -> None:
    if not readable_changes(changes):
        read = "Python, JavaScript, Go, Rust and Java only, and no new files"
        ladder.no_opinion("overfit", 4, f"the special-case and mutation checks read {read}")
        return
    files = sorted({t.split("::")[0] for t in reproduction.failing})
    sources = {f: head.read(f) for f in files if head.exists(f) and head.path(f).is_file()}
    literal = special_cased(changes, literals_of(sources))
    if literal is not None:
        raise ladder.failed("overfit", 4, f"the patch newly compares with {literal[:80]}, a literal of the failing test")
    ladder.passed("overfit", 4, "no literal of the failing tests is special-cased")
    made = unnoticed = 0
    late = False
    for path, (before, after) in changes.items():
        mutants = mutated_files if path.endswith(".py") else partial(mutated_sources, path)
        for content in mutants(before or b"", after or b"", most=3):
            if late := time.monotonic() > until:
                break
            damaged = patched.with_files({path: content}, into)
            run = run_tests(bench, damaged, only=_witnesses(reproduction), limits=_patience(bench, reproduction, 4.0))
            if any(t.endswith(BUILD) and t not in reproduction.failing for t in run.report.failed):
                continue  # a mutant that does not compile says nothing about the tests
            made += 1
            if run.trustworthy and not set(run.report.failed) & {*reproduction.failing, *reproduction.passing}:
                unnoticed += 1
    if late and unnoticed == made:
        ladder.no_opinion("mutation", 4, "the time ended before a mutant of the changed lines was noticed")
    elif made == 0:
        ladder.no_opinion("mutation", 4, "no mutant of the changed lines could be made")
    elif unnoticed == made == 1:
        ladder.no_opinion("mutation", 4, "the one mutant of the changed lines that could be made is not noticed")
    elif unnoticed == made:
        raise ladder.failed("mutation", 4, f"none of {made} mutants of the changed lines is noticed by the tests beside the repaired ones")
    else:
        ladder.passed("mutation", 4, f"{made - unnoticed} of {made} mutants of the changed lines are noticed")
