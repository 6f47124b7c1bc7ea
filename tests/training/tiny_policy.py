"""Language models of a few thousand weights and rollouts for them, made in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from training.policy import LoraOptions, Policy, PolicyOptions
from training.reward import Reward
from training.rewarded import Rollout

VOCABULARY = 24
FULL = PolicyOptions(lora=None)
SMALL_LORA = PolicyOptions(lora=LoraOptions(rank=4, alpha=8.0))


def tiny_model(seed: int = 0, spread: float = 0.2) -> Any:
    """A Qwen2 of about 5,000 weights. ``spread``: of them; the larger, the surer a frozen output layer can become."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=128, tie_word_embeddings=True, initializer_range=spread, bos_token_id=None, eos_token_id=1,
        pad_token_id=0))  # fmt: skip


def tiny_policy(options: PolicyOptions = FULL, seed: int = 0, spread: float = 0.2) -> Policy:
    model = tiny_model(seed, spread)
    if options.lora is not None:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=options.lora.rank, lora_alpha=options.lora.alpha, target_modules="all-linear"))
    return Policy(model, options)


def rollout(
    prompt: Sequence[int], completion: Sequence[int], refinement: float = 0.0, explanation: float | None = None, end: int | None = None,
    logprobs: Sequence[float] | None = None,
) -> Rollout:  # fmt: skip
    """``end``: index of the explanation's last token."""
    told = tuple(logprobs) if logprobs is not None else None
    return Rollout(tuple(prompt), tuple(completion), end, Reward(refinement, explanation, {}), "group", refinement > 0, told)


def random_rollouts(count: int, seed: int = 0, longest: int = 12) -> list[Rollout]:
    """Prompts and completions of 2 to ``longest`` tokens, every other one with an explanation."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, size: int = 1) -> list[int]:
        return list(torch.randint(low, high, (size,), generator=generator).tolist())

    made = []
    for index in range(count):
        prompt, completion = (draw(2, VOCABULARY, draw(2, longest + 1)[0]) for _ in range(2))
        score, other = (torch.randn(2, generator=generator) * 3).tolist()
        explained = index % 2 == 0
        made.append(rollout(prompt, completion, score, other if explained else None, len(completion) // 2 - 1 if explained else None))
    return made
