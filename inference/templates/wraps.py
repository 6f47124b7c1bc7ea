"""Bucket 2: expressions wrapped in calls, slices and arithmetic; conditions strengthened and weakened; arguments added."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.kinds import SIZED
from inference.templates.operators import Draft
from inference.templates.syntax import AND, ARITH, ATOM, FACTOR, NOT, OR, POWER, TERM, fit
from inference.templates.terms import atoms, filters, forms
from inference.templates.unit import Site

WRAPS: dict[str, tuple[tuple[str, float], ...]] = {
    "num": forms(
        "abs({}) 0.9 | int({}) 0.9 | str({}) 1.1 | round({}) 1.5 | float({}) 1.6 | round({}, 2) 1.9 | [{}] 2.4"
        " | math.sqrt({}) 2.6 | math.ceil({}) 2.2 | max({}, 0) 2.2 | bool({}) 2.4 | ~{} 2.7"
        " | len({}) 2.3 | math.floor({}) 2.2 | sum({}) 2.8"
    ),
    "str": forms(
        "{}.lower() 0.9 | {}.strip() 0.9 | len({}) 1.1 | int({}) 1.2 | {}[::-1] 1.3 | list({}) 1.4 | {}.upper() 1.4"
        " | sorted({}) 1.6 | set({}) 1.6 | {}.split() 1.6 | float({}) 2.0 | [{}] 2.2 | ''.join({}) 1.8 | {}[0] 2.0 | {}[1:] 1.8"
        " | {}[:-1] 1.8 | {}.title() 2.4 | {}.capitalize() 2.4 | {}.encode() 3.0 | re.escape({}) 3.0"
    ),
    "list": forms(
        "sorted({}) 0.9 | len({}) 1.0 | set({}) 1.0 | list({}) 1.3 | tuple({}) 1.3 | {}[::-1] 1.2 | {}[1:] 1.3 | {}[:-1] 1.4"
        " | sum({}) 1.5 | max({}) 1.6 | min({}) 1.7 | {}[0] 1.6 | {}[-1] 1.6 | {}[:] 1.6 | {}.copy() 1.9 | list(set({})) 1.8"
        " | sorted(set({})) 2.0 | ''.join({}) 1.8 | list(reversed({})) 2.4 | str({}) 2.4 | any({}) 2.4 | all({}) 2.4 | [{}] 2.4"
    ),
    "dict": forms(
        "{}.items() 0.9 | {}.values() 1.0 | {}.keys() 1.3 | len({}) 1.3 | list({}) 1.5 | sorted({}) 1.6 | dict({}) 1.6"
        " | {}.copy() 1.6 | list({}.items()) 2.0 | list({}.values()) 2.0"
    ),
    "set": forms("sorted({}) 0.9 | list({}) 0.9 | len({}) 0.9 | tuple({}) 1.5 | sum({}) 1.8 | frozenset({}) 2.2"),
    "tuple": forms(
        "list({}) 1.0 | sorted({}) 1.2 | len({}) 1.3 | tuple({}) 1.4 | set({}) 1.4 | [{}] 2.0 | sum({}) 1.9"
        " | tuple(sorted({})) 1.6 | {}[0] 1.8 | {}[::-1] 1.6"
    ),
    "iter": forms(
        "min({}) 1.5 | max({}) 1.5 | len({}) 2.2 | next({}) 2.0 | list({}) 0.5 | sorted({}) 0.9 | tuple({}) 1.0 | set({}) 1.3"
        " | sum({}) 1.4 | any({}) 1.6 | all({}) 1.6 | len(list({})) 2.0 | dict({}) 2.0"
    ),
    "bool": forms("not {} 1.4 | int({}) 2.2 | bool({}) 2.2"),
    "": forms(
        "{}.split() 2.4 | {}.upper() 2.6 | "
        "len({}) 1.5 | str({}) 1.4 | int({}) 1.5 | abs({}) 1.6 | list({}) 1.5 | sorted({}) 1.6 | set({}) 1.8 | tuple({}) 1.7"
        " | sum({}) 2.1 | float({}) 2.2 | {}[0] 2.0 | {}[1] 2.2 | {}[-1] 2.3 | {}[::-1] 2.2 | {}[1:] 2.2 | [{}] 2.0"
        " | {}.lower() 2.2 | {}.strip() 2.4 | bool({}) 2.4 | round({}, 2) 2.6 | {}.items() 2.4 | max({}) 2.6 | min({}) 2.6"
        " | -{} 1.8 | ~{} 2.8"
    ),
}
WRAPS["seq"] = WRAPS["list"]
WRAPS["view"] = WRAPS["range"] = WRAPS["iter"]
ITERATIONS = forms(
    "sorted({}) 1.3 | list({}) 1.3 | set({}) 1.6 | reversed({}) 1.6 | {}[1:] 1.4 | {}[:-1] 1.5 | {}[::-1] 1.6"
    " | range(len({})) 1.6 | enumerate({}) 1.6 | {}.items() 1.7 | range({}) 1.9 | {}.values() 2.2 | zip({0}, {0}[1:]) 2.6"
)
ARGUMENTS: dict[str, tuple[tuple[str, float], ...]] = {
    "sorted": forms(
        "reverse=True 0.9 | key=len 1.3 | key=lambda item: item[1] 1.4 | key=lambda item: item[0] 1.8 | key=str 2.4"
        " | key=abs 2.4 | key=str.lower 2.2"
    ),
    "max": forms("key=len 1.0 | default=0 1.3 | default=None 1.5 | key=lambda item: item[1] 1.6 | key=abs 2.4 | 0 2.0"),
    "enumerate": forms("1 0.8"),
    "round": forms("2 0.9 | 1 1.2 | 3 1.6"),
    "sum": forms("[] 1.8 | 1 2.5"),
    "int": forms("2 1.4 | 16 1.8"),
    "zip": forms("strict=True 2.6"),
    "split": forms("' ' 1.3 | ',' 1.3 | 1 1.8 | maxsplit=1 1.8"),
    "pop": forms("0 0.9 | -1 2.0 | None 1.5"),
    "get": forms("0 0.9 | [] 1.1 | '' 1.2 | {} 1.5 | False 1.8"),
    "replace": forms("'' 1.3 | ' ' 1.5 | '_' 1.6 | '-' 1.8 | 1 1.7"),
    "next": forms("None 1.0"),
    "getattr": forms("None 1.2"),
    "range": forms("2 1.8 | -1 1.5"),
    "open": forms("encoding='utf-8' 1.0 | newline='' 1.8"),
    "dumps": forms("sort_keys=True 1.4 | indent=2 2.0"),
    "print": forms(""),
    "makedirs": forms("exist_ok=True 0.9"),
    "mkdir": forms("exist_ok=True 1.2 | parents=True 1.2"),
    "strip": forms("' ' 2.0"),
    "join": forms(""),
    "sub": forms("count=1 1.5"),
    "decode": forms("errors='replace' 1.6"),
    "product": forms("repeat=2 1.6"),
}
ARGUMENTS["min"] = ARGUMENTS["max"]
ARGUMENTS["sort"] = ARGUMENTS["sorted"]
ARGUMENTS["rsplit"] = ARGUMENTS["split"]


SCALES = (
    ("{} * 2", TERM, TERM, 2.4), ("{} // 2", TERM, TERM, 2.2), ("{} / 2", TERM, TERM, 2.6), ("{} % 2", TERM, TERM, 2.8),
    ("-{}", FACTOR, FACTOR, 1.8), ("{} ** 2", POWER, ATOM, 2.8),
)  # fmt: skip
STEPS = (("+", ARITH, 1.6), ("-", ARITH, 1.6), ("*", TERM, 2.0), ("//", TERM, 2.6), ("%", TERM, 2.6), ("/", TERM, 2.6))
LENGTHS = (("/", TERM, 2.3), ("-", ARITH, 2.4), ("%", TERM, 2.6), ("//", TERM, 2.7), ("+", ARITH, 2.8))


def wraps(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    if isinstance(node, ast.Call):
        yield from _arguments(facts, site, node)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        yield from _filters(facts, site, node.generators[-1])
    if site.role in ("test", "ifs") or isinstance(site.parent, ast.Return) and facts.kind(node) == "bool":
        yield from _conditions(facts, site)
    if not _value(site):
        return
    unit, words, strength = facts.unit, facts.unit.words(site), facts.unit.strength(site)
    if len(words) > 200:
        return
    kind = facts.kind(node)
    simple = isinstance(
        node, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.BinOp | ast.ListComp | ast.GeneratorExp | ast.SetComp
    )
    if simple:
        weight = _place(site)
        loop = site.role == "iter"
        for form, cost in ITERATIONS if loop else WRAPS.get(kind, WRAPS[""]):
            if form.startswith(("math.", "re.")) and form.split(".")[0] not in facts.modules:
                continue
            inside = words if form[0] != "{" and "{}[" not in form and "{}." not in form else fit(words, strength, ATOM)
            level = ATOM
            if form in ("not {}", "-{}", "~{}"):
                inside, level = fit(words, strength, NOT if form[0] == "n" else FACTOR), NOT if form[0] == "n" else FACTOR
            new = form.format(inside)
            if not (form.startswith("{}") and words.startswith("await ")):
                yield cost + weight, "wrap", (unit.put(site, new, level),)
    if (
        kind in ("num", "")
        and isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.BinOp | ast.Attribute)
        and _place(site) <= 0.3
        and site.role != "iter"
    ):
        yield from _arithmetic(facts, site, words, strength)
    if (
        simple
        and kind in ("list", "str", "seq", "tuple", "dict", "")
        and not isinstance(node, ast.BinOp)
        and (kind or isinstance(node, ast.Name))
    ):
        yield from _indexed(facts, site, fit(words, strength, ATOM), kind)
    if kind == "str" and isinstance(node, ast.Name | ast.Call) and isinstance(site.parent, ast.Return | ast.Assign | ast.Call):
        for literal in list(facts.literals)[:6]:
            if literal[0] in "'\"":
                yield 2.4, "append-text", (unit.put(site, f"{fit(words, strength, ARITH)} + {literal}", ARITH),)
                yield 2.6, "append-text", (unit.put(site, f"{literal} + {fit(words, strength, ARITH + 1)}", ARITH),)


def _filters(facts: Facts, site: Site, generator: ast.comprehension) -> Iterator[Draft]:
    """A condition for a comprehension that has none."""
    if generator.ifs or not isinstance(generator.target, ast.Name):
        return
    start, end = facts.unit.source.span(generator.iter)
    if facts.unit.source.enclosed(start, end):
        return
    source = generator.iter.id if isinstance(generator.iter, ast.Name) else ""
    for cost, text, strength in filters(facts, generator.target.id, "", source):
        yield cost + 0.5, "filter", (facts.unit.splice(end, end, f" if {fit(text, strength, OR)}"),)


def _indexed(facts: Facts, site: Site, base: str, kind: str) -> Iterator[Draft]:
    """An element or a part of a sequence, by the numbers in scope."""
    numbers = [
        name
        for _, name in sorted(facts.in_scope(site))
        if name in facts.names and facts.names[name].kind in ("num", "") and not facts.names[name].called
    ]
    weight = (0.0 if kind else 0.7) + _place(site)
    for at, name in enumerate([name for name in numbers if name != base and name not in ("self", "cls")][:6]):
        sure = 0.0 if facts.names[name].kind == "num" or name in site.bound else 0.5
        forms = ((f"{base}[{name}]", 1.0), (f"{base}[{name} - 1]", 1.8), (f"{base}[{name} + 1]", 2.0))
        parts = (
            (f"{base}[:{name}]", 1.5),
            (f"{base}[{name}:]", 1.5),
            (f"{base}[::{name}]", 2.2),
            (f"{base}[{name} + 1:]", 2.2),
            (f"{base}[-{name}:]", 2.2),
        )
        for text, cost in forms if kind == "dict" else (*forms, *parts):
            yield cost + weight + sure + 0.1 * at, "wrap", (facts.unit.put(site, text),)


def _value(site: Site) -> bool:
    """Whether a wrapped value may stand here."""
    node = site.node
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(
        node, ast.Starred | ast.Slice | ast.Constant | ast.Yield | ast.YieldFrom | ast.Lambda
    ):
        return False
    if site.role in ("func", "decorator_list", "type", "context_expr", "bases", "exc", "cause", "targets", "target"):
        return False
    return not (
        isinstance(site.parent, ast.Attribute | ast.Expr | ast.Delete | ast.Await)
        or isinstance(site.parent, ast.Subscript)
        and site.role == "value"
    )


def _place(site: Site) -> float:
    match site.parent:
        case ast.Return() | ast.For() | ast.comprehension():
            return 0.0
        case ast.Assign() | ast.Compare() | ast.AugAssign():
            return 0.2
        case ast.Call() | ast.BinOp() | ast.keyword() | ast.Lambda() | ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
            return 0.3
        case _:
            return 0.8


def _arithmetic(facts: Facts, site: Site, words: str, strength: int) -> Iterator[Draft]:
    unit, place = facts.unit, _place(site)
    numbers = [
        (0.0 if facts.names[name].kind == "num" else 0.3 if name in facts.idle else 0.8, name)
        for penalty, name in facts.in_scope(site)
        if penalty < 1 and name in facts.names and facts.names[name].kind in ("num", "") and not facts.names[name].called
    ]
    numbers += [(0.2, name) for name in site.bound if name not in facts.names]
    for late, name in sorted(numbers)[:6]:
        for symbol, level, cost in STEPS:
            if name != words or symbol in "+*":
                yield cost + late + place, "arithmetic", (unit.put(site, f"{fit(words, strength, level)} {symbol} {name}", level),)
        if name != words:
            yield 2.2 + late + place, "arithmetic", (unit.put(site, f"{name} - {fit(words, strength, ARITH + 1)}", ARITH),)
    sized = [name for name, about in facts.names.items() if about.rank == 0 and about.kind in SIZED]
    for at, name in enumerate(sized[:3] or site.bound[:2]):
        for symbol, level, cost in LENGTHS:
            yield cost + place + 0.2 * at, "arithmetic", (unit.put(site, f"{fit(words, strength, level)} {symbol} len({name})", level),)
    for form, level, need, cost in SCALES:
        yield cost + place, "arithmetic", (unit.put(site, form.format(fit(words, strength, need)), level),)


def _conditions(facts: Facts, site: Site) -> Iterator[Draft]:
    unit, words = facts.unit, facts.unit.words(site)
    strength = unit.strength(site)
    if len(words) > 300:
        return
    for cost, text, level in atoms(facts, site.statement)[:90]:
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
    module = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id in facts.modules
    if not node.args and node.keywords and isinstance(node.func, ast.Name):  # what the function works on is missing
        start, _ = facts.unit.source.span(node.keywords[0])
        for penalty, other in facts.in_scope(site)[:20]:
            if penalty < 1 and not (other in facts.names and facts.names[other].called):
                yield 1.2 + penalty, "add-argument", (Edit(start, start, f"{other}, "),)
    open_ended = isinstance(node.func, ast.Name) and name not in ARGUMENTS or name in ("range", "max", "min")
    if not given and (open_ended or module):
        used = {argument.id for argument in node.args if isinstance(argument, ast.Name)}
        for penalty, other in facts.in_scope(site)[:20]:
            if penalty < 1 and other not in ("self", "cls") and other != name and not (other in facts.names and facts.names[other].called):
                again = 0.7 if other in used else -0.8 if other in facts.idle or other in facts.unread_globals else 0.0
                yield (1.4 if module else 1.7) + penalty + again, "add-argument", (Edit(close, close, lead + other),)
                if node.args and not isinstance(node.args[0], ast.Starred):
                    start, _ = facts.unit.source.span(node.args[0])
                    start -= facts.unit.source.enclosed(start, facts.unit.source.span(node.args[0])[1]) and len(node.args) > 1
                    yield 2.2 + penalty + again, "add-argument", (Edit(start, start, f"{other}, "),)
    if name == "range" and len(node.args) == 1 and not given:
        start, _ = facts.unit.source.span(node.args[0])
        for first, cost in (("1", 0.8), ("0", 3.0), ("2", 1.2)):
            yield cost, "add-argument", (Edit(start, start, f"{first}, "),)
        words = facts.unit.segment(node.args[0])
        yield (
            1.2,
            "add-argument",
            (Edit(start, close, f"1, {words} + 1") if ":=" not in words and " if " not in words else Edit(start, close, words),),
        )
