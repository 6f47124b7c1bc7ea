"""What on-policy rollouts need from this machine: bugs, a sandbox and a sampler here, or the workers behind a broker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from inference.settings import load_settings
from sandbox.runner import Runner
from training.benchmark.isolation import default_runner
from training.benchmark.mbpp import Bug, read_tasks
from training.benchmark.run import load_or_make_suite
from training.encoder import Encoder
from training.online import Attempts, in_threads, online_batches
from training.policy import Policy
from training.ppo import Batches
from training.reward import Verified
from training.sampling import open_sampler, registry_of
from training.sources import training_ids
from training.stages import Workplace
from training.tasks import attempt_here, roll_out
from training.tokens import Tokens


def rolling(
    place: Workplace, policy: Policy, tokens: Tokens, encoder: Encoder, references: Mapping[str, Verified], folder: Path
) -> Batches:
    """Batches of on-policy rollouts on bugs planted in the recipe's training ids. With LEDEX_TRAINING_BROKER_URL the workers attempt them;
    they find its weights in LEDEX_TRAINING_WORK. Raises DataError, ConfigurationError."""
    recipe, settings, inference = place.recipe, place.settings, load_settings()
    runner = default_runner()
    registry = registry_of(inference, settings.work / "rolling")
    attempts: Attempts
    if settings.broker_url is not None:
        attempts = partial(roll_out, settings)
    else:
        sampled = open_sampler(recipe.base_model, None, registry.folder, inference)
        attempts = in_threads(attempt_here(runner, sampled.sampler, settings.python), settings.jobs)
    return online_batches(
        policy, training_bugs(place, runner), attempts, tokens, encoder, recipe, registry, folder / "policy", references, place.say)


def training_bugs(place: Workplace, runner: Runner) -> tuple[Bug, ...]:
    """Planted in the recipe's training ids, kept in the work folder after they were planted once. Raises DataError."""
    recipe, settings = place.recipe, place.settings
    suite = load_or_make_suite(
        runner, read_tasks(training_ids(recipe.collect.ids)), recipe.collect.ids, recipe.rollouts.pool, recipe.collect.seed,
        settings.jobs, settings.work / "bugs", place.console)  # fmt: skip
    return suite.bugs
