"""What the model reads of a reproduced failure, packed into a budget of tokens.

The most suspicious function has the first claim, then the first failure and the first failing test; what is left of the budget goes to the
pieces that are worth most per token. The order is that of reading, not of packing, and depends on the problem alone: what comes later
(observed values, near misses, a hint) stands behind and takes no room from what stands before, so that a server's prefix cache keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from inference.blocks import shortened, split_lines
from inference.observation import observed_values
from inference.pieces import Piece, pieces
from inference.proposer import Problem
from inference.sources import Sources
from inference.touched import touched_lines
from sandbox.report import Failure

_TAIL_SHARE = 8
"""One in so many tokens is kept for what stands behind the prefix."""
_SUSPECT_SHARE, _FAILURE_SHARE, _TEST_SHARE = 0.75, 0.2, 0.35
_FAILURE_VALUE = 20.0
_WORTH_SHORTENING = 4
"""So many suspects and tests are shown in part where they do not fit, down to one part in as many: less than that tells nothing."""
_MOST_FAILURES, _MOST_TAIL, _TAIL_CHARACTERS = 5, 24, 600
_FAILURE_CHARACTERS = 12_000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_RUNNER = re.compile(r"\s+at .{0,200}\bnode:\w")
"""Stack lines of the test runner itself."""
_TELLING = re.compile(r"^\s*E  |\b(?:\w*Error|\w*Exception|expected|actual|assert\w*|panicked|FAIL\w*|got|want|left|right)\b", re.I)

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Excerpt:
    """Lines of one file, its line ends made ``\\n``, the last one without. ``first_line`` counts from 1. Where lines are left out, a line
    with ``⋯`` says so; such a line never occurs in the file."""

    path: str
    first_line: int
    text: str
    why: str


@dataclass(frozen=True)
class Context:
    """What a prompt is rendered from. ``excerpts`` begin with the most suspicious function; ``tests`` are the failing tests and what they
    use. Everything but ``task`` comes from the tree or from running it: the one who renders it delimits and neutralises it."""

    task: str
    excerpts: tuple[Excerpt, ...]
    tests: tuple[Excerpt, ...]
    failures: tuple[str, ...]
    observed: tuple[str, ...] = ()
    near_misses: tuple[str, ...] = ()
    hint: str = ""


def cost(context: Context, count_tokens: CountTokens) -> int:
    """Tokens of a context: of each of its parts, as they are priced against the budget, added up."""
    excerpts = sum(count_tokens(_priced(e)) for e in (*context.excerpts, *context.tests))
    texts = (context.task, *context.failures, *context.observed, *context.near_misses, context.hint)
    return excerpts + sum(count_tokens(_line(t)) for t in texts if t)


def build_context(
    problem: Problem,
    count_tokens: CountTokens,
    budget_tokens: int,
    *,
    touched: Mapping[str, frozenset[int]] | None = None,
    observed: Sequence[str] = (),
    near_misses: Sequence[str] = (),
    hint: str = "",
) -> Context:
    """The context of a problem, whose ``cost`` is at most ``budget_tokens``.

    ``touched`` are the lines that the pull request changed (``touched_lines``). ``count_tokens`` is asked about some hundred texts at most.
    """
    packing = _Packing(_counted(count_tokens), Sources(problem.workspace), budget_tokens - max(budget_tokens, 0) // _TAIL_SHARE)
    task = packing.text(_task(problem))
    found = pieces(problem, packing.sources, touched or {})
    suspects = [p for p in found if p.kind == "suspect"]
    tests = [p for p in found if p.kind == "test"]
    failures = [failure_text(f, problem.reproduction.output) for f in problem.reproduction.failures[:_MOST_FAILURES]]

    room = packing.left
    wanted = sum(packing.price(p) for p in tests[:1]) + sum(packing.count(_line(f)) for f in failures[:1])
    if suspects and not packing.add(suspects[0], int(room - min(wanted, room * (1 - _SUSPECT_SHARE)))):
        packing.add(suspects[0], room)
    shown = [packing.failure(text, int(max(room * _FAILURE_SHARE, packing.left / 2))) for text in failures[:1]]
    for piece in tests[:1]:
        packing.add(piece, int(max(room * _TEST_SHARE, packing.left / 2)))
    by_worth: list[tuple[float, int, Piece | str]] = [(p.value / max(packing.price(p), 1), n, p) for n, p in enumerate(found)]
    for n, text in enumerate(failures[1:], len(found)):
        by_worth.append((_FAILURE_VALUE / max(packing.count(_line(text)), 1), n, text))
    later: set[str] = set()
    for _, _, item in sorted(by_worth, key=lambda one: (-one[0], one[1])):
        if isinstance(item, Piece):
            packing.add(item, packing.left, whole=True)
        elif item not in later and packing.text(item):
            later.add(item)
    for piece in (*suspects[:_WORTH_SHORTENING], *tests[:_WORTH_SHORTENING]):
        if packing.price(piece) <= _WORTH_SHORTENING * packing.left:
            packing.add(piece, packing.left)
    shown = [t for t in dict.fromkeys([*shown, *(t for t in failures[1:] if t in later)]) if t]

    packing.left += max(budget_tokens, 0) // _TAIL_SHARE
    said = packing.text(_capped(hint))
    seen = [packing.text(_capped(t)) for t in list(observed)[:_MOST_TAIL]]
    missed = [packing.text(_capped(t)) for t in list(near_misses)[:_MOST_TAIL]]
    excerpts = [packing.chosen[p] for p in found if p in packing.chosen and p.kind not in ("test", "fixture")]
    proofs = [packing.chosen[p] for p in found if p in packing.chosen and p.kind in ("test", "fixture")]
    return Context(task, tuple(excerpts), tuple(proofs), tuple(shown), tuple(t for t in seen if t), tuple(t for t in missed if t), said)


class _Packing:
    """What is chosen so far, and how many tokens are left."""

    def __init__(self, count: CountTokens, sources: Sources, left: int) -> None:
        self.count, self.sources, self.left = count, sources, left
        self.chosen: dict[Piece, Excerpt] = {}

    def price(self, piece: Piece) -> int:
        return self.count(_priced(self._whole(piece)))

    def text(self, text: str) -> str:
        """The text where it fits, else nothing."""
        price = self.count(_line(text)) if text else 0
        if not text or price > self.left:
            return ""
        self.left -= price
        return text

    def failure(self, text: str, most: int) -> str:
        """A failure's text, shortened in the middle to ``most`` tokens."""
        most = min(most, self.left)
        if self.count(_line(text)) > most:
            lines = split_lines(text)
            telling = {n for n, line in enumerate(lines, 1) if _TELLING.search(line[:200])}
            text = shortened(lines, 1, telling, lambda t: self.count(_line(t)) <= most, text, 200) or ""
        return self.text(text)

    def add(self, piece: Piece, most: int, whole: bool = False) -> bool:
        """Choose a piece where it fits, in part unless ``whole``; not what an excerpt shows already."""
        if piece in self.chosen:
            return True
        block, most = piece.block, min(most, self.left)
        if any(p.path == piece.path and p.block.first <= block.last and block.first <= p.block.last for p in self.chosen):
            return False
        excerpt = self._whole(piece)
        if self.count(_priced(excerpt)) > most:
            text = None
            if not whole:
                lines = self.sources.lines(piece.path)[block.first - 1 : block.last]
                text = shortened(lines, block.first, piece.important, lambda t: self.count(_priced(_with(excerpt, t))) <= most,
                                 self.sources.text(piece.path))  # fmt: skip
            if text is None:
                return False
            excerpt = _with(excerpt, text)
        self.chosen[piece] = excerpt
        self.left -= self.count(_priced(excerpt))
        return True

    def _whole(self, piece: Piece) -> Excerpt:
        lines = self.sources.lines(piece.path)[piece.block.first - 1 : piece.block.last]
        return Excerpt(piece.path, piece.block.first, "\n".join(lines), piece.why)


def _with(excerpt: Excerpt, text: str) -> Excerpt:
    return Excerpt(excerpt.path, excerpt.first_line, text, excerpt.why)


def _priced(excerpt: Excerpt) -> str:
    """An excerpt about as a prompt shows it."""
    return f"{excerpt.path}, from line {excerpt.first_line} ({excerpt.why}):\n````\n{excerpt.text}\n````\n\n"


def _line(text: str) -> str:
    return f"- {text}\n"


def _counted(count_tokens: CountTokens) -> CountTokens:
    """Each text is counted once: the count may be a request to a server."""
    known: dict[str, int] = {}

    def count(text: str) -> int:
        if text not in known:
            known[text] = count_tokens(text)
        return known[text]

    return count


def _task(problem: Problem) -> str:
    failing = problem.reproduction.failing or tuple(f.test_id for f in problem.reproduction.failures)
    names = ", ".join(" ".join(_capped(t, 160).split()) for t in failing[:3])
    more = f" and {len(failing) - 3} more" if len(failing) > 3 else ""
    verb = "fails" if len(failing) == 1 else "fail"
    return f"{names}{more} {verb}. Repair the code under test. The tests are right and stay as they are; what passes must go on passing."


def failure_text(failure: Failure, output: str) -> str:
    """A failure as text: the test's id, what was raised, and what the framework printed, without colours and without its own frames."""
    body = _ANSI.sub("", failure.text or ("" if failure.frames or failure.message else output))
    body = "\n".join(line.rstrip() for line in split_lines(body) if not _RUNNER.match(line)).strip("\n")
    message = _ANSI.sub("", failure.message).strip()
    lines = [failure.test_id]
    if message[:200] not in body or not body:
        named = failure.exception and not message.startswith(failure.exception)
        lines.append(f"{failure.exception}: {message}" if named else message)
    if body:
        lines.append(body)
    else:
        lines += [f"  at {frame.path}:{frame.line} in {frame.function}" for frame in failure.frames[-12:]]
    text = "\n".join(line for line in lines if line.strip())
    if len(text) > _FAILURE_CHARACTERS:  # before any token of it is counted
        third = _FAILURE_CHARACTERS // 3
        text = f"{text[:third]}\n⋯ {len(text) - 3 * third} characters are not shown ⋯\n{text[-2 * third :]}"
    return text


def _capped(text: str, most: int = _TAIL_CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


__all__ = ["Context", "CountTokens", "Excerpt", "build_context", "cost", "failure_text", "observed_values", "touched_lines"]
