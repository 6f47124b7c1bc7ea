"""The bugs that the small model is measured on: planted in problems that nothing was learned from, made once, kept in a file."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training import DataError
from training.benchmark.judging import Oracle
from training.benchmark.mbpp import REPORTED, STATISTICS, Bug, Task, read_tasks
from training.benchmark.mutation import Mutant
from training.corpus_bugs import Refused, from_json, plant_measured, to_json
from training.corpus_dialogue import Planted
from training.corpus_execution import make_oracles
from training.pretrain_recipe import MeasuredOptions, SmallRecipe
from training.result_stages import write_rows

Tell = Callable[[str], None]


def measured_bugs(recipe: SmallRecipe, runner: Runner, file: Path, tell: Tell) -> list[tuple[Bug, Planted]]:
    """The bugs to measure on, made once into ``file``. Raises DataError for ids that are learned from, or reported ids with a seed for
    developing."""
    if file.exists():
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [(_bug(row["bug"]), planted) for row, planted in zip(rows, from_json(row["planted"] for row in rows), strict=True)]
    options = recipe.measured
    ids = _measured_ids(options)
    tasks = [task for task in read_tasks(ids) if len(task.program) <= options.longest]
    oracles = make_oracles(runner, tasks, options.seed)
    refused = Refused()
    found: dict[str, tuple[Bug, Planted]] = {}
    for number in range(options.each):
        for bug, planted in plant_measured(runner, tasks, oracles, recipe.corpus.kinds, options.seed + number, refused):
            name = bug.id.rpartition("/")[0] + f"/{number}"
            found.setdefault(bug.mutant.text, (replace(bug, id=name), replace(planted, id=name)))
    chosen = random.Random(options.seed).sample(list(found.values()), min(options.bugs, len(found)))
    chosen.sort(key=lambda pair: pair[0].task.id)
    tell(f"{len(chosen)} bugs to measure on; of {len(ids)} ids {len(tasks)} are short enough, {len(oracles)} can be judged")
    write_rows(file, [{"bug": asdict(bug), "planted": to_json(planted)} for bug, planted in chosen])
    return chosen


def _measured_ids(options: MeasuredOptions) -> range:
    first, _, last = options.ids.partition("-")
    try:
        ids = range(int(first), int(last or first) + 1)
    except ValueError:
        raise DataError(f"measured.ids is {options.ids}: write FROM-TO") from None
    if set(ids) & set(STATISTICS):
        raise DataError(f"the ids {options.ids} reach into 601-974, which are learned from")
    if set(ids) & set(REPORTED) and options.seed < 1000:
        raise DataError("MBPP 11-510 are for reported figures: give a seed from 1000 on, or measure on 511-600")
    return ids


def _bug(row: Mapping[str, Any]) -> Bug:
    task = Task(row["task"]["id"], row["task"]["program"], tuple(row["task"]["asserts"]))
    oracle = Oracle(row["oracle"]["hidden"], tuple(row["oracle"]["calls"]), tuple(row["oracle"]["expected"]))
    return Bug(row["id"], task, Mutant(**row["mutant"]), oracle)
