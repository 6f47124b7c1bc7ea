"""What training reads: Trajectory files, however damaged, as examples for SFT and as rewarded rollouts for PPO.

A file that was cut, a line of a newer format, a trajectory without a verified fix, a prompt of 50,000 tokens: each is counted with its
reason, reported, and left out; nothing of it stops a run. The wrong code stands in the dialogue, and no loss is ever taken there: an
example is a prompt and a completion, and only the completion's tokens are learned.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from inference import InferenceError
from inference.prompt import in_mode
from inference.trajectory import Feedback, Message, Round, Trajectory, parse_trajectory
from training.advantage import token_at
from training.encoder import Encoder
from training.reward import Attempt, PaperOptions, Reward, Verified, gated_reward, paper_reward
from training.tokens import Tokens

Kind = Literal["generate", "refine", "explain"]
"""LEDEX's three tasks (section 2.2): the solution from the task, the refinement alone, the explanation and then the refinement."""
RewardName = Literal["paper", "gated"]
_TEST_CHECKS = frozenset({"target", "repeats", "regressions"})
"""Checks that a patch fails by what tests say. Any other refusal is for what the patch is."""
_MOST_LINE_BYTES = 64 << 20


@dataclass
class Census:
    """What was read and what was left out, by reason; ``examples`` of each reason for whoever looks for the cause."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, reason: str, where: str = "") -> None:
        self.left_out[reason] += 1
        if where:
            self.examples.setdefault(reason, where[:300])

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        for reason, count in self.left_out.most_common():
            first = f" (first: {self.examples[reason]})" if reason in self.examples else ""
            told.append(f"left out, {reason}: {count}{first}")
        return told

    def to_json(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "left_out": dict(self.left_out), "examples": dict(self.examples)}


def read_all(paths: Iterable[Path], census: Census) -> Iterator[Trajectory]:
    """The trajectories of files and folders (``*.jsonl`` below them), each id once, damaged ones counted and left out."""
    seen: set[str] = set()
    for path in sorted(file for one in paths for file in ([one] if one.is_file() else sorted(one.rglob("*.jsonl")))):
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    where = f"{path.name}:{number}"
                    found = _parsed(line, where, census)
                    if found is None:
                        continue
                    if found.id in seen:
                        census.leave_out("the same trajectory again", where)
                        continue
                    seen.add(found.id)
                    if found.problem.tree is not None and not (path.parent / found.problem.tree).exists():
                        # The dialogue is whole without it; only what would have to run again is lost.
                        census.counts["trajectories whose tree is gone"] += 1
                        found = replace(found, problem=replace(found.problem, tree=None))
                    census.counts["trajectories"] += 1
                    yield found
        except OSError as error:
            census.leave_out("file cannot be read", f"{path.name}: {error.strerror or error}")


def _parsed(line: bytes, where: str, census: Census) -> Trajectory | None:
    if not line.strip():
        return None
    if len(line) > _MOST_LINE_BYTES:
        census.leave_out("line too long", where)
        return None
    try:
        return parse_trajectory(json.loads(line), where)
    except InferenceError as error:
        newer = "upgrade" in str(error)
        census.leave_out("format of another version" if newer else "no trajectory", str(error))
    except (ValueError, RecursionError):
        census.leave_out("line is no JSON (cut?)", where)
    return None


def is_held_out(repository: str, share: float) -> bool:
    """Whether a repository (or a problem of a public set, which counts as one) belongs to the held-out split; always the same answer."""
    return int.from_bytes(hashlib.sha256(f"split:{repository}".encode()).digest()[:7], "big") / (1 << 56) < share


def group_of(trajectory: Trajectory) -> str:
    """Names the wrong code: repository, commit and failing tests. Its verified fixes are the references of all attempts at it."""
    failing = sorted(failure.test for failure in trajectory.problem.failures)
    text = json.dumps([trajectory.problem.repository, trajectory.problem.head_sha, failing])
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def code_after(patch: str) -> str:
    """The code of a patch's hunks as it reads afterwards: what CodeBLEU compares, the same for every source of patches."""
    lines = [line[1:] for line in patch.split("\n") if line[:1] in ("+", " ") and not line.startswith("+++ ")]
    return "\n".join(lines)


def is_verified(round_: Round) -> bool:
    verdict = round_.verdict or {}
    return verdict.get("refused_by", "") is None and str(verdict.get("level") or "V") >= "V3"


def verified_of(trajectories: Iterable[Trajectory]) -> dict[str, Verified]:
    """R_c^w and E_c^w of every wrong code, each text once. What people made of a patch counts as verified: they merged it."""
    found: dict[str, Verified] = {}
    for one in trajectories:
        known = found.get(group_of(one), Verified())
        rounds = [r for r in one.rounds if is_verified(r)]
        codes = [code_after(r.patch) for r in rounds] + [code_after(f.human_patch) for f in one.feedback if f.human_patch]
        said = [explanation_of(r) for r in rounds]
        found[group_of(one)] = Verified(tuple(dict.fromkeys([*known.refinements, *(c for c in codes if c.strip())])),
                                        tuple(dict.fromkeys([*known.explanations, *(e for e in said if e)])))  # fmt: skip
    return found


def explanation_of(round_: Round) -> str | None:
    """The explanation of a round; the templates' completion is the explanation alone. None in the mode ``refine``."""
    if round_.completion is None:
        return None
    if round_.explanation_span is None:
        return round_.completion.strip() if round_.origin == "templates" else None
    return round_.completion[slice(*round_.explanation_span)]


# SFT


@dataclass(frozen=True)
class Example:
    """One row of SFT: only the completion is learned."""

    kind: Kind
    messages: tuple[Message, ...]
    completion: str
    repository: str


def examples_of(trajectories: Iterable[Trajectory], census: Census) -> Iterator[Example]:
    """The paper's three tasks: each verified item is rendered twice, explanation with refinement and refinement alone (section 2.2);
    where a trajectory brings its solution (``problem.solution``) the plain generation too, once for each problem."""
    generated: set[str] = set()
    learned: set[tuple[str, ...]] = set()
    for one in trajectories:
        solution = one.problem.extra.get("solution")
        if one.problem.task and isinstance(solution, str) and one.problem.repository not in generated:
            generated.add(one.problem.repository)
            census.counts["examples: generate"] += 1
            answer = f"```python\n{solution.rstrip()}\n```\n"
            yield Example("generate", (Message("user", one.problem.task),), answer, one.problem.repository)
        kept = False
        for round_ in one.rounds:
            if not is_verified(round_) or round_.completion is None or not round_.messages or round_.refinement_span is None:
                continue
            for example in _renderings(round_, one.problem.repository):
                key = (*(m.content for m in example.messages), example.completion)
                if key not in learned:
                    learned.add(key)
                    census.counts[f"examples: {example.kind}"] += 1
                    yield example
            kept = True
        if not kept:
            census.leave_out("no verified round with its dialogue", one.id)


def _renderings(round_: Round, repository: str) -> Iterator[Example]:
    assert round_.completion is not None
    assert round_.refinement_span is not None
    start, end = round_.refinement_span
    yield Example("refine", in_mode(round_.messages, "refine"), round_.completion[start:end] + "\n", repository)
    if round_.explanation_span is not None:
        # Without what a model wrote before and behind: the canonical form is what is taught.
        said = round_.completion[slice(*round_.explanation_span)]
        yield Example("explain", in_mode(round_.messages, "explain"), f"{said}\n\n{round_.completion[start:end]}\n", repository)


def tokenized(examples: Iterable[Example], tokens: Tokens, most_tokens: int, census: Census) -> list[dict[str, list[int]]]:
    """Rows for TRL's SFTTrainer: ``input_ids`` with ``completion_mask``, 1 on what is learned. Rows that are too long are left out: cut
    in the middle they would teach to stop there."""
    rows = []
    for example in examples:
        # No tokenizer has 40 characters to a token on average: what is longer than that is not even tokenized.
        characters = sum(len(m.content) for m in example.messages) + len(example.completion)
        short = characters < 40 * most_tokens
        prompt, completion = (tokens.prompt(example.messages), tokens.completion(example.completion)) if short else ([], [])
        if not short or len(prompt) + len(completion) > most_tokens:
            census.leave_out("longer than the model's context", f"{example.repository}, {characters} characters")
            continue
        rows.append({"input_ids": [*prompt, *completion], "completion_mask": [0] * len(prompt) + [1] * len(completion)})
    census.counts["rows"] += len(rows)
    return rows


# PPO


@dataclass(frozen=True)
class Rollout:
    """One completion with its reward, as flat token arrays. ``explanation_end``: index into ``completion_ids`` of the explanation's last
    token, None where nothing is explained. ``logprobs``: of the policy that sampled it, where they were kept. ``group`` names the
    wrong code."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    explanation_end: int | None
    reward: Reward
    group: str
    right: bool
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class RewardOptions:
    """Which reward, and the paper's ambiguities."""

    name: RewardName = "paper"
    paper: PaperOptions = field(default_factory=PaperOptions)


def reward_of(attempt: Attempt, verified: Verified, encoder: Encoder, options: RewardOptions) -> Reward | None:
    scored = paper_reward if options.name == "paper" else gated_reward
    return scored(attempt, verified, encoder, options.paper)


def attempt_of(round_: Round, feedback: Sequence[Feedback] = ()) -> Attempt:
    """A recorded round as the rewards read it. In its extra fields ``hidden`` holds [passed, total] of tests that nobody was shown, and
    ``visible`` of those that were, where the round was judged without a whole verdict."""
    verdict = round_.verdict or {}
    after = _counts(verdict, "after")
    total = _counts(verdict, "before").get("total", 0) or after.get("total", 0)
    refused = verdict.get("refused_by")
    hidden_passed, hidden_total = _pair(round_, "hidden") or (0, 0)
    passed, total = _pair(round_, "visible") or (after.get("passed", 0), total)
    return Attempt(
        code_after(round_.patch), explanation_of(round_), min(passed, total), max(total, 1), hidden_passed, hidden_total,
        str(refused) if refused is not None and refused not in _TEST_CHECKS else None, tuple(feedback))  # fmt: skip


def _pair(round_: Round, name: str) -> tuple[int, int] | None:
    match round_.extra.get(name):
        case [int(passed), int(total)] if total > 0:
            return passed, total
    return None


def _counts(verdict: Mapping[str, Any], when: str) -> Mapping[str, int]:
    counts = verdict.get("counts")
    found = counts.get(when) if isinstance(counts, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rollouts_of(
    trajectories: Sequence[Trajectory], tokens: Tokens, encoder: Encoder, options: RewardOptions, most_tokens: int, census: Census,
    verified: Mapping[str, Verified] | None = None,
) -> list[Rollout]:  # fmt: skip
    """Every recorded round that a model sampled, right or wrong (section 3), with its reward. ``verified``: references from elsewhere,
    such as the collected data while rollouts are fresh."""
    references = {**(verified or {}), **{g: v for g, v in verified_of(trajectories).items() if not verified or g not in verified}}
    rollouts = []
    for one in trajectories:
        group = group_of(one)
        for number, round_ in enumerate(one.rounds):
            if round_.completion is None or not round_.messages:
                census.leave_out("round without a dialogue", one.id)
                continue
            feedback = one.feedback if number == one.chosen else ()
            attempt = attempt_of(round_, feedback)
            reward = reward_of(attempt, references.get(group, Verified()), encoder, options)
            if reward is None:
                census.leave_out("nobody has repaired this code: the paper's scores are undefined", one.id)
                continue
            rollout = _rollout(round_, reward, group, bool(is_verified(round_)), tokens, most_tokens)
            if rollout is None:
                census.leave_out("longer than the model's context", one.id)
                continue
            census.counts["rollouts"] += 1
            rollouts.append(rollout)
    return rollouts


def _rollout(round_: Round, reward: Reward, group: str, right: bool, tokens: Tokens, most_tokens: int) -> Rollout | None:
    completion = round_.completion or ""
    if sum(len(m.content) for m in round_.messages) + len(completion) >= 40 * most_tokens:
        return None
    prompt = tokens.prompt(round_.messages)
    # Token ids of another model's tokenizer would be noise: they, and the log-probabilities of them, count where they say this completion.
    own = round_.token_ids is not None and tokens.decode(round_.token_ids).startswith(completion)
    ids = list(round_.token_ids or ()) if own else tokens.completion(completion)
    if len(prompt) + len(ids) > most_tokens or not ids:
        return None
    end = token_at(tokens.decode, ids, round_.explanation_span[1]) if round_.explanation_span is not None else None
    logprobs = round_.logprobs if own and round_.logprobs and len(round_.logprobs) == len(ids) else None
    return Rollout(tuple(prompt), tuple(ids), end, reward, group, right, logprobs)
