"""GRPO by TRL on the same planted bugs, prompts and rewards as our PPO: for comparison.

TRL samples and pays a completion with one number; ours is the refinement's reward and, where it explains, the explanation's added to it. It
cannot pay the two segments at their own ends, and it sees one round: what PPO adds is what the comparison shows.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from inference.model import Answer, Completion, Options, Usage
from inference.refinement import Effort
from inference.trajectory import Message, Round
from training import DataError
from training.benchmark.isolation import default_runner
from training.encoder import Encoder
from training.online import planted_references
from training.online_run import training_bugs
from training.problems import Opened, from_bug, open_planted
from training.recipe import Recipe
from training.reward import Verified
from training.rewarded import RewardOptions, attempt_of, reward_of
from training.rollout import attempt_failure
from training.sampling import is_adapter
from training.sft import load_model, logging_callback, lora_config, resume
from training.stages import Workplace, load_encoder, load_tokens
from training.terminal import one_line, watch

_SECONDS = 600.0


class Given:
    """A sampler that says what it was given: production's parser and verification then judge texts that somebody else has sampled."""

    context_tokens = 1 << 20

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def count_tokens(self, text: str) -> int:
        return len(text) // 3

    def sample(self, messages: Sequence[Message], options: Options, deadline: float, adapter: str | None = None) -> Answer:
        return Answer(tuple(Completion(text, "stop") for text in self.texts[: options.n]), Usage(), "given")


def judge_texts(opened: Opened, texts: Sequence[str], prompt_tokens: int) -> tuple[Round, ...]:
    """Each text as a round with its verdict, in the order they were given."""
    effort = Effort(samples=len(texts), rounds=0, prompt_tokens=prompt_tokens)
    return attempt_failure(opened, Given(texts), effort, _SECONDS).rounds


def rewards_of(
    opened: Opened, texts: Sequence[str], verified: Verified, encoder: Encoder, options: RewardOptions, prompt_tokens: int
) -> list[float]:
    """One number for each text; the least of the range where the reward is undefined."""
    paid = []
    for round_ in judge_texts(opened, texts, prompt_tokens):
        reward = reward_of(attempt_of(round_), verified, encoder, options)
        paid.append(reward.refinement + (reward.explanation or 0.0) if reward is not None else -10.0)
    return paid


def compare_grpo(place: Workplace, out: Path, start: Path | None = None) -> Path:
    """Train with TRL's GRPOTrainer by the recipe's ``ppo`` and ``rollouts``; returns the folder of the weights. Raises DataError."""
    recipe, tokens, encoder, runner = place.recipe, load_tokens(place.recipe.base_model), load_encoder(place.settings), default_runner()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledex-grpo-")))
        opened: list[Opened] = []
        rows, known = [], []
        for number, bug in enumerate(training_bugs(place, runner)):
            found = open_planted(from_bug(runner, bug), runner, scratch / str(number), python=place.settings.python)
            if isinstance(found, str):
                place.say(f"left out, {found}: {bug.id}")
                continue
            asked = attempt_failure(found, Given([""]), Effort(samples=1, rounds=0, prompt_tokens=recipe.rollouts.prompt_tokens))
            rows.append({"prompt": tokens.prompt_text(asked.rounds[0].messages), "bug": len(opened)})
            known.append(planted_references(bug, asked))
            opened.append(found)
        if not rows:
            raise DataError("there are no bugs to attempt: see what was left out")

        def reward(prompts: Sequence[str], completions: Sequence[str], bug: Sequence[int], **_: Any) -> list[float]:
            places: dict[int, list[int]] = defaultdict(list)
            for place_in_batch, one in enumerate(bug):
                places[one].append(place_in_batch)
            paid = [0.0] * len(completions)
            for one, where in places.items():
                texts = [completions[index] for index in where]
                found = rewards_of(opened[one], texts, known[one], encoder, recipe.reward, recipe.rollouts.prompt_tokens)
                for index, value in zip(where, found, strict=True):
                    paid[index] = value
            return paid

        with watch(place.console, "grpo") as tell:
            _train(recipe, rows, reward, tokens.tokenizer, out, start,
                   lambda step, log: tell(step, recipe.ppo.steps, one_line(log)))  # fmt: skip
    return out / "final"


def _train(
    recipe: Recipe, rows: Sequence[dict[str, Any]], reward: Callable[..., list[float]], tokenizer: Any, out: Path, start: Path | None,
    on_step: Callable[[int, dict[str, float]], None],
) -> None:  # fmt: skip
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    options, samples = recipe.ppo, recipe.rollouts.samples
    if samples < 2:
        raise DataError("GRPO compares the samples of a bug: rollouts.samples has to be 2 or more")
    arguments = GRPOConfig(
        output_dir=str(out / "checkpoints"), beta=options.advantage.kl_coefficient, learning_rate=options.learning_rate,
        per_device_train_batch_size=samples, gradient_accumulation_steps=max(options.batch // samples, 1), num_generations=samples,
        num_iterations=options.epochs, epsilon=options.loss.clip or 1e9, max_completion_length=recipe.rollouts.completion_tokens,
        temperature=recipe.rollouts.temperature, max_steps=options.steps, max_grad_norm=options.most_gradient, logging_steps=1,
        save_steps=options.save_steps, save_total_limit=2, report_to=[], bf16=recipe.sft.precision == "bf16",
        gradient_checkpointing=recipe.sft.gradient_checkpointing, use_cpu=not torch.cuda.is_available(), seed=options.seed,
        disable_tqdm=True, include_num_input_tokens_seen="all")  # fmt: skip
    model, peft = load_model(Path(recipe.base_model), recipe.sft), lora_config(recipe.sft)
    if start is not None and is_adapter(start):
        from peft import PeftModel

        model, peft = PeftModel.from_pretrained(model, start, is_trainable=True), None
    elif start is not None:
        model = load_model(start, recipe.sft)
    trainer = GRPOTrainer(model, reward, arguments, Dataset.from_list(list(rows)), processing_class=tokenizer, peft_config=peft,
                          callbacks=[logging_callback(out, recipe.sft, on_step)])  # fmt: skip
    resume(trainer, out)
