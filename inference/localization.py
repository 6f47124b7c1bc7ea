"""Fault localization: which functions to suspect, and which of their lines. Pure.

Only functions that failing tests ran are suspects. Ochiai (Abreu et al. 2007) orders them; stack frames and functions that the pull
request touched come first, because a failure that a change caused usually lies in the change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from inference.edits import FunctionSource
from sandbox.frameworks.detection import is_test_file
from sandbox.report import Failure
from sandbox.reproduction import Reproduction

_FRAME_BONUS, _RAISED_BONUS, _NAME_BONUS, _DIFF_BONUS = 0.15, 0.3, 0.2, 1.0
_MODULE_SHARE = 0.35
_IMPORT_ERRORS = frozenset({"NameError", "ImportError", "ModuleNotFoundError", "AttributeError"})


@dataclass(frozen=True)
class Suspect:
    """A function with its suspicion (higher is worse; about 0 to 3) and what made it one."""

    function: FunctionSource
    score: float
    line: int


def localize(
    reproduction: Reproduction,
    read: Callable[[str], str | None],
    functions: Callable[[str, str], Sequence[FunctionSource]],
    touched: Mapping[str, frozenset[int]] | None = None,
    most: int = 40,
) -> list[Suspect]:
    """Rank suspects. ``read`` gives a file's decoded text (None where it has none), ``functions`` its units, ``touched`` the lines that
    the pull request changed, by path."""
    failing = set(reproduction.failing)
    frames = _frames(reproduction.failures)
    suspects: list[Suspect] = []
    for path, tests in reproduction.coverage.lines.items():
        text = read(path) if path.endswith(".py") and not is_test_file(path) else None
        if text is None:
            continue
        suspects += _of_file(path, text, functions(path, text), tests, failing, frames, reproduction.failures, touched or {})
    suspects.sort(key=lambda s: (-s.score, s.function.path, s.line))
    return suspects[:most]


def _of_file(
    path: str, text: str, units: Iterable[FunctionSource], tests: Mapping[str, frozenset[int]], failing: set[str],
    frames: Mapping[str, tuple[list[int], int | None]], failures: Sequence[Failure], touched: Mapping[str, frozenset[int]],
) -> list[Suspect]:  # fmt: skip
    starts = _line_starts(text)
    found: list[Suspect] = []
    module: FunctionSource | None = None
    names = " ".join(failing).lower()
    for unit in units:
        if unit.qualname == "<module>":
            module = unit
            continue
        first, last = _line_of(starts, unit.start), _line_of(starts, max(unit.end - 1, unit.start))
        ran = {t: lines & frozenset(range(first, last + 1)) for t, lines in tests.items()}
        bad = sum(1 for t in failing if ran.get(t))
        if not bad:
            continue
        good = sum(1 for t, lines in ran.items() if lines and t not in failing)
        score = bad / math.sqrt(len(failing) * (bad + good))
        in_stack, raised = frames.get(path, ([], None))
        hot = raised if raised is not None and first <= raised <= last else None
        if hot is not None:
            score += _RAISED_BONUS
        if any(first <= line <= last for line in in_stack):
            score += _FRAME_BONUS
        score += _NAME_BONUS * _named(unit.qualname, names)
        if any(first <= line <= last for line in touched.get(path, ())):
            score += _DIFF_BONUS
        failure = next((f for f in failures if ran.get(f.test_id)), failures[0])
        suspicion = _line_suspicion(ran, failing, touched.get(path, frozenset()))
        found.append(Suspect(replace(
            unit, lines=frozenset(line for t in failing for line in ran.get(t, ())), suspicion=suspicion, hot=hot,
            exception=failure.exception, message=failure.message), score, first))  # fmt: skip
    if module is not None and found:
        share = 0.8 if any(f.exception in _IMPORT_ERRORS for f in failures) else _MODULE_SHARE
        first_failure = failures[0]
        found.append(Suspect(replace(module, exception=first_failure.exception, message=first_failure.message),
                             share * max(s.score for s in found), 1))  # fmt: skip
    return found


def _line_suspicion(ran: Mapping[str, frozenset[int]], failing: set[str], touched: frozenset[int]) -> dict[int, float]:
    suspicion: dict[int, float] = {}
    for line in {line for t in failing for line in ran.get(t, ())}:
        bad = sum(1 for t in failing if line in ran.get(t, ()))
        good = sum(1 for t, lines in ran.items() if t not in failing and line in lines)
        suspicion[line] = bad / math.sqrt(len(failing) * (bad + good)) + (0.5 if line in touched else 0.0)
    return suspicion


def _frames(failures: Sequence[Failure]) -> dict[str, tuple[list[int], int | None]]:
    """path -> (lines in stacks, the line that raised: the innermost frame in code that is no test)."""
    found: dict[str, tuple[list[int], int | None]] = {}
    for failure in failures:
        own = [f for f in failure.frames if not f.path.startswith("/") and not is_test_file(f.path)]
        for frame in own:
            lines, raised = found.get(frame.path, ([], None))
            found[frame.path] = ([*lines, frame.line], frame.line if frame is own[-1] else raised)
    return found


def _named(qualname: str, names: str) -> float:
    """1 when a test's id names the function, less when it shares only words of its name."""
    name = qualname.rsplit(".", 1)[-1].strip("_").lower()
    if len(name) > 2 and name in names:
        return 1.0
    words = [w for w in re.split(r"_+", name) if len(w) > 2]
    return 0.5 * sum(w in names for w in words) / len(words) if words else 0.0


def _line_starts(text: str) -> list[int]:
    starts = [0]
    starts += [m.end() for m in re.finditer(r"\r\n|\r|\n", text)]
    return starts


def _line_of(starts: list[int], offset: int) -> int:
    from bisect import bisect_right

    return bisect_right(starts, offset)
