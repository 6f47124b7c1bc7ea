"""Small edits of a regular expression: repetition, anchors, escapes, groups, character classes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

CLASSES = {
    "\\d": (
        "\\w",
        "\\D",
    ),
    "\\w": (
        "\\d",
        "\\s",
        "\\W",
        "[a-zA-Z]",
    ),
    "\\s": (
        "\\w",
        "\\S",
        " ",
    ),
    "\\W": ("\\w",),
    "\\D": ("\\d",),
    "\\S": ("\\s",),
    "a-z": (
        "a-zA-Z",
        "A-Z",
        "a-z0-9",
        "a-z_",
    ),
    "A-Z": (
        "a-zA-Z",
        "a-z",
    ),
    "a-zA-Z": (
        "a-z",
        "a-zA-Z0-9",
    ),
    "0-9": ("1-9",),
    "\\b": (
        "\\B",
        "",
    ),
}


def regex_edits(pattern: str) -> Iterator[tuple[str, float]]:
    """Small edits of a regular expression, each still one."""
    found: list[tuple[str, float]] = [
        (pattern[1:] if pattern.startswith("^") else "^" + pattern, 0.9),
        (pattern[:-1] if pattern.endswith("$") and not pattern.endswith("\\$") else pattern + "$", 0.9),
        (pattern + "+", 1.6), (pattern + "*", 1.7), (f"\\b{pattern}\\b", 2.0), (f"^{pattern}$", 1.3),
    ]  # fmt: skip
    inside = False
    for at, mark in enumerate(pattern):
        escaped = at > 0 and pattern[at - 1] == "\\"
        before, after = pattern[:at], pattern[at + 1 :]
        if not escaped and mark in "[]":
            inside = mark == "["
        elif inside or escaped:
            if mark == "^" and before.endswith("["):
                found.append((before + after, 1.2))
        elif mark in "+*?":
            found += [(before + other + after, 0.6) for other in "+*?" if other != mark]
            found += [
                (before + after, 1.2),
                (before + mark + "?" + after, 1.0),
                (before + "{2}" + after, 2.4),
                (before + "{2,}" + after, 2.2),
            ]
        elif mark == ".":
            found.append((before + "\\." + after, 0.8))
        elif mark == "(" and not after.startswith("?"):
            found.append((before + "(?:" + after, 1.4))
        if mark == "[" and not escaped and not after.startswith("^"):
            found.append((before + "[^" + after, 1.4))
        if escaped and mark in ".+*?()[]|$^":
            found.append((pattern[: at - 1] + pattern[at:], 1.2))
    for match in re.finditer(r"\d+", pattern):
        if pattern[max(0, match.start() - 1)] in "{,":
            for count in (int(match.group()) + 1, max(0, int(match.group()) - 1)):
                found.append((f"{pattern[: match.start()]}{count}{pattern[match.end() :]}", 0.8))
    for old, news in CLASSES.items():
        for match in re.finditer(re.escape(old), pattern):
            found += [(pattern[: match.start()] + new + pattern[match.end() :], 1.1) for new in news]
    for match in re.finditer(r"\\[dws]|\]|\)", pattern):
        if not pattern[match.end() : match.end() + 1] or pattern[match.end()] not in "+*?{":
            found += [(pattern[: match.end()] + mark + pattern[match.end() :], 1.2) for mark in "+*?"]
    for new, cost in found:
        if _compiles(new):
            yield new, cost


def _compiles(pattern: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True
