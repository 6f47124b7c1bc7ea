"""The embedded proposer's explanations: written from what was observed (which test, which values, what the old and the new code do)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.edits import Candidate
from inference.templates import describe
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Unit
from sandbox.report import Failure

if TYPE_CHECKING:
    from inference.proposer import Problem

_SHORT = 90


@dataclass(frozen=True)
class Observation:
    """What one expression was during the failing test: ``text`` of the expression, ``values`` in order (as repr), and the first call's
    arguments."""

    text: str
    values: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]


def explain(problem: Problem, server: CandidateServer, candidate: Candidate, alternatives: int) -> str:
    """Two to four sentences for a person; every value in them was seen in a run."""
    failure = next(
        (f for f in problem.reproduction.failures if _covers(problem, f.test_id, candidate)), problem.reproduction.failures[0])  # fmt: skip
    before = observe(server, candidate, failure.test_id, patched=False)
    after = observe(server, candidate, failure.test_id, patched=True)
    return compose(failure, candidate, before, after, len(problem.reproduction.failing), alternatives)


def compose(
    failure: Failure, candidate: Candidate, before: Observation | None, after: Observation | None, failing: int, alternatives: int
) -> str:
    """The sentences, from plain values."""
    function = candidate.function
    where = f"{_short(function.path, 200)}:{candidate.line}"
    name = "the module's top level" if function.qualname == "<module>" else f"`{function.qualname}`"
    others = f" (and {failing - 1} more)" if failing > 1 else ""
    what = failure.message.strip().splitlines()
    shown = what[0] if what else failure.exception
    raised = (
        "" if failure.exception in ("AssertionError", "Failed", "") or shown.startswith(failure.exception) else f"{failure.exception}: "
    )
    sentences = [f"`{_short(failure.test_id, 200)}`{others} fails with `{_short(raised + shown, 200)}`."]
    change = describe(candidate)
    arguments = before.arguments if before is not None else ()
    given = ", ".join(f"{k}={_short(v, 40)}" for k, v in arguments[:4] if k not in ("self", "cls"))
    call = f" when {name} is called with {given}" if given else f" in {name}"
    if before is not None and before.values:
        sentences.append(f"At {where}, `{_short(before.text)}` gives `{_values(before.values)}`{call}.")
    else:
        sentences.append(f"It goes wrong at {where}{call}.")
    clause = change.kind_sentence.rstrip(".")
    effect = ""
    if after is not None and after.values and before is not None and after.values != before.values:
        effect = f": `{_short(after.text)}` gives `{_values(after.values)}`"
    sentences.append(f"The patch {clause}{effect}, and the test passes.")
    if alternatives:
        plural = "s" if alternatives > 1 else ""
        sentences.append(f"{alternatives} other behaviour{plural} also passed the tests that were run; read the change before merging.")
    return " ".join(sentences)


def observe(server: CandidateServer, candidate: Candidate, test: str, patched: bool) -> Observation | None:
    """Values of the smallest expression around the edit, in the original or in the patched function; None where nothing was seen."""
    function = candidate.function
    if function.qualname == "<module>" or not candidate.edits:
        return None
    text = candidate.apply() if patched else function.text
    first = candidate.edits[0]
    end = first.start + len(first.new) if patched else first.end
    node = smallest_expression(text, first.start, end)
    edits = [(e.start, e.end, e.new) for e in candidate.edits] if patched else []
    unit = Unit(function.path, function.qualname, function.start, function.end)
    places = [(node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0)] if node is not None else []
    try:
        answer = server.observe(unit, edits, places, test)
    except CandidateServerError:
        return None
    values = tuple(str(v[1]) for v in answer.get("values", []) if len(v) == 2)
    arguments = tuple((str(k), str(v)) for k, v in (answer.get("arguments") or [{}])[0].items())
    return Observation((ast.get_source_segment(text, node) or "") if node is not None else "", values, arguments)


def smallest_expression(text: str, start: int, end: int) -> ast.expr | None:
    """The smallest expression whose source covers the characters start..end and whose value says something (no name, no constant)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    (line, column), (end_line, end_column) = _position(text, start), _position(text, end)
    best: ast.expr | None = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or isinstance(node, (ast.Starred, ast.JoinedStr, ast.FormattedValue)):
            continue
        covers = (node.lineno, node.col_offset) <= (line, column) and (node.end_lineno or 0, node.end_col_offset or 0) >= (
            end_line,
            end_column,
        )
        literal = isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)  # -2 is -2
        telling = not literal and not isinstance(node, (ast.Constant, ast.Name)) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        if covers and telling and (best is None or _inside(node, best)):
            best = node
    return best


def _inside(inner: ast.expr, outer: ast.expr) -> bool:
    return (inner.lineno, inner.col_offset) >= (outer.lineno, outer.col_offset) and (
        (inner.end_lineno or 0, inner.end_col_offset or 0) <= (outer.end_lineno or 0, outer.end_col_offset or 0)
    )


def _position(text: str, offset: int) -> tuple[int, int]:
    """1-based line and UTF-8 byte column of a character offset, as ``ast`` counts them."""
    head = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    if offset and text[offset - 1 : offset + 1] == "\r\n":
        head = head[:-1]
    return head.count("\n") + 1, len(head.rsplit("\n", 1)[-1].encode())


def _covers(problem: Problem, test_id: str, candidate: Candidate) -> bool:
    lines = problem.reproduction.coverage.lines.get(candidate.function.path, {}).get(test_id, frozenset())
    return bool(lines & candidate.function.lines)


def _values(values: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(values))
    shown = ", then ".join(_short(v, 60) for v in distinct[:3])
    return shown + (", ..." if len(distinct) > 3 else "")


def _short(text: str, most: int = _SHORT) -> str:
    text = " ".join(text.split()).replace("`", "'")
    return text if len(text) <= most else text[: most - 3] + "..."
