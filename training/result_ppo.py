"""PPO of the small model in collections: which bugs it is rewarded on, its own answers to them, and the run from one to the next."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training.corpus import REWARDED, read_bugs
from training.corpus_dialogue import Planted
from training.pretrain_recipe import RewardedOptions, SmallRecipe
from training.result_stages import collect_answers, reward_statistics, rewarded
from training.rewarded import RewardName, Rollout, centred, mixed

Tell = Callable[[str], None]


def checkpoint_of(out: Path, seed: int, stage: str) -> Path:
    """A stage's model."""
    if stage == "base":
        return out / "base" / "model"
    if stage == "sft":
        return out / f"seed-{seed}" / stage / "model"
    return out / f"seed-{seed}" / stage / "policy"


def load_tokenizer(folder: Path) -> Any:
    """Of a folder of this run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def rewarded_pool(bugs: Sequence[Planted], options: RewardedOptions, seed: int) -> list[Planted]:
    """Those that collections draw from, of the wanted sources and of no more different programs than wanted."""
    pool = [bug for bug in bugs if not options.sources or bug.group.partition("/")[0] in options.sources]
    programs = sorted({bug.group for bug in pool})
    if options.programs and options.programs < len(programs):
        chosen = set(random.Random(f"programs/{seed}").sample(programs, options.programs))
        pool = [bug for bug in pool if bug.group in chosen]
    return pool


def collected(recipe: SmallRecipe, out: Path, seed: int, number: int) -> list[Planted]:
    """The bugs of a collection of PPO's, from 0."""
    pool = rewarded_pool(read_bugs(out / "data" / REWARDED), recipe.rewarded, seed)
    return random.Random(f"rewarded/{seed}/{number}").sample(pool, min(recipe.rewarded.bugs, len(pool)))


def first_answers_file(recipe: SmallRecipe, out: Path, seed: int) -> Path:
    """Where the fine-tuned model's answers to the first collection's bugs are kept: they are the same whatever PPO makes of them."""
    options = recipe.rewarded
    settings = json.dumps([asdict(recipe.sample), options.bugs, options.samples, options.sources, options.programs], sort_keys=True)
    return out / f"seed-{seed}" / f"answers-{hashlib.sha256(settings.encode()).hexdigest()[:8]}.jsonl"


def reinforce(recipe: SmallRecipe, runner: Runner, out: Path, seed: int, name: RewardName, folder: Path, tell: Tell) -> Path:
    """PPO in ``folder`` from ``seed-N/sft``; the model's folder. Both rewards begin with the same answers."""
    from training.policy import PolicyOptions, load_policy
    from training.ppo import PpoOptions, offline_batches, train
    from training.result_value import fit_value_head

    done = folder / "rewards.json"
    if done.exists():
        return folder / "policy"
    start = checkpoint_of(out, seed, "sft")
    tokenizer = load_tokenizer(start)
    options = PpoOptions(**{**recipe.ppo.__dict__, "seed": seed})
    policy = load_policy(start, PolicyOptions(lora=None, precision=recipe.sft.precision), device="cpu", seed=seed)
    told: dict[str, float] = {}

    @functools.cache
    def learned_from(number: int) -> Sequence[Rollout]:
        chosen = collected(recipe, out, seed, number)
        sampler, kept = start, first_answers_file(recipe, out, seed)
        if number:
            sampler, kept = folder / "sampled", folder / f"answers-{number}.jsonl"
            if not kept.exists():
                policy.save(sampler)
                tokenizer.save_pretrained(sampler)
        answers = collect_answers(sampler, chosen, recipe.rewarded.samples, recipe.sample, runner, seed + 1000 * number, kept)
        rollouts = rewarded(answers, {bug.id: bug for bug in chosen}, tokenizer, name)
        found = reward_statistics(rollouts)
        told.update({f"round {number}: {k}": v for k, v in found.items()})
        tell(f"{folder.name} {seed}, round {number}: {', '.join(f'{k} {v:.3g}' for k, v in found.items())}")
        if recipe.rewarded.mixed:
            # A model that is never or always right gives none: then all are taken.
            rollouts = mixed(rollouts) or rollouts
        return centred(rollouts) if recipe.rewarded.centred else rollouts

    each = -(-options.steps // recipe.rewarded.rounds)

    def batches(step: int) -> Sequence[Rollout]:
        number, own = divmod(step, each)
        return offline_batches(learned_from(number), options)(own)

    told["variance that the value head explains at the start"] = fit_value_head(policy, learned_from(0), options.advantage)
    train(policy, batches, options, folder)
    tokenizer.save_pretrained(folder / "policy")
    done.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return folder / "policy"
