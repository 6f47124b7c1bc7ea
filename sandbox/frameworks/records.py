"""Records of ``_ledex_run.py`` -> TestReport and Coverage. Pure; whatever a hostile child sends, this answers with a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.report import Failure, Frame, Outcome, TestReport

_OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


@dataclass(frozen=True)
class Coverage:
    """Which lines each test ran: ``lines[path][test id]`` are 1-based line numbers of files that a failing test ran."""

    lines: Mapping[str, Mapping[str, frozenset[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Records:
    """What one run sent. ``collected`` is None when collection never finished; ``status`` is the runner's own, None without an end."""

    report: TestReport
    collected: tuple[str, ...] | None
    status: int | None
    coverage: Coverage


def read_records(data: bytes, seconds: float) -> Records:
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    errors: list[Failure] = []
    collected: tuple[str, ...] | None = None
    status: int | None = None
    raw_coverage: dict[str, dict[str, Any]] = {}
    contexts: list[str] = []
    for line in data.split(b"\n"):
        record = _parse(line)
        kind = record.get("kind")
        if kind == "collected":
            collected = tuple(str(i) for i in _list(record.get("ids")))
        elif kind == "result" and record.get("outcome") in _OUTCOMES:
            test_id = str(record.get("id"))
            # A second word about the same test cannot turn a failure into a pass.
            if outcomes.get(test_id) in ("failed", "error"):
                continue
            outcomes[test_id] = record["outcome"]
            if record["outcome"] in ("failed", "error"):
                failures.append(_failure(test_id, record))
        elif kind == "collection_error":
            errors.append(_failure(str(record.get("id")), record))
        elif kind == "coverage" and isinstance(record.get("lines"), dict):
            raw_coverage[str(record.get("path"))] = record["lines"]
        elif kind == "contexts":
            contexts = [str(t) for t in _list(record.get("tests"))]
        elif kind == "end":
            status = record.get("status") if isinstance(record.get("status"), int) else None
    report = TestReport(outcomes, tuple(failures), tuple(errors), complete=status is not None, seconds=seconds)
    return Records(report, collected, status, _coverage(raw_coverage, contexts))


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line) if line else {}
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _failure(test_id: str, record: dict[str, Any]) -> Failure:
    frames = tuple(
        Frame(str(f[0]), f[1] if isinstance(f[1], int) else 0, str(f[2]))
        for f in _list(record.get("frames"))
        if isinstance(f, list) and len(f) == 3
    )
    return Failure(test_id, str(record.get("exception", "")), str(record.get("message", "")), frames, str(record.get("text", "")))


def _coverage(raw: dict[str, dict[str, Any]], contexts: list[str]) -> Coverage:
    lines: dict[str, dict[str, frozenset[int]]] = {}
    for path, tests in raw.items():
        for number, ran in tests.items():
            if number.isdecimal() and len(number) < 9 and int(number) < len(contexts) and isinstance(ran, list):
                lines.setdefault(path, {})[contexts[int(number)]] = frozenset(n for n in ran if isinstance(n, int))
    return Coverage(lines)
