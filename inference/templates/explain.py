"""What a candidate changes, in words: the old and the new expression and one clause of plain English."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from inference.edits import Candidate, Edit
from inference.templates.syntax import Source
from inference.templates.unit import parse

LONGEST = 160


@dataclass(frozen=True)
class Change:
    """``old`` and ``new``: the smallest whole expression or statement around the edits, before and after (``old`` is empty for an
    insertion, ``new`` for a deletion); ``line`` of the original file; ``kind_sentence``: a clause whose subject is the patch."""

    old: str
    new: str
    template: str
    line: int
    kind_sentence: str


def describe(candidate: Candidate) -> Change:
    text, edits = candidate.function.text, candidate.edits
    source = parse(text)
    start, end = _around(source, edits)
    old, new = text[start:end], _spliced(text, edits, start, end)
    two = "+" in candidate.template
    clauses = _pair(candidate, source) if two else _clause(candidate.template, text, edits, _short(old), _short(new))
    return Change(old.strip("\r\n"), new.strip("\r\n"), candidate.template, candidate.line, clauses)


def _pair(candidate: Candidate, source: Source) -> str:
    one, _, other = candidate.template.partition("+")
    edits = candidate.edits
    clauses = []
    for template, part in ((one, edits[:1]), (other, edits[1:])) if len(edits) == 2 else ((candidate.template, edits),):
        start, end = _around(source, part)
        old, new = source.text[start:end], _spliced(source.text, part, start, end)
        clauses.append(
            _clause(template, source.text, part, _short(old), _short(new))
            if len(edits) == 2
            else f"replaces {_short(old)} with {_short(new)}"
        )
    return " and ".join(clauses)


def _around(source: Source, edits: tuple[Edit, ...]) -> tuple[int, int]:
    """The smallest expression or simple statement that holds all edits, else the edits' own extent."""
    start, end = edits[0].start, edits[-1].end
    if len(edits) == 1 and (start == end or not source.text[start:end].strip()) and ("\n" in edits[0].new or "\r" in edits[0].new):
        return start, end
    best: tuple[int, int] | None = None
    for node in ast.walk(source.tree):
        if isinstance(node, ast.expr) or isinstance(node, ast.stmt) and not hasattr(node, "body"):
            first, last = source.span(node)
            if first <= start and end <= last and (first, last) != (start, end) and (best is None or last - first < best[1] - best[0]):
                best = first, last
    if best is None or best[1] - best[0] > 3 * LONGEST and best[1] - best[0] > 2 * (end - start):
        return start, end
    return best


def _spliced(text: str, edits: tuple[Edit, ...], start: int, end: int) -> str:
    parts, at = [], start
    for edit in edits:
        parts += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*parts, text[at:end]])


def _short(text: str) -> str:
    """Code as a Markdown code span of one line. A backtick would end the span, and what comes from the project could go on as Markdown."""
    words = " ".join(text.split()).replace("`", "'")
    return f"`{words if len(words) <= LONGEST else words[: LONGEST - 1] + '…'}`"


def _clause(template: str, text: str, edits: tuple[Edit, ...], old: str, new: str) -> str:
    before, after = (_short(text[edits[0].start : edits[0].end]), _short(edits[0].new)) if len(edits) == 1 else (old, new)
    inserted = edits[-1].new if len(edits) == 1 else "".join(edit.new for edit in edits)
    match template:
        case "compare-operator":
            return f"compares with {after} instead of {before}"
        case "arithmetic-operator" | "augmented-operator" | "boolean-operator" | "unary-operator" if len(edits) == 1:
            return f"uses {after} instead of {before}"
        case "guard" | "else-branch" | "elif-branch" | "insert-exit" | "missing-return":
            return _added(template, inserted, after)
        case "condition":
            found = re.match(r"if (.*):\s*$", inserted.strip(), re.DOTALL)
            return (
                f"runs {_short(text[edits[0].start :].splitlines()[0])} only when {_short(found.group(1))}"
                if found
                else f"puts {old} under a condition"
            )
        case "strengthen":
            return f"tightens the condition {before} to {after}"
        case "weaken":
            return f"widens the condition {before} to {after}"
        case "negate" | "drop-not":
            return f"negates the condition: {after} instead of {before}"
        case "drop-condition" | "drop-filter":
            return f"drops a part of the condition: {new} instead of {old}"
        case "constant" | "flip-boolean" | "string" | "empty-container" | "regular-expression" | "format" | "near-key":
            return f"uses the value {after} instead of {before}"
        case (
            "name"
            | "near-name"
            | "attribute"
            | "near-attribute"
            | "target"
            | "builtin"
            | "method"
            | "constant-to-name"
            | "name-to-constant"
            | "synthesis"
        ):
            return f"uses {after} where {before} stood"
        case "missing-self":
            return f"adds {after}"
        case "swap-operands" | "swap-arguments" | "swap-elements" | "swap-branches" | "swap-statements":
            return f"swaps {'the ' + template.removeprefix('swap-')}: {new} instead of {old}"
        case "delete-statement":
            return f"removes {before}"
        case "insert-statement" | "copy-statement" | "initialise" | "global" | "import":
            return f"adds {_short(inserted)}" if not before.strip("`") else f"writes {after} instead of {before}"
        case "move-out" | "move-in":
            level = "out of" if template == "move-out" else "into"
            moved = min((edit.new for edit in edits if edit.new.strip() not in ("", "pass")), key=len, default=inserted)
            return f"moves {_short(moved)} {level} the block beside it"
        case (
            "unwrap"
            | "drop-operand"
            | "drop-index"
            | "drop-comparison"
            | "drop-sign"
            | "drop-call"
            | "drop-attribute"
            | "drop-branch"
            | "drop-lambda"
        ):
            return f"uses {after if len(edits) == 1 and edits[0].new else new} alone instead of {before if edits[0].new else old}"
        case "drop-argument":
            return f"leaves out an argument: {new} instead of {old}"
        case "add-argument" | "flag":
            return f"passes an argument more: {new} instead of {old}"
        case "wrap" | "cast" | "arithmetic" | "append-text" | "step" | "conditional" | "default" | "slice" | "index" | "index-to-slice":
            return (
                f"computes {after if edits[0].end > edits[0].start else new} instead of {before if edits[0].end > edits[0].start else old}"
            )
        case "mutable-default":
            return "makes the default value anew at each call instead of sharing one between calls"
        case "try":
            found = re.search(r"except (\w+):\s*(.*)", inserted)
            return f"catches {found.group(1)} and does {_short(found.group(2))} then" if found else "catches the exception"
        case "control":
            return f"does {after} instead of {before}"
        case _:
            return f"replaces {old} with {new}" if old.strip("`") else f"adds {new}"


def _added(template: str, inserted: str, after: str) -> str:
    words = " ".join(inserted.split())
    guard = re.match(r"(?:el)?if (.*?): (return|raise|continue|break)\b ?(.*)$", words)
    if guard:
        verb = {"return": "returns", "raise": "raises", "continue": "goes on with the next item", "break": "leaves the loop"}[
            guard.group(2)
        ]
        return f"adds a guard that {verb}{f' {_short(guard.group(3))}' if guard.group(3) else ''} when {_short(guard.group(1))}"
    assign = re.match(r"(?:el)?if (.*?): (.*)$", words)
    if assign:
        return f"adds a guard that does {_short(assign.group(2))} when {_short(assign.group(1))}"
    if template == "else-branch":
        return f"adds an else branch that does {_short(words.removeprefix('else: '))}"
    return f"adds {after}"
