"""Count the grammar of expressions that the templates use, from the reference solutions of MBPP's ids for statistics.

``python -m training.benchmark.idioms`` writes inference/templates/data/idioms.json anew; the same data give the same bytes.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from inference.templates.idioms import DATA, contexts, head
from training.benchmark import mbpp
from training.benchmark.mutation.source import parse

Counts = dict[str, Counter[str]]


def count(programs: Iterable[str]) -> Counts:
    """Context -> head -> how often, over all functions of the programs."""
    found: Counts = defaultdict(Counter)
    for program in programs:
        for node in parse(program).body:
            if isinstance(node, ast.FunctionDef):
                for context, expression, local in contexts(node):
                    found[context][head(expression, local)] += 1
    return found


def write(counts: Counts, path: Path) -> None:
    """One context a line, sorted."""
    rows = [f"{json.dumps(context)}: {json.dumps(dict(sorted(heads.items())))}" for context, heads in sorted(counts.items())]
    path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def main() -> int:
    counts = count(task.program for task in mbpp.read_tasks(mbpp.STATISTICS))
    write(counts, DATA)
    print(f"{sum(map(len, counts.values()))} counts of {len(counts)} contexts -> {DATA}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
