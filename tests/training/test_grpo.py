"""GRPO by TRL on the bugs, prompts and rewards of PPO: somebody else's texts are judged as production's, and a step runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from sandbox.runner import Runner
from tests.training.scripted import answer
from training.benchmark.mbpp import Bug, Suite, save
from training.encoder import LexicalEncoder
from training.experiment import read_metrics
from training.grpo import compare_grpo, rewards_of
from training.ppo import PpoOptions
from training.problems import from_bug, open_planted
from training.recipe import CollectOptions, Recipe, RolloutOptions
from training.reward import Verified
from training.rewarded import RewardOptions
from training.settings import load_settings
from training.sft import SftOptions
from training.stages import Workplace

VERIFIED = Verified(("def add(a, b):\n    return a + b",), ("It subtracts.",))


def test_texts_are_paid_in_their_order(runner: Runner, planted_bug: Bug, tmp_path: Path) -> None:
    opened = open_planted(from_bug(runner, planted_bug), runner, tmp_path / "bug")
    assert not isinstance(opened, str), opened
    texts = ["I do not know.", answer("    return a + b\n"), answer("    return a * b\n")]
    unread, right, wrong = rewards_of(opened, texts, VERIFIED, LexicalEncoder(), RewardOptions("gated"), 3000)
    assert right >= 2.0
    assert unread == -5.0
    assert -10.0 <= wrong <= -2.0


@pytest.mark.training
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_step_runs_and_is_logged(tiny: Path, planted_bug: Bug, tmp_path: Path) -> None:
    recipe = Recipe(
        str(tiny), collect=CollectOptions("601-602"), sft=SftOptions(lora_rank=2, tensorboard=False), reward=RewardOptions("gated"),
        ppo=PpoOptions(steps=1, batch=2, epochs=1), rollouts=RolloutOptions(samples=2, completion_tokens=16, pool=1))  # fmt: skip
    settings = load_settings(work=tmp_path / "work")
    save(Suite((planted_bug,), {}), settings.work / "bugs" / "suite-601-602-1-1.jsonl", {"ids": "601-602", "tasks": 1, "seed": 1})
    weights = compare_grpo(Workplace(recipe, settings, Console(quiet=True)), tmp_path / "out")
    assert (weights / "adapter_model.safetensors").is_file()
    [step] = read_metrics(tmp_path / "out")
    assert step["reward"] == pytest.approx(-5.0)  # a random model's bytes: read by nobody
    assert json.dumps(asdict(recipe))
