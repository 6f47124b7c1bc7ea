"""On-policy rollouts for PPO: each step the policy, as it is, attempts planted bugs as production would, over several refinement rounds.

The weights of a step are published under a name of their own in a registry of the run, and asked for by it: from a sampler in this process,
from a vLLM that loads them while it runs, or by rollout workers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from inference.adapters import Registry
from inference.patch import unified_diff
from inference.refinement import Effort
from inference.trajectory import Trajectory
from sandbox.report import Failure
from training import DataError
from training.benchmark.mbpp import Bug
from training.census import Census
from training.encoder import Encoder
from training.policy import Policy
from training.ppo import Batches
from training.recipe import Recipe
from training.references import code_after, group_of
from training.reward import Verified
from training.rewarded import Rollout, rollouts_of
from training.tasks import Attempt, Order
from training.teaching import explain_edit, known_edit
from training.tokens import Tokens

ROLLING = "rolling"
"""Name of the policy's weights in the run's registry."""
_KEPT = 2
SOLUTION = "solution.py"
Attempts = Callable[[Sequence[Order]], Iterator[tuple[int, Trajectory | str]]]
"""All orders, here or by workers: each one's place and what came of it."""


def in_threads(attempt: Attempt, jobs: int) -> Attempts:
    """In this process, ``jobs`` sandboxes at a time."""

    def attempts(orders: Sequence[Order]) -> Iterator[tuple[int, Trajectory | str]]:
        with ThreadPoolExecutor(jobs) as pool:
            yield from enumerate(pool.map(attempt, orders))

    return attempts


def online_batches(
    policy: Policy, bugs: Sequence[Bug], attempts: Attempts, tokens: Tokens, encoder: Encoder, recipe: Recipe, registry: Registry,
    scratch: Path, references: Mapping[str, Verified], say: Callable[[str], None] = lambda text: None,
) -> Batches:  # fmt: skip
    """Rollouts of ``policy`` on ``bugs``, each in its turn. ``references``: verified fixes from collected data, beside the bugs' own way
    back. The same step of the same policy gives the same rollouts where the sampler is in this process.

    Raises DataError for no bugs, or a policy that is no adapter.
    """
    options = recipe.rollouts
    if not bugs:
        raise DataError("there are no bugs to attempt: rollouts.source = \"online\" needs planted ones")
    if not policy.is_adapter:
        raise DataError("rollouts of all weights cannot be had from a running sampler: set sft.lora_rank, or rollouts.source = \"offline\"")

    def batch(step: int) -> list[Rollout]:
        policy.save(scratch)
        card = registry.publish(scratch, ROLLING, recipe.base_model)
        _forget(registry, card.version)
        chosen = [bugs[(step * options.bugs + place) % len(bugs)] for place in range(options.bugs)]
        effort = Effort(samples=options.samples, rounds=options.rounds, temperature=options.temperature, width=options.samples,
                        completion_tokens=options.completion_tokens, prompt_tokens=options.prompt_tokens,
                        seed=recipe.ppo.seed * 1_000_003 + step * 10_007)  # fmt: skip
        census, found, known = Census(), list[Trajectory](), dict(references)
        for place, one in attempts([Order(bug, effort, card.served_name) for bug in chosen]):
            if isinstance(one, str):
                census.leave_out(one.split(":")[0], chosen[place].id)
            else:
                found.append(replace(one, id=f"{step}/{place}"))
                known.setdefault(group_of(one), planted_references(chosen[place], one))
        rollouts = rollouts_of(found, tokens, encoder, recipe.reward, options.max_tokens, census, known)
        for reason, count in census.left_out.most_common():
            say(f"step {step}, left out, {reason}: {count}")
        return rollouts

    return batch


def planted_references(bug: Bug, attempted: Trajectory) -> Verified:
    """The way back of a planted bug as its verified fix, with what the template teacher says of it."""
    wrong, right = bug.mutant.text, bug.task.program
    patch = unified_diff({SOLUTION: (wrong.encode(), right.encode())}).decode("utf-8", "surrogateescape")
    edit = known_edit(SOLUTION, wrong, right)
    failures = [Failure(one.test, one.exception, one.message, (), "") for one in attempted.problem.failures]
    return Verified((code_after(patch),), (explain_edit(edit, failures, bug.id),) if edit is not None else ())


def _forget(registry: Registry, newest: int) -> None:
    """A run of a thousand steps keeps two policies, not a thousand."""
    home = registry.folder / ROLLING
    for path in home.iterdir():
        if path.name.isdigit() and int(path.name) <= newest - _KEPT:
            shutil.rmtree(path, ignore_errors=True)
