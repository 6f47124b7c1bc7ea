"""The small model's stages after pretraining: fine-tune, sample on bugs to reward on, PPO by two rewards, measure. Each writes its folder
or file once and is passed over where that is there.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference.model import Completion, Options
from inference.patch import unified_diff
from inference.trajectory import Message
from sandbox.runner import Runner
from training.benchmark.judging import Oracle
from training.corpus_bugs import SHOWN, is_right
from training.corpus_dialogue import PATH, Planted, Solved, explain, prompt, solve
from training.corpus_execution import Job, execute_many
from training.encoder import Encoder, LexicalEncoder
from training.pretrain_recipe import SampleOptions
from training.references import code_after
from training.reward import Attempt, PaperOptions, Reward, Verified, likeness
from training.rewarded import RewardName, RewardOptions, Rollout, reward_of
from training.tokens import Tokens, token_at


def sample_answers(
    checkpoint: Path, dialogues: Sequence[Sequence[Message]], each: int, options: SampleOptions, seed: int
) -> list[tuple[tuple[int, ...], tuple[Completion, ...]]]:
    """(prompt's ids, completions) of each dialogue, by the sampler that production uses in process."""
    from inference.model.transformers import TransformersSampler

    sampler = TransformersSampler(checkpoint, batch=options.batch, device="cpu")
    # Like lengths together: a batch is as wide as its longest prompt.
    order = sorted(range(len(dialogues)), key=lambda n: (sum(len(m.content) for m in dialogues[n]), n))
    wanted = Options(each, options.temperature, max_tokens=options.completion_tokens, seed=seed, logprobs=True)
    found: dict[int, tuple[tuple[int, ...], tuple[Completion, ...]]] = {}
    group = max(options.batch // each, 1)
    for start in range(0, len(order), group):
        chosen = order[start : start + group]
        told = sampler.sample_many([dialogues[n] for n in chosen], replace(wanted, seed=seed * 1_000_003 + start), time.monotonic() + 3600)
        found |= {n: (one.prompt_token_ids or (), one.completions) for n, one in zip(chosen, told, strict=True)}
    return [found[n] for n in range(len(dialogues))]


@dataclass(frozen=True)
class Answered:
    """One sampled answer to a bug and what came of its run. ``passed`` of the shown asserts, ``hidden_passed`` of the others."""

    bug: str
    completion: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    explanation: str
    explanation_end: int | None
    text: str | None
    passed: int
    hidden_passed: int


def collect_answers(
    checkpoint: Path, bugs: Sequence[Planted], each: int, options: SampleOptions, runner: Runner, seed: int, out: Path
) -> list[Answered]:
    """Sampled and run once, then read from ``out``."""
    if out.exists():
        return read_answers(out)
    drawn = sample_answers(checkpoint, [prompt(bug) for bug in bugs], each, options, seed)
    tried = [(bug, ids, one, solve(bug, one.text, one.finish == "stop"))
             for bug, (ids, completions) in zip(bugs, drawn, strict=True) for one in completions]  # fmt: skip
    keys = list(dict.fromkeys((bug.id, solved.text) for bug, _, _, solved in tried if solved.text is not None))
    by_id = {bug.id: bug for bug in bugs}
    jobs = [Job(text, (*by_id[name].asserts, *by_id[name].hidden)) for name, text in keys]
    seen = dict(zip(keys, execute_many(runner, jobs), strict=True))
    rows = []
    for bug, ids, one, solved in tried:
        holds: list[bool] = []
        if solved.text is not None:
            ran = seen[bug.id, solved.text]
            holds = [ran.outcomes.holds(n) for n in range(len(bug.asserts) + len(bug.hidden))]
        rows.append(Answered(
            bug.id, one.text, ids, one.token_ids or (), one.logprobs or (), solved.explanation, solved.explanation_end, solved.text,
            sum(holds[:SHOWN]), sum(holds[SHOWN:])))  # fmt: skip
    write_rows(out, [asdict(row) for row in rows])
    return rows


def read_answers(file: Path) -> list[Answered]:
    """What ``collect_answers`` kept."""
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [Answered(**{**row, **{name: tuple(row[name]) for name in ("prompt_ids", "ids", "logprobs")}}) for row in rows]


def repairs(one: Answered, bug: Planted) -> bool:
    """Whether it passes all asserts, the hidden ones too."""
    return one.text is not None and one.passed == len(bug.asserts) and one.hidden_passed == len(bug.hidden)


def rewarded(
    answers: Sequence[Answered], bugs: Mapping[str, Planted], tokenizer: Any, name: RewardName, encoder: Encoder | None = None
) -> list[Rollout]:
    """The answers with their rewards. R_c^w and E_c^w of a bug are its known repair and explanation, and the answers that passed all."""
    encoder, tokens = encoder or LexicalEncoder(), Tokens(tokenizer)
    verified: dict[str, Verified] = {}
    for bug in bugs.values():
        verified[bug.id] = Verified((_code(bug, bug.right),), (explain(bug.wrong, bug.right, bug.messages),))
    for one in answers:
        bug = bugs[one.bug]
        if one.text is not None and repairs(one, bug):
            known = verified[bug.id]
            verified[bug.id] = Verified(tuple(dict.fromkeys([*known.refinements, _code(bug, one.text)])), known.explanations)
    paid: dict[tuple[str, str], Reward | None] = {}
    rollouts = []
    for one in answers:
        bug = bugs[one.bug]
        code = _code(bug, one.text) if one.text is not None else ""
        attempt = Attempt(code, one.explanation, one.passed, len(bug.asserts), one.hidden_passed, len(bug.hidden), None, ())
        key = (one.bug, one.completion)
        if key not in paid:
            paid[key] = reward_of(attempt, verified[bug.id], encoder, RewardOptions(name, PaperOptions(clip_explanation=True)))
        reward = paid[key]
        if reward is None or not one.ids:
            continue
        end = token_at(tokens.decode, one.ids, one.explanation_end) if one.explanation_end else None
        rollouts.append(Rollout(one.prompt_ids, one.ids, end, reward, one.bug, repairs(one, bug), one.logprobs))
    return rollouts


def _code(bug: Planted, text: str) -> str:
    patch = unified_diff({PATH: (bug.wrong.encode(), text.encode("utf-8", "replace"))})
    return code_after(patch.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Measured:
    """A bug of the table with its judge."""

    planted: Planted
    oracle: Oracle


def measure(
    checkpoint: Path, measured: Sequence[Measured], each: int, options: SampleOptions, runner: Runner, seed: int, out: Path,
    refine: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row for each bug: its chains of one or, with ``refine``, two answers, each with its completion, its text (where it has one),
    whether the quick look finds it right, and how like the known explanation its own is. A chain goes on where a shown assert fails, or
    nothing could be run."""
    if out.exists():
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    encoder = LexicalEncoder()
    drawn = sample_answers(checkpoint, [prompt(one.planted) for one in measured], each, options, seed)
    first = [[(c.text, solve(one.planted, c.text, c.finish == "stop")) for c in completions]
             for one, (_, completions) in zip(measured, drawn, strict=True)]  # fmt: skip
    looked = _looked(measured, first, runner)
    again = []
    for place, one in enumerate(measured):
        for number, (text, solved) in enumerate(first[place]):
            came = looked[place][number]
            if refine and not came.right and came.go_on:
                again.append((place, number, prompt(one.planted, [(text, came.messages or solved.trouble)])))
    turns = sample_answers(checkpoint, [dialogue for _, _, dialogue in again], 1, options, seed + 500_000) if again else []
    second: list[list[tuple[str, Solved]]] = [[] for _ in measured]
    for (place, _, _), (_, completions) in zip(again, turns, strict=True):
        [told] = completions
        second[place].append((told.text, solve(measured[place].planted, told.text, told.finish == "stop")))
    later = _looked(measured, second, runner)
    rows = []
    at = [0] * len(measured)
    goes = {(place, number) for place, number, _ in again}
    for place, one in enumerate(measured):
        chains = []
        for number, (text, solved) in enumerate(first[place]):
            answers = [_row(one, text, solved, looked[place][number], encoder)]
            if (place, number) in goes:
                text, solved = second[place][at[place]]
                answers.append(_row(one, text, solved, later[place][at[place]], encoder))
                at[place] += 1
            chains.append(answers)
        rows.append({"id": one.planted.id, "kind": one.planted.kind, "operator": one.planted.operator, "chains": chains})
    write_rows(out, rows)
    return rows


@dataclass(frozen=True)
class _Look:
    right: bool
    go_on: bool
    messages: tuple[str, ...]


def _looked(measured: Sequence[Measured], answers: Sequence[Sequence[tuple[str, Solved]]], runner: Runner) -> list[list[_Look]]:
    """What a run of each answer shows; each text of a bug runs once."""
    keys = list(dict.fromkeys((n, s.text) for n, own in enumerate(answers) for _, s in own if s.text is not None))
    jobs = [Job(text, (*measured[n].planted.asserts, measured[n].oracle.hidden), measured[n].oracle.calls) for n, text in keys]
    looks: dict[tuple[int, str | None], _Look] = {}
    for (n, text), seen in zip(keys, execute_many(runner, jobs), strict=True):
        messages = seen.messages[:SHOWN]
        looks[n, text] = _Look(is_right(seen, measured[n].oracle, len(messages)), any(messages), messages)
    nothing = _Look(False, True, ())
    return [[looks.get((n, s.text), nothing) for _, s in own] for n, own in enumerate(answers)]


def _row(one: Measured, text: str, solved: Solved, look: _Look, encoder: Encoder) -> dict[str, Any]:
    known = explain(one.planted.wrong, one.planted.right, one.planted.messages)
    alike = likeness(solved.explanation, [known], encoder) if solved.explanation else 0.0
    return {"completion": text, "text": solved.text if look.right else None, "read": solved.text is not None, "quick": look.right,
            "explanation": round(alike, 4)}  # fmt: skip


def reward_statistics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of a collection: how many are right, and what each segment is paid, right ones and wrong ones apart."""
    told: dict[str, float] = {"rollouts": len(rollouts), "right": statistics.fmean(one.right for one in rollouts) if rollouts else 0.0}
    for name, chosen in (("right", [r for r in rollouts if r.right]), ("wrong", [r for r in rollouts if not r.right])):
        paid = [r.reward.refinement for r in chosen]
        said = [r.reward.explanation for r in chosen if r.reward.explanation is not None]
        if paid:
            told |= {f"refinement of {name} ones": statistics.fmean(paid), f"refinement of {name} ones, largest": max(paid)}
        if said:
            told[f"explanation of {name} ones"] = statistics.fmean(said)
    return told


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One object a line, the file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    os.replace(partial, file)
