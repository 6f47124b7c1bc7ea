"""What the most suspicious Python functions did in a failing test: their arguments and the values that decide what they return."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from inference.localization import Suspect
from inference.proposer import Problem
from inference.schedule import unit_of
from inference.sources import line_of
from inference.templates.unit import Definition, parse, units
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer

_MOST_SUSPECTS, _MOST_PLACES, _MOST_CALLS, _MOST_SENTENCES, _SHORT = 3, 12, 2, 16, 60
_Place = tuple[int, int, int, int]


def observed_values(problem: Problem, server: CandidateServer, suspects: Sequence[Suspect] | None = None) -> tuple[str, ...]:
    """Sentences such as ``total(items=[3]) was called at src/cart.py:12``; empty where the project has no warm tiers.

    One run of a failing test for each of the first few ``suspects`` (by default the problem's own). Values are texts, shortened.
    """
    failing = problem.reproduction.failing
    if problem.bench.plan.framework not in ("pytest", "unittest") or not failing:
        return ()
    sentences: list[str] = []
    functions = [s.function for s in (problem.suspects if suspects is None else suspects) if s.function.qualname != "<module>"]
    for function in functions[:_MOST_SUSPECTS]:
        node = definition_of(function.text, function.qualname, function.start)
        if node is None:
            continue
        lines = problem.reproduction.coverage.lines.get(function.path, {})
        test = next((t for t in failing if lines.get(t, frozenset()) & function.lines), failing[0])
        places = _places(node, function.hot)
        try:
            seen = server.observe(unit_of(function), (), list(places), test)
        except CandidateServerError:
            break
        name = function.qualname.replace("<locals>.", "")
        calls = [", ".join(f"{k}={_short(v)}" for k, v in call.items() if k not in ("self", "cls"))
                 for call in seen.get("arguments", ()) if isinstance(call, dict)]  # fmt: skip
        sentences += [f"{name}({given}) was called at {function.path}:{node.lineno}" for given in list(dict.fromkeys(calls))[:_MOST_CALLS]]
        values: dict[int, list[str]] = {}
        for pair in seen.get("values", ()):
            if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int):
                values.setdefault(pair[0], []).append(_short(pair[1]))
        for number, (place, source) in enumerate(places.items()):
            distinct = list(dict.fromkeys(values.get(number, ())))
            if distinct:
                more = ", ..." if len(distinct) > 3 else ""
                sentences.append(f"{_short(source)} was {', then '.join(distinct[:3])}{more} at {function.path}:{place[0]}")
    return tuple(sentences[:_MOST_SENTENCES])


def definition_of(text: str, qualname: str, start: int) -> Definition | None:
    """The function of this name that begins at this character of a file; None for what cannot be parsed or is not there."""
    try:
        found = [node for name, node, _ in units(parse(text)) if name == qualname]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    first = line_of(text, start)
    return next((n for n in found if first <= n.lineno <= first + 40), None)


def _places(node: Definition, hot: int | None) -> dict[_Place, str]:
    """Expressions whose values say most: what is returned, what conditions asked, and what the raising line computed."""
    found: dict[_Place, str] = {}

    def add(expression: ast.expr | None) -> None:
        if expression is None or isinstance(expression, (ast.Constant, ast.JoinedStr, ast.Starred, ast.Lambda)):
            return
        place = (expression.lineno, expression.col_offset, expression.end_lineno or 0, expression.end_col_offset or 0)
        if len(found) < _MOST_PLACES:
            found.setdefault(place, ast.unparse(expression))

    if hot is not None:
        for inner in ast.walk(node):
            telling = isinstance(inner, (ast.Call, ast.Subscript, ast.Attribute, ast.BinOp, ast.Compare, ast.Name))
            if isinstance(inner, ast.expr) and telling and inner.lineno == hot and isinstance(getattr(inner, "ctx", ast.Load()), ast.Load):
                add(inner)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Return):
            add(inner.value)
        elif isinstance(inner, (ast.If, ast.While, ast.Assert, ast.IfExp)):
            add(inner.test)
        elif isinstance(inner, (ast.For, ast.AsyncFor)):
            add(inner.iter)
        elif isinstance(inner, ast.AugAssign):
            add(inner.value)
    return found


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."
