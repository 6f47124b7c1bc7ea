"""Bucket 1: literals. Numbers one off, other literals of the function, near strings, regular expressions, format specifications."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from inference.templates.facts import Facts
from inference.templates.operators import Draft
from inference.templates.regexes import regex_edits
from inference.templates.syntax import ATOM, FACTOR
from inference.templates.unit import Site

LITERAL = re.compile(r"(?P<prefix>[A-Za-z]*)(?P<quote>'''|\"\"\"|'|\")(?P<body>.*)(?P=quote)", re.DOTALL)
SEPARATORS = ("", " ", ",", ", ", "\\n", "_", "-", "\\t", ".", "/", ":", ";")
MANY = 24
"""Literals of a unit up to which each is tried for each."""
REGEX_CALLS = frozenset("match search fullmatch findall finditer sub subn split compile".split())


def constants(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    match node:
        case ast.Constant(value=bool() as value):
            yield 0.3, "flip-boolean", (facts.unit.put(site, str(not value)),)
            yield 2.0, "constant", (facts.unit.put(site, "None"),)
        case ast.Constant(value=int() | float()):
            yield from _numbers(facts, site, node)
        case ast.Constant(value=None):
            for new, cost in (("True", 1.2), ("False", 1.2), ("0", 1.4), ("[]", 1.6), ("''", 1.7), ("{}", 2.0), ("1", 2.6)):
                yield cost, "constant", (facts.unit.put(site, new),)
        case ast.Constant(value=str() as value) if not isinstance(site.parent, ast.Expr):
            yield from _strings(facts, site, value)
        case ast.JoinedStr():
            yield from _formats(facts, site)
        case ast.List(elts=[], ctx=ast.Load()) | ast.Dict(keys=[]):
            old = facts.unit.words(site)
            for new, cost in (
                ("[]", 1.3),
                ("{}", 1.3),
                ("set()", 1.5),
                ("''", 1.5),
                ("0", 1.8),
                ("None", 1.8),
                ("[0]", 2.2),
                ("[[]]", 2.6),
            ):
                if new != old:
                    yield cost, "empty-container", (facts.unit.put(site, new),)


def _numbers(facts: Facts, site: Site, node: ast.Constant) -> Iterator[Draft]:
    unit, value = facts.unit, node.value
    assert isinstance(value, int | float)
    signed = isinstance(site.parent, ast.UnaryOp) and isinstance(site.parent.op, ast.USub)
    tried: set[str] = {unit.words(site)}

    def put(text: str, cost: float) -> Iterator[Draft]:
        target = site.up if signed and site.up is not None else site
        if text.startswith("-") and signed:
            text = text[1:]
        elif signed:
            target = site
        if text not in tried:
            tried.add(text)
            yield cost, "constant", (unit.put(target, text, FACTOR if text.startswith("-") else ATOM),)

    if isinstance(value, int):
        plain = abs(value) < 10**9
        if plain:
            yield from put(str(value + 1), 0.4)
            yield from put(str(value - 1), 0.4)
        yield from put("0", 0.9)
        yield from put("1", 0.8)
        if not isinstance(site.parent, ast.Slice) or value:
            yield from put("-1", 1.3)
        yield from put("2", 1.5)
        if value and not signed:
            yield from put(f"-{unit.words(site)}", 1.2)
        if signed and site.up is not None:
            yield 0.9, "drop-sign", (unit.put(site.up, unit.words(site)),)
            yield 1.6, "constant", (unit.put(site.up, "0"),)
        if plain and abs(value) > 2:
            for new, cost in (
                (value * 10, 2.2),
                (value // 10, 2.4),
                (value * 2, 2.6),
                (value // 2, 2.6),
                (value + 2, 2.6),
                (value - 2, 2.8),
            ):
                yield from put(str(new), cost)
        if value in (0, 1) and not isinstance(site.parent, ast.Subscript | ast.Slice):
            for word, cost in (("None", 2.4), (str(bool(value)), 2.2), (f"{value}.0", 2.8), ("float('-inf')", 3.0), ("float('inf')", 3.0)):
                yield cost, "constant", (unit.put(site, word),)
        if value == 0 and isinstance(site.parent, ast.Assign | ast.Return):
            yield 2.2, "constant", (unit.put(site, "[]"),)
            yield 2.6, "constant", (unit.put(site, "''"),)
    else:
        for number in (value + 1, value - 1, value * 10, value / 10, value * 2, value / 2, value + 0.1, value - 0.1, 0.0, 1.0):
            if number == number and abs(number) < 1e15:
                yield from put(repr(round(number, 12)), 1.4)
        if value == int(value) if abs(value) < 1e15 else False:
            yield from put(str(int(value)), 1.6)
        if not signed:
            yield from put(f"-{unit.words(site)}", 1.4)
    for other, count in _some(facts, unit.words(site)):
        if other[0].isdigit():
            yield from put(other, 1.5 - min(count, 3) * 0.1)
    for other in sorted(facts.unit.function.test_literals):
        if other.lstrip("-").isdigit() and _near(other, unit.words(site)):
            yield from put(other, 3.5)


def _strings(facts: Facts, site: Site, value: str) -> Iterator[Draft]:
    unit, words = facts.unit, facts.unit.words(site)
    found = LITERAL.fullmatch(words)
    if found is None or found["quote"] in found["body"] and len(found["quote"]) == 1 and "\\" not in found["body"]:
        return
    prefix, quote, body = found["prefix"], found["quote"], found["body"]
    raw = "\\" not in body or "r" in prefix.lower()

    def put(new: str, cost: float, template: str = "string") -> Iterator[Draft]:
        if new != body and quote[0] not in new and not new.endswith("\\"):
            yield cost, template, (unit.splice(site.start, site.end, f"{prefix}{quote}{new}{quote}"),)

    if len(value) <= 2 and not value.isalnum():
        for at, separator in enumerate(SEPARATORS):
            if separator.isprintable() and ("\\" not in separator or "r" not in prefix.lower()):
                yield from put(separator, 1.0 + at * 0.1)
    if raw and len(body) <= 120:
        yield from put(body.lower(), 0.9)
        yield from put(body.upper(), 1.0)
        yield from put(body.capitalize(), 1.2)
        yield from put(body.strip(), 0.9)
        yield from put(body.replace(" ", ""), 1.6)
        for new, cost in ((body + " ", 1.4), (" " + body, 1.4), (body + "s", 2.4), (body[:-1], 1.8), (body[1:], 1.9), ("", 2.2)):
            yield from put(new, cost)
        for old, new in (
            ("_", "-"),
            ("-", "_"),
            ("_", " "),
            (" ", "_"),
            (",", ", "),
            (", ", ","),
            ("/", "\\\\"),
            (".", ","),
            (":", ": "),
            (": ", ":"),
        ):
            if old in body and ("\\" not in new or "r" not in prefix.lower()):
                yield from put(body.replace(old, new), 1.5)
        if len(body) <= 12:
            for at in range(1, len(body) - 1):
                yield from put(body[:at] + body[at + 1 :], 2.6)
        for other, cost in (("\\n", 1.8), ("", 2.0)):
            if "r" not in prefix.lower():
                yield from put(body + other, cost)
        yield from _specs(body, put)
    if _is_regex(facts, site, prefix, body):
        for new, cost in regex_edits(body):
            yield from put(new, cost, "regular-expression")
    for other, count in _some(facts, words):
        if other != words and LITERAL.fullmatch(other):
            yield (1.4 if _near(other, words) else 2.0) - min(count, 3) * 0.1, "string", (unit.put(site, other),)
    for wanted in sorted(facts.unit.function.test_literals):
        if wanted != value and wanted.isprintable() and _near(wanted, value) and "\\" not in wanted:
            yield from put(wanted, 2.0)


def _some(facts: Facts, words: str) -> Iterator[tuple[str, int]]:
    """Other literals of the unit; of very many only those near this one and the most frequent."""
    every = facts.literals
    if len(every) <= MANY:
        yield from every.items()
        return
    yield from frequent(facts)
    yield from ((other, 1) for other in islice(every, 300) if other[0] == words[0] and _near(other, words))


@lru_cache(maxsize=16)
def frequent(facts: Facts) -> tuple[tuple[str, int], ...]:
    return tuple(facts.literals.most_common(8))


def _near(one: str, other: str) -> bool:
    """Whether two texts differ in one place of at most two characters, or only in case."""
    if abs(len(one) - len(other)) > 2 or max(len(one), len(other)) < 3:
        return False
    one, other = one.lower(), other.lower()
    head = _common(one, other)
    return max(len(one), len(other)) - head - _common(one[head:][::-1], other[head:][::-1]) <= 2


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


def _specs(body: str, put: object) -> Iterator[Draft]:
    """Digits and type letters of ``%`` and ``{}`` format specifications."""
    assert callable(put)
    for match in re.finditer(r"(?P<percent>%[-+ #0]*\d*(?:\.(?P<digits>\d+))?(?P<letter>[dsfrxgei]))|\{\w*:[^{}]*\}", body):
        for new in _spec_edits(match.group()):
            yield from put(body[: match.start()] + new + body[match.end() :], 1.0, "format")


def _spec_edits(spec: str) -> list[str]:
    found = []
    for digits in re.finditer(r"\d+", spec):
        for new in (int(digits.group()) + 1, int(digits.group()) - 1):
            if new >= 0:
                zeros = "0" if digits.group().startswith("0") and len(digits.group()) > 1 else ""
                found.append(f"{spec[: digits.start()]}{zeros}{new}{spec[digits.end() :]}")
    swaps = {
        "d": "sf",
        "s": "dr",
        "f": "dge",
        "x": "Xd",
        "X": "xd",
        "g": "f",
        "<": ">^",
        ">": "<^",
        "^": "<>",
        "e": "f",
        "r": "s",
        "%": "f",
    }
    for at, mark in enumerate(spec):
        if mark in swaps and at > 0 and (spec.startswith("{") and at > spec.find(":") > 0 or spec.startswith("%")):
            found += [spec[:at] + new + spec[at + 1 :] for new in swaps[mark]]
    return found


def _formats(facts: Facts, site: Site) -> Iterator[Draft]:
    words = facts.unit.words(site)
    for match in re.finditer(r":[^{}:'\"]+\}", words):
        for new in _spec_edits("{" + match.group()):
            edited = words[: match.start()] + new[1:] + words[match.end() :]
            yield 1.0, "format", (facts.unit.splice(site.start, site.end, edited),)
    for match in re.finditer(r"(?<=[^{])\{(\w+)\}(?!\})", words):
        yield 2.5, "format", (facts.unit.splice(site.start + match.end() - 1, site.start + match.end() - 1, "!r"),)
    for match in re.finditer(r"!r\}", words):
        yield 1.5, "format", (facts.unit.splice(site.start + match.start(), site.start + match.start() + 2, ""),)


def _is_regex(facts: Facts, site: Site, prefix: str, body: str) -> bool:
    parent = site.parent
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and parent.func.attr in REGEX_CALLS:
        receiver = parent.func.value
        return isinstance(receiver, ast.Name) and receiver.id in ("re", "regex") and bool(parent.args) and parent.args[0] is site.node
    return "r" in prefix.lower() or bool(re.search(r"\\[dwsb]|\[[^\]]+\][+*]|\.[*+]|^\^|\$$", body)) and len(body) > 1
