"""Mutated MBPP: a task's solution with a planted bug as a small git repository, two asserts as its tests, the reference as its judge."""

from __future__ import annotations

import ast
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox.runner import Runner
from training.benchmark.checkout import commit_all
from training.benchmark.judging import Oracle, agrees, execute, make_oracle
from training.benchmark.mutation import KINDS, Kind, Mutant, mutants, quotas
from training.benchmark.mutation.source import parse

DATA = Path(__file__).with_name("data") / "mbpp.jsonl"
REPORTED = range(11, 511)
TUNING = range(511, 601)
STATISTICS = range(601, 975)
ATTEMPTS = 25
"""Mutants of one task and kind that are tried before the task is given to another kind."""
_TEST_NAMES = ("first", "second")


@dataclass(frozen=True)
class Task:
    """One MBPP task; line ends are normalized to LF. ``program`` is the set-up code (where there is any) and the reference solution."""

    id: int
    program: str
    asserts: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        return self.asserts[:-1]


@dataclass(frozen=True)
class Bug:
    """A task with a planted bug that counts: a shown assert fails, no shown assert hangs, and held-back behaviour differs."""

    id: str
    task: Task
    mutant: Mutant
    oracle: Oracle


@dataclass(frozen=True)
class Suite:
    """The bugs of one seed, and what was left out and why."""

    bugs: tuple[Bug, ...]
    skipped: dict[str, int]


def read_tasks(ids: Iterable[int], path: Path = DATA) -> list[Task]:
    """The tasks of these ids, in file order."""
    wanted = set(ids)
    tasks = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["task_id"] in wanted:
                parts = (row["test_setup_code"], row["code"])
                program = "\n\n".join(p.replace("\r\n", "\n").strip("\n").rstrip() for p in parts if p.strip()) + "\n"
                tasks.append(Task(row["task_id"], program, tuple(a.replace("\r\n", "\n").strip() for a in row["test_list"])))
    return tasks


def make_suite(
    runner: Runner, tasks: list[Task], count: int, seed: int, jobs: int = 1, on_bug: Callable[[Bug], None] = lambda bug: None
) -> Suite:
    """``count`` bugs in the fixed mix of kinds, the same for the same seed. Each task is used once, and again only when all were."""
    rng = random.Random(f"suite/{seed}")
    order = list(tasks)
    rng.shuffle(order)
    wanted = [kind for kind, number in quotas(count).items() for _ in range(number)]
    rng.shuffle(wanted)
    # Rare sites first: a task with a guard must not be spent on a kind that every task offers.
    wanted.sort(key=lambda kind: kind != "guard")
    likely = order[: count + count // 5]
    with ThreadPoolExecutor(jobs) as pool:
        judged = list(pool.map(lambda task: make_oracle(runner, task.program, task.asserts, seed), likely))
    oracles = dict(zip((task.id for task in likely), judged, strict=True))
    skipped: Counter[str] = Counter()
    used: Counter[int] = Counter()
    texts: set[str] = set()
    barren: set[tuple[int, str]] = set()
    bugs: list[Bug] = []
    for kind in wanted:
        bug = None
        for task in sorted(order, key=lambda t: used[t.id]):
            if (task.id, kind) in barren:
                continue
            if task.id not in oracles:
                oracles[task.id] = make_oracle(runner, task.program, task.asserts, seed)
            oracle, _ = oracles[task.id]
            bug = plant(runner, task, oracle, kind, seed, texts, skipped) if oracle else None
            if bug:
                break
            barren.add((task.id, kind))
        if bug is None:
            skipped[f"no bug of kind {kind} to be had"] += 1
            continue
        used[bug.task.id] += 1
        texts.add(bug.mutant.text)
        bugs.append(bug)
        on_bug(bug)
    skipped.update(f"task: {reason}" for _, reason in oracles.values() if reason)
    return Suite(tuple(sorted(bugs, key=lambda b: (KINDS.index(b.mutant.kind), b.task.id))), dict(+skipped))


def plant(runner: Runner, task: Task, oracle: Oracle, kind: Kind, seed: int, taken: set[str], skipped: Counter[str]) -> Bug | None:
    """The first mutant of a kind that counts, or None."""
    for attempt, mutant in enumerate(mutants(task.program, kind, seed * 100_003 + task.id)):
        if attempt >= ATTEMPTS:
            break
        if mutant.text in taken:
            continue
        outcomes = execute(runner, mutant.text, [oracle.hidden, *task.shown], oracle.calls)
        if outcomes.program[0] != "value":
            skipped["mutant: does not import"] += 1
        elif all(outcomes.holds(i + 1) for i in range(len(task.shown))):
            skipped["mutant: no shown assert fails"] += 1
        elif any(o[0] in ("timeout", "dead") for o in outcomes.asserts[1:]):
            # A test run that hangs is not a failing test; it is another product's problem.
            skipped["mutant: hangs"] += 1
        elif agrees(oracle, outcomes):
            skipped["mutant: same on held-back inputs"] += 1
        else:
            return Bug(f"mbpp/{task.id}/{kind}/{attempt}", task, mutant, oracle)
    return None


def test_module(task: Task) -> str:
    """The shown asserts as separate test functions that import from solution what they use."""
    bound = _bound_names(parse(task.program))
    used = {n.id for text in task.shown for n in ast.walk(parse(text)) if isinstance(n, ast.Name)}
    names = ", ".join(sorted(bound & used))
    tests = [f"def test_{name}():\n    {text}\n" for name, text in zip(_TEST_NAMES, task.shown, strict=False)]
    return f"from solution import {names}\n\n\n" + "\n\n".join(tests)


def lay_out(bug: Bug, folder: Path) -> Path:
    """A git repository of one commit in ``folder`` (made): solution.py with the bug, and test_solution.py."""
    folder.mkdir(parents=True)
    (folder / "solution.py").write_text(bug.mutant.text, encoding="utf-8")
    (folder / "test_solution.py").write_text(test_module(bug.task), encoding="utf-8")
    commit_all(folder)
    return folder


def save(suite: Suite, path: Path, header: dict[str, object]) -> None:
    """Writes a suite so that an interrupted run starts again without making it anew."""
    lines = [{**header, "skipped": suite.skipped}, *(asdict(bug) for bug in suite.bugs)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def load(path: Path, header: dict[str, object]) -> Suite | None:
    """The saved suite, or None where there is none of this header."""
    if not path.exists():
        return None
    first, *rest = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    skipped = first.pop("skipped")
    if first != header:
        return None
    bugs = []
    for row in rest:
        task = Task(row["task"]["id"], row["task"]["program"], tuple(row["task"]["asserts"]))
        oracle = Oracle(row["oracle"]["hidden"], tuple(row["oracle"]["calls"]), tuple(row["oracle"]["expected"]))
        bugs.append(Bug(row["id"], task, Mutant(**row["mutant"]), oracle))
    return Suite(tuple(bugs), skipped)


def _bound_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return names
