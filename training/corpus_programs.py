"""Programs that the project writes itself: small typed Python functions in the handwriting of many people, with inputs to try them on.

A function comes from a template (``corpus_templates.txt``): its choices are drawn, its names replaced, its lines put in one of the manners
of spacing that are found in collections of exercises. What it returns is found by running it; nothing here knows. Pure, fixed by a seed.
"""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import random
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TEMPLATES = Path(__file__).with_name("corpus_templates.txt")
NAMES: dict[str, tuple[str, ...]] = {
    "int": ("n", "num", "a", "b", "x", "y", "k", "m", "number", "value", "limit", "N", "p", "q", "size", "step", "low", "high"),
    "ints": ("nums", "arr", "lst", "numbers", "test_list", "list1", "values", "items", "data", "l", "a", "input_list", "list_nums", "A"),
    "floats": ("prices", "values", "scores", "weights", "nums", "data", "temps"),
    "str": ("s", "text", "string", "str1", "word", "sentence", "test_str", "line", "name", "txt"),
    "words": ("words", "names", "strings", "lst", "list1", "test_list", "tokens", "items", "lines"),
    "dict": ("d", "counts", "table", "scores", "dict1", "mapping", "test_dict", "stock"),
    "pairs": ("pairs", "tuples", "points", "test_list", "tuple_list", "records", "edges", "lst"),
    "matrix": ("matrix", "grid", "rows", "mat", "M", "test_list", "board"),
    "local": ("i", "j", "res", "result", "total", "count", "ans", "temp", "out", "cur", "best", "c", "x", "item", "el", "ch", "s1", "val",
              "sum1", "acc", "seen", "last", "key", "left", "right", "t", "e", "idx", "first", "flag", "word1", "row"),
}  # fmt: skip
"""By type of a parameter; ``local``: of everything that is assigned."""
_LIKE = {"nat": "int", "pos": "int", "zero": "int", "bits": "str", "char": "str", "mixed": "str"}
_WORDS = ("apple", "sun", "tree", "blue", "Code", "level", "noon", "data", "river", "Python", "cat", "moon", "stone", "red", "hello",
          "World", "a", "to", "list", "green", "Radar", "bee", "fish", "aaa", "key")  # fmt: skip
_INPUTS = 5


@dataclass(frozen=True)
class Program:
    """A function's text and calls to try it with."""

    text: str
    calls: tuple[str, ...]


def generate(seed: int) -> Program:
    """The program of a seed."""
    rng = random.Random(f"program/{seed}")
    templates = _templates()
    head, *body = rng.choice(templates).split("\n")
    head, *body = _drawn("\n".join([head, *body]), rng).split("\n")
    name, parameters = _signature(head)
    text = f"def {name}({', '.join(p for p, _ in parameters)}):\n" + "\n".join(f"    {line}" for line in body) + "\n"
    renamed, names = _renamed(text, parameters, rng)
    calls = [f"{name}({', '.join(repr(_value(kind, rng)) for _, kind in parameters)})" for _ in range(_INPUTS)]
    return Program(_written(renamed, names, rng), tuple(dict.fromkeys(calls)))


def _templates() -> list[str]:
    text = _TEMPLATES.read_text(encoding="utf-8")
    return [block for block in text.strip().split("\n\n") if not block.startswith("#")]


def _drawn(template: str, rng: random.Random) -> str:
    parts = template.replace("\\|", "\0").split("@")
    text = "".join(rng.choice(part.split("|")) if place % 2 else part for place, part in enumerate(parts))
    return re.sub("#", lambda _: str(rng.choice((1, 1, 2, 2, 3, 4, 5, 6, 7, 9, 10, 12))), text).replace("\0", "|")


def _signature(head: str) -> tuple[str, list[tuple[str, str]]]:
    name, rest = head.rstrip(")").split("(")
    return name, [(one.split(":")[0], one.split(":")[1]) for one in rest.split()]


def _renamed(text: str, parameters: Sequence[tuple[str, str]], rng: random.Random) -> tuple[str, list[str]]:
    """The text with other names for parameters and locals, and the parameters' new ones."""
    tree = ast.parse(text)
    kinds = {name: NAMES[_LIKE.get(kind, kind)] for name, kind in parameters}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            kinds.setdefault(node.id, (node.id,) if rng.random() < 0.5 else NAMES["local"])
        elif isinstance(node, ast.Lambda):
            kinds.update({one.arg: ("x", "y", "t", "e", "item") for one in node.args.args if one.arg not in kinds})
    taken: set[str] = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in kinds}
    chosen: dict[str, str] = {}
    for old, pool in kinds.items():
        free = [one for one in pool if one not in taken] or [one for one in NAMES["local"] if one not in taken]
        chosen[old] = rng.choice(free)
        taken.add(chosen[old])
    pieces, at = [], 0
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and token.string in chosen and previous != "." and not _is_reserved(token.string):
            start = offsets[token.start[0] - 1] + token.start[1]
            pieces += [text[at:start], chosen[token.string]]
            at = start + len(token.string)
        previous = token.string
    return "".join([*pieces, text[at:]]), [chosen[name] for name, _ in parameters]


def _is_reserved(name: str) -> bool:
    return keyword.iskeyword(name) or hasattr(builtins, name)


def _written(text: str, names: Sequence[str], rng: random.Random) -> str:
    """The text in somebody's manner: indentation, blanks around operators and commas, brackets around conditions, blanks at line ends."""
    indent = rng.choices(("    ", "  ", "\t", "   "), (6, 2, 2, 0.3))[0]
    tight, commas, brackets, ends = rng.random() < 0.25, rng.random() < 0.25, rng.random() < 0.12, rng.random() < 0.12
    lines = []
    for line in text.rstrip("\n").split("\n"):
        body = line.lstrip(" ")
        depth = (len(line) - len(body)) // 4
        if '"' not in body:
            if tight:
                body = re.sub(r" (==|!=|<=|>=|<|>|\+|-|\*|//|/|%|\+=|-=|\*=|=) ", r"\1", body)
            if commas:
                body = body.replace(", ", ",")
        elif rng.random() < 0.4:
            body = body.replace('"', "'")
        if brackets and (found := re.fullmatch(r"(if|while|elif) ([^:]*):", body)) is not None:
            body = f"{found[1]} ({found[2]}) :" if rng.random() < 0.3 else f"{found[1]}({found[2]}):"
        if brackets and (found := re.fullmatch(r"return (.*)", body)) is not None and rng.random() < 0.5:
            body = f"return ({found[1]})"
        lines.append(indent * depth + body + (" " if ends and rng.random() < 0.5 else ""))
    return "\n".join(lines) + "\n"


def _value(kind: str, rng: random.Random) -> object:
    """An input of a type."""
    match kind:
        case "int":
            return rng.choice((rng.randint(-3, 12), rng.randint(0, 9), rng.randint(1, 60)))
        case "nat":
            return rng.choice((rng.randint(0, 9), rng.randint(2, 12), rng.randint(5, 130)) if rng.random() < 0.4 else (rng.randint(1, 9),))
        case "pos":
            return rng.choice((rng.randint(1, 9), rng.randint(1, 30)))
        case "zero":
            return 0
        case "ints":
            return [rng.choice((rng.randint(-5, 9), rng.randint(0, 6), rng.randint(1, 40))) for _ in range(rng.randint(2, 6))]
        case "floats":
            return [round(rng.uniform(0, 20), rng.randint(1, 3)) for _ in range(rng.randint(2, 4))]
        case "char":
            return rng.choice("aeloth")
        case "bits":
            return "".join(rng.choice("01") for _ in range(rng.randint(2, 7)))
        case "mixed":
            return "".join(rng.choice("ab1234x9") for _ in range(rng.randint(3, 8)))
        case "words":
            return [rng.choice(_WORDS) for _ in range(rng.randint(2, 4))]
        case "dict":
            return {rng.choice(_WORDS): rng.randint(0, 20) for _ in range(rng.randint(2, 4))}
        case "pairs":
            return [(rng.randint(0, 9), rng.randint(1, 9)) for _ in range(rng.randint(2, 4))]
        case "matrix":
            width = rng.randint(2, 3)
            return [[rng.randint(0, 9) for _ in range(width)] for _ in range(width)]
        case _:
            return rng.choice((rng.choice(_WORDS), " ".join(rng.choice(_WORDS) for _ in range(rng.randint(2, 4)))))
