"""How candidate edits act on inputs near those of the tests: inputs are recorded, mutated by type, and every candidate is called on them.

Loaded by ``_ledex_observe.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable
    from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, type(None))
MOST_INPUTS, MOST_RECORDED, DEPTH, SIZE = 60, 12, 6, 200


def plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is data through and through, so that a copy of it is as good as itself."""
    if type(value) in PLAIN:
        return True
    if depth > DEPTH:
        return False
    if type(value) in (list, tuple, set, frozenset):
        return len(value) <= SIZE and all(plain(v, depth + 1) for v in value)
    if type(value) is dict:
        return len(value) <= SIZE and all(plain(k, depth + 1) and plain(v, depth + 1) for k, v in value.items())
    return False


def near(value: Any, dice: random.Random) -> Any:
    """A value of the same type close to this one."""
    kind = type(value)
    if kind is bool:
        return not value
    if kind is int:
        return dice.choice([value + 1, value - 1, 0, 1, -value, value * 2, value + dice.randint(2, 9), dice.randint(-20, 100)])
    if kind is float:
        return dice.choice([value + 1.0, value - 0.5, 0.0, -value, value * 2, value + dice.random()])
    if kind is str:
        return near_text(value, dice)
    if kind in (list, tuple):
        return kind(near_list(list(value), dice))
    if kind in (set, frozenset):
        return kind(near_list(sorted(value, key=repr), dice))
    if kind is dict:
        items = list(value.items())
        if not items or dice.random() < 0.2:
            return {}
        if dice.random() < 0.3:
            del items[dice.randrange(len(items))]
        else:
            at = dice.randrange(len(items))
            items[at] = (items[at][0], near(items[at][1], dice))
        return dict(items)
    return value


def near_text(value: str, dice: random.Random) -> str:
    """A text close to this one."""
    choice = dice.randrange(8)
    if not value or choice == 0:
        return dice.choice(["", "a", "ab", "A1 b", " "])
    at = dice.randrange(len(value))
    letter = dice.choice("abzAZ019 _-.,") if dice.random() < 0.5 else dice.choice(value)
    return [value[:at] + letter + value[at + 1:], value[:at] + value[at + 1:], value[:at] + letter + value[at:], value[::-1],
            value.swapcase(), value + value[:2], value[: at + 1]][choice - 1]


def near_list(value: list[Any], dice: random.Random) -> list[Any]:
    """A list close to this one, which may be changed in place."""
    choice = dice.randrange(7)
    if not value:
        return value
    at = dice.randrange(len(value))
    if choice == 0:
        return []
    if choice == 1:
        return value[:at] + value[at + 1:]
    if choice == 2:
        return value + [copy.deepcopy(value[at])]
    if choice == 3:
        return value[::-1]
    if choice == 4:
        dice.shuffle(value)
        return value
    value[at] = near(value[at], dice)
    return value


def inputs(recorded: list[list[Any]]) -> list[list[Any]]:
    """The recorded arguments and mutations of them, without repetition, always the same for the same recording."""
    dice = random.Random(7)
    found: list[list[Any]] = []
    known: set[str] = set()
    for arguments in recorded:
        key = repr(arguments)
        if key not in known:
            known.add(key)
            found.append(arguments)
    base = list(found)
    for _ in range(MOST_INPUTS * 4):
        if len(found) >= MOST_INPUTS or not base:
            break
        arguments = copy.deepcopy(dice.choice(base))
        if not arguments:
            break
        for _ in range(dice.choice([1, 1, 2])):
            at = dice.randrange(len(arguments))
            arguments[at] = near(arguments[at], dice)
        key = repr(arguments)
        if key not in known:
            known.add(key)
            found.append(arguments)
    return found


def answer(function: Callable[..., Any], arguments: list[Any]) -> str:
    """What a call gives, as text: the value, the changed arguments, or the type of the exception."""
    given = copy.deepcopy(arguments)
    try:
        value = function(*given)
        if hasattr(value, "__next__"):
            value = [item for _, item in zip(range(50), value)]
        text = repr(value)
    except Exception as error:
        return "!" + type(error).__name__
    if given != arguments:
        text += "|" + repr(given)
    return text[:2000]
