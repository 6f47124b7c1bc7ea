"""Bucket 2: expressions wrapped in calls, slices and arithmetic; conditions strengthened and weakened; arguments added."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.operators import Draft
from inference.templates.syntax import AND, ARITH, ATOM, COMPARE, FACTOR, NOT, OR, TERM, fit
from inference.templates.unit import Site, Statement

WRAPS: dict[str, tuple[tuple[str, float], ...]] = {
    "num": (("abs({})", 0.9), ("int({})", 0.9), ("str({})", 1.1), ("round({})", 1.5), ("float({})", 1.6), ("round({}, 2)", 1.9), ("[{}]", 2.4), ("math.sqrt({})", 2.6), ("math.ceil({})", 2.2), ("max({}, 0)", 2.2), ("bool({})", 2.4)),
    "str": (("{}.lower()", 0.9), ("{}.strip()", 0.9), ("len({})", 1.1), ("int({})", 1.2), ("{}[::-1]", 1.3), ("list({})", 1.4), ("{}.upper()", 1.4), ("sorted({})", 1.6), ("set({})", 1.6), ("{}.split()", 1.6), ("float({})", 2.0), ("[{}]", 2.2), ("''.join({})", 1.8), ("{}[0]", 2.0), ("{}[1:]", 1.8), ("{}[:-1]", 1.8), ("{}.title()", 2.4), ("{}.capitalize()", 2.4), ("{}.encode()", 3.0), ("re.escape({})", 3.0)),
    "list": (("sorted({})", 0.9), ("len({})", 1.0), ("set({})", 1.0), ("list({})", 1.3), ("tuple({})", 1.3), ("{}[::-1]", 1.2), ("{}[1:]", 1.3), ("{}[:-1]", 1.4), ("sum({})", 1.5), ("max({})", 1.6), ("min({})", 1.7), ("{}[0]", 1.6), ("{}[-1]", 1.6), ("{}[:]", 1.6), ("{}.copy()", 1.9), ("list(set({}))", 1.8), ("sorted(set({}))", 2.0), ("''.join({})", 1.8), ("list(reversed({}))", 2.4), ("str({})", 2.4), ("any({})", 2.4), ("all({})", 2.4), ("[{}]", 2.4)),
    "dict": (("{}.items()", 0.9), ("{}.values()", 1.0), ("{}.keys()", 1.3), ("len({})", 1.3), ("list({})", 1.5), ("sorted({})", 1.6), ("dict({})", 1.6), ("{}.copy()", 1.6), ("list({}.items())", 2.0), ("list({}.values())", 2.0)),
    "set": (("sorted({})", 0.9), ("list({})", 0.9), ("len({})", 0.9), ("tuple({})", 1.5), ("sum({})", 1.8), ("frozenset({})", 2.2)),
    "tuple": (("list({})", 1.0), ("sorted({})", 1.2), ("len({})", 1.3), ("tuple({})", 1.4), ("set({})", 1.4), ("[{}]", 2.0), ("sum({})", 1.9), ("tuple(sorted({}))", 1.6), ("{}[0]", 1.8), ("{}[::-1]", 1.6)),
    "iter": (("list({})", 0.5), ("sorted({})", 0.9), ("tuple({})", 1.0), ("set({})", 1.3), ("sum({})", 1.4), ("any({})", 1.6), ("all({})", 1.6), ("len(list({}))", 2.0), ("dict({})", 2.0)),
    "bool": (("not {}", 1.4), ("int({})", 2.2), ("bool({})", 2.2)),
    "": (("len({})", 1.5), ("str({})", 1.4), ("int({})", 1.5), ("abs({})", 1.6), ("list({})", 1.5), ("sorted({})", 1.6), ("set({})", 1.8), ("tuple({})", 1.7), ("sum({})", 2.1), ("float({})", 2.2), ("{}[0]", 2.0), ("{}[1]", 2.2), ("{}[-1]", 2.3), ("{}[::-1]", 2.2), ("{}[1:]", 2.2), ("[{}]", 2.0), ("{}.lower()", 2.2), ("{}.strip()", 2.4), ("bool({})", 2.4), ("round({}, 2)", 2.6), ("{}.items()", 2.4), ("max({})", 2.6), ("min({})", 2.6), ("-{}", 1.8)),
}  # fmt: skip  # noqa: E501
WRAPS["seq"] = WRAPS["list"]
WRAPS["view"] = WRAPS["range"] = WRAPS["iter"]
ITERATIONS = (("sorted({})", 1.3), ("list({})", 1.3), ("set({})", 1.6), ("reversed({})", 1.6), ("{}[1:]", 1.4), ("{}[:-1]", 1.5), ("{}[::-1]", 1.6), ("range(len({}))", 1.6), ("enumerate({})", 1.6), ("{}.items()", 1.7), ("range({})", 1.9), ("{}.values()", 2.2), ("zip({0}, {0}[1:])", 2.6))  # fmt: skip  # noqa: E501
ARGUMENTS: dict[str, tuple[tuple[str, float], ...]] = {
    "sorted": (("reverse=True", 0.9), ("key=len", 1.3), ("key=lambda item: item[1]", 1.4), ("key=lambda item: item[0]", 1.8), ("key=str", 2.4), ("key=abs", 2.4), ("key=str.lower", 2.2)),
    "max": (("key=len", 1.0), ("default=0", 1.3), ("default=None", 1.5), ("key=lambda item: item[1]", 1.6), ("key=abs", 2.4), ("0", 2.0)),
    "enumerate": (("1", 0.8),), "round": (("2", 0.9), ("1", 1.2), ("3", 1.6)), "sum": (("[]", 1.8), ("1", 2.5)), "int": (("2", 1.4), ("16", 1.8)), "zip": (("strict=True", 2.6),),
    "split": (("' '", 1.3), ("','", 1.3), ("1", 1.8), ("maxsplit=1", 1.8)), "pop": (("0", 0.9), ("-1", 2.0), ("None", 1.5)), "get": (("0", 0.9), ("[]", 1.1), ("''", 1.2), ("{}", 1.5), ("False", 1.8)),
    "replace": (("1", 1.5),), "next": (("None", 1.0),), "getattr": (("None", 1.2),), "range": (("2", 1.8), ("-1", 1.5)), "open": (("encoding='utf-8'", 1.0), ("newline=''", 1.8)), "dumps": (("sort_keys=True", 1.4), ("indent=2", 2.0)),
    "print": (), "makedirs": (("exist_ok=True", 0.9),), "mkdir": (("exist_ok=True", 1.2), ("parents=True", 1.2)), "strip": (("' '", 2.0),), "join": (), "sub": (("count=1", 1.5),), "decode": (("errors='replace'", 1.6),), "product": (("repeat=2", 1.6),),
}  # fmt: skip  # noqa: E501
ARGUMENTS["min"] = ARGUMENTS["max"]
ARGUMENTS["sort"] = ARGUMENTS["sorted"]
ARGUMENTS["rsplit"] = ARGUMENTS["split"]


def wraps(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    if isinstance(node, ast.Call):
        yield from _arguments(facts, site, node)
    if site.role in ("test", "ifs") or isinstance(site.parent, ast.Return) and facts.kind(node) == "bool":
        yield from _conditions(facts, site)
    if not _value(site):
        return
    unit, words, strength = facts.unit, facts.unit.words(site), facts.unit.strength(site)
    if len(words) > 200:
        return
    kind = facts.kind(node)
    simple = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.BinOp | ast.ListComp | ast.GeneratorExp | ast.SetComp)
    if simple:
        weight = _place(site)
        loop = site.role == "iter"
        for form, cost in ITERATIONS if loop else WRAPS.get(kind, WRAPS[""]):
            if form.startswith(("math.", "re.")) and form.split(".")[0] not in facts.modules:
                continue
            inside = words if form[0] != "{" and "{}[" not in form and "{}." not in form else fit(words, strength, ATOM)
            level = ATOM
            if form in ("not {}", "-{}"):
                inside, level = fit(words, strength, NOT if form[0] == "n" else FACTOR), NOT if form[0] == "n" else FACTOR
            new = form.format(inside)
            if not (form.startswith("{}") and words.startswith("await ")):
                yield cost + weight, "wrap", (unit.put(site, new, level),)
    if kind in ("num", "") and isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.BinOp | ast.Attribute) and _place(site) <= 0.3 and site.role != "iter":
        yield from _arithmetic(facts, site, words, strength)
    if kind == "str" and isinstance(node, ast.Name | ast.Call) and isinstance(site.parent, ast.Return | ast.Assign | ast.Call):
        for literal in list(facts.literals)[:6]:
            if literal[0] in "'\"":
                yield 2.4, "append-text", (unit.put(site, f"{fit(words, strength, ARITH)} + {literal}", ARITH),)
                yield 2.6, "append-text", (unit.put(site, f"{literal} + {fit(words, strength, ARITH + 1)}", ARITH),)


def _value(site: Site) -> bool:
    """Whether a wrapped value may stand here."""
    node = site.node
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(node, ast.Starred | ast.Slice | ast.Constant | ast.Yield | ast.YieldFrom | ast.Lambda):
        return False
    if site.role in ("func", "decorator_list", "type", "context_expr", "bases", "exc", "cause", "targets", "target"):
        return False
    return not (isinstance(site.parent, ast.Attribute | ast.Expr | ast.Delete | ast.Await) or isinstance(site.parent, ast.Subscript) and site.role == "value")


def _place(site: Site) -> float:
    match site.parent:
        case ast.Return() | ast.For() | ast.comprehension():
            return 0.0
        case ast.Assign() | ast.Compare() | ast.AugAssign():
            return 0.2
        case ast.Call() | ast.BinOp() | ast.keyword():
            return 0.3
        case _:
            return 0.8


def _arithmetic(facts: Facts, site: Site, words: str, strength: int) -> Iterator[Draft]:
    numbers = [name for penalty, name in facts.in_scope(site) if penalty < 1 and name in facts.names and facts.names[name].kind == "num" and name != words]
    for name in numbers[:5]:
        for symbol, level, cost in (("+", ARITH, 1.6), ("-", ARITH, 1.6), ("*", TERM, 2.0), ("//", TERM, 2.6), ("%", TERM, 2.6), ("/", TERM, 2.6)):
            yield cost + _place(site), "arithmetic", (facts.unit.put(site, f"{fit(words, strength, level)} {symbol} {name}", level),)
        yield 2.2 + _place(site), "arithmetic", (facts.unit.put(site, f"{name} - {fit(words, strength, ARITH + 1)}", ARITH),)
    for form, level, need, cost in (("{} * 2", TERM, TERM, 2.4), ("{} // 2", TERM, TERM, 2.2), ("{} / 2", TERM, TERM, 2.6), ("{} % 2", TERM, TERM, 2.8), ("-{}", FACTOR, FACTOR, 1.8), ("{} ** 2", TERM, ATOM, 2.8)):
        yield cost + _place(site), "arithmetic", (facts.unit.put(site, form.format(fit(words, strength, need)), level),)


@lru_cache(maxsize=512)
def atoms(facts: Facts, statement: Statement) -> tuple[tuple[float, str, int], ...]:
    """Conditions that may be asked at a statement: (cost, text, strength), likeliest first."""
    found: dict[str, tuple[float, int]] = {}

    def add(cost: float, text: str, strength: int) -> None:
        if text not in found or found[text][0] > cost:
            found[text] = cost, strength

    for text, strength in facts.conditions:
        add(0.5, text, strength)
        add(0.9, f"not {fit(text, strength, NOT)}", NOT)
    values = facts.values(statement)[:8]
    for at, name in enumerate(values):
        about, late = facts.names[name], at * 0.08 + (0.0 if name in facts.parameters else 0.3)
        kind = about.kind
        if kind == "num":
            for form, cost in (("{} == 0", 0.4), ("{} < 0", 0.5), ("{} == 1", 0.7), ("{} <= 0", 0.7), ("{} <= 1", 0.8), ("{} < 1", 1.0), ("{} < 2", 1.0), ("{} > 0", 1.0), ("{} % 2 == 0", 1.3), ("{} == 2", 1.6), ("{} > 1", 1.6), ("{} == -1", 1.9)):
                add(cost + late, form.format(name), COMPARE)
        elif kind in ("list", "str", "seq", "tuple", "dict", "set"):
            add(0.3 + late, f"not {name}", NOT)
            add(0.9 + late, name, ATOM)
            for form, cost in (("len({}) == 0", 1.6), ("len({}) == 1", 1.1), ("len({}) < 2", 1.2), ("len({}) > 1", 1.7)):
                add(cost + late, form.format(name), COMPARE)
        elif kind != "func":
            add(0.6 + late, f"not {name}", NOT)
            add(0.9 + late, name, ATOM)
            add(1.4 + late, f"{name} == 0", COMPARE)
        if kind not in ("func", "bool"):
            add((0.6 if kind in ("", "none") else 1.0) + late, f"{name} is None", COMPARE)
            add((1.1 if kind in ("", "none") else 1.5) + late, f"{name} is not None", COMPARE)
    for at, one in enumerate(values):
        for other in values[at + 1 :]:
            kinds = facts.names[one].kind, facts.names[other].kind
            if "func" in kinds or kinds[0] != kinds[1] and "" not in kinds and not ("num" not in kinds and "seq" in kinds):
                if kinds[0] in ("list", "seq", "set", "dict", "str") and kinds[1] not in ("list", "dict", "set", "func"):
                    add(1.5, f"{other} in {one}", COMPARE)
                    add(1.4, f"{other} not in {one}", COMPARE)
                continue
            add(1.4, f"{one} == {other}", COMPARE)
            add(1.7, f"{one} != {other}", COMPARE)
            if kinds[0] in ("num", ""):
                for symbol in ("<", ">", "<=", ">="):
                    add(1.6, f"{one} {symbol} {other}", COMPARE)
            if "num" not in kinds and kinds != ("str", "str"):
                add(1.9, f"{one} in {other}", COMPARE)
                add(1.9, f"{other} in {one}", COMPARE)
                add(1.9, f"{one} not in {other}", COMPARE)
                add(1.9, f"{other} not in {one}", COMPARE)
    for text, count in facts.attributes.get("self", {}).items():
        if "self" in facts.parameters and count and not text.startswith("__"):
            add(1.6, f"self.{text}", ATOM)
            add(1.4, f"not self.{text}", NOT)
            add(1.7, f"self.{text} is None", COMPARE)
    ranked = sorted(((cost, text, strength) for text, (cost, strength) in found.items()), key=lambda item: (item[0], item[1]))
    return tuple(ranked[:70])


def _conditions(facts: Facts, site: Site) -> Iterator[Draft]:
    unit, words = facts.unit, facts.unit.words(site)
    strength = unit.strength(site)
    if len(words) > 300:
        return
    for cost, text, level in atoms(facts, site.statement)[:45]:
        if text == words or text in words:
            continue
        yield cost + 0.8, "strengthen", (unit.put(site, f"{fit(words, strength, AND)} and {fit(text, level, AND)}", AND),)
        yield cost + 0.9, "weaken", (unit.put(site, f"{fit(words, strength, OR)} or {fit(text, level, OR)}", OR),)
        if isinstance(site.statement.node, ast.While | ast.If):
            yield cost + 1.4, "strengthen", (unit.put(site, f"{fit(text, level, AND)} and {fit(words, strength, AND)}", AND),)


def _arguments(facts: Facts, site: Site, node: ast.Call) -> Iterator[Draft]:
    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given = {keyword.arg for keyword in node.keywords}
    close = site.end - 1
    if facts.unit.text[close] != ")" or any(isinstance(argument, ast.GeneratorExp) for argument in node.args) and len(node.args) == 1:
        return
    inside = facts.unit.text[facts.unit.source.span(node.func)[1] : close].rstrip()
    lead = "" if inside.endswith(("(", ",")) else ", "
    for text, cost in ARGUMENTS.get(name, ()):
        key = text.split("=")[0] if "=" in text and text[0].isalpha() else None
        if key in given or key is None and (given or len(node.args) > 2):
            continue
        yield cost, "add-argument", (Edit(close, close, lead + text),)
    if not given and (isinstance(node.func, ast.Name) and name not in ARGUMENTS or name == "range"):
        for penalty, other in facts.in_scope(site)[:20]:
            if penalty < 1 and other not in ("self", "cls") and other != name and not (other in facts.names and facts.names[other].called):
                yield 2.2 + penalty, "add-argument", (Edit(close, close, lead + other),)
    if name == "range" and len(node.args) == 1 and not given:
        start, _ = facts.unit.source.span(node.args[0])
        for first, cost in (("1", 0.8), ("0", 3.0), ("2", 1.2)):
            yield cost, "add-argument", (Edit(start, start, f"{first}, "),)
        words = facts.unit.segment(node.args[0])
        yield 1.2, "add-argument", (Edit(start, close, f"1, {words} + 1") if ":=" not in words and " if " not in words else Edit(start, close, words),)
