"""Where ``ledex-train collect`` takes wrong code from, and what it must not touch: MBPP-style files, repositories with tests."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inference.model import Sampler
from inference.refinement import Effort
from sandbox.runner import Runner
from training import DataError
from training.benchmark import mbpp
from training.census import Census
from training.collect import Teacher, model_teacher, template_teacher
from training.contamination import Guarded, guard
from training.problems import Planted, planted_in_repository, planted_in_tasks
from training.recipe import CollectOptions
from training.recorded import recorded_in
from training.sampled import SolutionOptions, read_texts, sampled_in_tasks


def training_ids(ids: str) -> range:
    """Raises DataError for ids outside of those that are trained on."""
    match = re.fullmatch(r"(\d+)-(\d+)", ids)
    found = range(int(match[1]), int(match[2]) + 1) if match else range(0)
    allowed = mbpp.STATISTICS
    if not found or found.start < allowed.start or found.stop > allowed.stop:
        raise DataError(f"collect.ids {ids!r}: write FROM-TO inside {allowed.start}-{allowed.stop - 1}, the ids that are trained on")
    return found


def sources(
    runner: Runner, options: CollectOptions, problems: Path | None, repositories: Sequence[Path], licence: str,
    sampler: Sampler | None = None, recorded: Sequence[Path] = (), census: Census | None = None,
) -> Iterator[Planted]:  # fmt: skip
    """MBPP's training ids, or the tasks of ``problems`` (the same JSONL), then the repositories, then the failures of ``recorded``
    trajectories. Wrong code of the tasks is planted or, with ``sampler``, what that model writes and the tests refuse; in repositories it
    is planted. MBPP is left out where something else is named. Raises DataError."""
    for repository in repositories:
        if not repository.is_dir():
            raise DataError(f"there is no repository {repository}: name the folder of a checkout with tests")
    tasks = _tasks(problems) if problems is not None else [] if repositories or recorded else mbpp.read_tasks(training_ids(options.ids))
    texts = read_texts(problems or mbpp.DATA)
    planted: list[Iterable[Planted]] = []
    if sampler is not None:
        planted.append(sampled_in_tasks(runner, tasks, texts, sampler, SolutionOptions(seed=options.seed)))
    else:
        planted.append(planted_in_tasks(runner, tasks, options.seed, each=options.each, texts=texts))
    planted += [planted_in_repository(one, one.resolve().name, options.seed, licence, each=options.each) for one in repositories]
    planted.append(recorded_in(recorded, census or Census()))
    return itertools.chain.from_iterable(planted)


def _tasks(path: Path) -> list[mbpp.Task]:
    try:
        rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
        return mbpp.read_tasks([row["task_id"] for row in rows], path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no tasks as MBPP writes them (task_id, code, test_list, test_setup_code): {error}") from None


def evaluation_sets(named: Sequence[str]) -> Guarded:
    """MBPP's ids that figures are reported on or tuned by, and what ``named`` says: NAME=PATH of Python files in a folder, or of a
    (gzipped) JSONL file of tasks in HumanEval's form (prompt, canonical_solution) or MBPP's (code). No others ship. Raises DataError."""
    sets = {
        "MBPP 11-510": [task.program for task in mbpp.read_tasks(mbpp.REPORTED)],
        "MBPP 511-600": [task.program for task in mbpp.read_tasks(mbpp.TUNING)],
    }
    for one in named:
        name, _, path = one.partition("=")
        programs = _programs(Path(path)) if path else []
        if not programs:
            raise DataError(f"--guard {one}: write NAME=PATH, a folder of Python files or JSON lines with prompt and canonical_solution")
        sets[name] = programs
    return guard(sets)


def _programs(path: Path) -> list[str]:
    if path.is_dir():
        return [file.read_text(encoding="utf-8", errors="replace") for file in sorted(path.rglob("*.py"))]
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        return [str(row["code"] if "code" in row else row["prompt"] + row["canonical_solution"]) for row in rows]
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return []


def teacher_of(name: str, sampler: Sampler | None, options: CollectOptions, adapter: str | None = None) -> Teacher:
    """``templates``, or a model: a larger one, or the one in training itself."""
    if name == "templates" or sampler is None:
        return template_teacher
    return model_teacher(sampler, Effort(samples=options.samples, rounds=0, temperature=options.temperature), adapter)
