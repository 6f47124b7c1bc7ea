"""On-policy rollouts: the policy as it is answers, a wrong answer is refined, and the same step of the same policy gives the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inference.adapters import Registry
from inference.model.transformers import TransformersSampler
from inference.trajectory import Trajectory
from sandbox.runner import Runner
from tests.training.scripted import Scripted, answer
from tests.training.tiny_policy import FULL, tiny_policy
from training import DataError
from training.benchmark.mbpp import Bug
from training.encoder import LexicalEncoder
from training.online import ROLLING, in_threads, online_batches
from training.policy import LoraOptions, PolicyOptions, load_policy
from training.ppo import Ppo, PpoOptions
from training.recipe import Recipe, RolloutOptions
from training.rewarded import RewardOptions
from training.tasks import Order, attempt_here
from training.tokens import Tokens

ONLINE = RolloutOptions("online", max_tokens=4000, bugs=1, samples=2, rounds=1, completion_tokens=24)


def recipe(model: Path, reward: str = "gated") -> Recipe:
    return Recipe(str(model), reward=RewardOptions(reward), rollouts=ONLINE, ppo=PpoOptions(steps=2, batch=4, epochs=1))  # type: ignore[arg-type]


@pytest.mark.training
def test_a_policy_is_sampled_as_it_is_and_learns_from_it(
    tiny: Path, tokens: Tokens, runner: Runner, planted_bug: Bug, tmp_path: Path
) -> None:
    policy = load_policy(tiny, PolicyOptions(LoraOptions(rank=2)))
    registry = Registry(tmp_path / "registry")
    attempts = in_threads(attempt_here(runner, TransformersSampler(tiny, registry)), 1)
    batches = online_batches(policy, [planted_bug], attempts, tokens, LexicalEncoder(), recipe(tiny), registry, tmp_path / "policy", {})
    first = batches(0)
    assert len(first) == 4  # two samples, each wrong and so refined once
    assert all(one.logprobs is not None and len(one.logprobs) == len(one.completion_ids) for one in first)
    assert all(one.reward.refinement == -5.0 for one in first)
    assert [one.completion_ids for one in batches(0)] == [one.completion_ids for one in first]
    ppo = Ppo(policy, replace(recipe(tiny).ppo, learning_rate=1e-2))
    ppo.step(first, 0)
    ppo.step(batches(1), 1)
    assert [one.completion_ids for one in batches(0)] != [one.completion_ids for one in first]
    assert len(list((registry.folder / ROLLING).iterdir())) == 2


def told(orders: Sequence[Order], runner: Runner) -> Iterator[tuple[int, Trajectory | str]]:
    yield 0, attempt_here(runner, Scripted(answer("    return a + b\n"), answer("    return a * b\n")))(orders[0])
    yield 1, "no test notices the bug"


def test_planted_bugs_bring_their_own_references(
    tiny: Path, tokens: Tokens, runner: Runner, planted_bug: Bug, tmp_path: Path
) -> None:
    policy, said = load_policy(tiny, PolicyOptions(LoraOptions(rank=2))), list[str]()
    two = replace(recipe(tiny, "paper"), rollouts=replace(ONLINE, bugs=2, rounds=0))
    batches = online_batches(policy, [planted_bug], lambda orders: told(orders, runner), tokens, LexicalEncoder(), two,
                             Registry(tmp_path / "registry"), tmp_path / "policy", {}, said.append)  # fmt: skip
    right, wrong = batches(0)
    assert (right.right, wrong.right) == (True, False)
    assert right.reward.refinement > wrong.reward.refinement
    assert said == ["step 0, left out, no test notices the bug: 1"]


def test_what_cannot_be_rolled_out_is_said(tiny: Path, tokens: Tokens, planted_bug: Bug, tmp_path: Path) -> None:
    def made(bugs: Sequence[Bug], full: bool) -> object:
        policy = tiny_policy(FULL) if full else load_policy(tiny, PolicyOptions(LoraOptions(rank=2)))
        return online_batches(
            policy, bugs, lambda orders: iter(()), tokens, LexicalEncoder(), recipe(tiny), Registry(tmp_path), tmp_path, {})

    with pytest.raises(DataError, match="planted ones"):
        made([], False)
    with pytest.raises(DataError, match="lora_rank"):
        made([planted_bug], True)
