"""Many programs in one sandbox run, for data and rewards that need thousands of executions; a process for each program.

What comes of them is what the benchmark's judge reports, and in addition what the two sides of a failing assert were. This is the quick
look: a fix that is to be reported as one goes through ``sandbox.verification.verify`` afterwards.
"""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training.benchmark import judging
from training.benchmark.isolation import run_python
from training.benchmark.judging import REFERENCE_SECONDS, Oracle, Outcome, Outcomes, choose_oracle, mutated_calls
from training.benchmark.mbpp import Task
from training.benchmark.mutation.source import parse

_SCRIPT = Path(__file__).with_name("_ledex_batch.py")
_JUDGE = Path(judging.__file__).with_name("_ledex_judge.py")
_AT_A_TIME = 200
"""Programs of one sandbox run."""


@dataclass(frozen=True)
class Job:
    """A program, asserts and calls to try. ``seconds``: processor time of a call; after ``timeouts`` of them the rest count as such."""

    program: str
    asserts: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    seconds: float = judging.SECONDS
    timeouts: int = 1


@dataclass(frozen=True)
class Seen:
    """What a program did. ``messages``: of each assert, as pytest words it: "" where it holds."""

    outcomes: Outcomes
    messages: tuple[str, ...]

    def passed(self) -> int:
        """Of its asserts."""
        return sum(self.outcomes.holds(index) for index in range(len(self.messages)))


def execute_many(runner: Runner, jobs: Sequence[Job], hash_seed: int = 0) -> Iterator[Seen]:
    """What each job's program did, in order. One that dies, hangs or takes 512 MiB fails everywhere."""
    for start in range(0, len(jobs), _AT_A_TIME):
        yield from _run(runner, jobs[start : start + _AT_A_TIME], hash_seed)


def _run(runner: Runner, jobs: Sequence[Job], hash_seed: int) -> Iterator[Seen]:
    sides = [[sides_of(text) for text in job.asserts] for job in jobs]
    programs = [
        {"program": job.program, "asserts": list(job.asserts), "sides": pairs, "calls": list(job.calls), "seconds": job.seconds,
         "timeouts": job.timeouts}
        for job, pairs in zip(jobs, sides, strict=True)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ledex-batch-") as folder:
        root = Path(folder, "tree")  # a folder of its own: the temporary one is closed to the sandbox's uid
        root.mkdir(mode=0o755)
        for script in (_SCRIPT, _JUDGE):
            shutil.copy(script, root / script.name)
        (root / "job.json").write_text(json.dumps({"judge": _JUDGE.name, "programs": programs}), encoding="utf-8")
        execution = run_python(
            runner, ["-I", "-X", "int_max_str_digits=0", "-W", "ignore", _SCRIPT.name, "job.json"], root,
            environment={"PYTHONHASHSEED": str(hash_seed)}, seconds=60 + 10.0 * len(jobs), memory_mib=1024)  # fmt: skip
    lines = execution.report.split(b"\n")
    for number, (job, pairs) in enumerate(zip(jobs, sides, strict=True)):
        yield _seen(job, pairs, lines[number] if number < len(lines) else b"")


def _seen(job: Job, sides: Sequence[list[str] | None], line: bytes) -> Seen:
    try:
        report = json.loads(line)
        outcomes = Outcomes(report["program"], tuple(report["asserts"]), tuple(report["calls"]))
        told = report["seen"]
    except (ValueError, KeyError, TypeError):
        dead: Outcome = ["dead", "died"]
        return Seen(Outcomes(dead, (dead,) * len(job.asserts), (dead,) * len(job.calls)), ("the program died",) * len(job.asserts))
    messages = [_message(job.program, *one) for one in zip(job.asserts, outcomes.asserts, sides, told, strict=True)]
    return Seen(outcomes, tuple(messages))


def _message(program: str, text: str, outcome: Outcome, sides: list[str] | None, seen: Any) -> str:
    """An assert's failure in the words of pytest, with the line that raised where one did."""
    if outcome[0] == "value":
        return ""
    match seen:
        case ["raised", str(raised), int(line)]:
            lines = program.split("\n")
            return f"{raised}\n> {lines[line - 1].strip()}" if 0 < line <= len(lines) else raised
        case ["sides", str(got), str(wanted)] if sides is not None:
            return f"assert {got} == {wanted}\n +  where {got} = {sides[0]}"
    if outcome[0] == "timeout" or seen == ["timeout"]:
        return "it does not end"
    return f"{outcome[1] if len(outcome) > 1 else outcome[0]}: {text}"


def sides_of(text: str) -> list[str] | None:
    """The two sides of ``assert left == right`` as source; of another assert its condition and True."""
    try:
        statement = parse(text).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(statement, ast.Assert):
        return None
    test = statement.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        return [ast.unparse(test.left), ast.unparse(test.comparators[0])]
    return [ast.unparse(test), "True"]


def make_oracles(runner: Runner, tasks: Sequence[Task], seed: int) -> dict[int, Oracle]:
    """The oracles of those tasks that can be judged, as ``judging.make_oracle`` makes them one by one, by id."""
    jobs = []
    for task in tasks:
        try:
            calls = mutated_calls(task.program, task.asserts, seed)
        except SyntaxError:
            calls = ()
        jobs.append(Job(task.program, task.asserts, calls, REFERENCE_SECONDS, 20))
    kept, first = [], []
    for job, seen in zip(jobs, execute_many(runner, jobs, hash_seed=1), strict=True):
        pairs = [(c, o) for c, o in zip(job.calls, seen.outcomes.calls, strict=True) if o[0] != "timeout"]
        kept.append(replace(job, calls=tuple(c for c, _ in pairs)))
        first.append(replace(seen.outcomes, calls=tuple(o for _, o in pairs)))
    found = {}
    for task, job, one, two in zip(tasks, kept, first, execute_many(runner, kept, hash_seed=2), strict=True):
        oracle, _ = choose_oracle(task.asserts, job.calls, one, two.outcomes)
        if oracle is not None:
            found[task.id] = oracle
    return found
