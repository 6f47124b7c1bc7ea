"""How often the function around a line is the same by indentation (``inference.blocks``) and by its grammar (``sandbox.syntax``):
``python -m tests.languages.measure_blocks FOLDER [SUFFIX]``. Tests and generated files are left out, and one file in ten is read."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from inference.blocks import Block, definitions, function_at, split_lines
from sandbox import syntax


def by_grammar(path: str, content: bytes) -> tuple[Block, ...]:
    return tuple(Block(d.first, d.last, d.name, d.kind) for d in syntax.definitions(path, content))


def main(folder: Path, suffix: str) -> None:
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for path in sorted(folder.rglob(f"*{suffix}"))[::10]:
        content = path.read_bytes()
        tree = syntax.parsed(path.name, content)
        if tree is None or tree.root_node.has_error or "test" in path.name or b"DO NOT EDIT" in content[:2000]:
            continue
        lines = split_lines(content.decode("utf-8", "replace"))
        began = time.perf_counter()
        indented = definitions(lines)
        middle = time.perf_counter()
        exact = by_grammar(path.name, content)
        ended = time.perf_counter()
        seconds["indentation"] += middle - began  # type: ignore[assignment]
        seconds["grammar"] += ended - middle  # type: ignore[assignment]
        counts["files"] += 1
        functions = [d for d in exact if d.kind == "function"]
        names = {(d.name, d.last) for d in indented if d.kind == "function"}
        counts["functions"] += len(functions)
        counts["functions found"] += sum((d.name, d.last) in names for d in functions)
        for number in range(1, len(lines) + 1):
            if any(d.first <= number <= d.last for d in functions):
                one, other = function_at(lines, number, indented), function_at(lines, number, exact)
                counts["lines"] += 1
                counts["same end"] += (one.name, one.last) == (other.name, other.last)
    print(f"{suffix}: {counts['files']} files; {counts['functions found']} of {counts['functions']} functions found by indentation "
          f"({counts['functions found'] / max(counts['functions'], 1):.1%}); around {counts['lines']} lines the same function for "
          f"{counts['same end'] / max(counts['lines'], 1):.1%}; {seconds['indentation']:.2f} s by indentation, "
          f"{seconds['grammar']:.2f} s by grammar")  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ".go")
