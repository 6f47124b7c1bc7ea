"""The template teacher: for a planted bug, the explanation that its known edit and the values seen while the test ran give. Pure.

It stands in for the paper's GPT-3.5 where no larger model is at hand. It never guesses: what it says of the code is the difference of the
two texts, and what it says of the failure is what the test reported.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence

from inference.text_edits import TextEdit
from sandbox.report import Failure

_MOST = 160


def known_edit(path: str, wrong: str, right: str) -> TextEdit | None:
    """The smallest run of whole lines around the difference that occurs once in the wrong text; None where nothing differs."""
    before, after = wrong.splitlines(keepends=True), right.splitlines(keepends=True)
    codes = [c for c in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if c[0] != "equal"]
    if not codes:
        return None
    start, end, new_start, new_end = codes[0][1], codes[-1][2], codes[0][3], codes[-1][4]
    while True:
        search = "".join(before[start:end])
        if search.strip() and wrong.count(search) == 1 and (start == 0 or wrong.find(search) == len("".join(before[:start]))):
            return TextEdit(path, search, "".join(after[new_start:new_end]))
        if start > 0:
            start, new_start = start - 1, new_start - 1
        elif end < len(before):
            end, new_end = end + 1, new_end + 1
        else:
            return TextEdit(path, wrong, right)


def explain_edit(edit: TextEdit, failures: Sequence[Failure], seed: str) -> str:
    """What was seen, what the code does, and what it should do: two or three sentences, worded in one of several ways by ``seed``."""
    rng = random.Random(seed)
    old, new = _only_changed(edit)
    parts = []
    if failures:
        first = failures[0]
        said = " ".join((first.message or first.exception or "it fails").split())[:_MOST]
        name = first.test_id.split("::")[-1]
        parts.append(rng.choice((f"{name} fails with: {said}.", f"The test {name} reports: {said}.", f"When {name} runs: {said}.")))
    if old and new:
        parts.append(rng.choice((
            f"The code says `{old}`, but it should say `{new}`.",
            f"`{old}` is wrong here: it has to be `{new}`.",
            f"The cause is `{old}`. With `{new}` the result is what the test expects.")))  # fmt: skip
    elif new:
        parts.append(rng.choice((f"The step `{new}` is missing.", f"Nothing does `{new}`, which is needed here.")))
    else:
        parts.append(rng.choice((f"`{old}` must not happen here.", f"The line `{old}` is one too many.")))
    return " ".join(parts)


def _only_changed(edit: TextEdit) -> tuple[str, str]:
    """The changed lines of both sides on one line each, without what both have around them."""
    old = [line.strip() for line in edit.search.splitlines()]
    new = [line.strip() for line in edit.replace.splitlines()]
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return _short(old), _short(new)


def _short(lines: Sequence[str]) -> str:
    text = "; ".join(line for line in lines if line).replace("`", "'")
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
