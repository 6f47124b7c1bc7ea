"""One PPO step of ours beside one GRPO step of TRL: the same model, completion tokens and epochs, nobody generating or rewarding.

Both sides' step: log-probabilities of the reference (KL coefficient above 0), then for each epoch forward, loss, backward, clipped
gradient and AdamW. TRL's parts are its own methods, called on inputs that are laid out as its trainer lays them out: prompts padded on the
left, completions on the right. Ours has the value head, its loss and the advantages of every token besides. The sides take turns, step by
step, so that whatever else the machine does slows both; the figure is the median of the ratios of neighbours.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from training.advantage import AdvantageOptions
from training.hardware import peak_memory
from training.policy import LoraOptions, Policy, PolicyOptions, collate
from training.ppo import Ppo, PpoOptions
from training.reward import Reward
from training.rewarded import Rollout

_BETA = 0.05


@dataclass(frozen=True)
class Sizes:
    """Of the model (random weights: time does not depend on them) and of the batch; lengths are drawn evenly from low to high."""

    hidden: int = 256
    layers: int = 4
    vocabulary: int = 4096
    rows: int = 16
    prompt: tuple[int, int] = (96, 160)
    completion: tuple[int, int] = (32, 96)
    epochs: int = 1
    lora: bool = False
    steps: int = 7


@dataclass(frozen=True)
class Comparison:
    """Medians of seconds a step; ``ratio``: how much of TRL's speed is ours (above 1: faster). ``parameters``: of the model."""

    ours: float
    trl: float
    ratio: float
    least: float
    most: float
    tokens: int
    parameters: int
    memory: int


def settings(steps: int) -> list[tuple[str, Sizes]]:
    """What ``ledex-train bench ppo`` measures. Completions of one length are the case in which TRL pads nothing."""
    return [
        ("all weights, 1 epoch", Sizes(steps=steps)),
        ("all weights, 1 epoch, equal lengths", Sizes(steps=steps, prompt=(128, 128), completion=(64, 64))),
        ("all weights, 4 epochs", Sizes(steps=max(steps // 2, 1), epochs=4)),
        ("LoRA, 1 epoch", Sizes(steps=steps, lora=True)),
    ]


def compare(sizes: Sizes, seed: int = 0) -> Comparison:
    """Measure both sides on this machine's accelerator, or its CPU."""
    rollouts = _rollouts(sizes, seed)
    policy = _policy(sizes)
    with tempfile.TemporaryDirectory(prefix="ledex-grpo-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TRL's and PEFT's of each other's old names
        theirs, told = _trl_step(sizes, rollouts, Path(folder))
        _check(policy, rollouts, told)
        options = PpoOptions(
            steps=1000, batch=sizes.rows, epochs=sizes.epochs, piece_tokens=1 << 30, learning_rate=1e-6,
            advantage=AdvantageOptions(kl_coefficient=_BETA))  # fmt: skip
        ppo = Ppo(policy, options)
        pairs = [(_seconds(partial(ppo.step, rollouts, number)), _seconds(theirs)) for number in range(sizes.steps + 1)]
    ours, trl = zip(*pairs[1:], strict=True)  # the first is for warming up
    ratios = [b / a for a, b in pairs[1:]]
    return Comparison(
        statistics.median(ours), statistics.median(trl), statistics.median(ratios), min(ratios), max(ratios),
        sum(len(one.completion_ids) for one in rollouts), policy.size(), peak_memory(ppo.device))  # fmt: skip


def _check(policy: Policy, rollouts: Sequence[Rollout], theirs: torch.Tensor) -> None:
    """Both sides look at the same model and the same tokens, or there is nothing to compare."""
    batch = collate(rollouts, policy.value_head.weight.device)
    with torch.no_grad():
        ours = policy(batch).logprobs
    if not torch.allclose(ours[batch.mask], theirs[batch.mask], atol=1e-3):
        raise RuntimeError("the log-probabilities of the two sides differ: this version of TRL cannot be compared")


def _seconds(step: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _rollouts(sizes: Sizes, seed: int) -> list[Rollout]:
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, count: int) -> list[int]:
        return list(torch.randint(low, high + 1, (count,), generator=generator).tolist())

    made: list[Rollout] = []
    for prompt, completion in zip(draw(*sizes.prompt, sizes.rows), draw(*sizes.completion, sizes.rows), strict=True):
        ids = draw(3, sizes.vocabulary - 1, prompt + completion)
        reward = Reward(float(len(made) % 5 - 2), 1.0, {})
        made.append(Rollout(tuple(ids[:prompt]), tuple(ids[prompt:]), completion // 2, reward, "", False))
    return made


def _model(sizes: Sizes) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    model: Any = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=sizes.vocabulary, hidden_size=sizes.hidden, intermediate_size=4 * sizes.hidden, num_hidden_layers=sizes.layers,
        num_attention_heads=max(sizes.hidden // 64, 1), num_key_value_heads=max(sizes.hidden // 128, 1), max_position_embeddings=4096,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, bos_token_id=None))  # fmt: skip
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _lora() -> Any:
    from peft import LoraConfig

    options = LoraOptions()
    return LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules="all-linear", task_type="CAUSAL_LM")


def _policy(sizes: Sizes) -> Policy:
    if not sizes.lora:
        return Policy(_model(sizes), PolicyOptions(lora=None))
    from peft import get_peft_model

    return Policy(get_peft_model(_model(sizes), _lora()), PolicyOptions())


def _trl_step(sizes: Sizes, rollouts: Sequence[Rollout], folder: Path) -> tuple[Callable[[], None], torch.Tensor]:
    """TRL's GRPOTrainer on prepared completions: its reference and old log-probabilities, ``training_step``, clipping and AdamW. Returns
    the step and, for comparison, what it says of the completions before any."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    class Prepared(GRPOTrainer):  # type: ignore[misc, unused-ignore]
        def _prepare_inputs(self, generation_batch: Any) -> Any:
            return generation_batch

    _model(sizes).save_pretrained(folder / "model")
    _tokenizer(sizes.vocabulary).save_pretrained(folder / "model")
    arguments = GRPOConfig(
        output_dir=str(folder), beta=_BETA, per_device_train_batch_size=sizes.rows, num_generations=sizes.rows, num_iterations=sizes.epochs,
        max_completion_length=sizes.completion[1], learning_rate=1e-6, report_to=[], bf16=False, gradient_checkpointing=False,
        use_cpu=not torch.cuda.is_available(), disable_tqdm=True, model_init_kwargs={"dtype": "float32"})  # fmt: skip
    trainer = Prepared(
        str(folder / "model"), lambda completions, **_: [0.0] * len(completions), arguments,
        Dataset.from_list([{"prompt": "a"}] * sizes.rows), peft_config=_lora() if sizes.lora else None)  # fmt: skip
    trainer.create_optimizer_and_scheduler(1000)
    trainer.current_gradient_accumulation_steps = 1
    model, device = trainer.model, trainer.accelerator.device
    model.train()
    inputs = {name: value.to(device) for name, value in _laid_out(rollouts).items()}
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    width = inputs["completion_ids"].shape[1]
    parameters = [one for one in model.parameters() if one.requires_grad]

    def told(of: Any) -> Any:
        return trainer._get_per_token_logps_and_entropies(of, ids, attention, width)[0]

    def step() -> None:
        prepared = dict(inputs)
        with torch.no_grad():
            if sizes.epochs > 1:  # with one, TRL takes the forward pass of the update for the old policy's
                prepared["old_per_token_logps"] = told(model)
            if trainer.ref_model is not None:
                prepared["ref_per_token_logps"] = told(trainer.ref_model)
            else:
                with trainer.accelerator.unwrap_model(model).disable_adapter():
                    prepared["ref_per_token_logps"] = told(model)
        for _ in range(sizes.epochs):
            trainer.training_step(model, prepared, None)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            trainer.optimizer.step()
            trainer.lr_scheduler.step()
            trainer.optimizer.zero_grad(set_to_none=True)

    with torch.no_grad():
        return step, told(model)


def _laid_out(rollouts: Sequence[Rollout]) -> dict[str, torch.Tensor]:
    """Prompts padded on the left, completions on the right, an advantage for each row."""
    longest, width = (max(len(getattr(one, name)) for one in rollouts) for name in ("prompt_ids", "completion_ids"))
    prompts = [[0] * (longest - len(one.prompt_ids)) + list(one.prompt_ids) for one in rollouts]
    completions = [list(one.completion_ids) + [0] * (width - len(one.completion_ids)) for one in rollouts]
    prompt_ids, completion_ids = torch.tensor(prompts), torch.tensor(completions)
    tokens = sum(len(one.completion_ids) for one in rollouts)
    return {
        "prompt_ids": prompt_ids, "prompt_mask": (prompt_ids != 0).long(),
        "completion_ids": completion_ids, "completion_mask": (completion_ids != 0).long(),
        "advantages": torch.linspace(-1, 1, len(rollouts)), "num_items_in_batch": torch.tensor(tokens),
    }  # fmt: skip


def _tokenizer(vocabulary: int) -> Any:
    """Enough for TRL to begin; it never reads a text here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<end>": 1, "a": 2, **{f"t{number}": number for number in range(3, vocabulary)}}
    plain = Tokenizer(models.WordLevel(words, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", unk_token="a")
