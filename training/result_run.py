"""``ledex-train table``: from nothing to the small model's table in one folder. Every stage is kept; run again, it goes on.

    data/                                       documents, bugs, card.json
    base/                                       tokenizer, pretrained model, its curves
    seed-N/sft, ppo-paper, ppo-gated            models, curves; answers.jsonl is what was rewarded, rewards.json its statistics
    measured.jsonl                              the bugs of the table
    measured-base.jsonl, seed-N/measured-*.jsonl every answer to them
    verdicts.jsonl                              production's verification of every repair
    table.md, table.json, table.png
"""

from __future__ import annotations

import functools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training import DataError
from training.benchmark.judging import Oracle
from training.benchmark.mbpp import REPORTED, STATISTICS, Bug, Task, read_tasks
from training.benchmark.mutation import Mutant
from training.corpus import LEARNED, REWARDED, build_corpus, read_bugs, read_documents
from training.corpus_bugs import Refused, from_json, plant_measured, to_json
from training.corpus_dialogue import Planted, example
from training.corpus_execution import make_oracles
from training.pretrain import DONE, FitOptions, fit, load_model, new_model
from training.pretrain_data import Row, pretraining_rows, train_tokenizer
from training.pretrain_recipe import SmallRecipe
from training.result_stages import Measured, collect_answers, measure, reward_statistics, rewarded, write_rows
from training.result_table import STAGES, column, draw, figures, markdown
from training.result_verify import judged, repairs, verify_repairs
from training.rewarded import RewardName, Rollout, centred, mixed
from training.tokens import Tokens

Tell = Callable[[str], None]
_REWARDS: tuple[RewardName, ...] = ("paper", "gated")


def pretrain(recipe: SmallRecipe, runner: Runner, out: Path, tell: Tell, most_seconds: float = float("inf")) -> Path | None:
    """Data, tokenizer and base model below ``out``; the model's folder, or None where the time was up first."""
    build_corpus(runner, recipe.corpus, out / "data", tell)
    base = out / "base"
    if (base / DONE).exists():
        return base / "model"
    documents = read_documents(out / "data")
    tokenizer = _tokenizer(base / "tokenizer", documents, recipe, out)
    rows = pretraining_rows(
        documents, tokenizer, recipe.pretrain.longest, recipe.pretrain.seed, recipe.objectives, recipe.corpus.kinds)  # fmt: skip
    rows = random.Random(recipe.pretrain.seed).sample(rows, len(rows))
    model = new_model(recipe.model, tokenizer, recipe.pretrain.seed)
    count = sum(one.numel() for one in model.parameters())
    tell(f"pretraining {count:,} parameters, vocabulary {len(tokenizer)}, on {len(rows)} rows, {sum(len(r.ids) for r in rows):,} tokens")
    whole = fit(model, tokenizer, rows, recipe.pretrain, base, _progress("base", tell), most_seconds)
    return base / "model" if whole else None


def _tokenizer(folder: Path, documents: Sequence[str], recipe: SmallRecipe, out: Path) -> Any:
    if (folder / "tokenizer.json").exists():
        return _load_tokenizer(folder)
    # The answers' and failures' words too, or every digit of them is a token.
    examples = [made for bug in read_bugs(out / "data" / LEARNED)[:2000] if (made := example(bug)) is not None]
    texts = [*documents, *(m.content for messages, _ in examples for m in messages[2:]), *(text for _, text in examples)]
    return train_tokenizer(texts, recipe.model.vocabulary, folder)


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def sft_rows(bugs: Sequence[Planted], tokenizer: Any) -> list[Row]:
    """Dialogue and answer of each bug; only the answer is learned."""
    tokens = Tokens(tokenizer)
    rows = []
    for bug in bugs:
        made = example(bug)
        if made is not None:
            asked, told = tokens.prompt(made[0]), tokens.completion(made[1])
            rows.append(Row((*asked, *told), len(asked)))
    return rows


def fine_tune(recipe: SmallRecipe, out: Path, seed: int, tell: Tell, most_seconds: float = float("inf")) -> bool:
    """``seed-N/sft`` from the base model; whether it is at its end."""
    seed = recipe.seeds[0] if recipe.one_sft else seed
    folder = out / f"seed-{seed}" / "sft"
    if (folder / DONE).exists():
        return True
    tokenizer = _load_tokenizer(out / "base" / "model")
    rows = sft_rows(read_bugs(out / "data" / LEARNED), tokenizer)
    rows = random.Random(f"sft/{recipe.sft.seed}").sample(rows, len(rows))
    options = _seeded(recipe.sft, seed)
    return fit(load_model(out / "base" / "model"), tokenizer, rows, options, folder, _progress(f"sft {seed}", tell), most_seconds)


def _seeded(options: FitOptions, seed: int) -> FitOptions:
    return FitOptions(**{**asdict(options), "seed": seed})


def reinforce(recipe: SmallRecipe, runner: Runner, out: Path, seed: int, name: RewardName, tell: Tell) -> Path:
    """``seed-N/ppo-NAME`` from ``seed-N/sft``; the model's folder. Both rewards begin with the same answers."""
    from training.policy import PolicyOptions, load_policy
    from training.ppo import PpoOptions, offline_batches, train
    from training.result_value import fit_value_head

    folder = out / f"seed-{seed}" / f"ppo-{name}"
    done = folder / "rewards.json"
    if done.exists():
        return folder / "policy"
    start = _checkpoint(recipe, out, seed, "sft")
    tokenizer = _load_tokenizer(start)
    bugs = read_bugs(out / "data" / REWARDED)
    options = PpoOptions(**{**recipe.ppo.__dict__, "seed": seed})
    policy = load_policy(start, PolicyOptions(lora=None, precision=recipe.sft.precision), device="cpu", seed=seed)
    told: dict[str, float] = {}

    @functools.cache
    def collected(number: int) -> Sequence[Rollout]:
        # One fine-tuned model gives one collection.
        drawn = recipe.seeds[0] if recipe.one_sft and not number else seed
        sampler, kept = start, out / f"seed-{drawn}" / "answers.jsonl"
        if number:
            sampler, kept = folder / "sampled", folder / f"answers-{number}.jsonl"
            if not kept.exists():
                policy.save(sampler)
                tokenizer.save_pretrained(sampler)
        chosen = random.Random(f"rewarded/{drawn}/{number}").sample(bugs, min(recipe.rewarded.bugs, len(bugs)))
        answers = collect_answers(sampler, chosen, recipe.rewarded.samples, recipe.sample, runner, drawn + 1000 * number, kept)
        rollouts = rewarded(answers, {bug.id: bug for bug in chosen}, tokenizer, name)
        found = reward_statistics(rollouts)
        told.update({f"round {number}: {k}": v for k, v in found.items()})
        tell(f"ppo-{name} {seed}, round {number}: {', '.join(f'{k} {v:.3g}' for k, v in found.items())}")
        if recipe.rewarded.mixed:
            # A model that is never or always right gives none: then all are taken.
            rollouts = mixed(rollouts) or rollouts
        return centred(rollouts) if recipe.rewarded.centred else rollouts

    each = -(-options.steps // recipe.rewarded.rounds)

    def batches(step: int) -> Sequence[Rollout]:
        number, own = divmod(step, each)
        return offline_batches(collected(number), options)(own)

    told["variance that the value head explains at the start"] = fit_value_head(policy, collected(0), options.advantage)
    train(policy, batches, options, folder)
    tokenizer.save_pretrained(folder / "policy")
    done.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return folder / "policy"


def measured_bugs(recipe: SmallRecipe, runner: Runner, out: Path, tell: Tell) -> list[tuple[Bug, Planted]]:
    """The table's bugs, made once. Raises DataError for ids that are learned from, or reported ids with a seed for developing."""
    file = out / "measured.jsonl"
    if file.exists():
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [(_bug(row["bug"]), planted) for row, planted in zip(rows, from_json(row["planted"] for row in rows), strict=True)]
    options = recipe.measured
    first, _, last = options.ids.partition("-")
    try:
        ids = range(int(first), int(last or first) + 1)
    except ValueError:
        raise DataError(f"measured.ids is {options.ids}: write FROM-TO") from None
    if set(ids) & set(STATISTICS):
        raise DataError(f"the ids {options.ids} reach into 601-974, which are learned from")
    if set(ids) & set(REPORTED) and options.seed < 1000:
        raise DataError("MBPP 11-510 are for reported figures: give a seed from 1000 on, or measure on 511-600")
    tasks = [task for task in read_tasks(ids) if len(task.program) <= options.longest]
    oracles = make_oracles(runner, tasks, options.seed)
    refused = Refused()
    found = plant_measured(runner, tasks, oracles, recipe.corpus.kinds, options.seed, refused)
    found = sorted(random.Random(options.seed).sample(found, min(options.bugs, len(found))), key=lambda pair: pair[0].task.id)
    tell(f"{len(found)} bugs to measure on; of {len(ids)} ids {len(tasks)} are short enough, {len(oracles)} can be judged")
    write_rows(file, [{"bug": asdict(bug), "planted": to_json(planted)} for bug, planted in found])
    return found


def _bug(row: Mapping[str, Any]) -> Bug:
    task = Task(row["task"]["id"], row["task"]["program"], tuple(row["task"]["asserts"]))
    oracle = Oracle(row["oracle"]["hidden"], tuple(row["oracle"]["calls"]), tuple(row["oracle"]["expected"]))
    return Bug(row["id"], task, Mutant(**row["mutant"]), oracle)


def run_table(
    recipe: SmallRecipe, runner: Runner, out: Path, tell: Tell, seeds: Sequence[int] | None = None, verify_seconds: float = float("inf")
) -> Path:
    """All stages of these seeds (the recipe's), then the table of all of the recipe's seeds that are measured; its file."""
    base = pretrain(recipe, runner, out, tell)
    assert base is not None
    bugs: list[tuple[Bug, Planted]] = []
    for seed in seeds if seeds is not None else recipe.seeds:
        fine_tune(recipe, out, seed, tell)
        bugs = bugs or measured_bugs(recipe, runner, out, tell)
        measure_stage(recipe, runner, out, seed, "base", bugs, tell)
        measure_stage(recipe, runner, out, seed, "sft", bugs, tell)
        for name in _REWARDS:
            reinforce(recipe, runner, out, seed, name, tell)
            measure_stage(recipe, runner, out, seed, f"ppo-{name}", bugs, tell)
    return write_table(recipe, runner, out, {bug.id: bug for bug, _ in bugs}, tell, verify_seconds)


def measure_stage(
    recipe: SmallRecipe, runner: Runner, out: Path, seed: int, stage: str, bugs: Sequence[tuple[Bug, Planted]], tell: Tell
) -> None:
    """Sample and run a stage's answers to the table's bugs, once."""
    found = [Measured(planted, bug.oracle) for bug, planted in bugs]
    each = 1 if stage == "base" else recipe.measured.samples  # it cannot write an answer's form: one chain says so
    rows = measure(_checkpoint(recipe, out, seed, stage), found, each, recipe.sample, runner, seed, _rows_of(out, seed, stage))
    first = [chain[0]["quick"] for row in rows for chain in row["chains"]]
    later = [any(one["quick"] for one in chain) for row in rows for chain in row["chains"]]
    read = [chain[0]["read"] for row in rows for chain in row["chains"]]
    rates = [100 * sum(one) / max(len(one), 1) for one in (first, later, read)]
    tell(f"{stage} {seed}: right at the quick look {rates[0]:.2f} %, after one refinement {rates[1]:.2f} %; readable {rates[2]:.1f} %")


def write_table(
    recipe: SmallRecipe, runner: Runner, out: Path, bugs: Mapping[str, Bug], tell: Tell, verify_seconds: float = float("inf")
) -> Path:
    """Verify what the measured seeds repaired, and write ``table.md``, ``table.json`` and ``table.png``. Raises DataError for no seed."""
    seeds = [seed for seed in recipe.seeds if all(_rows_of(out, seed, stage).exists() for stage in STAGES)]
    if not seeds:
        raise DataError(f"{out} holds no seed with all stages measured: run the table of one")
    rows = {stage: [[json.loads(line) for line in _rows_of(out, seed, stage).read_text(encoding="utf-8").splitlines()] for seed in seeds]
            for stage in STAGES}  # fmt: skip
    wanted = repairs(row for own in rows.values() for one in own for row in one)
    verdicts = verify_repairs(bugs, wanted, runner, out / "verdicts.jsonl", lambda done, total: tell(f"verified {done} of {total}"),
                              verify_seconds, time.monotonic)  # fmt: skip
    missing = sum(key not in verdicts for texts in wanted.values() for key in texts)
    looked = sum(map(len, wanted.values())) - missing
    refused = sum(not verdicts[key]["accepted"] for texts in wanted.values() for key in texts if key in verdicts)
    columns = {stage: column([judged(one, verdicts) for one in own], own) for stage, own in rows.items()}
    told = figures(columns)
    kinds = sorted({row["kind"] for row in rows["base"][0]})
    about = [
        f"{len(rows['base'][0])} bugs planted in MBPP {recipe.measured.ids} ({', '.join(kinds)}; one line each), seeds "
        f"{', '.join(map(str, seeds))}, {recipe.measured.samples} chains a bug and seed at temperature {recipe.sample.temperature:g}."
        f"{' One SFT model for all seeds.' if recipe.one_sft else ''}",
        "Percent with 95 % intervals, bootstrapped over seeds and bugs; differences paired, * where the interval excludes 0.",
        f"PPO: {recipe.rewarded.rounds} collections of {recipe.rewarded.samples} answers to {recipe.rewarded.bugs} bugs"
        f"{', rewards less the mean of the other answers' if recipe.rewarded.centred else ''}; the paper's R(e) is clipped to -5 to 5.",
        f"Right: shown and hidden asserts hold and held-back inputs give what the reference gives (run in the sandbox). Of the different "
        f"repairs {looked} went through production's verification, which refused {refused}: these count as wrong; {missing} did not go.",
    ]  # fmt: skip
    table = out / "table.md"
    table.write_text(markdown(told, about), encoding="utf-8")
    (out / "table.json").write_text(json.dumps({"seeds": seeds, "bugs": len(rows["base"][0]), **told}, indent=2) + "\n", encoding="utf-8")
    draw(out, told, seeds)
    return table


def _checkpoint(recipe: SmallRecipe, out: Path, seed: int, stage: str) -> Path:
    if stage == "base":
        return out / "base" / "model"
    if stage == "sft":
        return out / f"seed-{recipe.seeds[0] if recipe.one_sft else seed}" / stage / "model"
    return out / f"seed-{seed}" / stage / "policy"


def _rows_of(out: Path, seed: int, stage: str) -> Path:
    """The base is one model, measured once."""
    return out / "measured-base.jsonl" if stage == "base" else out / f"seed-{seed}" / f"measured-{stage}.jsonl"


def _progress(name: str, tell: Tell) -> Callable[[int, int, float], None]:
    def report(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps:
            tell(f"{name}: step {step} of {steps}, loss {loss:.3f}")

    return report
