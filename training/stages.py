"""The stages of LEDEX as ``ledex-train`` runs them: a recipe and files in, files out, each with a folder of its own where it goes on.

What was read and what was left out is told, and written to ``data.json`` beside the weights: nothing is dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from inference.settings import load_settings as load_inference_settings
from inference.trajectory import Trajectory
from sandbox.runner import Runner
from training import DataError
from training.benchmark.command import choose_ids
from training.benchmark.mbpp import read_tasks
from training.benchmark.run import load_or_make_suite
from training.census import Census, read_all, without_held_out
from training.dataset import examples_of, judged_of, tokenized
from training.encoder import Encoder, LexicalEncoder, TransformerEncoder
from training.evaluation import Evaluation, EvaluationOptions, common, evaluate, load_evaluation
from training.policy import LoraOptions, PolicyOptions, load_policy
from training.ppo import offline_batches, train
from training.problems import Planted, from_bug
from training.processes import count_processes, processes
from training.recipe import Recipe
from training.references import verified_of
from training.rewarded import rollouts_of
from training.sampling import is_adapter, name_of, open_sampler
from training.settings import TrainingSettings
from training.sft import train_kto, train_sft
from training.statistics import Promotion, judge
from training.terminal import one_line, watch
from training.tokens import Tokens

DATA = "data.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Workplace:
    """What a stage has from outside."""

    recipe: Recipe
    settings: TrainingSettings
    console: Console

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def read_data(paths: Sequence[Path], recipe: Recipe, census: Census) -> list[Trajectory]:
    """The trajectories that may be trained on; those of held-out repositories are for evaluation. Raises DataError for a missing path."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise DataError(f"there is no {', '.join(missing)}: name the folder that collect or the bot's export has written")
    return list(without_held_out(read_all(paths, census), recipe.collect.held_out, census))


def supervise(
    place: Workplace, trajectories: Sequence[Trajectory], out: Path, census: Census, method: Literal["sft", "kto"] = "sft"
) -> Path:
    """SFT, or KTO on what people accepted and rejected; returns the folder of the weights. Raises DataError."""
    recipe, tokens = place.recipe, load_tokens(place.recipe.base_model)
    checkpoint = Path(recipe.base_model)
    with watch(place.console, method) as tell:

        def on_step(step: int, log: Mapping[str, float]) -> None:
            tell(step, None, one_line(dict(log)))

        if method == "kto":
            judged = judged_of(trajectories, tokens, recipe.sft.max_tokens, census)
            _told(place, census, out)
            train_kto(checkpoint, judged, tokens, out, recipe.sft, on_step=on_step)
        else:
            rows = tokenized(examples_of(trajectories, census), tokens, recipe.sft.max_tokens, census)
            _told(place, census, out)
            train_sft(checkpoint, rows, tokens, out, recipe.sft, on_step, processes=count_processes())
    return out / "final"


def reinforce(place: Workplace, trajectories: Sequence[Trajectory], out: Path, census: Census, start: Path | None = None) -> Path:
    """PPO from ``start`` (what SFT wrote; None: the base model); returns the folder of the weights. Raises DataError."""
    recipe, together = place.recipe, processes()  # first of all: it says which accelerator is this process's
    adapter = start if start is not None and is_adapter(start) else None
    checkpoint = recipe.base_model if start is None or adapter is not None else str(start)
    tokens, encoder = load_tokens(recipe.base_model), load_encoder(place.settings)
    online = recipe.rollouts.source == "online"
    recorded = [] if online else rollouts_of(trajectories, tokens, encoder, recipe.reward, recipe.rollouts.max_tokens, census)
    _told(place, census, out)
    if not recorded and not online:
        raise DataError("there is nothing to learn from: no rollout has a reward (see what was left out)")
    lora = LoraOptions(recipe.sft.lora_rank, recipe.sft.lora_alpha) if recipe.sft.lora_rank and (start is None or adapter) else None
    options = PolicyOptions(lora, recipe.sft.precision, recipe.sft.gradient_checkpointing)
    policy = load_policy(checkpoint, options, adapter, seed=recipe.ppo.seed)
    if online:
        from training.online_run import rolling

        batches = rolling(place, policy, tokens, encoder, verified_of(trajectories), out / "rolling")
    else:
        batches = offline_batches(recorded, recipe.ppo)
    with watch(place.console, "ppo") as tell:
        train(policy, batches, recipe.ppo, out,
              report=lambda step, log: tell(step + 1, recipe.ppo.steps, one_line(dict(log))), processes=together)  # fmt: skip
    if together.is_first:
        tokens.tokenizer.save_pretrained(out / "policy")
    return out / "policy"


def measure(
    place: Workplace, runner: Runner, out: Path, weights: Path | None = None, options: EvaluationOptions | None = None,
    bugs: Sequence[Planted] | None = None,
) -> Evaluation:  # fmt: skip
    """Evaluate the base model, or ``weights``, on the recipe's planted bugs (or ``bugs``). Raises DataError, ModelError."""
    recipe = place.recipe
    bugs = planted_bugs(place, runner) if bugs is None else bugs
    sampled = open_sampler(recipe.base_model, weights, out.parent / "adapters", load_inference_settings())
    with watch(place.console, f"evaluating {weights or recipe.base_model}") as tell:
        return evaluate(
            bugs, sampled.sampler, runner, load_encoder(place.settings), options or recipe.evaluate, out, adapter=sampled.adapter,
            jobs=place.settings.jobs, python=place.settings.python, report=lambda done, total: tell(done, total, "bugs"),
            model=name_of(recipe.base_model, weights))  # fmt: skip


def planted_bugs(place: Workplace, runner: Runner) -> list[Planted]:
    """The recipe's, kept in the work folder after they were planted once."""
    chosen, seed = choose_ids(place.recipe.bugs.ids, place.recipe.bugs.seed, develop=False)
    label = f"{chosen.start}-{chosen.stop - 1}"
    suite = load_or_make_suite(
        runner, read_tasks(chosen), label, place.recipe.bugs.count, seed, place.settings.jobs, place.settings.work / "bugs", place.console)
    return [from_bug(runner, bug) for bug in suite.bugs]


def compare(place: Workplace, old: Path, new: Path) -> Promotion:
    """The gate over two files that ``measure`` wrote. Raises DataError."""
    before, after = load_evaluation(old), load_evaluation(new)
    if before.options != after.options:
        raise DataError(f"{old} and {new} were evaluated with other options: nothing follows from their difference")
    first, second = common(before, after)
    if not first.problems:
        raise DataError(f"{old} and {new} have no bug in common: evaluate both on the same bugs")
    return judge(first.scores(), second.scores(), place.recipe.gate)


def options_for(base: EvaluationOptions, mode: str, strategy: str) -> EvaluationOptions:
    return replace(base, mode=mode, strategy=strategy)  # type: ignore[arg-type]


def load_tokens(checkpoint: str | Path) -> Tokens:
    """Raises DataError."""
    from transformers import AutoTokenizer

    try:
        return Tokens(AutoTokenizer.from_pretrained(checkpoint))
    except (OSError, ValueError, KeyError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{checkpoint} has no tokenizer that transformers can load: {told}") from None


def load_encoder(settings: TrainingSettings) -> Encoder:
    """Raises DataError."""
    if settings.encoder == "lexical":
        return LexicalEncoder()
    try:
        return TransformerEncoder(settings.encoder)
    except (OSError, ValueError, KeyError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"LEDEX_TRAINING_ENCODER: {settings.encoder} cannot be loaded ({told}); `lexical` needs no weights") from None


def _told(place: Workplace, census: Census, out: Path) -> None:
    for line in census.lines():
        place.say(line)
    out.mkdir(parents=True, exist_ok=True)
    (out / DATA).write_text(json.dumps(census.to_json(), indent=2) + "\n", encoding="utf-8")
