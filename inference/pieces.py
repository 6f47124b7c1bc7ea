"""What a model might want to read of a reproduced failure: suspects, failing tests, and what these use, each with its value. Pure but for
reading the workspace.

Where the localization ranked suspects it leads. Else the failure's frames, the lines that the pull request touched and the names in the
failing test point at functions, in any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from inference.blocks import Block, block_from, outline
from inference.proposer import Problem
from inference.sources import Sources, is_import, is_test, line_of, may_be_read
from sandbox.report import Failure

Kind = Literal["suspect", "test", "fixture", "callee", "type", "constant", "imports"]
Touched = Mapping[str, frozenset[int]]

MOST_SUSPECTS, MOST_TESTS, MOST_USED = 12, 5, 24
_TOUCHED_BONUS = 1.0
_VALUE: Mapping[Kind, float] = {"suspect": 100, "test": 60, "fixture": 14, "callee": 20, "type": 12, "constant": 10, "imports": 8}
_FADE = 0.75
"""Each next piece of a kind is worth this much of the one before."""
_SET_UP = re.compile(r"setup|setUp\w*|setup_\w+|tearDown\w*|before(?:Each|All)?|SetUp|Before\w*|initialize|TestMain")
_SET_UP_CALL = re.compile(r"\s*(?:test\.)?(?:before|beforeEach|beforeAll|setup)\s*[({]")


@dataclass(frozen=True)
class Piece:
    """Lines of a file that may be shown, and how much that is worth. ``important`` are lines that stay when it is shortened."""

    kind: Kind
    path: str
    block: Block
    value: float
    why: str
    important: frozenset[int] = frozenset()


def pieces(problem: Problem, sources: Sources, touched: Touched) -> list[Piece]:
    """All pieces, in the order in which they are to be read: suspects, tests with their fixtures, then what the suspects use."""
    tests = _tests(problem, sources)
    suspects = [*_ranked(problem, sources, touched)]
    blind = not suspects
    suspects += _pointed_at(problem, sources, touched, tests, list(suspects), 1.0 if blind else 0.3)
    suspects = suspects[: MOST_SUSPECTS + 4]
    return [*suspects, *tests, *_fixtures(sources, tests), *_used(sources, suspects)]


def _between(first: int, last: int, lines: Iterable[int]) -> frozenset[int]:
    return frozenset(n for n in lines if first <= n <= last)


def _ranked(problem: Problem, sources: Sources, touched: Touched) -> Iterator[Piece]:
    """The localization's suspects, those that the pull request touched before the others."""
    found = []
    for suspect in problem.suspects[: 3 * MOST_SUSPECTS]:
        function = suspect.function
        if function.qualname == "<module>" or not may_be_read(function.path) or not sources.lines(function.path):
            continue
        first, last = line_of(function.text, function.start), line_of(function.text, max(function.end - 1, function.start))
        changed = _between(first, last, touched.get(function.path, ()))
        doubted = sorted(function.suspicion or {}, key=lambda n: (-(function.suspicion or {})[n], n))[:5]
        hot = {function.hot} if function.hot is not None else set()
        why = "an exception was raised at line " + str(function.hot) if hot else "the pull request changed it" if changed else ""
        important = _between(first, last, hot or changed or doubted)
        found.append((suspect.score + _TOUCHED_BONUS * bool(changed), Piece(
            "suspect", function.path, Block(first, last, function.qualname), 0.0, why or "a failing test runs it", important)))  # fmt: skip
    found.sort(key=lambda pair: -pair[0])
    for place, (_, piece) in enumerate(found[:MOST_SUSPECTS]):
        yield replace(piece, value=_VALUE["suspect"] * _FADE**place)


def _pointed_at(
    problem: Problem, sources: Sources, touched: Touched, tests: Sequence[Piece], known: Sequence[Piece], share: float
) -> list[Piece]:
    """Functions that frames, touched lines and the words of failing tests point at, the most pointed at first."""
    scores: dict[tuple[str, Block], float] = {}
    reasons: dict[tuple[str, Block], str] = {}
    lines: dict[tuple[str, Block], set[int]] = {}

    def point(path: str, block: Block, score: float, why: str, line: int | None) -> None:
        key = (path, block)
        scores[key] = scores.get(key, 0.0) + score
        reasons.setdefault(key, why)
        lines.setdefault(key, set()).update([line] if line is not None else [])

    for failure in problem.reproduction.failures[:MOST_TESTS]:
        own = [(p, n) for p, n in sources.places(failure, problem.reproduction.output) if not is_test(p) and n <= len(sources.lines(p))]
        for place, (path, line) in enumerate(own[:8]):
            why = f"the failure's innermost frame, at line {line}" if place == 0 else f"in the failure's stack, at line {line}"
            point(path, sources.function_at(path, line), 4.0 if place == 0 else 2.0 / place, why, line)
    for path in sorted(touched):
        if is_test(path) or not may_be_read(path):
            continue
        blocks: dict[Block, list[int]] = {}
        for line in sorted(touched[path])[:400]:
            if line <= len(sources.lines(path)):
                around = next((b for b in blocks if b.first <= line <= b.last), None)
                blocks.setdefault(around or sources.function_at(path, line), []).append(line)
        for block, changed in list(blocks.items())[:8]:
            point(path, block, 2.0, "the pull request changed it", changed[0])
            lines[path, block].update(changed)
    for test in tests[:MOST_TESTS]:
        words = sources.words(test.path, test.block)
        for file in sources.related(test.path):
            for block in sources.definitions(file):
                if block.kind == "function" and block.name in words and not is_test(file):
                    point(file, block, 1.0, "the failing test names it", None)
    # Of blocks inside each other, as a class around its method, the more pointed at one stays.
    ordered = sorted(scores, key=lambda k: (-scores[k], k[1].last - k[1].first, k))
    kept = [(p.path, p.block) for p in known]
    found: list[Piece] = []
    for path, block in ordered:
        if len(found) < MOST_SUSPECTS and not any(path == p and _overlap(block, b) for p, b in kept):
            kept.append((path, block))
            found.append(Piece("suspect", path, block, share * _VALUE["suspect"] * _FADE ** len(found), reasons[path, block],
                               frozenset(lines[path, block])))  # fmt: skip
    return found


def _overlap(one: Block, other: Block) -> bool:
    return one.first <= other.last and other.first <= one.last


def _tests(problem: Problem, sources: Sources) -> list[Piece]:
    """The failing tests' own source, as far as their ids and frames say where it is."""
    by_id = {f.test_id: f for f in problem.reproduction.failures}
    found: dict[tuple[str, Block], Piece] = {}
    for test_id in [*by_id, *(t for t in problem.reproduction.failing if t not in by_id)][: 2 * MOST_TESTS]:
        located = _located(sources, by_id.get(test_id) or Failure(test_id, "", ""), problem.reproduction.output)
        if located is not None and len(found) < MOST_TESTS:
            path, block, line = located
            found.setdefault((path, block), Piece(
                "test", path, block, _VALUE["test"] * _FADE ** len(found), "a failing test",
                frozenset([line] if line else [])))  # fmt: skip
    return list(found.values())


def _located(sources: Sources, failure: Failure, output: str) -> tuple[str, Block, int | None] | None:
    """(path, block, failing line) of a test: by the file in its id, else by its frames, else by its name among the test files."""
    places = [(p, n) for p, n in sources.places(failure, output) if is_test(p)]
    head, _, rest = failure.test_id.partition("::")
    # A file's name, or a class's as Java writes it.
    given = sources.resolve(head) or next((f for f in sources.files if is_test(f) and
                                           f.rpartition(".")[0].replace("/", ".").endswith("." + head)), None)  # fmt: skip
    name = re.sub(r"\[.*", "", (rest or head).rsplit("::", 1)[-1], flags=re.S).strip()
    name = name.rsplit(".", 1)[-1] if re.fullmatch(r"[\w.]+", name) else name
    line = next((n for p, n in places if given in (None, p)), None)
    paths = [given] if given is not None else list(dict.fromkeys(p for p, _ in places))
    for path in paths or [f for f in sources.files if is_test(f)][:200]:
        block = _named_test(sources, path, name)
        if block is not None:
            return path, block, line if line is not None and block.first <= line <= block.last else None
    if line is not None and paths:
        return paths[0], sources.function_at(paths[0], line), line
    return None


def _named_test(sources: Sources, path: str, name: str) -> Block | None:
    """The block of a test function, or of a call such as ``test("name", ...)``."""
    if not name:
        return None
    for block in sources.definitions(path):
        if block.kind == "function" and block.name == name:
            return block
    lines = sources.lines(path)
    for quote in "'\"`":
        for number, line in enumerate(lines, 1):
            if f"{quote}{name}{quote}" in line:
                return block_from(lines, number)
    return None


def _fixtures(sources: Sources, tests: Sequence[Piece]) -> list[Piece]:
    """What the failing tests use of their own file and of the conftest files above it, set-ups included, and what they import."""
    found: list[Piece] = []
    taken = {(t.path, t.block) for t in tests}
    for test in tests:
        words = sources.words(test.path, test.block)
        parents = test.path.split("/")[:-1]
        above = ["/".join([*parents[:n], "conftest.py"]) for n in range(len(parents), -1, -1)]
        for path in dict.fromkeys([test.path, *above]):
            lines = sources.lines(path)
            defined = [b for b in sources.definitions(path) if not is_import(lines[b.first - 1])]
            blocks = [outline(lines, b) if b.kind == "type" else b for b in defined
                      if b.name in words or b.kind == "function" and path == test.path and _SET_UP.fullmatch(b.name)]  # fmt: skip
            if path == test.path:
                blocks += [block_from(lines, n) for n, line in enumerate(lines, 1) if _SET_UP_CALL.match(line)][:4]
            for block in blocks:
                inside = block.first >= test.block.first and block.last <= test.block.last and path == test.path
                wider = block.first <= test.block.first and block.last >= test.block.last and path == test.path
                if (path, block) not in taken and not inside and not wider and len(found) < MOST_USED:
                    taken.add((path, block))
                    found.append(Piece("fixture", path, block, _VALUE["fixture"] * _FADE ** len(found), "used by the failing test"))
    return [*found, *_imports("fixture", sources, [t.path for t in tests[:2]], 0.5)]


def _used(sources: Sources, suspects: Sequence[Piece]) -> list[Piece]:
    """Functions, types and constants that suspects mention, of their own file and of those that it imports."""
    found: list[Piece] = []
    taken = {(s.path, s.block.first) for s in suspects}
    count: dict[Kind, int] = {}
    kinds: Mapping[str, Kind] = {"function": "callee", "type": "type", "constant": "constant"}
    for rank, suspect in enumerate(suspects[:4]):
        words = sources.words(suspect.path, suspect.block)
        named = suspect.block.name.rsplit(".", 1)
        owner = named[0] if len(named) == 2 else None
        for path in [suspect.path, *(p for p in sources.related(suspect.path) if not is_test(p))]:
            lines = sources.lines(path)
            for block in sources.definitions(path):
                kind = kinds[block.kind]
                wanted = block.name in words or block.kind == "type" and path == suspect.path and (
                    block.name == owner or block.first < suspect.block.first and suspect.block.last <= block.last)  # fmt: skip
                inside = path == suspect.path and suspect.block.first <= block.first and block.last <= suspect.block.last
                if block.kind == "constant" and is_import(lines[block.first - 1]):
                    continue
                if not wanted or inside or (path, block.first) in taken or len(found) >= MOST_USED:
                    continue
                taken.add((path, block.first))
                shown = outline(lines, block) if block.kind == "type" else block
                value = _VALUE[kind] * _FADE ** (rank + count.get(kind, 0))
                count[kind] = count.get(kind, 0) + 1
                found.append(Piece(kind, path, shown, value, f"used by {suspect.block.name or suspect.path}"))
    return [*found, *_imports("imports", sources, [s.path for s in suspects[:4]], 1.0)]


def _imports(kind: Kind, sources: Sources, paths: Sequence[str], share: float) -> Iterator[Piece]:
    """The import lines at the head of each file, where they are few and stand together."""
    for place, path in enumerate(dict.fromkeys(paths)):
        lines = sources.lines(path)
        numbers = [n for n, line in enumerate(lines[:200], 1) if line[:1].strip() and is_import(line)]
        first = numbers[:1]
        for n in numbers[1:]:
            if n - first[-1] <= 4:
                first.append(n)
            else:
                break
        if first and len(first) <= 40:
            last = max(block_from(lines, first[-1]).last, first[-1])
            value = share * _VALUE["imports"] * _FADE**place
            yield Piece(kind, path, Block(first[0], min(last, first[-1] + 12)), value, "imports")
