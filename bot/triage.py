"""triage(): what kind of failure a CI run is, before anything is run. Pure.

The order: did a test process start; a known infrastructure failure outside the tests; a tool with a deterministic fixer; only then failing
tests. Sources in order of trust: the job's conclusion, JUnit XML, annotations, log text. Whether a test is flaky, or failed on the base
already, is known only once it was repeated: ``after_reproduction`` says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bot.failure_tables import INFRASTRUCTURE, OTHERS, SYNTAX, TIMEOUT, Sign, Tool, failed_tool, fixer_of
from bot.failure_text import unique
from bot.logs import LogReading, LogStep, canonical_id, read_log, signature, text_signature
from bot.markdown import one_line
from bot.policy import Kind, RepositoryPolicy, matches
from bot.runs import Annotation, FailedRun, Job
from inference.fixers import Fixer
from sandbox.frameworks.detection import is_test_file
from sandbox.frameworks.junit import read_junit
from sandbox.report import Failure, Frame

Source = Literal["conclusion", "junit", "annotations", "log", "none"]
_FIRST = ("test", "build", "type", "dependency", "config", "lint", "timeout", "infra", "flaky", "pre_existing", "unknown")
_FAILED = frozenset({"failure", "timed_out", "cancelled", "startup_failure", "action_required"})
_SYNTAX = frozenset({"SyntaxError", "IndentationError", "TabError"})
_TELLING_LINES = 1500
_TELLING_WIDTH = 300
_EXIT_ONLY = re.compile(r"^Process completed with exit code \d+\.?$")
_ERROR = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Failed)): ?(.*)", re.DOTALL)
_COLLECTION = frozenset({"ImportError", "ModuleNotFoundError"})


@dataclass(frozen=True)
class Triage:
    """What went wrong. ``evidence`` are sentences and lines from outside, the telling one first. ``jobs`` are the names of all jobs that
    failed this way, ``others`` the other causes in the same run, each with its own jobs. ``started``: a test process was seen."""

    kind: Kind
    evidence: tuple[str, ...]
    failures: tuple[Failure, ...] = ()
    signature: str = ""
    jobs: tuple[str, ...] = ()
    source: Source = "none"
    started: bool = False
    fixer: Fixer | None = None
    others: tuple[Triage, ...] = ()

    @property
    def repairable(self) -> bool:
        """Whether a repair is worth trying: tests that fail, or a tool whose own fixer can be run here."""
        fixable = self.fixer is not None and self.fixer.runs_here
        return self.kind in ("test", "build", "type", "lint") and (bool(self.failures) or fixable)


def triage(run: FailedRun, policy: RepositoryPolicy) -> Triage:
    """One cause for the whole run, identical failures of several jobs merged, the most repairable first."""
    reported = _reported(run)
    jobs = [job for job in run.jobs if job.conclusion in _FAILED and not matches(job.name, policy.scope.never_fix)]
    if run.jobs and not jobs:
        return Triage("unknown", ("scope.never_fix names every failed job",), jobs=tuple(j.name for j in run.jobs))
    found = [_job(job, reported) for job in jobs] or [_without_jobs(run, reported)]
    return _merged([_classified(t, policy) for t in found])


def after_reproduction(triaged: Triage, status: str, reason: str) -> Triage:
    """The triage once the tests were repeated in the sandbox: flaky and pre-existing failures are known only now. ``status`` is a
    Reproduction's or an Outcome's; every word but these two leaves the class as it is."""
    kind: dict[str, Kind] = {"flaky": "flaky", "pre_existing": "pre_existing"}
    return replace(triaged, kind=kind.get(status, triaged.kind), evidence=(reason, *triaged.evidence))


# one job


def _job(job: Job, reported: Sequence[Failure]) -> Triage:
    reading = read_log(job.log)
    names = (job.name,)
    started = reading.started or (not job.log and bool(reported))
    if job.conclusion == "startup_failure":
        return Triage("config", ("GitHub could not start the job: the workflow file is wrong",), jobs=names, source="conclusion")
    failures, source = _failures(job, reading, reported)
    # A session that came to its end with failures is a test failure, whatever else the log holds; so says the report of a lost log.
    finished = bool(failures) and (source != "log" or any(s.complete and s.failures for step in reading.steps for s in step.sessions))
    sign = _sign(job, reading)
    if sign is not None and not finished:
        cause, line, source = sign
        return Triage(cause.kind, (cause.reason, line), failures, text_signature(cause.kind, [cause.reason]), names, source, started)
    if job.conclusion == "timed_out":
        return Triage("timeout", ("the job ran out of time",), failures, text_signature("timeout", []), names, "conclusion", started)
    if job.conclusion == "cancelled" and not finished:
        return Triage("infra", ("the job was cancelled",), failures, text_signature("infra", ["cancelled"]), names, "conclusion", started)
    if failures:
        return _tests(failures, source, names)
    return _tools(job, reading, names, started)


def _tests(failures: tuple[Failure, ...], source: Source, names: tuple[str, ...]) -> Triage:
    syntax = next((f for f in failures if f.exception.rsplit(".", 1)[-1] in _SYNTAX), None)
    if syntax is not None and all(f.exception in _SYNTAX | _COLLECTION for f in failures):
        frame = syntax.frames[-1] if syntax.frames else None
        where = f" at {frame.path}:{frame.line}" if frame else ""
        return Triage("build", (f"a file cannot be parsed{where}: {_first(syntax)}",), failures, signature(failures), names, source, True)
    count = f"{len(failures)} tests fail" if len(failures) > 1 else "one test fails"
    return Triage("test", (count, f"{failures[0].test_id}: {_first(failures[0])}"), failures, signature(failures), names, source, True)


def _tools(job: Job, reading: LogReading, names: tuple[str, ...], started: bool) -> Triage:
    """A job without failing tests: linters and type checkers, dependencies, configuration, builds."""
    for step in reading.failed_steps:
        outside = _telling(step)
        syntax = next((line for line in outside if SYNTAX.pattern.search(line)), None)
        tool = failed_tool(step.script, outside)
        if syntax is not None and (tool is None or tool[0].kind == "lint"):  # a fixer would refuse a file that it cannot parse
            return Triage("build", (SYNTAX.reason, _line(syntax)), (), text_signature("build", [syntax]), names, "log", started)
        if tool is not None:
            return _tool(tool[0], tool[1], step.script, outside, job)
        for sign in OTHERS:
            line = next((x for x in outside if sign.pattern.search(x)), None)
            if line is not None:
                return Triage(sign.kind, (sign.reason, _line(line)), (), text_signature(sign.kind, [line]), names, "log", started)
    told = [a for a in job.annotations if a.level == "failure" and not _EXIT_ONLY.match(a.message)]
    if told:
        where = f"{told[0].path}:{told[0].start_line}: {told[0].message}"
        return Triage("unknown", (_line(where),), (), text_signature("unknown", [a.message for a in told]), names, "annotations", started)
    steps = [s.name for s in job.steps if s.conclusion in _FAILED]
    said = "the tests that ran passed, and the job failed" if started else "no test process was seen"
    after = f" in the step {_line(steps[0])}" if steps else ""
    last = [_line(line) for step in reading.failed_steps[:1] for line in _telling(step) if line.strip()][-3:]
    source: Source = "log" if job.log else "none"
    return Triage("unknown", (f"{said}{after}", *last), (), text_signature("unknown", [*steps, *last]), names, source, started)


def _tool(tool: Tool, line: str, script: Sequence[str], lines: Sequence[str], job: Job) -> Triage:
    telling = [x for x in lines if tool.output.search(x)] or [line]
    evidence = (f"{tool.name} found something to mend", *(_line(x) for x in telling[:3]))
    return Triage(
        tool.kind, evidence, (), text_signature(tool.kind, [tool.name, *telling]), (job.name,), "log",
        fixer=fixer_of(tool, script, job.log))  # fmt: skip


def _telling(step: LogStep) -> list[str]:
    """What is searched for a cause: the end of the step, and of a long line its beginning, so that no log can hold the bot up."""
    return [line[:_TELLING_WIDTH] for line in step.outside[-_TELLING_LINES:]]


def _sign(job: Job, reading: LogReading) -> tuple[Sign, str, Source] | None:
    """A known infrastructure failure: first in GitHub's own annotations, then in what no test can have printed."""
    own = [a.message for a in job.annotations if a.level == "failure" and (a.path in ("", ".github") or a.path.startswith(".github/"))]
    outside = [line for step in reading.failed_steps for line in _telling(step)]
    for source, lines in (("annotations", own), ("log", outside)):
        for sign in (*TIMEOUT, *INFRASTRUCTURE):
            line = next((x for x in lines if sign.pattern.search(x)), None)
            if line is not None:
                return sign, _line(line), "annotations" if source == "annotations" else "log"
    return None


# failing tests, by trust


def _reported(run: FailedRun) -> tuple[Failure, ...]:
    return unique(f for report in run.reports for f in read_junit(report.content).failures)


def _failures(job: Job, reading: LogReading, reported: Sequence[Failure]) -> tuple[tuple[Failure, ...], Source]:
    """The job's failing tests. A report belongs to the run, not to a job: the log says which of its tests failed here."""
    logged = {canonical_id(f.test_id): f for f in reading.failures}
    by_id = {canonical_id(f.test_id): f for f in reported}
    if logged and reported:
        return unique(_both(f, by_id.get(name)) for name, f in logged.items()), "junit" if logged.keys() <= by_id.keys() else "log"
    if reported and (reading.started or not job.log):
        return tuple(reported), "junit"
    annotated = _annotated(job.annotations)
    if annotated and not logged:
        return annotated, "annotations"
    return reading.failures, "log"


def _both(logged: Failure, reported: Failure | None) -> Failure:
    """The log's id, which pytest can select, with what the report tells."""
    if reported is None:
        return logged
    named = _ERROR.match(reported.message)
    exception = reported.exception or (named.group(1) if named else logged.exception)
    message = (named.group(2) if named else reported.message) or logged.message
    return Failure(logged.test_id, exception, message, reported.frames or logged.frames, reported.text or logged.text)


def _annotated(annotations: Iterable[Annotation]) -> tuple[Failure, ...]:
    """Failures that a test plugin left as annotations on test files."""
    found = []
    for a in annotations:
        named = _ERROR.match(a.message)
        if a.level == "failure" and is_test_file(a.path) and (named or a.message.startswith(("assert ", "AssertionError"))):
            name = re.sub(r"^\S+\.py(?:::|: )", "", a.title) if a.title else ""
            test_id = f"{a.path}::{name.replace('.', '::')}" if re.fullmatch(r"[\w.:]+(?:\[.*\])?", name) else a.path
            exception, message = (named.group(1), named.group(2)) if named else ("AssertionError", a.message)
            found.append(Failure(test_id, exception, message, (Frame(a.path, a.start_line, ""),), a.message))
    return unique(found)


def _without_jobs(run: FailedRun, reported: tuple[Failure, ...]) -> Triage:
    if reported:
        return _tests(reported, "junit", ())
    if run.conclusion == "startup_failure":
        return Triage("config", ("GitHub could not start the run: the workflow file is wrong",), source="conclusion")
    if run.conclusion == "cancelled":
        return Triage("infra", ("the run was cancelled",), source="conclusion")
    return Triage("unknown", ("neither a failed job nor a report of the run can be read",))


# the whole run


def _classified(found: Triage, policy: RepositoryPolicy) -> Triage:
    """The repository's own classes, by the file of each failing test; tests it never wants worked on fall away."""
    never = policy.scope.never_fix
    failures = tuple(f for f in found.failures if not matches(f.test_id, never) and not matches(_file(f), never))
    if found.failures and not failures:
        return replace(found, kind="unknown", failures=(), evidence=("scope.never_fix names every failing test",))
    kinds = [next((kind for glob, kind in policy.classify.items() if matches(_file(f), (glob,))), None) for f in failures]
    plain = tuple(f for f, kind in zip(failures, kinds, strict=True) if kind is None)
    if failures and not plain:
        kind = Counter(k for k in kinds if k is not None).most_common(1)[0][0]
        return replace(found, kind=kind, failures=failures, evidence=(f"[classify] of the policy says {kind}", *found.evidence))
    if len(plain) == len(found.failures):
        return found
    return _tests(plain, found.source, found.jobs) if found.kind in ("test", "build") else replace(found, failures=plain)


def _merged(found: Sequence[Triage]) -> Triage:
    """Jobs that failed alike become one; of the causes that are left the first in order of use leads."""
    causes: dict[tuple[str, str], Triage] = {}
    for one in found:
        key = (one.kind, one.signature)
        known = causes.get(key)
        causes[key] = one if known is None else replace(known, jobs=(*known.jobs, *one.jobs))
    lead, *others = sorted(causes.values(), key=lambda t: (_FIRST.index(t.kind), -len(t.jobs)))
    return replace(lead, others=tuple(others))


def _file(failure: Failure) -> str:
    """The test's file: out of its id, or out of its outermost frame in a test file."""
    path = failure.test_id.partition("::")[0]
    if "/" in path or path.endswith(".py"):
        return path
    return next((f.path for f in failure.frames if is_test_file(f.path) and not f.path.startswith("/")), path.replace(".", "/"))


def _first(failure: Failure) -> str:
    message = (failure.message.strip().splitlines() or [""])[0]
    return _line(f"{failure.exception}: {message}".strip(": "))


def _line(text: str) -> str:
    return one_line(text.removeprefix("##[error]"), 200)

