"""Rows to learn from: examples of LEDEX's three tasks for SFT, and what people accepted and rejected for KTO.

A trajectory without a verified fix, a prompt of 50,000 tokens, a dialogue that nobody judged: each is counted with its reason and left out.
The wrong code stands in the dialogue, and no loss is ever taken there: an example is a prompt and a completion, and only the completion's
tokens are learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from inference.prompt import in_mode
from inference.trajectory import Message, Round, Trajectory
from training.census import Census
from training.references import is_correct, refused_patch, with_shared_verdicts
from training.reward import LIKED, worth_of
from training.tokens import Tokens

Kind = Literal["generate", "refine", "explain"]
"""LEDEX's three tasks (section 2.2): the solution from the task, the refinement alone, the explanation and then the refinement."""


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
        refused = refused_patch(one)
        for round_ in with_shared_verdicts(one.rounds):
            if refused is not None and round_.patch == refused:
                census.leave_out("people refused it", one.id)
                kept = True
                continue
            if not is_correct(round_) or round_.completion is None or not round_.messages or round_.refinement_span is None:
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


def judged_of(trajectories: Iterable[Trajectory], tokens: Tokens, most_tokens: int, census: Census) -> list[tuple[str, str, bool]]:
    """(prompt as the model reads it, completion, liked) of every posted round that people accepted or refused; others say nothing."""
    found = []
    for one in trajectories:
        round_ = one.rounds[one.chosen] if one.chosen is not None and 0 <= one.chosen < len(one.rounds) else None
        worth = worth_of(one.feedback)
        if round_ is None or round_.completion is None or not round_.messages:
            census.leave_out("no posted round with its dialogue", one.id)
        elif worth is None:
            census.leave_out("nobody accepted or rejected it", one.id)
        else:
            prompt, completion = tokens.prompt_text(round_.messages), round_.completion
            if len(prompt) + len(completion) >= 40 * most_tokens or len(tokens.prompt(round_.messages)) >= most_tokens:
                census.leave_out("longer than the model's context", one.id)
                continue
            census.counts["accepted" if worth >= LIKED else "rejected"] += 1
            found.append((prompt, completion, worth >= LIKED))
    return found
