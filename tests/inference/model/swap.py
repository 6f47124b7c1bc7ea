"""A swap of adapters while dialogues are under way: the same for the scripted server and for a real vLLM."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from inference.adapters import Registry
from inference.attempt import Attempt
from inference.model import Answer, Options, Sampler
from inference.proposer import Search
from inference.refinement import Effort, ModelProposer
from inference.trajectory import Message, Round
from tests.inference.test_refinement import QUICK, Project


@dataclass
class Counting:
    """A Sampler that says when it has answered so many requests."""

    sampler: Sampler
    enough: int
    reached: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def context_tokens(self) -> int:
        return self.sampler.context_tokens

    def count_tokens(self, text: str) -> int:
        return self.sampler.count_tokens(text)

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        answer = self.sampler.sample(messages, options, deadline, adapter)
        with self.lock:
            self.answered += 1
            if self.answered >= self.enough:
                self.reached.set()
        return answer


def rounds_over_a_swap(
    project: Project, sampler: Sampler, registry: Registry, swap: Callable[[], None], failures: int, rounds: int, at_once: int = 4,
    seconds: float = 300.0,
) -> list[tuple[Round, ...]]:  # fmt: skip
    """``failures`` dialogues of ``rounds`` requests each, ``at_once`` at a time, by answers that no patch can be read from. ``swap`` is
    called after two fifths of the requests. What each dialogue left to be recorded."""
    counting = Counting(sampler, failures * rounds * 2 // 5)

    def repair(number: int) -> tuple[Round, ...]:
        search, started = Search(), time.monotonic()
        folder = project.folder / f"dialogue-{number}"
        folder.mkdir()
        effort = Effort(samples=1, rounds=rounds - 1, width=1, completion_tokens=16, gpu_seconds=seconds)
        model = ModelProposer(counting, effort, lambda: registry.choose(number, 0.0))
        Attempt(project.head, project.bench, (model,), QUICK, folder, lambda _: None, 1, search, started, started + seconds).one(
            project.reproduction, started + seconds)  # fmt: skip
        assert len(search.rounds) == rounds, search.notes
        return tuple(search.rounds)

    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(repair, number) for number in range(failures)]
        assert counting.reached.wait(seconds)
        swap()
        return [one.result() for one in running]


def recorded_versions(rounds: Sequence[Round]) -> set[str]:
    """The served names in what a trajectory keeps of these rounds, as it is written to its file."""
    from inference.trajectory import RecordedEnvironment, RecordedProblem, Trajectory, trajectory_json

    problem = RecordedProblem("octo/shop", None, "0" * 40, RecordedEnvironment("3.11"), "pytest")
    written = json.loads(json.dumps(trajectory_json(Trajectory("t", problem, tuple(rounds)))))
    return {f"{one['sampler']['adapter']}@{one['sampler']['adapter_hash']}" for one in written["rounds"]}
