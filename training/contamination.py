"""Whether a program of the training data stands in a set that figures are reported on. Pure.

Two programs count as the same when their syntax trees are, names and texts aside, or when they share half of their runs of eight tokens.
"""

from __future__ import annotations

import ast
import hashlib
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

RUN = 8
SHARED = 0.5
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Guarded:
    """Fingerprints of the named evaluation sets; the programs themselves are not kept."""

    trees: Mapping[str, str]
    runs: Mapping[int, str]
    names: tuple[str, ...] = ()

    def found_in(self, program: str) -> str | None:
        """The name of the set that holds the program, or half of it; None where none does."""
        tree = _tree(program)
        if tree is not None and tree in self.trees:
            return self.trees[tree]
        own = _runs(program)
        hits = [self.runs[run] for run in own if run in self.runs]
        return hits[0] if own and len(hits) >= SHARED * len(own) else None

    def found_inside(self, text: str) -> str | None:
        """As ``found_in``, of the whole file and of each of its functions: one among many others is half of no file."""
        return next((name for one in (text, *_functions(text)) if (name := self.found_in(one)) is not None), None)


def guard(sets: Mapping[str, Iterable[str]]) -> Guarded:
    """Fingerprints of the programs of each named set."""
    trees: dict[str, str] = {}
    runs: dict[int, str] = {}
    for name, programs in sets.items():
        for program in programs:
            tree = _tree(program)
            if tree is not None:
                trees.setdefault(tree, name)
            for run in _runs(program):
                runs.setdefault(run, name)
    return Guarded(trees, runs, tuple(sets))


def _functions(text: str) -> Iterator[str]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            yield textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))


def _tree(program: str) -> str | None:
    """A hash of the syntax tree with every name replaced by the order of its first use; None for what does not parse or says little."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError):
        return None
    names: dict[str, str] = {}
    parts = []
    for node in ast.walk(tree):
        parts.append(type(node).__name__)
        for name in (getattr(node, field, None) for field in ("id", "arg", "name")):
            if isinstance(name, str):
                parts.append(names.setdefault(name, str(len(names))))
        if isinstance(node, ast.Constant) and not isinstance(node.value, str):
            parts.append(repr(node.value))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest() if len(parts) >= 2 * RUN else None


def _runs(program: str) -> set[int]:
    tokens = _TOKEN.findall(program)
    return {int.from_bytes(hashlib.blake2b(" ".join(tokens[n : n + RUN]).encode(), digest_size=8).digest(), "big")
            for n in range(len(tokens) - RUN + 1)}  # fmt: skip
