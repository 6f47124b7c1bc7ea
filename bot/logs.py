"""The log of a CI job -> its steps, its test sessions and their failures; and the signature that tells one cause from another. Pure.

Log text is the least trusted of the sources (``bot.triage`` prefers JUnit XML and annotations), and every character of it may be chosen by
the pull request: it decides what is looked at, never what is said to be verified.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bot.failure_text import Session, unique
from bot.markdown import strip_ansi
from bot.sessions import read_sessions
from sandbox.report import Failure

_STAMP = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ?")
_EXIT = re.compile(r"^##\[error\](?:Process completed with exit code (\d+)|The process '.*' failed with exit code (\d+))")
_RUN = re.compile(r"^##\[group\]Run (.*)$")
_OTHER_FRAMEWORKS = re.compile(
    r"^(?:Test Suites: +\d|Tests: +\d+ (?:failed|passed)|--- FAIL: |ok  \t|FAIL\t|running \d+ tests?$|test result: |# tests \d+$"
    r"|\[INFO\]  T E S T S)"
)
_OWN_WORDS = ("##[error]", "FAIL Required test coverage", "ERROR: Coverage failure")
_MAX_LINES = 200_000
_MAX_WIDTH = 2000
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][\w.@+~-]+){2,}[\\/]?|\b[\w.-]+(?:[\\/][\w.-]+)+")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_HEX = re.compile(r"\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,}){0,4}\b")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?\s?(?:ms|us|µs|ns|s|seconds?|minutes?|[kMG]i?B)?\b")
_FIXTURE = re.compile(r'^failed on (?:setup|teardown) with "(.*?)"?$', re.DOTALL)
_NAMED = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception|Failed|Exit|Timeout|Warning))(?::\s*|$)")


@dataclass(frozen=True)
class LogStep:
    """A step of a job as its log shows it. ``script`` are the lines of the command, ``lines`` what came out, ``failed`` whether it ended
    the job. A log without step marks is one failed step with an empty script."""

    script: tuple[str, ...]
    lines: tuple[str, ...]
    exit_code: int | None
    failed: bool
    sessions: tuple[Session, ...] = ()

    @property
    def started(self) -> bool:
        """Whether a test process was seen to run."""
        return bool(self.sessions) or any(_OTHER_FRAMEWORKS.match(line) for line in self.lines)

    @property
    def complete(self) -> bool:
        """Whether every test session said how it ended."""
        return all(s.complete for s in self.sessions)

    @property
    def outside(self) -> tuple[str, ...]:
        """Lines that no test is likely to have printed: those around the finished sessions, and in them the words of the runner and of the
        coverage threshold. (A test can print these too; so a session that ended with failing tests counts before any such line.)"""
        if not self.started:
            return self.lines
        end = self.sessions[-1].end if self.sessions and self.complete else len(self.lines)
        # What stands before a session may be printed by it too: pytest -q and unittest have no first line.
        first = self.sessions[0].start if self.sessions and "test session starts" in self.lines[self.sessions[0].start] else 0
        own = (line for line in self.lines[first:end] if line.startswith(_OWN_WORDS))
        return (*self.lines[:first], *own, *self.lines[end:])


@dataclass(frozen=True)
class LogReading:
    """``failures`` of every session, each test once."""

    steps: tuple[LogStep, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def failed_steps(self) -> tuple[LogStep, ...]:
        return tuple(s for s in self.steps if s.failed)

    @property
    def started(self) -> bool:
        return any(s.started for s in self.steps)

    @property
    def complete(self) -> bool:
        return all(s.complete for s in self.steps)


def read_log(text: str) -> LogReading:
    """Read a job's log. Never raises: what cannot be told apart is left out."""
    steps = tuple(replace(step, sessions=read_sessions(step.lines)) for step in split_steps(clean_lines(text)))
    return LogReading(steps, unique(f for step in steps for session in step.sessions for f in session.failures))


def clean_lines(text: str) -> list[str]:
    """Lines without GitHub's time stamps and terminal codes, at most 2000 characters of each; of a line that was drawn over, what stood
    there last. Of a log with more than 200,000 lines the last count: there it says what failed."""
    lines = []
    for raw in text.rsplit("\n", _MAX_LINES)[-_MAX_LINES:]:
        line = strip_ansi(_STAMP.sub("", raw[: 4 * _MAX_WIDTH].rstrip("\r")))
        lines.append(line.rsplit("\r", 1)[-1].rstrip()[:_MAX_WIDTH])
    return lines


def split_steps(lines: Sequence[str]) -> list[LogStep]:
    """The steps between GitHub's ``##[group]Run`` marks; whatever comes before the first is a step too."""
    steps: list[LogStep] = []
    script: list[str] = []
    output: list[str] = []
    exit_code: int | None = None
    in_script = False

    def close() -> None:
        if script or any(output):
            steps.append(LogStep(tuple(script), tuple(output), exit_code, exit_code not in (None, 0)))

    for line in lines:
        if run := _RUN.match(line):
            close()
            script, output, exit_code, in_script = [run.group(1)], [], None, True
        elif in_script and line == "##[endgroup]":
            in_script = False
        elif in_script:
            script.append(line)
        else:
            if left := _EXIT.match(line):
                exit_code = int(left.group(1) or left.group(2))
            if not line.startswith(("##[group]", "##[endgroup]")):
                output.append(line)
    close()
    return _blamed(steps)


def _blamed(steps: list[LogStep]) -> list[LogStep]:
    """Where no step tells its exit status, the ones with errors failed; else the last, since the job did."""
    if any(s.failed for s in steps) or not steps:
        return steps
    errors = [any(line.startswith("##[error]") for line in s.lines) for s in steps]
    return [replace(s, failed=e or (not any(errors) and s is steps[-1])) for s, e in zip(steps, errors, strict=True)]


def signature(failures: Iterable[Failure]) -> str:
    """Sixteen hex digits that are the same for the same failures, whatever the machine, the order and the run; "" without failures."""
    parts = sorted({f"{canonical_id(f.test_id)}\0{_exception(f)[0].rsplit('.', 1)[-1]}\0{normalised(_exception(f)[1])}" for f in failures})
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()[:16] if parts else ""


def text_signature(kind: str, lines: Iterable[str]) -> str:
    """The signature of a failure that has no tests: its class and its telling lines."""
    return hashlib.sha256("\n".join([kind, *sorted({normalised(line) for line in lines})]).encode("utf-8", "replace")).hexdigest()[:16]


def canonical_id(test_id: str) -> str:
    """One spelling of a test's id for pytest's, unittest's and JUnit's: ``tests.test_a.TestA.test_x[param]``."""
    head, bracket, parameters = test_id.partition("[")
    head = re.sub(r"\.py(?=::|$)", "", head.replace("\\", "/")).replace("::", ".").replace("/", ".")
    return _ADDRESS.sub("<address>", head.lstrip(".") + bracket + parameters)


def normalised(message: str) -> str:
    """The first line, at most 500 characters of it, without what changes from run to run: numbers, addresses, hashes, paths, times."""
    lines = message.strip().splitlines()
    line = lines[0][:500] if lines else ""
    line = _ADDRESS.sub("<address>", line)
    line = _PATH.sub("<path>", line)
    line = _HEX.sub("<hash>", line)
    line = _NUMBER.sub("<number>", line)
    return " ".join(line.split()).removesuffix("...").strip()[:200]


def _exception(failure: Failure) -> tuple[str, str]:
    """Exception and message; JUnit XML of pytest has both in the message."""
    message = failure.message.strip()
    if fixture := _FIXTURE.match(message):
        message = fixture.group(1)
    named = _NAMED.match(message)
    name = failure.exception or (named.group(1) if named else "AssertionError" if message.startswith("assert ") else "")
    return name, message[named.end() :] if named and named.group(1).rsplit(".")[-1] == name.rsplit(".")[-1] else message
