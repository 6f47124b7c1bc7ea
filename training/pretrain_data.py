"""What the small model is pretrained on: documents as rows of token ids, and the tokenizer that makes them.

The tokenizer is byte-level BPE, learned on the documents; the fixed texts of the dialogue and of an answer's form are one token each, so
that a prompt of production fits into a few hundred. Three objectives share the rows:

    plain     the document                                                                   loss on all of it
    fill      PREFIX before SUFFIX after MIDDLE middle END  (arXiv 2207.14255, "PSM")         loss on the middle
    restore   document with a damaged line, DAMAGED the line, RESTORED the line as it was     loss behind DAMAGED

The last teaches to find a line and to copy it with a change. Its damage is random, or a slip of the mutator's, of which only the piece is
written that stands once (``training.corpus_dialogue.changed_piece``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.context import Context, Excerpt
from inference.model.transformers import END, render_plainly
from inference.prompt import render_prompt
from training.benchmark.mutation import Kind, mutants
from training.corpus_dialogue import changed_piece

PREFIX, SUFFIX, MIDDLE, DAMAGED, RESTORED = "<|prefix|>", "<|suffix|>", "<|middle|>", "<|damaged|>", "<|restored|>"
PAD, STOP = "<|pad|>", "<|stop|>"
_HOLE = "\u241e"
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Row:
    """``ids`` of one sequence; the loss is on those from ``start``."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class ObjectiveOptions:
    """Rows for a document: its plain text or not, and how many of the other objectives. ``slips``: share of the restored ones whose damage
    is a slip of the mutator's, where the document offers one."""

    plain: bool = True
    fill: int = 1
    restore: int = 1
    slips: float = 0.0


def fixed_texts() -> list[str]:
    """What every dialogue of a single-file failure has in common, and the marks of an answer, longest first. None but the last of a prompt
    ends with a line end: a line of code then has the same tokens wherever it stands, with the line end before it."""
    excerpt = Excerpt("solution.py", 1, _HOLE, "")
    texts = {
        "\n\nsolution.py\n<<<<<<< SEARCH", "\n<<<<<<< SEARCH", "\n=======", "\n>>>>>>> REPLACE\n", "test_solution.py::test_first\n",
        "test_solution.py::test_second\n", "` has to be `", "The result is wrong. `", "It gives ", " instead of ", "It raises ",
        "It does not end. `", "\n +  where ", "Your patch was refused: ", "Your answer could not be used: ",
    }  # fmt: skip
    for failures in ((_HOLE,), (_HOLE, _HOLE)):
        parts = render_plainly(render_prompt(Context("", (excerpt,), (), failures), (), "explain")).split(_HOLE)
        texts.update([*(part.rstrip("\n") for part in parts[:-1]), parts[-1]])
    return sorted(texts, key=lambda text: (-len(text), text))


def train_tokenizer(texts: Sequence[str], vocabulary: int, folder: Path) -> Any:
    """A byte-level BPE of ``vocabulary`` tokens (more where that is less than the bytes and the fixed texts), saved and loaded."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [PAD, STOP, END, PREFIX, SUFFIX, MIDDLE, DAMAGED, RESTORED]
    fixed = fixed_texts()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary - len(fixed), 256 + len(special)), special_tokens=special, show_progress=False, min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in fixed])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=STOP)
    made.save_pretrained(folder)
    return made


def pretraining_rows(
    documents: Sequence[str], tokenizer: Any, most_tokens: int, seed: int, options: ObjectiveOptions = ObjectiveOptions(),
    kinds: Sequence[Kind] = ("token", "expression"),
) -> list[Row]:  # fmt: skip
    """The rows of every document, fewer where it offers none or is too long, each text once. ``kinds``: of slips."""
    rows: dict[Row, None] = {}
    marks = {name: tokenizer.convert_tokens_to_ids(name) for name in (PREFIX, SUFFIX, MIDDLE, DAMAGED, RESTORED, STOP)}

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    def add(given: Sequence[int], learned: Sequence[int]) -> None:
        if len(given) + len(learned) >= 4 and len(given) + len(learned) < most_tokens:
            rows[Row((*given, *learned, marks[STOP]), len(given))] = None

    for number, text in enumerate(documents):
        rng = random.Random(f"row/{seed}/{number}")
        whole = ids(text)
        if len(whole) >= most_tokens:
            continue
        if options.plain:
            add(whole[:1], whole[1:])
        for _ in range(options.fill):
            first, last = _span(text, rng)
            add([marks[PREFIX], *ids(text[:first]), marks[SUFFIX], *ids(text[last:]), marks[MIDDLE]], ids(text[first:last]))
        slips = _slips(text, kinds, rng, options.restore) if options.slips else []
        for _ in range(options.restore):
            damaged = slips.pop() if slips and rng.random() < options.slips else damage(text, rng)
            if damaged is not None:
                given, wrong, right = damaged
                add([*ids(given), marks[DAMAGED]], [*ids(wrong), marks[RESTORED], *ids(right)])
    return list(rows)


def _slips(text: str, kinds: Sequence[Kind], rng: random.Random, most: int) -> list[tuple[str, str, str]]:
    """Up to ``most`` of the mutator's slips on one line: (the text, the piece, the piece as it was); kinds take turns."""
    found: list[tuple[str, str, str]] = []
    for number in range(most):
        try:
            mutant = next(iter(mutants(text, kinds[number % len(kinds)], rng.randrange(1 << 30))), None)
        except (SyntaxError, ValueError, RecursionError):
            return []
        piece = changed_piece(mutant.text, text) if mutant is not None else None
        if mutant is not None and piece is not None:
            found.append((mutant.text, *piece))
    return found


def _span(text: str, rng: random.Random) -> tuple[int, int]:
    """A line, or a run of characters of at most three lines' length."""
    if rng.random() < 0.6:
        lines = text.split("\n")
        place = rng.randrange(max(len(lines) - 1, 1))
        first = len("\n".join(lines[:place])) + (place > 0)
        return first, first + len(lines[place])
    first, last = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
    return first, min(last, first + 80)


def damage(text: str, rng: random.Random) -> tuple[str, str, str] | None:
    """(the text with a damaged line, that line, the line as it was): one of its tokens replaced by another of the text, lost, or doubled.
    None where every try gives the same line again."""
    lines = text.split("\n")
    others = _TOKEN.findall(text)
    places = [n for n, line in enumerate(lines) if len(_TOKEN.findall(line)) > 2]
    for _ in range(4 if places and others else 0):
        place = rng.choice(places)
        found = rng.choice(list(_TOKEN.finditer(lines[place])))
        new = rng.choice((rng.choice(others), rng.choice(others), rng.choice(others), "", found[0] + found[0]))
        wrong = lines[place][: found.start()] + new + lines[place][found.end() :]
        if wrong != lines[place] and wrong.strip():
            return "\n".join([*lines[:place], wrong, *lines[place + 1 :]]), wrong, lines[place]
    return None
