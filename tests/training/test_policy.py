"""Log-probabilities, values and the reference: equal to what the model says of each rollout alone, and only what trains is moved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CohereConfig, CohereForCausalLM, Gemma2Config, Gemma2ForCausalLM

from tests.training.tiny_policy import FULL, SMALL_LORA, random_rollouts, rollout, tiny_model, tiny_policy
from training import DataError
from training.policy import LoraOptions, Policy, PolicyOptions, Precision, collate, load_policy
from training.rewarded import Rollout

PRECISIONS: tuple[Precision, Precision] = ("fp32", "bf16")


def by_the_model_alone(policy: Policy, one: Rollout) -> torch.Tensor:
    """(completion tokens, vocabulary): log-probabilities without padding, batch, or any of our selection."""
    ids = torch.tensor([[*one.prompt_ids, *one.completion_ids]])
    with torch.no_grad():
        told: torch.Tensor = policy.model(input_ids=ids).logits[0].log_softmax(-1)
    return told[len(one.prompt_ids) - 1 : -1]


@pytest.mark.parametrize("options", [FULL, SMALL_LORA])
def test_a_padded_batch_says_what_the_model_says_of_each_row(options: PolicyOptions) -> None:
    policy, rollouts = tiny_policy(options), random_rollouts(7)
    with torch.no_grad():
        found = policy(collate(rollouts))
    for row, one in enumerate(rollouts):
        told, length = by_the_model_alone(policy, one), len(one.completion_ids)
        wanted = told.gather(-1, torch.tensor(one.completion_ids)[:, None])[:, 0]
        assert torch.allclose(found.logprobs[row, :length], wanted, atol=1e-5)
        assert torch.allclose(found.entropy[row, :length], -(told.exp() * told).sum(-1), atol=1e-5)
        assert found.logprobs[row, length:].abs().sum() == 0


def test_the_value_is_read_before_its_token_is_seen() -> None:
    policy = tiny_policy()
    torch.nn.init.normal_(policy.value_head.weight)
    with torch.no_grad():
        one, other = (policy(collate([rollout([3, 4], [5, last])])).values[0] for last in (6, 7))
        changed = policy(collate([rollout([3, 4], [8, 6])])).values[0]
    assert torch.equal(one, other)
    assert one[0] == changed[0]
    assert one[1] != changed[1]


def test_the_value_head_stands_on_the_policys_own_states() -> None:
    policy = tiny_policy()
    torch.nn.init.normal_(policy.value_head.weight)
    policy(collate(random_rollouts(2))).values.sum().backward()
    trunk = [one.grad for name, one in policy.trained().items() if not name.startswith("value_head.") and one.grad is not None]
    assert any(float(grad.abs().max()) > 0 for grad in trunk), "a shared trunk: the values' loss moves it too"


def nudge(policy: Policy) -> None:
    with torch.no_grad():
        for parameter in policy.trained().values():
            parameter.add_(torch.randn_like(parameter) * 0.1)


@pytest.mark.parametrize("options", [FULL, SMALL_LORA])
def test_the_reference_stays_where_training_began(options: PolicyOptions) -> None:
    policy, batch = tiny_policy(options), collate(random_rollouts(4))
    with torch.no_grad():
        before = policy(batch).logprobs
    nudge(policy)
    with torch.no_grad():
        after = policy(batch).logprobs
    assert not torch.allclose(before, after, atol=1e-2)
    assert torch.allclose(policy.reference_logprobs(batch), before, atol=1e-5)


def test_an_adapter_that_training_goes_on_from_is_the_reference_too(tmp_path: Path) -> None:
    checkpoint, adapter = tmp_path / "base", tmp_path / "adapter"
    tiny_model().save_pretrained(checkpoint)
    first = load_policy(checkpoint, SMALL_LORA)
    nudge(first)
    first.save(adapter)
    assert {path.name for path in adapter.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors", "value_head.safetensors"}
    policy, batch = load_policy(checkpoint, SMALL_LORA, adapter), collate(random_rollouts(4))
    names = set(policy.trained())
    with torch.no_grad():
        start, known = policy(batch), first(batch)
    assert torch.allclose(start.logprobs, known.logprobs, atol=1e-5)
    assert torch.allclose(start.values, known.values, atol=1e-5)
    nudge(policy)
    assert torch.allclose(policy.reference_logprobs(batch), known.logprobs, atol=1e-5)
    # Looking at the reference froze nothing and thawed nothing.
    assert set(policy.trained()) == names
    assert not any("reference" in name for name in names)


def test_with_lora_only_the_adapter_and_the_value_head_learn() -> None:
    names = tiny_policy(SMALL_LORA).trained()
    assert all("lora_" in name or name.startswith("value_head.") for name in names)
    assert {"value_head.weight", "value_head.bias"} <= set(names)


@pytest.mark.parametrize("lora", [None, SMALL_LORA.lora])
def test_in_bfloat16_what_learns_stays_in_float32(tmp_path: Path, lora: LoraOptions | None) -> None:
    tiny_model().save_pretrained(tmp_path)
    batch = collate(random_rollouts(4))
    exact, coarse = (load_policy(tmp_path, PolicyOptions(lora, precision)) for precision in PRECISIONS)
    found = coarse(batch)
    (found.logprobs.sum() + found.values.sum()).backward()
    assert torch.allclose(found.logprobs, exact(batch).logprobs, atol=0.1)
    assert torch.allclose(coarse.reference_logprobs(batch), found.logprobs, atol=1e-6)
    assert {one.dtype for one in (found.logprobs, found.values, found.entropy, *coarse.trained().values())} == {torch.float32}
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in coarse.trained().values())


def test_gradients_are_the_same_with_checkpointing() -> None:
    batch = collate(random_rollouts(3))
    found = []
    for checkpointing in (False, True):
        policy = tiny_policy(PolicyOptions(lora=None, gradient_checkpointing=checkpointing))
        policy(batch).logprobs.sum().backward()
        found.append([one.grad.clone() for one in policy.trained().values() if one.grad is not None])
    assert len(found[0]) > 10
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))


def test_a_model_that_does_more_to_its_logits_is_refused() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 24, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 1, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}  # fmt: skip
    capped = Gemma2ForCausalLM(Gemma2Config(**sizes, head_dim=8, final_logit_softcapping=30.0))
    scaled = CohereForCausalLM(CohereConfig(**sizes, logit_scale=0.0625))
    for model in (capped, scaled):
        with pytest.raises(DataError, match=f"{type(model).__name__} does more to its logits"):
            Policy(model, FULL)


def test_a_folder_without_a_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be loaded as a policy"):
        load_policy(tmp_path, FULL)


def test_rollouts_that_nothing_can_be_learned_from_are_refused() -> None:
    with pytest.raises(ValueError, match="without a prompt or without a completion"):
        collate([rollout([], [3])])
