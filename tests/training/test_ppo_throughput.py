"""The comparison with TRL compares the same work; how fast either is, is for the benchmark to say."""

from __future__ import annotations

import re

import pytest
import torch
from rich.console import Console

from tests.training.tiny_policy import tiny_policy
from training.benchmark import command, ppo_throughput
from training.benchmark.ppo_throughput import Sizes, compare
from training.reward import Reward
from training.rewarded import Rollout

TINY = Sizes(hidden=64, layers=1, vocabulary=64, rows=4, prompt=(3, 6), completion=(2, 5), steps=1)


def test_both_sides_learn_from_the_same_completions() -> None:
    found = compare(TINY)
    assert 8 <= found.tokens <= 20
    assert found.ratio == found.least == found.most == pytest.approx(found.trl / found.ours)


def test_sides_that_do_not_say_the_same_are_not_compared() -> None:
    rollouts = [Rollout((2, 3), (4, 5), None, Reward(1.0, None, {}), "", True)]
    with pytest.raises(RuntimeError, match="cannot be compared"):
        ppo_throughput._check(tiny_policy(), rollouts, torch.zeros(1, 2))


def test_the_command_prints_a_line_for_each_setting() -> None:
    lora = Sizes(hidden=64, layers=1, vocabulary=64, rows=2, prompt=(3, 6), completion=(2, 5), steps=1, epochs=2, lora=True)
    console = Console(record=True, width=300)
    command.ppo_benchmark(console, steps=1, settings=[("LoRA, 2 epochs", lora)])
    assert re.search(r"LoRA, 2 epochs +\d+\.\d\d of TRL's speed", console.export_text())
