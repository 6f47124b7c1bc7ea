"""The dialogue of a planted bug and its answer, in few words: what the small model reads and writes.

The prompt is ``inference.prompt.render_prompt``'s of a context that holds one file and what its failing tests report; the answer is
``inference.completion.render_completion``'s, read back by the same parser and edits as in production.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.completion import Malformed, Parsed, apply_edits, parse_completion, render_completion, survives
from inference.context import Context, Excerpt
from inference.prompt import Turn, render_prompt
from inference.text_edits import TextEdit
from inference.trajectory import Message
from training.teaching import known_edit

PATH = "solution.py"
_TEST_NAMES = ("test_first", "test_second")
_MOST_MESSAGE, _MOST_VALUE, _MOST_FAILURES = 160, 16, 2
_PART = re.compile(r"\w+|\s+|[^\w\s]")
_COMPARED = re.compile(r"assert (.*) == (.*)\n", re.S)


@dataclass(frozen=True)
class Planted:
    """A bug as data. ``messages``: of each shown assert, "" where it holds. ``group``: the right program's name, which splits go by.
    ``hidden``: further asserts, which a reward may count and no prompt shows.
    ``tried``: an answer that was given already and does not repair it, with the messages that it led to."""

    id: str
    group: str
    kind: str
    operator: str
    wrong: str
    right: str
    asserts: tuple[str, ...]
    messages: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    tried: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Solved:
    """What a completion makes of a bug's file: its text, or why there is none."""

    text: str | None
    explanation: str
    explanation_end: int | None
    refinement: str
    trouble: str = ""


def explain(wrong: str, right: str, messages: Sequence[str]) -> str:
    """Two sentences: what the first failing test saw, and what has to become what. "" where more than one line differs."""
    lines = changed_lines(wrong, right)
    if lines is None:
        return ""
    old, new = _changed_part(*lines)
    message = next((one for one in messages if one), "")
    compared = _COMPARED.match(message)
    if compared is not None and max(map(len, compared.groups())) <= _MOST_VALUE:
        seen = f"It gives {compared[1]} instead of {compared[2]}."
    elif compared is not None or not message:
        seen = "The result is wrong."
    else:
        seen = "It does not end." if message == "it does not end" else f"It raises {message.split(':')[0]}."
    return f"{seen} `{old}` has to be `{new}`."


def answer(wrong: str, right: str, messages: Sequence[str]) -> str | None:
    """The completion that turns one text into the other; None where that takes more than one line, or the parser would not read it."""
    if changed_lines(wrong, right) is None:
        return None
    piece = changed_piece(wrong, right)
    edit = TextEdit(PATH, *piece) if piece is not None else known_edit(PATH, wrong, right)
    if edit is None or edit.search.count("\n") > 1:
        return None
    edit = replace(edit, search=edit.search.removesuffix("\n"), replace=edit.replace.removesuffix("\n"))
    said = explain(wrong, right, messages)
    if not survives(said, [edit]):
        return None
    return render_completion(said, [edit])


def changed_piece(wrong: str, right: str) -> tuple[str, str] | None:
    """The smallest piece of the changed line that stands once, wrong and right, grown from the difference by a token to its left and to its
    right in turn: a small model copies a few tokens, and not two lines. A blank in front stays, so that the tokens are those of the file.
    None where more than one line differs, or no piece will do."""
    lines = changed_lines(wrong, right)
    if lines is None:
        return None
    before, after, (i, j), (k, m) = _difference(*lines)
    content = wrong.encode()
    for turn in range(len(before) + len(after)):
        old, new = "".join(before[i:j]), "".join(after[k:m])
        if old.strip() and new.strip():
            blank = " " if old[0].isspace() or (i and before[i - 1].isspace()) else ""
            piece = blank + old.strip(), blank + new.strip()
            found = apply_edits([TextEdit(PATH, *piece)], lambda path: content)
            if not isinstance(found, Malformed) and found[PATH] == right.encode():
                return piece
        if turn % 2 == 0 and i and k:
            i, k = i - 1, k - 1
        elif j < len(before) and m < len(after):
            j, m = j + 1, m + 1
    return None


def changed_lines(wrong: str, right: str) -> tuple[str, str] | None:
    before, after = wrong.split("\n"), right.split("\n")
    if len(before) != len(after):
        return None
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    return changed[0] if len(changed) == 1 and changed[0][0].strip() and changed[0][1].strip() else None


def _changed_part(old: str, new: str) -> tuple[str, str]:
    """The smallest runs of tokens that differ; neither is empty: a neighbour stays with what was added or lost."""
    before, after, (i, j), (k, m) = _difference(old.strip(), new.strip())
    if (i, k) == (j, m):
        return old.strip(), new.strip()
    while not ("".join(before[i:j]).strip() and "".join(after[k:m]).strip()):
        if i and k:
            i, k = i - 1, k - 1
        else:
            j, m = j + 1, m + 1
    return "".join(before[i:j]).strip().replace("`", "'"), "".join(after[k:m]).strip().replace("`", "'")


def _difference(old: str, new: str) -> tuple[list[str], list[str], tuple[int, int], tuple[int, int]]:
    """The tokens of both, and from which to which of them they differ."""
    before, after = _PART.findall(old), _PART.findall(new)
    codes = [c for c in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if c[0] != "equal"]
    if not codes:
        return before, after, (0, 0), (0, 0)
    return before, after, (codes[0][1], codes[-1][2]), (codes[0][3], codes[-1][4])


def prompt(planted: Planted, turns: Sequence[tuple[str, Sequence[str] | str]] = ()) -> tuple[Message, ...]:
    """The dialogue. ``turns``: earlier answers, each with the messages of its run or the reason why it could not be used."""
    told = [f"test_solution.py::{name}\n{_short(m)}" for name, m in zip(_TEST_NAMES, planted.messages, strict=False) if m]
    excerpt = Excerpt(PATH, 1, planted.wrong.removesuffix("\n"), "")
    context = Context("", (excerpt,), (), tuple(told[:_MOST_FAILURES]))
    return render_prompt(context, [Turn(text, _feedback(came)) for text, came in turns], "explain")


def _feedback(came: Sequence[str] | str) -> str:
    """In the manner of ``render_feedback``, one failure long."""
    if isinstance(came, str):
        return f"Your answer could not be used: {came}."
    failing = [(name, m) for name, m in zip(_TEST_NAMES, came, strict=False) if m]
    if not failing:
        return "Your patch was refused: it fails on other inputs."
    return f"Your patch was refused: {failing[0][0]} fails.\n\n```\n{_short(failing[0][1])}\n```"


def _short(message: str) -> str:
    message = message.replace("```", "'''")
    return message if len(message) <= _MOST_MESSAGE else f"{message[: _MOST_MESSAGE - 1]}…"


def solve(planted: Planted, completion: str, finished: bool = True) -> Solved:
    """Read a completion as production does, and apply it."""
    parsed = parse_completion(completion, "explain", finished)
    if isinstance(parsed, Malformed):
        return Solved(None, "", None, "", parsed.message)
    assert isinstance(parsed, Parsed)
    end = parsed.explanation_span[1] if parsed.explanation_span is not None else None
    refinement = completion[slice(*parsed.refinement_span)]
    content = planted.wrong.encode()
    changes = apply_edits(parsed.edits, lambda path: content if path == PATH else None, [Excerpt(PATH, 1, planted.wrong, "")])
    if isinstance(changes, Malformed):
        return Solved(None, parsed.explanation, end, refinement, changes.message)
    if set(changes) != {PATH} or changes[PATH] == content:
        return Solved(None, parsed.explanation, end, refinement, "the changes change nothing")
    return Solved(changes[PATH].decode("utf-8", "replace"), parsed.explanation, end, refinement)


def example(planted: Planted) -> tuple[tuple[Message, ...], str] | None:
    """The dialogue and the right answer."""
    turns = [planted.tried] if planted.tried is not None else []
    messages = planted.tried[1] if planted.tried is not None else planted.messages
    text = answer(planted.wrong, planted.right, messages)
    return (prompt(planted, turns), text) if text is not None else None
