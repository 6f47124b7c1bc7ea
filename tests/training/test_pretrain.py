"""The small model: its tokenizer and rows, the loop that trains it, a killed run that goes on as if nothing had been."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.context import Context, Excerpt
from inference.model.transformers import render_plainly
from inference.prompt import render_prompt
from training import DataError
from training.experiment import read_metrics
from training.pretrain import FitOptions, ModelOptions, batches, fit, load_model, loss_of, new_model
from training.pretrain_data import (
    DAMAGED,
    MIDDLE,
    PREFIX,
    RESTORED,
    STOP,
    SUFFIX,
    ObjectiveOptions,
    Row,
    damage,
    pretraining_rows,
    train_tokenizer,
)
from training.pretrain_recipe import read_small_recipe
from training.pretrain_start import copied_share

DOCUMENTS = [f"def add_{n}(a, b):\n    total = a + b * {n}\n    return total\n" for n in range(12)]
SMALL = ModelOptions(vocabulary=340, hidden=32, layers=1, heads=2, feed_forward=48, context=128, copying=False)
OPTIONS = FitOptions(passes=2.0, batch_tokens=512, longest=128, held_out=4, every=3, warmup=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_tokenizer(DOCUMENTS, SMALL.vocabulary, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> list[Row]:
    return pretraining_rows(DOCUMENTS, tokenizer, 128, 0)


def test_the_fixed_texts_of_a_dialogue_are_a_token_each_and_nothing_is_lost(tokenizer: Any) -> None:
    asked = render_plainly(render_prompt(Context("", (Excerpt("solution.py", 1, "a = 1", ""),), (), ("it fails",)), (), "explain"))
    ids = tokenizer.encode(asked, add_special_tokens=False)
    assert len(ids) < 30 < len(asked) / 20
    assert tokenizer.decode(ids) == asked
    strange = "\tif x:\r\n  'ä∑' \u2060 ```\n"
    assert tokenizer.decode(tokenizer.encode(strange, add_special_tokens=False), clean_up_tokenization_spaces=False) == strange


def test_rows_are_the_document_its_middle_and_its_damaged_line(tokenizer: Any, rows: Sequence[Row]) -> None:
    texts = [tokenizer.decode(row.ids, clean_up_tokenization_spaces=False) for row in rows]
    fill = next(n for n, text in enumerate(texts) if text.startswith(PREFIX))
    before, rest = texts[fill].removeprefix(PREFIX).split(SUFFIX)
    after, middle = rest.split(MIDDLE)
    assert before + middle.removesuffix(STOP) + after in DOCUMENTS
    assert tokenizer.decode(rows[fill].ids[rows[fill].start :]) == middle
    restore = next(n for n, text in enumerate(texts) if DAMAGED in text)
    given, rest = texts[restore].split(DAMAGED)
    wrong, right = rest.removesuffix(STOP).split(RESTORED)
    assert wrong in given.split("\n")
    assert given.replace(wrong, right) in DOCUMENTS
    assert tokenizer.decode(rows[restore].ids[rows[restore].start :]) == rest


def test_a_document_is_restored_as_often_as_asked_and_from_slips_where_it_offers_them(tokenizer: Any) -> None:
    def restored(slips: float) -> list[str]:
        rows = pretraining_rows(DOCUMENTS, tokenizer, 128, 0, ObjectiveOptions(plain=False, fill=0, restore=6, slips=slips))
        return [tokenizer.decode(row.ids[row.start :], clean_up_tokenization_spaces=False).removesuffix(STOP) for row in rows]

    slips = [line.split(RESTORED) for line in restored(1.0)]
    assert len(DOCUMENTS) < len(slips) <= 6 * len(DOCUMENTS)
    texts = "".join(DOCUMENTS)
    assert all(wrong != right and right.strip() in texts for wrong, right in slips)
    assert not all(right in texts.split("\n") for _, right in slips)  # pieces, and not lines
    assert all(right in texts.split("\n") for _, right in (line.split(RESTORED) for line in restored(0.0)))


def test_the_model_copies_before_it_has_learned_anything() -> None:
    class Vocabulary:
        eos_token_id, pad_token_id = 1, 0

        def __len__(self) -> int:
            return 500

    options = ModelOptions(hidden=128, layers=2, heads=2, feed_forward=64)
    assert copied_share(new_model(options, Vocabulary(), 0).eval(), 500, 1) > 0.8
    assert copied_share(new_model(replace(options, copying=False), Vocabulary(), 0).eval(), 500, 1) < 0.05
    with pytest.raises(ValueError, match="two layers"):
        new_model(replace(options, layers=1), Vocabulary(), 0)


def test_damage_changes_one_line() -> None:
    for seed in range(40):
        found = damage(DOCUMENTS[3], random.Random(seed))
        assert found is not None
        given, wrong, right = found
        changed = [(a, b) for a, b in zip(given.split("\n"), DOCUMENTS[3].split("\n"), strict=True) if a != b]
        assert changed == [(wrong, right)]
    assert damage("x\n", random.Random(0)) is None


def test_every_pass_shows_every_row_once_and_the_seed_fixes_the_order(rows: Sequence[Row]) -> None:
    steps = batches(rows, OPTIONS)
    assert sorted(i for step in steps for i in step) == sorted([*range(len(rows))] * 2)
    assert all(len(step) * max(len(rows[i].ids) for i in step) <= OPTIONS.batch_tokens for step in steps)
    assert steps == batches(rows, OPTIONS) != batches(rows, FitOptions(**{**OPTIONS.__dict__, "seed": 1}))
    assert len([i for step in batches(rows, FitOptions(passes=0.5)) for i in step]) == len(rows) // 2


def test_the_loss_is_of_the_learned_tokens_alone_whatever_the_padding(tokenizer: Any) -> None:
    model = new_model(SMALL, tokenizer, 0).eval()
    first, second = Row((5, 6, 7, 8, 9), 3), Row((9, 8, 7), 1)
    told, count = loss_of(model, [first, second])
    assert count == 4
    logits = model(input_ids=torch.tensor([first.ids])).logits[0].log_softmax(-1)
    by_hand = -(logits[2, 8] + logits[3, 9])
    logits = model(input_ids=torch.tensor([second.ids])).logits[0].log_softmax(-1)
    by_hand = by_hand - (logits[0, 8] + logits[1, 7])
    assert told.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_half_precision_changes_the_loss_a_little_and_the_weights_stay_whole(tokenizer: Any, rows: list[Row], tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        options = replace(OPTIONS, precision=precision, most_steps=4)
        assert fit(new_model(SMALL, tokenizer, 0), tokenizer, rows, options, tmp_path / precision)
    whole, half = ([one["loss"] for one in read_metrics(tmp_path / name)] for name in ("fp32", "bf16"))
    assert half != whole
    assert half == pytest.approx(whole, rel=0.05)
    assert load_model(tmp_path / "bf16" / "model").dtype == torch.float32


def test_a_run_learns_and_one_cut_in_the_middle_has_the_same_losses(tokenizer: Any, rows: list[Row], tmp_path: Path) -> None:
    def run(folder: Path, seconds: float = 1e9) -> bool:
        return fit(new_model(SMALL, tokenizer, 0), tokenizer, rows, OPTIONS, folder, most_seconds=seconds)

    assert run(tmp_path / "whole")
    pieces = 1
    while not run(tmp_path / "cut", 0.0):  # one step at a time
        pieces += 1
    whole, cut = (read_metrics(tmp_path / name) for name in ("whole", "cut"))
    assert pieces == len(whole) > 4
    assert [one["loss"] for one in cut] == [one["loss"] for one in whole]
    assert whole[-1]["held_out_loss"] < 0.8 * whole[0]["held_out_loss"]
    assert (tmp_path / "whole" / "curves.png").exists()
    one, two = (load_model(tmp_path / name / "model").state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(DataError, match="other options"):
        fit(new_model(SMALL, tokenizer, 0), tokenizer, rows[1:], OPTIONS, tmp_path / "cut")


def test_what_cannot_be_trained_is_said(tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to learn from"):
        fit(new_model(SMALL, tokenizer, 0), tokenizer, [Row((1,) * 200, 0)], OPTIONS, tmp_path / "run")
    with pytest.raises(DataError, match="no checkpoint"):
        load_model(tmp_path / "nowhere")


def test_the_shipped_recipe_is_read_and_a_wrong_key_is_named(tmp_path: Path) -> None:
    recipe = read_small_recipe(Path("small"))
    assert len(recipe.seeds) >= 3
    assert recipe.measured.ids == "11-510"
    assert recipe.measured.seed >= 1000
    assert recipe.corpus.kinds == ("token", "expression")
    for text, part in (("[ppo.advantage]\ngama = 1", "ppo.advantage.gama"), ("[sft]\npasses = 'x'", "sft.passes"), ("x", "no TOML")):
        file = tmp_path / "recipe.toml"
        file.write_text(text)
        with pytest.raises(DataError, match=part):
            read_small_recipe(file)
    with pytest.raises(DataError, match=r"these ship with the package: small$"):
        read_small_recipe(tmp_path / "none.toml")
