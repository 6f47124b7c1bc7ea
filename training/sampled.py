"""Wrong code as the paper gets it (section 2.1): a model samples solutions of a task, each is run on the tests, what fails one is kept."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inference.model import ModelRefused, Options, Sampler
from inference.trajectory import Message
from sandbox.runner import Runner
from training.benchmark.judging import execute, make_oracle
from training.benchmark.mbpp import DATA, Bug, Task
from training.benchmark.mutation import KINDS, Mutant
from training.problems import Planted, from_bug

SAMPLED = "sampled"
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_SECONDS = 600.0


@dataclass(frozen=True)
class SolutionOptions:
    """Of the paper: 20 solutions of a task at temperature 1."""

    samples: int = 20
    temperature: float = 1.0
    tokens: int = 512
    seed: int = 1


def read_texts(path: Path = DATA) -> dict[int, str]:
    """What each task of an MBPP-style file asks for, by its id."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {int(row["task_id"]): str(row["text"]) for row in rows if "text" in row}


def solution_prompt(text: str, task: Task) -> tuple[Message, ...]:
    """The task in words and the asserts that everybody may see."""
    shown = "\n".join(task.shown)
    return (Message("user", f"{text.strip()}\nYour code has to pass:\n{shown}\nAnswer with one Python code block."),)


def solution_in(answer: str) -> str:
    """The program of an answer: its first fenced block, or all of it."""
    found = _FENCE.search(answer)
    return (found[1] if found else answer).strip() + "\n"


def sampled_in_tasks(
    runner: Runner, tasks: Sequence[Task], texts: Mapping[int, str], sampler: Sampler, options: SolutionOptions = SolutionOptions(),
    licence: str = "CC-BY-4.0 (MBPP)",
) -> Iterator[Planted]:  # fmt: skip
    """Each different wrong solution, with the reference as the way back. What does not even import, hangs, or passes what is shown is no
    failing test and is left out. Raises ModelUnavailable; a task that the model refuses is passed over."""
    for task in tasks:
        oracle, _ = make_oracle(runner, task.program, task.asserts, options.seed)
        if oracle is None or task.id not in texts:
            continue
        wanted = Options(options.samples, options.temperature, max_tokens=options.tokens, seed=options.seed * 1_000_003 + task.id)
        try:
            answer = sampler.sample(solution_prompt(texts[task.id], task), wanted, time.monotonic() + _SECONDS)
        except ModelRefused:
            continue
        for program in dict.fromkeys(solution_in(one.text) for one in answer.completions):
            outcomes = execute(runner, program, [oracle.hidden, *task.shown], oracle.calls)
            shown = outcomes.asserts[1:]
            if outcomes.program[0] != "value" or any(one[0] in ("timeout", "dead") for one in shown):
                continue
            if all(outcomes.holds(place + 1) for place in range(len(task.shown))):
                continue
            digest = hashlib.sha256(program.encode()).hexdigest()[:12]
            bug = Bug(f"mbpp/{task.id}/{SAMPLED}/{digest}", task, Mutant(KINDS[0], SAMPLED, 1, program), oracle)
            yield replace(from_bug(runner, bug, licence), kind=SAMPLED, operator=answer.model, task=texts[task.id])
