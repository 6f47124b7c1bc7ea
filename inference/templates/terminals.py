"""What an expression may end in: names and constants in scope, with what each costs, and whether its kind fits the context."""

from __future__ import annotations

import ast

from inference.templates.facts import Facts
from inference.templates.idioms import TEXT, Idioms, head

MISFIT = 3.5
_ITERATED = frozenset({
    "for", "list for@1", "set for@1", "iter for@1", "list for if@1", "iter for if@1", "in@1", "not in@1", "map/2@1", ".join/1@1"
})  # fmt: skip
_OF_MANY = frozenset(
    "len/1 sum/1 sorted/1 max/1 min/1 list/1 set/1 tuple/1 any/1 all/1 enumerate/1 reversed/1 zip/2 dict/1 Counter/1".split()
)
_ARITHMETIC = frozenset("- / // ** -/1 abs/1 pow/2 << >>".split())
_OF_NOTHING_ELSE = frozenset({"str", "list", "dict", "set", "tuple", "seq"})
"""Contexts that ask for many values or for numbers, and kinds that arithmetic does not take; a misfit costs so much: kinds are guesses."""


def unfit(context: str, kind: str) -> bool:
    """Whether a value of this kind (as its other uses suggest) has no business in a context."""
    name, _, place = context.partition("@")
    if kind in ("num", "bool"):
        return (name[:1] in ".[" and place == "0" and len(name) > 1) or context in _ITERATED or name in _OF_MANY
    if kind in _OF_NOTHING_ELSE:
        return name in _ARITHMETIC or name.startswith(("range/", "math.")) or context == "[]@1" or name == "%" and place == "1"
    return False


def weighed_names(facts: Facts, bound: tuple[str, ...], start: int) -> dict[str, float]:
    """Names that may stand at a place, with weights: what nothing reads yet is likelier to be what is missing."""
    weights = dict.fromkeys(bound, 3.0)
    for name, about in facts.names.items():
        if name in weights or about.called and about.rank or name in ("self", "cls"):
            continue
        if name in facts.idle:
            weights[name] = 6.0
        elif about.rank == 0:
            weights[name] = (3.0 if name in facts.unread else 1.5) if about.first <= start else 0.3
        elif name in facts.unread_globals:
            weights[name] = 3.0
        elif about.rank == 1 and name not in facts.modules:
            weights[name] = 1.0
    return weights


def constants(facts: Facts, idioms: Idioms) -> list[tuple[str, str, float]]:
    """(head, text, extra cost): the corpus' frequent constants, and the unit's own, which share their head."""
    own = [text for text, _ in facts.literals.most_common(12)]
    found: dict[str, tuple[str, float]] = {}
    for what in idioms.heads():
        if what.lstrip("-").isdigit() or what in ("True", "False", "None") or what[:1] in "'\"":
            found[what] = what, 0.0
    for text in own:
        kind = head(ast.parse(text, mode="eval").body, frozenset())
        if text in found:
            found[text] = found[text][0], -0.7
        elif kind in (TEXT, "int", "float") or kind[:1] in "'\"":
            found[text] = kind, 0.5
    return [(what, text, share) for text, (what, share) in found.items()]
