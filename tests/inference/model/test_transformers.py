"""The sampler in this process, with a tiny checkpoint made on the spot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from inference import ConfigurationError
from inference.adapters import Registry
from inference.model import ModelRefused, ModelUnavailable, Options
from inference.model.transformers import TransformersSampler, render_plainly
from inference.trajectory import Message
from tests.vllm.tiny_model import CONTEXT_TOKENS, make_tiny_adapter, make_tiny_model

SHORT = (Message("user", "def f(x): return x"),)
LONG = (Message("system", "You repair code."), Message("user", "def g(values):\n    return sorted(values)[0]\n" * 5))
OPTIONS = Options(n=3, temperature=1.0, max_tokens=12, seed=5, logprobs=True)


def soon(seconds: float = 60) -> float:
    return time.monotonic() + seconds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sampler(checkpoint: Path) -> TransformersSampler:
    return TransformersSampler(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def endless(checkpoint: Path) -> TransformersSampler:
    return TransformersSampler(checkpoint, device="cpu", ignore_end=True)


def test_n_completions_come_with_as_many_log_probabilities_as_token_ids(sampler: TransformersSampler) -> None:
    answer = sampler.sample(SHORT, OPTIONS, soon())
    assert len(answer.completions) == 3
    for one in answer.completions:
        assert one.token_ids is not None
        assert one.logprobs is not None
        assert len(one.token_ids) == len(one.logprobs) > 0
        assert all(value <= 0 for value in one.logprobs)
    assert answer.usage.completion_tokens == sum(len(one.token_ids or ()) for one in answer.completions)


def test_the_same_seed_gives_the_same_completions_and_another_gives_others(sampler: TransformersSampler) -> None:
    first, again = sampler.sample(SHORT, OPTIONS, soon()), sampler.sample(SHORT, OPTIONS, soon())
    other = sampler.sample(SHORT, Options(n=3, temperature=1.0, max_tokens=12, seed=6, logprobs=True), soon())
    assert [one.token_ids for one in first.completions] == [one.token_ids for one in again.completions]
    assert [one.token_ids for one in first.completions] != [one.token_ids for one in other.completions]


def test_the_completions_of_one_request_differ(sampler: TransformersSampler) -> None:
    assert len({one.token_ids for one in sampler.sample(SHORT, OPTIONS, soon()).completions}) == 3


def test_the_size_of_the_batch_changes_no_completion(checkpoint: Path, sampler: TransformersSampler) -> None:
    alone = TransformersSampler(checkpoint, device="cpu", batch=1)
    assert [one.token_ids for one in alone.sample(LONG, OPTIONS, soon()).completions] == [
        one.token_ids for one in sampler.sample(LONG, OPTIONS, soon()).completions
    ]


def test_a_short_prompt_beside_a_long_one_is_answered_as_if_alone(sampler: TransformersSampler) -> None:
    greedy = Options(temperature=0.0, max_tokens=12, logprobs=True)
    together = sampler.sample_many([SHORT, LONG], greedy, soon())
    for messages, answer in zip([SHORT, LONG], together, strict=True):
        [alone], [beside] = sampler.sample(messages, greedy, soon()).completions, answer.completions
        assert alone.token_ids == beside.token_ids
        assert alone.logprobs == pytest.approx(beside.logprobs, abs=1e-3)


def test_the_log_probabilities_are_those_of_the_whole_sequence_read_at_once(checkpoint: Path, sampler: TransformersSampler) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    answer = sampler.sample(LONG, Options(n=1, temperature=0.7, max_tokens=12, seed=1, logprobs=True), soon())
    [one] = answer.completions
    assert one.token_ids is not None
    assert answer.prompt_token_ids is not None
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    ids = torch.tensor([[*answer.prompt_token_ids, *one.token_ids]])
    with torch.inference_mode():
        told = torch.log_softmax(model(ids).logits[0, len(answer.prompt_token_ids) - 1 : -1], -1)
    assert one.logprobs == pytest.approx([told[place, token].item() for place, token in enumerate(one.token_ids)], abs=1e-3)


def test_top_p_keeps_to_the_likeliest_tokens(sampler: TransformersSampler) -> None:
    greedy = sampler.sample(SHORT, Options(temperature=0.0, max_tokens=12, logprobs=True), soon())
    narrow = sampler.sample(SHORT, Options(temperature=1.0, top_p=1e-6, max_tokens=12, seed=1, logprobs=True), soon())
    assert greedy.completions[0].token_ids == narrow.completions[0].token_ids


def test_a_stop_word_ends_the_text_before_it(endless: TransformersSampler) -> None:
    whole = endless.sample(SHORT, Options(temperature=0.0, max_tokens=20), soon()).completions[0]
    assert whole.finish == "length"
    stop = whole.text[6:8]
    cut = endless.sample(SHORT, Options(temperature=0.0, max_tokens=20, stop=(stop,)), soon()).completions[0]
    assert (cut.text, cut.finish) == (whole.text[: whole.text.index(stop)], "stop")


def test_ids_and_log_probabilities_are_left_out_where_nobody_asked(sampler: TransformersSampler) -> None:
    answer = sampler.sample(SHORT, Options(max_tokens=4), soon())
    assert (answer.completions[0].token_ids, answer.completions[0].logprobs, answer.prompt_token_ids) == (None, None, None)


def test_a_deadline_ends_the_writing(endless: TransformersSampler) -> None:
    with pytest.raises(ModelUnavailable, match="time was up"):
        endless.sample(SHORT, Options(max_tokens=4000), soon(0.2))


def test_a_prompt_that_leaves_no_room_is_refused(sampler: TransformersSampler) -> None:
    assert sampler.context_tokens == CONTEXT_TOKENS
    with pytest.raises(ModelRefused, match="more than the 4096"):
        sampler.sample(SHORT, Options(max_tokens=CONTEXT_TOKENS), soon())


def test_a_dialogue_that_the_chat_template_cannot_render_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "strict")
    (tmp_path / "strict" / "chat_template.jinja").write_text("{{ raise_exception('turns must alternate') }}", encoding="utf-8")
    with pytest.raises(ModelRefused, match="turns must alternate"):
        TransformersSampler(tmp_path / "strict", device="cpu").sample(SHORT, OPTIONS, soon())


def test_without_a_chat_template_the_documented_format_is_used(tmp_path: Path, checkpoint: Path, sampler: TransformersSampler) -> None:
    import shutil

    shutil.copytree(checkpoint, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    plain = TransformersSampler(tmp_path / "plain", device="cpu")
    assert render_plainly(SHORT) == "<|user|>\ndef f(x): return x<|end|>\n<|assistant|>\n"
    # The tiny model's own template is the same text, so the two must agree to the token.
    assert plain.sample(LONG, OPTIONS, soon()).prompt_token_ids == sampler.sample(LONG, OPTIONS, soon()).prompt_token_ids


def test_a_folder_that_holds_no_checkpoint_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no checkpoint"):
        TransformersSampler(tmp_path)


@pytest.fixture(scope="module")
def registry(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Registry, list[str]]:
    folder = tmp_path_factory.mktemp("adapters")
    registry = Registry(folder / "registry")
    cards = [registry.publish(make_tiny_adapter(checkpoint, folder / str(seed), seed), "tiny.repair", "tiny") for seed in (1, 2, 3)]
    return registry, [card.served_name for card in cards]


def test_each_adapter_answers_by_its_own_weights_and_the_base_by_none(checkpoint: Path, registry: tuple[Registry, list[str]]) -> None:
    adapters, names = registry
    sampler = TransformersSampler(checkpoint, adapters, device="cpu")
    greedy = Options(temperature=0.0, max_tokens=8, logprobs=True)

    def ids(name: str | None) -> tuple[int, ...] | None:
        answer = sampler.sample(SHORT, greedy, soon(), name)
        assert (f"{answer.adapter}@{answer.adapter_hash}" if answer.adapter else None) == name
        return answer.completions[0].token_ids

    first = {name: ids(name) for name in (None, *names)}
    assert len(set(first.values())) == 4
    # More than are kept loaded, and in another order: none has taken another's place.
    assert {name: ids(name) for name in (names[2], None, names[0], names[1])} == first


def test_an_adapter_that_the_registry_does_not_have_is_refused(checkpoint: Path, registry: tuple[Registry, list[str]]) -> None:
    sampler = TransformersSampler(checkpoint, registry[0], device="cpu")
    with pytest.raises(ModelRefused, match="not in the registry"):
        sampler.sample(SHORT, OPTIONS, soon(), f"tiny@{'0' * 64}")
