"""How likely a patch is before anything is run: what its template, its size, and how the function then reads say of it."""

from __future__ import annotations

import ast
import math
import textwrap
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

from inference.edits import Candidate, FunctionSource
from inference.templates.idioms import shipped
from inference.templates.space import Space

_BUCKET_COST = {1: 0.0, 2: 1.0, 3: 1.6, 4: 2.9, 5: 1.0, 6: 2.6}
RECORD = {
    "drop-index": -0.8, "drop-operand": -0.5, "builtin": -0.6, "unwrap": -0.4, "name": -0.4, "method": -0.4, "arithmetic-operator": -0.1,
    "compare-operator": 0.5, "wrap": 0.2, "guard": 0.8, "weaken": 0.9, "donor": 1.0, "constant-to-name": 0.7, "condition": 0.8,
    "strengthen": 1.7, "arithmetic": 1.4, "augment": 0.4, "cast": 0.4, "unwrap-statement": 0.8, "negate": 0.7, "synthesis": 0.6,
}  # fmt: skip
"""Half the log odds of wrong to right, one added to each, among the behaviours that passed the shown tests of 112 bugs planted into MBPP
ids 601-974 (2026-11-26): what a condition that is strengthened makes pass is hardly ever right."""
_LESS, _MORE = -3.0, 5.0
"""Where a function's change of surprise (nats) is cut off."""
WEIGHTS: Mapping[str, float] = {
    "template": 0.8, "bucket": 1.0, "written": 0.01, "removed": 0.01, "record": 1.0, "crowd": 0.5, "surprise": 0.15, "idle": 2.0,
    "literals": 0.7,
}  # fmt: skip
"""Weights of ``terms``. Chosen on the same bugs: the right behaviour comes first in 102 of the 112 where it is among the plausible
(96 before), and in 60 of 69 on ids 511-600 (53). The one of ``literals`` came later: ``items[2]`` fits the shown tests where ``items[-1]``
is meant, and ``python -m training.benchmark.ranking`` found no bug of 28 where it changes which behaviour comes first."""
_MOST_COUNTED = 8000
_PLAIN_LITERALS = (0, 1, -1, "", None, True, False)

Crowd = Mapping[str, int]
"""Template -> how many candidates of it a function has."""


def cost(candidate: Candidate, crowd: Crowd | None = None) -> float:
    """How unlikely a candidate is, in nats of a kind. A model's candidate (bucket 0) has its own likelihood, and only its size counts."""
    if candidate.bucket == 0:
        return candidate.cost + 2.0 + sum(WEIGHTS[name] * size for name, size in _sizes(candidate).items())
    return weighed(terms(candidate, crowd))


def weighed(found: Mapping[str, float], weights: Mapping[str, float] = WEIGHTS) -> float:
    return sum(weight * found.get(name, 0.0) for name, weight in weights.items())


def terms(candidate: Candidate, crowd: Crowd | None = None) -> dict[str, float]:
    """What the cost of a template's candidate is made of: its template's own cost and record, its bucket, the characters that it writes
    and removes, how many candidates of the same templates the function has (each passes by luck as easily; logarithm), how much less
    likely the function reads, parameters more or less that nothing reads, and literals that the function had not."""
    others = sum(math.log(max((crowd or {}).get(part, 1), 1)) for part in candidate.template.split("+"))
    surprise, idle, literals = _reading(candidate)
    return {
        "template": candidate.cost, "bucket": _BUCKET_COST[candidate.bucket], **_sizes(candidate),
        "record": RECORD.get(candidate.template, 0.0), "crowd": others, "surprise": surprise, "idle": idle, "literals": literals,
    }  # fmt: skip


def crowd_of(function: FunctionSource) -> Crowd:
    space, seen = Space(function), set[int]()
    found = (c.template for bucket in (1, 2, 3) for c in space.candidates(bucket, seen))
    return Counter(islice(found, _MOST_COUNTED))


def _sizes(candidate: Candidate) -> dict[str, float]:
    written = sum(len(e.new.strip()) for e in candidate.edits)
    removed = sum(len(candidate.function.text[e.start : e.end].strip()) for e in candidate.edits)
    return {"written": float(written), "removed": float(max(removed - written, 0))}


def _reading(candidate: Candidate) -> tuple[float, float, float]:
    """What the edited function's text says: the change of its surprise, of its idle parameters, and literals that it had not."""
    function = candidate.function
    if function.qualname == "<module>" or any(e.start < function.start or e.end > function.end for e in candidate.edits):
        return 0.0, 0.0, 0.0
    start = max(function.text.rfind("\n", 0, function.start), function.text.rfind("\r", 0, function.start)) + 1
    end = function.end + sum(len(e.new) - (e.end - e.start) for e in candidate.edits)
    before, after = _read(function.text[start : function.end]), _read(candidate.apply()[start:end])
    if before is None or after is None:
        return 0.0, 0.0, 0.0
    surprise = min(max(after[0] - before[0], _LESS), _MORE)
    return surprise, float(after[1] - before[1]), float(len(after[2] - before[2]))


@lru_cache(maxsize=512)
def _read(text: str) -> tuple[float, int, frozenset[str]] | None:
    """(surprise of a function's expressions, parameters that it never reads, its literals); None for what does not parse alone."""
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError):
        return None
    nodes = list(ast.walk(tree))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    parameters = [node.arg for node in nodes if isinstance(node, ast.arg) and node.arg not in ("self", "cls")]
    literals = frozenset(repr(n.value) for n in nodes if isinstance(n, ast.Constant) and n.value not in _PLAIN_LITERALS)
    return shipped().surprise(tree), sum(name not in read for name in parameters), literals
