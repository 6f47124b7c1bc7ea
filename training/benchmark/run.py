"""Run a benchmark: every task through the repair, its verdict, one JSON line per result; an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sandbox.runner import Runner
from training.benchmark import judging, mbpp, real_bugs
from training.benchmark.attempt import Attempt, Repair, RepairJob, attempt, never_searched, was_withheld
from training.benchmark.checkout import apply_patch

JUDGED = 5
"""Proposals of one task that are held against the reference, best first."""
RANKED = 8
"""Behaviours of one search that are held against the reference, best first."""
GRACE = 120.0
"""Seconds past set-up, reproduction and budget after which a repair counts as hung."""


@dataclass(frozen=True)
class Result:
    """What came of one task. Holds no code: results on held-back tasks may be read by anyone.

    ``right`` is the judge's word on the first proposal (None where nothing judges), ``right_rank`` the position of the first right
    proposal (1-based), ``first_right`` the judge's word on the first one whether it was shown or withheld, ``place`` whether the
    first proposal changes only functions that the true fix changes, ``miss`` "" if fixed.
    """

    id: str
    suite: str
    kind: str
    operator: str = ""
    fixed: bool = False
    right: bool | None = None
    right_rank: int | None = None
    first_right: bool | None = None
    place: bool | None = None
    level: str = ""
    status: str = ""
    miss: str = ""
    detail: str = ""
    proposals: int = 0
    signals: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the first proposal: origin, template, level, and the numbers of ``inference.confidence``."""
    ranked: Sequence[Sequence[Mapping[str, Any]]] = ()
    """Of each search, best first, one of each behaviour that passed the shown tests: its template, its signals, whether it is right."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """What was asked of a model: the outcome's own figures, empty where none was asked."""
    candidates: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Work:
    """One task: ``run`` does it, and raises attempt.Interrupted once the event that it is given is set."""

    id: str
    run: Callable[[threading.Event], Result]


def read_results(path: Path) -> list[Result]:
    """The results of a run so far; a last line that a crash cut off is left out, and later runs of a task win."""
    results: dict[str, Result] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                result = Result(**json.loads(line))
            except (ValueError, TypeError):
                continue
            results[result.id] = result
    return list(results.values())


def run_all(work: Iterable[Work], path: Path, jobs: int, console: Console, title: str) -> list[Result]:
    """Does what ``path`` does not hold yet, ``jobs`` at a time, appends each result as it comes, and returns all results of ``work``."""
    tasks = list(work)
    done = {r.id: r for r in read_results(path)}
    todo = [task for task in tasks if task.id not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    stop = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[fixed]} fixed"),
    )
    pool = ThreadPoolExecutor(jobs)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            fixed = sum(done[t.id].fixed for t in tasks if t.id in done)
            bar = progress.add_task(title, total=len(tasks), completed=len(tasks) - len(todo), fixed=fixed)
            futures: list[Future[Result]] = [pool.submit(task.run, stop) for task in todo]
            for future in as_completed(futures):
                result = future.result()
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(result)) + "\n")
                done[result.id] = result
                fixed += result.fixed
                progress.update(bar, advance=1, fixed=fixed)
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [done[task.id] for task in tasks]


def mbpp_work(
    bugs: Iterable[mbpp.Bug], runner: Runner, repair: Repair, budget: float, engine: str, inference: Mapping[str, Any] | None = None
) -> list[Work]:
    """``inference``: settings of the engine in the place of this process's own."""
    return [Work(bug.id, partial(run_mbpp, bug, runner, repair, budget, engine, inference=inference or {})) for bug in bugs]


def run_mbpp(
    bug: mbpp.Bug, runner: Runner, repair: Repair, budget: float, engine: str, stop: threading.Event, *,
    inference: Mapping[str, Any] | None = None,
) -> Result:  # fmt: skip
    """Repairs one mutant and judges what came of it."""
    with tempfile.TemporaryDirectory(prefix="ledex-bench-") as scratch:
        repository = mbpp.lay_out(bug, Path(scratch, "task"))
        job = RepairJob(repository, python=Path(sys.executable), budget=budget, setup_timeout=120.0, engine=engine,
                        inference=inference or {})  # fmt: skip
        tried = attempt(repair, job, budget + job.setup_timeout + GRACE, stop)
        proposals = _proposals(tried)[:JUDGED]
        judge = _Judge(bug, runner, repository, Path(scratch))
        judged = [judge(p["patch"]) for p in proposals]
        ranked = [[{"template": p["template"], "signals": p["signals"], "right": judge(p["patch"])[1]} for p in one[:RANKED]]
                  for one in (tried.outcome or {}).get("ranked", ())]  # fmt: skip
    passes = bool(judged) and judged[0][0]
    fixed = _status(tried) == "fixed" and passes
    rank = next((i + 1 for i, (_, right) in enumerate(judged) if right), None)
    detail = "" if fixed or _status(tried) != "fixed" else "the shown asserts do not pass with the patch"
    return _result(
        tried, bug.id, "mbpp", bug.mutant.kind, operator=bug.mutant.operator, fixed=fixed, right=fixed and rank == 1,
        right_rank=rank if fixed else None, first_right=judged[0][1] if judged else None, ranked=ranked,
        miss="" if fixed else mbpp_miss(bug.mutant.kind, tried.outcome), detail=detail,
    )  # fmt: skip


def mbpp_miss(kind: str, outcome: Mapping[str, Any] | None) -> str:
    """Why a mutant was not fixed, by the same rules as ``real_bugs.miss_reason``; a deleted guard or statement is missing logic."""
    if outcome is None or never_searched(outcome):
        return "environment"
    if was_withheld(outcome):
        return "withheld"
    if kind == "two_places":
        return "several places"
    if kind in ("guard", "statement"):
        return "missing logic"
    return "edit not generated" if outcome.get("candidates", {}).get("exhausted") else "too slow"


def real_work(
    bugs: Iterable[real_bugs.RealBug], runner: Runner, repair: Repair, budget: float, engine: str, work: Path, mirrors: Path | None
) -> list[Work]:
    return [Work(bug.id, partial(run_real, bug, runner, repair, budget, engine, work, mirrors)) for bug in bugs]


def run_real(
    bug: real_bugs.RealBug, runner: Runner, repair: Repair, budget: float, engine: str, work: Path, mirrors: Path | None,
    stop: threading.Event, *, build: Callable[[real_bugs.RealBug, Path], Path] = real_bugs.build_environment,
) -> Result:  # fmt: skip
    """Lays out one real bug, repairs it, and runs the project's tests with the first proposal; ``build`` gives the interpreter."""
    try:
        with _ENVIRONMENTS:
            git_dir = real_bugs.find_mirror(bug.repository, mirrors, work)
            python = build(bug, work)
        with tempfile.TemporaryDirectory(prefix="ledex-bench-") as scratch:
            repository = real_bugs.materialize(bug, git_dir, Path(scratch, bug.repository.split("/")[1]))
            true = real_bugs.true_places(bug, git_dir)
            job = RepairJob(repository, bug.test, python, budget, engine=engine, environment=bug.environment)
            tried = attempt(repair, job, budget + job.setup_timeout + GRACE, stop)
            proposals = _proposals(tried)
            fixed, detail, place = False, "", None
            if proposals:
                fixed, detail = real_bugs.verdict(runner, bug, repository, python, proposals[0]["patch"])
                changed = real_bugs.patch_places(repository, proposals[0]["patch"])
                place = bool(changed) and changed <= true
    except real_bugs.MaterializeError as error:
        return Result(bug.id, "real", bug.kind, miss="environment", status="not laid out", detail=str(error))
    fixed = fixed and _status(tried) == "fixed"
    miss = "" if fixed else real_bugs.miss_reason(bug, tried.outcome, true)
    return _result(tried, bug.id, "real", bug.kind, operator=bug.edit, fixed=fixed, place=place, miss=miss, detail=detail)


def load_or_make_suite(
    runner: Runner, tasks: list[mbpp.Task], ids: str, count: int, seed: int, jobs: int, out: Path, console: Console
) -> mbpp.Suite:
    """The suite of these parameters: saved under ``out`` by an earlier run, or made (minutes for hundreds of tasks)."""
    header: dict[str, object] = {"ids": ids, "tasks": count, "seed": seed}
    path = out / f"suite-{ids}-{count}-{seed}.jsonl"
    suite = mbpp.load(path, header)
    if suite is None:
        with Progress(*Progress.get_default_columns(), console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("planting bugs", total=count)
            suite = mbpp.make_suite(runner, tasks, count, seed, jobs, lambda bug: progress.advance(bar))
        mbpp.save(suite, path, header)
    return suite


_ENVIRONMENTS = threading.Lock()  # two tasks of one repository must not clone or build the same thing at once


class _Judge:
    """(passes the shown asserts, is right) of patches of one bug, each judged once."""

    def __init__(self, bug: mbpp.Bug, runner: Runner, repository: Path, scratch: Path) -> None:
        self.bug, self.runner, self.repository, self.scratch = bug, runner, repository, scratch
        self.known: dict[str, tuple[bool, bool]] = {}

    def __call__(self, patch: str) -> tuple[bool, bool]:
        if patch not in self.known:
            self.known[patch] = self._judged(patch, self.scratch / f"patched{len(self.known)}")
        return self.known[patch]

    def _judged(self, patch: str, patched: Path) -> tuple[bool, bool]:
        shutil.copytree(self.repository, patched)
        if not apply_patch(patched, patch):
            return False, False
        program = (patched / "solution.py").read_text(encoding="utf-8")
        asserts = [self.bug.oracle.hidden, *self.bug.task.shown]
        outcomes = judging.execute(self.runner, program, asserts, self.bug.oracle.calls)
        passes = all(outcomes.holds(i + 1) for i in range(len(self.bug.task.shown)))
        return passes, passes and judging.agrees(self.bug.oracle, outcomes)


def _proposals(tried: Attempt) -> list[dict[str, Any]]:
    """The accepted proposals, best first; what the verification refused is no proposal to a user."""
    proposed = tried.outcome.get("proposals", ()) if tried.outcome else ()
    return [p for p in proposed if p.get("verdict") and not p["verdict"].get("refused_by")]


def _status(tried: Attempt) -> str:
    return str(tried.outcome.get("status", "")) if tried.outcome else "crashed"


def _signals(proposal: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("origin", "template", "prior")
    return {**proposal.get("signals", {}), "level": proposal["verdict"].get("level"), **{name: proposal.get(name) for name in kept}}


def _result(tried: Attempt, id_: str, suite: str, kind: str, **facts: Any) -> Result:
    outcome = tried.outcome or {}
    proposals = _proposals(tried)
    facts["detail"] = facts.get("detail") or tried.error or str(outcome.get("reason", ""))
    level = str(proposals[0]["verdict"].get("level") or "") if proposals else ""
    return Result(
        id_, suite, kind, level=level, signals=_signals(proposals[0]) if proposals else {}, status=_status(tried),
        proposals=len(proposals), model=outcome.get("model") or {}, candidates=outcome.get("candidates", {}),
        timings=outcome.get("timings", {}), seconds=round(tried.seconds, 3), peak_memory_bytes=tried.peak_memory_bytes, **facts,
    )  # fmt: skip
