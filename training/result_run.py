"""``ledex-train table``: from nothing to the small model's table in one folder. Every stage is kept; run again, it goes on.

    data/                                       documents, bugs, card.json
    base/                                       tokenizer, pretrained model, its curves
    seed-N/sft, ppo-paper, ppo-gated            models, curves; answers-*.jsonl is what was rewarded, rewards.json its statistics
    measured.jsonl                              the bugs of the table
    measured-base.jsonl, seed-N/measured-*.jsonl every answer to them
    verdicts.jsonl                              production's verification of every repair
    table.md, table.json, table.png
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.runner import Runner
from training import DataError
from training.benchmark.mbpp import Bug
from training.corpus import LEARNED, build_corpus, read_bugs, read_documents
from training.corpus_dialogue import Planted, example
from training.pretrain import DONE, FitOptions, fit, load_model, new_model
from training.pretrain_data import Row, pretraining_rows, train_tokenizer
from training.pretrain_recipe import SmallRecipe
from training.result_measured import measured_bugs
from training.result_ppo import checkpoint_of, load_tokenizer, reinforce
from training.result_stages import Measured, measure
from training.result_table import STAGES, column, draw, figures, markdown
from training.result_verify import judged, repairs, verify_repairs
from training.rewarded import RewardName
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
        return load_tokenizer(folder)
    # The answers' and failures' words too, or every digit of them is a token.
    examples = [made for bug in read_bugs(out / "data" / LEARNED)[:2000] if (made := example(bug)) is not None]
    texts = [*documents, *(m.content for messages, _ in examples for m in messages[2:]), *(text for _, text in examples)]
    return train_tokenizer(texts, recipe.model.vocabulary, folder)


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
    folder = out / f"seed-{seed}" / "sft"
    if (folder / DONE).exists():
        return True
    tokenizer = load_tokenizer(out / "base" / "model")
    rows = sft_rows(read_bugs(out / "data" / LEARNED), tokenizer)
    rows = random.Random(f"sft/{recipe.sft.seed}").sample(rows, len(rows))
    options = _seeded(recipe.sft, seed)
    return fit(load_model(out / "base" / "model"), tokenizer, rows, options, folder, _progress(f"sft {seed}", tell), most_seconds)


def _seeded(options: FitOptions, seed: int) -> FitOptions:
    return FitOptions(**{**asdict(options), "seed": seed})


def run_table(
    recipe: SmallRecipe, runner: Runner, out: Path, tell: Tell, seeds: Sequence[int] | None = None, verify_seconds: float = float("inf")
) -> Path:
    """All stages of these seeds (the recipe's), then the table of all of the recipe's seeds that are measured; its file."""
    base = pretrain(recipe, runner, out, tell)
    assert base is not None
    bugs: list[tuple[Bug, Planted]] = []
    for seed in seeds if seeds is not None else recipe.seeds:
        fine_tune(recipe, out, seed, tell)
        bugs = bugs or measured_bugs(recipe, runner, out / "measured.jsonl", tell)
        measure_stage(recipe, runner, out, seed, "base", bugs, tell)
        measure_stage(recipe, runner, out, seed, "sft", bugs, tell)
        for name in _REWARDS:
            reinforce(recipe, runner, out, seed, name, out / f"seed-{seed}" / f"ppo-{name}", tell)
            measure_stage(recipe, runner, out, seed, f"ppo-{name}", bugs, tell)
    return write_table(recipe, runner, out, {bug.id: bug for bug, _ in bugs}, tell, verify_seconds)


def measure_stage(
    recipe: SmallRecipe, runner: Runner, out: Path, seed: int, stage: str, bugs: Sequence[tuple[Bug, Planted]], tell: Tell
) -> None:
    """Sample and run a stage's answers to the table's bugs, once."""
    found = [Measured(planted, bug.oracle) for bug, planted in bugs]
    each = 1 if stage == "base" else recipe.measured.samples  # it cannot write an answer's form: one chain says so
    rows = measure(checkpoint_of(out, seed, stage), found, each, recipe.sample, runner, seed, _rows_of(out, seed, stage))
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
        f"{', '.join(map(str, seeds))}, {recipe.measured.samples} chains a bug and seed at temperature {recipe.sample.temperature:g}.",
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


def _rows_of(out: Path, seed: int, stage: str) -> Path:
    """The base is one model, measured once."""
    return out / "measured-base.jsonl" if stage == "base" else out / f"seed-{seed}" / f"measured-{stage}.jsonl"


def _progress(name: str, tell: Tell) -> Callable[[int, int, float], None]:
    def report(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps:
            tell(f"{name}: step {step} of {steps}, loss {loss:.3f}")

    return report
