"""SFT through TRL on a tiny model: it learns what is not masked, goes on after a kill on the same curve, and writes an adapter."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.trajectories import round_of, trajectory
from training import DataError
from training.census import Census
from training.dataset import examples_of, tokenized
from training.sft import SftOptions, train_kto, train_sft
from training.tokens import Tokens

FAST = SftOptions(epochs=6, batch=2, micro_batch=2, learning_rate=1e-2, warmup_steps=0, lora_rank=0, tensorboard=False, save_steps=2)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def rows(tokens: Tokens) -> list[dict[str, list[int]]]:
    one = trajectory("a", round_of(), round_of("It must add."), round_of("The operator is wrong."))
    return tokenized(examples_of([one], Census()), tokens, 4096, Census())


def losses(log: list[dict[str, float]]) -> list[float]:
    return [row["loss"] for row in log]


def test_the_loss_falls_and_a_run_that_was_cut_goes_on_the_same_curve(
    tiny: Path, rows: list[dict[str, list[int]]], tokens: Tokens, tmp_path: Path
) -> None:
    whole = losses(train_sft(tiny, rows, tokens, tmp_path / "whole", FAST))
    assert whole[-1] < 0.7 * whole[0]
    told: list[int] = []

    class Killed(BaseException):
        pass

    def kill(step: int, log: dict[str, float]) -> None:
        told.append(step)
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        train_sft(tiny, rows, tokens, tmp_path / "cut", FAST, kill)
    resumed = losses(train_sft(tiny, rows, tokens, tmp_path / "cut", FAST))
    assert told == [1, 2, 3, 4, 5]
    assert resumed == pytest.approx(whole, abs=1e-4)
    assert (tmp_path / "cut" / "final" / "model.safetensors").is_file()


def test_masked_tokens_teach_nothing(tiny: Path, tokens: Tokens, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = [300 + n for n in range(40)]
    row = {"input_ids": ids, "completion_mask": [0] * 30 + [1] * 10}
    train_sft(tiny, [row] * 4, tokens, tmp_path, replace(FAST, epochs=10))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "final", dtype=torch.float32)
    told = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1], -1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]
    assert told[29:].mean() > told[:29].mean() + 2


def test_packed_rows_do_not_see_each_other(tiny: Path, tokens: Tokens, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    drawn = torch.Generator().manual_seed(3)
    rows = [{"input_ids": torch.randint(300, 400, (24,), generator=drawn).tolist(), "completion_mask": [0] * 8 + [1] * 16}
            for _ in range(4)]  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data *= 4  # or what is seen hardly changes what is told
    model.save_pretrained(tmp_path / "model")
    # What rows in one sequence would lose if nothing kept them apart.
    ids = torch.tensor([token for row in rows for token in row["input_ids"]])
    told = torch.log_softmax(model(ids[None]).logits[0, :-1], -1).gather(-1, ids[1:, None])[:, 0]
    leaking = -told[torch.tensor([bool(mark) for row in rows for mark in row["completion_mask"]])[1:]].mean().item()
    one_step = replace(FAST, batch=4, micro_batch=4, most_steps=1, max_tokens=96)
    [apart] = losses(train_sft(tmp_path / "model", rows, tokens, tmp_path / "apart", one_step))
    [packed] = losses(train_sft(tmp_path / "model", rows, tokens, tmp_path / "packed", replace(one_step, packing=True)))
    assert packed == pytest.approx(apart, abs=2e-3)
    assert abs(leaking - apart) > 0.05


def test_an_adapter_is_what_lora_leaves(tiny: Path, rows: list[dict[str, list[int]]], tokens: Tokens, tmp_path: Path) -> None:
    train_sft(tiny, rows[:2], tokens, tmp_path, replace(FAST, lora_rank=2, most_steps=1, packing=False))
    assert {path.name for path in (tmp_path / "final").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}


def test_nothing_to_learn_from_is_said(tiny: Path, tokens: Tokens, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn"):
        train_sft(tiny, [], tokens, tmp_path, FAST)
    with pytest.raises(DataError, match="of one kind"):
        train_kto(tiny, [("a", "b", True)], tokens, tmp_path, FAST)
    with pytest.raises(DataError, match="no checkpoint"):
        train_sft(tmp_path / "nothing", [{"input_ids": [1, 2], "completion_mask": [0, 1]}], tokens, tmp_path, FAST)


def test_kto_takes_acceptance_and_rejection(tiny: Path, tokens: Tokens, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judged = [("Add.", " a + b", True), ("Add.", " a - b", False)] * 2
        log = train_kto(tiny, judged, tokens, tmp_path, replace(FAST, epochs=1, lora_rank=2, max_tokens=64))
    assert len(log) == 2
