"""Where one other value would make failing tests pass: *angelic* values (Chandra et al., Angelic Debugging, ICSE 2011).

Conditions of the most suspicious functions are forced one way, and what they return to what the failing test expects. None of that is a
repair, and none of it is proposed; where it helps, it tells a model which place decides.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from inference.edits import FunctionSource
from inference.observation import definition_of
from inference.proposer import Problem
from inference.schedule import unit_of
from inference.templates.syntax import Source
from inference.templates.unit import Definition, parse
from sandbox import WorkspaceError
from sandbox.candidates import CandidateServer, Trial
from sandbox.source_text import decode

_MOST_SUSPECTS, _MOST_TRIALS, _MOST_SENTENCES, _MOST_EXPECTED, _SHORT = 3, 60, 6, 4, 80


@dataclass(frozen=True)
class _Site:
    """A span of characters of a file that is given another text, and how that is said."""

    function: FunctionSource
    start: int
    end: int
    new: str
    said: str


def angelic_sites(problem: Problem, server: CandidateServer) -> tuple[str, ...]:
    """Sentences such as ``all failing tests pass when `n > 3` at src/cart.py:12 is always true``, the most telling first.

    Raises CandidateServerError where the server gives up.
    """
    failing = len(problem.reproduction.failing)
    if problem.bench.plan.framework not in ("pytest", "unittest") or not failing:
        return ()
    sites = [site for site, _ in zip(_sites(problem), range(_MOST_TRIALS), strict=False)]
    trials = [Trial(n, unit_of(site.function), ((site.start, site.end, site.new),)) for n, site in enumerate(sites)]
    found: list[tuple[int, int, str]] = []
    for judgement in server.judge(trials) if trials else ():
        passing = failing if judgement.status == "plausible" else judgement.gained
        if passing:
            who = "all failing tests pass" if passing >= failing else f"{passing} of {failing} failing tests pass"
            found.append((-passing, judgement.id, f"{who} when {sites[judgement.id].said}"))
    return tuple(sentence for _, _, sentence in sorted(found)[:_MOST_SENTENCES])


def _sites(problem: Problem) -> Iterator[_Site]:
    expected = expected_values(problem)
    functions = [s.function for s in problem.suspects if s.function.qualname != "<module>"]
    for function in functions[:_MOST_SUSPECTS]:
        node = definition_of(function.text, function.qualname, function.start)
        if node is not None:
            yield from _of_function(function, node, parse(function.text), expected)


def _of_function(function: FunctionSource, node: Definition, source: Source, expected: tuple[str, ...]) -> Iterator[_Site]:
    ran = function.lines
    returns: list[ast.expr] = []
    for inner in ast.walk(node):
        if isinstance(inner, (ast.If, ast.While, ast.IfExp)) and (not ran or inner.test.lineno in ran):
            start, end = source.span(inner.test)
            condition, place = _short(source.segment(inner.test)), f"{function.path}:{inner.test.lineno}"
            for new, how in (("True", "true"), ("False", "false")):
                if new == "True" and isinstance(inner, ast.While):
                    continue  # such a loop does not end
                yield _Site(function, start, end, f" {new} ", f"`{condition}` at {place} is always {how}")
        elif isinstance(inner, ast.Return) and inner.value is not None and (not ran or inner.lineno in ran):
            returns.append(inner.value)
    for value in returns:
        start, end = source.span(value)
        for wanted in expected:
            said = f"`return {_short(source.segment(value))}` at {function.path}:{value.lineno} gives {_short(wanted)}"
            yield _Site(function, start, end, f"({wanted})", said)


def expected_values(problem: Problem) -> tuple[str, ...]:
    """Literals that the failing tests compare with, as source."""
    found: dict[str, None] = {}
    for test in problem.reproduction.failing[:3]:
        path, _, name = test.partition("::")
        try:
            tree = ast.parse(decode(problem.workspace.read(path)).text)
        except (SyntaxError, ValueError, OSError, WorkspaceError, RecursionError):
            continue
        last = name.split("::")[-1].split("[")[0]
        for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == last):
            for compared in (n for n in ast.walk(function) if isinstance(n, ast.Compare) and isinstance(n.ops[0], (ast.Eq, ast.Is))):
                for side in (compared.comparators[0], compared.left):
                    if _is_literal(side):
                        found.setdefault(ast.unparse(side))
    return tuple(text for text in found if len(text) <= 200)[:_MOST_EXPECTED]


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."
