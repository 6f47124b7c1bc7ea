"""Bucket 5: what an exception's type, message and line suggest: casts, defaults, None and length checks, guards, at last try/except."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from inference.edits import Edit, FunctionSource
from inference.templates.arguments import wrong_arguments
from inference.templates.casts import CASTS
from inference.templates.facts import Facts
from inference.templates.guards import exits
from inference.templates.imports import missing_names
from inference.templates.layout import before, step_of
from inference.templates.operators import Draft
from inference.templates.syntax import AND, ATOM, COMPARE, OR, TEST, YIELD, fit
from inference.templates.unit import Site, Statement

EMPTY = ("None", "0", "[]", "''", "{}", "False", "1")


def hot_statements(facts: Facts, function: FunctionSource) -> list[Statement]:
    """The innermost statement at the raising line, or every statement where the line is unknown."""
    if function.hot is None:
        return facts.unit.statements[:60]
    covering = [one for one in facts.unit.statements if one.node.lineno <= function.hot <= (one.node.end_lineno or one.node.lineno)]
    return covering[-1:]


def exceptions(facts: Facts, function: FunctionSource) -> Iterator[Draft]:
    name = function.exception.rpartition(".")[2]
    if not name or name == "AssertionError":
        return
    found = hot_statements(facts, function)
    for statement in found:
        for site in statement.sites:
            if _value(site):
                yield from _casts(facts, site, name, function.message)
                yield from _checks(facts, site, name, function.message)
        yield from _try(facts, statement, name)
    yield from missing_names(facts, function, found)
    yield from wrong_arguments(facts, function, found)


def _value(site: Site) -> bool:
    return (
        not isinstance(getattr(site.node, "ctx", None), ast.Store)
        and not isinstance(site.node, ast.Starred | ast.Slice)
        and site.quoted is None
    )


def _casts(facts: Facts, site: Site, name: str, message: str) -> Iterator[Draft]:
    node = site.node
    simple = isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call | ast.BinOp | ast.ListComp | ast.GeneratorExp)
    if (
        not simple
        or site.role in ("func", "decorator_list", "target", "targets", "type")
        or isinstance(getattr(node, "ctx", None), ast.Del)
    ):
        return
    words, strength = facts.unit.words(site), facts.unit.strength(site)
    if len(words) > 120 or isinstance(site.parent, ast.Expr):
        return
    for exception, pattern, forms in CASTS:
        if exception == name and re.search(pattern, message):
            for at, form in enumerate(forms.split(" | ")):
                bare = form.count("{}") != 1 or "{}." not in form and "{}[" not in form and "{}(" not in form and "{} or" not in form
                inside = words if bare else fit(words, strength, OR if " or " in form else ATOM)
                yield 0.8 + 0.15 * at + _outside(site), "cast", (facts.unit.put(site, form.replace("{}", inside)),)
    if "NoneType" in message or name in ("TypeError", "AttributeError"):
        none = 0.6 if "NoneType" in message else 1.6
        for at, empty in enumerate(("[]", "''", "{}", "0")):
            text = f"{fit(words, strength, OR)} or {empty}"
            yield none + 0.2 + 0.15 * at, "default", (facts.unit.put(site, text, OR),)


def _outside(site: Site) -> float:
    """More for a whole value: what raised stands inside it."""
    return 0.7 if isinstance(site.parent, ast.stmt) and not isinstance(site.node, ast.Name | ast.Constant) and site.role != "iter" else 0.0


def _subjects(facts: Facts, site: Site, name: str, message: str) -> Iterator[tuple[str, str, int, float]]:
    """(what must hold, its opposite, strength, cost) for an expression at the raising place."""
    node, unit = site.node, facts.unit
    match node:
        case ast.Subscript(slice=index) if name == "KeyError":
            base, key = _operand(facts, node.value), _operand(facts, index)
            yield f"{key} in {base}", f"{key} not in {base}", COMPARE, 0.5
        case ast.Subscript(slice=index) if name == "IndexError" and not isinstance(index, ast.Slice):
            base, words = _operand(facts, node.value), unit.segment(index)
            yield base, f"not {base}", ATOM, 0.4
            if words not in ("0", "-1"):
                place = _operand(facts, index)
                yield f"{place} < len({unit.segment(node.value)})", f"{place} >= len({unit.segment(node.value)})", COMPARE, 0.5
                if words.isdigit():
                    yield f"len({unit.segment(node.value)}) > {words}", f"len({unit.segment(node.value)}) <= {words}", COMPARE, 0.5
        case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod()) if name == "ZeroDivisionError":
            divisor = _operand(facts, node.right)
            yield f"{divisor} != 0", f"{divisor} == 0", COMPARE, 0.3
        case ast.Call(func=ast.Name(id="max" | "min" | "next"), args=[ast.expr() as argument, *_]) if name in (
            "ValueError",
            "StopIteration",
        ):
            words = _operand(facts, argument)
            yield words, f"not {words}", ATOM, 0.4
        case ast.Call(func=ast.Attribute(value=value, attr="remove" | "index"), args=[argument]) if name == "ValueError":
            base, key = _operand(facts, value), _operand(facts, argument)
            yield f"{key} in {base}", f"{key} not in {base}", COMPARE, 0.3
        case ast.Attribute(value=value) | ast.Subscript(value=value) if name in ("AttributeError", "TypeError"):
            words = _operand(facts, value)
            none = 0.2 if "NoneType" in message else 1.4
            yield f"{words} is not None", f"{words} is None", COMPARE, none
            yield words, f"not {words}", ATOM, none + 0.4
            if isinstance(node, ast.Attribute) and name == "AttributeError":
                yield f"hasattr({unit.segment(value)}, '{node.attr}')", f"not hasattr({unit.segment(value)}, '{node.attr}')", ATOM, 1.2
        case ast.Name() if name in ("TypeError", "AttributeError", "ValueError") and site.role not in ("func", "slice"):
            words = node.id
            none = 0.4 if "NoneType" in message else 1.2
            yield f"{words} is not None", f"{words} is None", COMPARE, none
            if name != "AttributeError":
                yield words, f"not {words}", ATOM, none + 0.4
            if name != "ValueError":
                for at, kind in enumerate(("str", "int", "list", "dict", "(list, tuple)")):
                    yield f"isinstance({words}, {kind})", f"not isinstance({words}, {kind})", ATOM, 1.4 + 0.1 * at
        case ast.Call(args=[argument, *_]) if name == "TypeError" and "NoneType" in message:
            words = _operand(facts, argument)
            yield f"{words} is not None", f"{words} is None", COMPARE, 0.4


def _operand(facts: Facts, node: ast.expr) -> str:
    words = facts.unit.segment(node)
    plain = isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Subscript | ast.Call)
    return words if plain and "\n" not in words and "\r" not in words else f"({words})"


def _checks(facts: Facts, site: Site, name: str, message: str) -> Iterator[Draft]:
    unit, statement = facts.unit, site.statement
    yield from _gentler(facts, site, name)
    value = _root(site)
    for holds, fails, strength, cost in _subjects(facts, site, name, message):
        if any(mark in holds for mark in "\r\n"):
            continue
        comprehended = bool(site.bound)
        if not comprehended:
            for more, way in exits(facts, statement)[:12]:
                edit = before(unit, statement, f"if {fails}:", f"{step_of(facts)}{way}")
                if edit is not None:
                    yield cost + more + 0.3, "guard", (edit,)
            if _plain(statement):
                head = f"if {holds}:{unit.source.line_end(statement.start)}{statement.indent}{step_of(facts)}"
                yield cost + 0.4, "condition", (Edit(statement.start, statement.start, head),)
        for test in statement.sites:
            if test.role in ("test", "ifs") and not (comprehended and test.bound != site.bound):
                words, level = unit.words(test), unit.strength(test)
                yield cost + 0.3, "strengthen", (unit.put(test, f"{fit(holds, strength, AND)} and {fit(words, level, AND)}", AND),)
                yield cost + 0.6, "weaken", (unit.put(test, f"{fails} or {fit(words, level, OR)}", OR),)
        if isinstance(site.parent, ast.comprehension) or comprehended:
            yield from _filter(facts, site, holds, strength, cost)
        if value is not None:
            words, level = unit.words(value), unit.strength(value)
            if level > YIELD:
                for at, empty in enumerate(EMPTY):
                    yield (
                        cost + 0.5 + 0.12 * at,
                        "conditional",
                        (unit.put(value, f"{fit(words, level, OR)} if {holds} else {empty}", TEST),),
                    )


def _plain(statement: Statement) -> bool:
    """A simple statement on a line of its own."""
    simple = isinstance(statement.node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return | ast.Delete)
    return simple and statement.whole and statement.node.lineno == statement.node.end_lineno


def _root(site: Site) -> Site | None:
    """The outermost value around a site in the same comprehension, else the site."""
    at = site
    while (
        at.up is not None
        and at.up.bound == at.bound
        and not isinstance(at.up.node, ast.BoolOp)
        and not isinstance(at.parent, ast.comprehension)
    ):
        at = at.up
    return None if at.role in ("target", "targets", "test", "ifs", "func", "exc") or isinstance(at.parent, ast.Expr | ast.Delete) else at


def _filter(facts: Facts, site: Site, holds: str, strength: int, cost: float) -> Iterator[Draft]:
    """A condition added to the comprehension around a site."""
    at: Site | None = site
    while at is not None and not isinstance(at.node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
        at = at.up
    if at is not None and isinstance(at.node, ast.ListComp | ast.SetComp | ast.DictComp):
        yield cost + 0.2, "filter", (Edit(at.end - 1, at.end - 1, f" if {fit(holds, strength, OR)}"),)
    elif at is not None and isinstance(at.node, ast.GeneratorExp):
        end = at.end if facts.unit.text[at.start : at.start + 1] != "(" else at.end - 1
        yield cost + 0.2, "filter", (Edit(end, end, f" if {fit(holds, strength, OR)}"),)


def _gentler(facts: Facts, site: Site, name: str) -> Iterator[Draft]:
    """Operations that answer where this one raises."""
    node, unit = site.node, facts.unit
    match node:
        case ast.Subscript(ctx=ast.Load()) if name in ("KeyError", "TypeError", "IndexError") and not isinstance(node.slice, ast.Slice):
            base, key = fit(unit.segment(node.value), 17, ATOM), unit.segment(node.slice)
            if isinstance(node.slice, ast.Tuple) and not key.startswith("("):
                key = f"({key})"
            if name == "KeyError":
                for at, default in enumerate(
                    (None, "0", "[]", "''", "None", "{}", "1", *(result for result in facts.parameters if result != "self"))
                ):
                    text = f"{base}.get({key})" if default is None else f"{base}.get({key}, {default})"
                    yield 0.5 + 0.12 * at, "default", (unit.put(site, text),)
                for form in (f"{base}[str({key})]", f"{base}[int({key})]", f"{base}[{key}.lower()]"):
                    yield 1.8, "cast", (unit.put(site, form),)
                for at, default in enumerate(("[]", "{}", "0", "set()")):
                    yield 1.0 + 0.1 * at, "default", (unit.put(site, f"{base}.setdefault({key}, {default})"),)
            elif name == "IndexError":
                start, end = unit.source.span(node.slice)
                for at, text in enumerate((f"{key} - 1", f"({key}) % len({base})", "0", "-1", f"{key}:", "-2")):
                    yield 0.6 + 0.2 * at, "index", (Edit(start, end, text),)
        case ast.Attribute(ctx=ast.Load()) if name == "AttributeError":
            yield 1.4, "default", (unit.put(site, f"getattr({unit.segment(node.value)}, '{node.attr}', None)"),)
        case ast.Call(func=ast.Name(id="next"), args=[_]) if name == "StopIteration":
            yield 0.2, "default", (Edit(site.end - 1, site.end - 1, ", None"),)
        case ast.Call(func=ast.Name(id="max" | "min"), args=[ast.Name() | ast.Call() | ast.ListComp()], keywords=[]) if (
            name == "ValueError"
        ):
            for at, default in enumerate(("0", "None", "''")):
                yield 0.3 + 0.2 * at, "default", (Edit(site.end - 1, site.end - 1, f", default={default}"),)
        case ast.Call(func=ast.Attribute(attr="pop"), args=[_]) if name == "KeyError":
            yield 0.3, "default", (Edit(site.end - 1, site.end - 1, ", None"),)
        case ast.Call(func=ast.Attribute(attr="remove" | "index" | "rindex" as attribute, end_lineno=int())):
            new = {"remove": "discard", "index": "find", "rindex": "rfind"}[attribute]
            end = unit.source.span(node.func)[1]
            yield 0.4, "method", (Edit(end - len(attribute), end, new),)
        case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod()) if name == "ZeroDivisionError":
            words, (start, end) = unit.segment(node.right), unit.source.span(node.right)
            for at, text in enumerate((f"({words} or 1)", f"max({words}, 1)", f"({words} + 1)")):
                yield 0.9 + 0.2 * at, "default", (Edit(start, end, text),)
        case ast.BinOp(op=ast.Div()) if name == "TypeError":
            found = unit.source.gap_token(unit.source.span(node.left)[1], unit.source.span(node.right)[0], "/")
            if found is not None:
                yield 0.4, "arithmetic-operator", (Edit(*found, "//"),)
        case ast.Call(args=[]) if name == "TypeError" and not node.keywords:
            yield 0.8, "drop-call", (unit.splice(unit.source.span(node.func)[1], site.end, ""),)


def _try(facts: Facts, statement: Statement, name: str) -> Iterator[Draft]:
    node, unit = statement.node, facts.unit
    if not statement.whole or statement.is_elif or statement.blocks or statement.within is None or not hasattr(builtins, name):
        return
    if isinstance(node, ast.Raise | ast.Global | ast.Nonlocal) or node.lineno != node.end_lineno:
        return
    step, end = step_of(facts), unit.source.line_end(statement.start)
    _, at = unit.span(statement)
    lead = "" if unit.text[at - 1 : at] in "\r\n" else end
    ways: list[tuple[float, str]] = [*exits(facts, statement)[:7], (0.6, "pass")]
    if isinstance(node, ast.Assign):
        target = unit.segment(node.targets[0])
        ways += [(0.4 + 0.1 * place, f"{target} = {empty}") for place, empty in enumerate(EMPTY)]
    for more, way in ways:
        tail = f"{lead}{statement.indent}except {name}:{end}{statement.indent}{step}{way}{end}"
        yield 2.6 + more, "try", (Edit(statement.start, statement.start, f"try:{end}{statement.indent}{step}"), Edit(at, at, tail))


__all__ = ["exceptions", "hot_statements"]
