"""Bucket 1: operators inside their family, operands swapped or dropped, conditions negated, a step of one added."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from inference.edits import Edit
from inference.templates.facts import Facts
from inference.templates.syntax import AND, ARITH, BINARY, COMPARE, COMPARISON, NOT, OR, STRENGTH, fit, precedence
from inference.templates.unit import Site, Statement

Draft = tuple[float, str, tuple[Edit, ...]]
"""Cost (smaller first), template, edits in order."""

COMPARE_SWAPS: dict[str, tuple[tuple[str, float], ...]] = {
    "<": (("<=", 0.2), (">", 0.6), (">=", 0.9), ("==", 2.5), ("!=", 2.2)),
    "<=": (("<", 0.2), (">=", 0.6), (">", 0.9), ("==", 2.2), ("!=", 2.6)),
    ">": ((">=", 0.2), ("<", 0.6), ("<=", 0.9), ("==", 2.5), ("!=", 2.0)),
    ">=": ((">", 0.2), ("<=", 0.6), ("<", 0.9), ("==", 2.2), ("!=", 2.6)),
    "==": (("!=", 0.3), (">=", 1.2), ("<=", 1.2), (">", 1.5), ("<", 1.5), ("in", 2.3), ("is", 3.5)),
    "!=": (("==", 0.3), (">", 1.2), ("<", 1.3), (">=", 1.8), ("<=", 1.8), ("not in", 2.3), ("is not", 3.0)),
    "is": (("is not", 0.2), ("==", 0.8), ("!=", 2.0)),
    "is not": (("is", 0.2), ("!=", 0.8), ("==", 2.0)),
    "in": (("not in", 0.3), ("==", 2.0), ("!=", 3.0)),
    "not in": (("in", 0.3), ("!=", 2.0), ("==", 3.0)),
}
BINARY_SWAPS: dict[str, tuple[tuple[str, float], ...]] = {
    "+": (("-", 0.3), ("*", 1.0), ("|", 3.0), ("%", 3.0), ("/", 3.0), ("//", 3.0), ("**", 4.0)),
    "-": (("+", 0.3), ("*", 1.5), ("/", 2.0), ("%", 2.2), ("//", 2.5), ("**", 4.0)),
    "*": (("+", 0.6), ("**", 0.8), ("/", 0.8), ("//", 1.2), ("-", 1.3), ("%", 2.0)),
    "/": (("//", 0.2), ("*", 0.6), ("%", 0.8), ("-", 2.0), ("+", 2.5)),
    "//": (("/", 0.2), ("%", 0.5), ("*", 0.9), ("-", 2.0), ("+", 2.5)),
    "%": (("//", 0.4), ("/", 0.5), ("*", 1.5), ("+", 2.5), ("-", 2.5)),
    "**": (("*", 0.3), ("+", 2.0), ("^", 2.5), ("//", 2.5), ("-", 3.0)),
    "&": (("|", 0.3), ("^", 0.4), ("-", 2.0), ("and", 2.0), (">>", 2.5), ("<<", 2.5)),
    "|": (("&", 0.3), ("^", 0.4), ("+", 1.5), ("or", 2.0), ("-", 2.0)),
    "^": (("&", 0.3), ("|", 0.3), ("**", 0.8), ("-", 2.5), ("+", 2.5)),
    "<<": ((">>", 0.2), ("*", 2.0), ("+", 2.5), ("**", 2.5)),
    ">>": (("<<", 0.2), ("//", 1.5), ("-", 2.5), ("&", 2.5)),
    "@": (("*", 0.5),),
}
ALL_STRENGTHS = STRENGTH | {"and": AND, "or": OR}
COMMUTES = (ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)


def operators(facts: Facts, site: Site) -> Iterator[Draft]:
    node = site.node
    match node:
        case ast.Compare():
            yield from _comparison(facts, site, node)
        case ast.BinOp():
            yield from _arithmetic(facts, site, node)
        case ast.BoolOp():
            yield from _boolean(facts, site, node)
        case ast.UnaryOp():
            operand = facts.unit.segment(node.operand)
            strength = precedence(node.operand, operand)
            if isinstance(node.op, ast.Not):
                yield 0.4, "drop-not", (facts.unit.put(site, operand, strength),)
            elif not isinstance(node.operand, ast.Constant):
                yield 0.8, "drop-sign", (facts.unit.put(site, operand, strength),)
                if isinstance(node.op, ast.Invert):
                    yield 1.0, "unary-operator", (facts.unit.splice(site.start, site.start + 1, "-"),)
                    yield 1.5, "unary-operator", (facts.unit.put(site, f"not {fit(operand, strength, NOT)}", NOT),)
    yield from _negation(facts, site)
    yield from _step(facts, site)


def _comparison(facts: Facts, site: Site, node: ast.Compare) -> Iterator[Draft]:
    unit = facts.unit
    sides = [node.left, *node.comparators]
    for left, right, op in zip(sides, sides[1:], node.ops, strict=False):
        old = COMPARISON[type(op)]
        found = unit.source.gap_token(unit.source.span(left)[1], unit.source.span(right)[0], old)
        if found is None:
            continue
        nothing = isinstance(right, ast.Constant) and right.value in (None, True, False) and not isinstance(right.value, int | float)
        for new, cost in COMPARE_SWAPS[old]:
            if new in ("in", "not in") and old in ("==", "!=") and facts.kind(right) in ("num", "bool", "none"):
                continue
            yield cost + (1.5 if nothing and new[0] in "<>" else 0), "compare-operator", (unit.splice(*found, new),)
    if len(node.ops) == 1:
        (start, middle), (then, end) = unit.source.span(node.left), unit.source.span(node.comparators[0])
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            yield 1.5, "swap-operands", _swap(facts, node.left, node.comparators[0], COMPARE + 1, COMPARE + 1)
        if min(middle - start, end - then) > 0 and len(unit.words(site)) > 3 and site.role in ("test", "ifs", "value", "values", "elt"):
            for side in (node.left, node.comparators[0]):
                words = unit.segment(side)
                if not isinstance(side, ast.Constant):
                    yield 2.6, "drop-comparison", (unit.put(site, words, precedence(side, words)),)
                    yield 3.2, "drop-comparison", (unit.put(site, f"not {fit(words, precedence(side, words), NOT)}", NOT),)


def _arithmetic(facts: Facts, site: Site, node: ast.BinOp) -> Iterator[Draft]:
    unit = facts.unit
    symbol, level = BINARY[type(node.op)]
    (left_start, left_end), (right_start, right_end) = unit.source.span(node.left), unit.source.span(node.right)
    found = unit.source.gap_token(left_end, right_start, symbol)
    text = facts.kind(node.left) == "str" and symbol in "+%"
    if found is not None:
        for new, cost in BINARY_SWAPS[symbol]:
            cost += 2.0 if text and new not in "+%" else 0.0
            plain = unit.splice(*found, new)
            yield cost, "arithmetic-operator", (plain,)
            yield from _same_tree(facts, site, node, plain, new, level, cost + 0.6)
    if not isinstance(node.op, COMMUTES) and not (isinstance(node.op, ast.Add) and facts.kind(node) in ("num", "set")):
        yield 1.0 if text else 1.3, "swap-operands", _swap(facts, node.left, node.right, level, level + 1)
    for side, cost in ((node.left, 1.4), (node.right, 1.8)):
        words = unit.segment(side)
        yield cost, "drop-operand", (unit.put(site, words, precedence(side, words)),)
    inner = node.left
    if isinstance(inner, ast.BinOp) and not unit.source.enclosed(left_start, left_end) and BINARY[type(inner.op)][1] >= level:
        middle = unit.source.span(inner.right)[0]
        yield 1.6, "regroup", (Edit(middle, middle, "("), Edit(right_end, right_end, ")"))
    if isinstance(node.right, ast.BinOp) and not unit.source.enclosed(right_start, right_end) and found is not None:
        middle = unit.source.span(node.right.left)[1]
        if not unit.source.enclosed(*unit.source.span(node.right.left)):
            yield 1.4, "regroup", (Edit(left_start, left_start, "("), Edit(middle, middle, ")"))


def _same_tree(facts: Facts, site: Site, node: ast.BinOp, plain: Edit, new: str, level: int, cost: float) -> Iterator[Draft]:
    """The same swap with brackets that keep the operands together, where plain text would regroup them."""
    strength = ALL_STRENGTHS[new]
    if strength == level and new != "**":
        return
    edits = [plain]
    for side, need in ((node.left, strength), (node.right, strength + 1)):
        start, end = facts.unit.source.span(side)
        if precedence(side, facts.unit.text[start:end]) < need and not facts.unit.source.enclosed(start, end):
            edits += [Edit(start, start, "("), Edit(end, end, ")")]
    if strength < site.need:
        edits += [Edit(site.start, site.start, "("), Edit(site.end, site.end, ")")]
    if len(edits) > 1:
        yield cost, "arithmetic-operator", merged(facts.unit.text, edits)


def _boolean(facts: Facts, site: Site, node: ast.BoolOp) -> Iterator[Draft]:
    unit = facts.unit
    old, new = ("or", "and") if isinstance(node.op, ast.Or) else ("and", "or")
    gaps = []
    for left, right in zip(node.values, node.values[1:], strict=False):
        found = unit.source.gap_token(unit.source.span(left)[1], unit.source.span(right)[0], old)
        if found is None:
            return
        gaps.append(unit.splice(*found, new))
    changed = list(gaps)
    if new == "and":
        for value in node.values:
            start, end = unit.source.span(value)
            if precedence(value, unit.text[start:end]) < AND and not unit.source.enclosed(start, end):
                changed += [Edit(start, start, "("), Edit(end, end, ")")]
    elif site.need > OR:
        changed += [Edit(site.start, site.start, "("), Edit(site.end, site.end, ")")]
    yield 0.4, "boolean-operator", merged(unit.text, changed)
    if len(gaps) > 1 or len(changed) > 1:
        for gap in gaps:
            yield 0.9, "boolean-operator", (gap,)
    for at, value in enumerate(node.values):
        first = unit.source.span(node.values[at])[0] if at else site.start
        if len(node.values) == 2:
            other = node.values[1 - at]
            words = unit.segment(other)
            yield 0.9, "drop-condition", (unit.put(site, words, precedence(other, words)),)
        elif at:
            cut = unit.source.span(node.values[at - 1])[1]
            if not unit.source.enclosed(*unit.source.span(value)) and not unit.source.enclosed(*unit.source.span(node.values[at - 1])):
                yield 1.0, "drop-condition", (Edit(cut, unit.source.span(value)[1], ""),)
        elif not unit.source.enclosed(*unit.source.span(value)) and not unit.source.enclosed(*unit.source.span(node.values[1])):
            yield 1.0, "drop-condition", (Edit(first, unit.source.span(node.values[1])[0], ""),)


def _negation(facts: Facts, site: Site) -> Iterator[Draft]:
    node, unit = site.node, facts.unit
    asked = site.role in ("test", "ifs") or isinstance(site.parent, ast.BoolOp)
    told = isinstance(site.parent, ast.Return) and (facts.kind(node) == "bool" or isinstance(node, ast.Call | ast.BoolOp))
    element = isinstance(site.parent, ast.Lambda | ast.GeneratorExp) and site.role in ("body", "elt")
    if not (asked or told or element) or isinstance(node, ast.UnaryOp | ast.Constant | ast.Tuple):
        return
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return
    words = unit.words(site)
    cost = 3.0 if element else 0.8 if asked and not isinstance(node, ast.BoolOp) else 1.6
    yield cost, "negate", (unit.put(site, f"not {fit(words, unit.strength(site), NOT)}", NOT),)


def _step(facts: Facts, site: Site) -> Iterator[Draft]:
    """One more and one less, where a number is used."""
    node, unit, parent = site.node, facts.unit, site.parent
    if isinstance(node, ast.Constant | ast.Starred | ast.Tuple | ast.Slice | ast.JoinedStr | ast.Lambda | ast.BoolOp | ast.Compare):
        return
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del) or isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return
    kind = facts.kind(node)
    match parent:
        case ast.Call(func=ast.Name(id="range")) if site.role == "args":
            cost = 0.5
        case ast.Subscript() | ast.Slice() if site.role in ("slice", "lower", "upper"):
            cost = 0.9
        case ast.Return() | ast.Assign() | ast.Compare() | ast.Call() | ast.BinOp() | ast.IfExp() if kind == "num" and site.role != "func":
            cost = 1.4 if not isinstance(parent, ast.BinOp) else 2.2
        case ast.Return() | ast.Call() | ast.Compare() if (
            kind == "" and isinstance(node, ast.Name | ast.Call | ast.Subscript) and site.role != "func"
        ):
            cost = 2.8
        case _:
            return
    words, strength = unit.words(site), unit.strength(site)
    if (
        isinstance(node, ast.BinOp)
        and isinstance(node.right, ast.Constant)
        and node.right.value == 1
        and isinstance(node.op, ast.Add | ast.Sub)
    ):
        cost += 1.0
    for sign, more in (("+", 0.0), ("-", 0.1)):
        yield cost + more, "step", (unit.put(site, f"{fit(words, strength, ARITH)} {sign} 1", ARITH),)


def assignments(facts: Facts, statement: Statement) -> Iterator[Draft]:
    """Augmented assignment operators, and `=` for `+=` and back."""
    node, unit = statement.node, facts.unit
    if isinstance(node, ast.AugAssign):
        symbol = BINARY[type(node.op)][0]
        found = unit.source.gap_token(unit.source.span(node.target)[1], unit.source.span(node.value)[0], symbol + "=")
        if found is not None:
            for new, cost in BINARY_SWAPS[symbol]:
                if new in STRENGTH:
                    yield cost, "augmented-operator", (unit.splice(*found, new + "="),)
            yield 1.0, "assign", (unit.splice(*found, "="),)
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        gap = unit.source.span(target)[1], unit.source.span(node.value)[0]
        found = unit.source.gap_token(*gap, "=")
        bound = isinstance(target, ast.Subscript | ast.Attribute) or (
            isinstance(target, ast.Name) and target.id in facts.names and facts.names[target.id].first < statement.start
        )
        if found is not None and bound:
            loop = 0.0 if statement.loop else 1.5
            for new, cost in (("+=", 1.2), ("-=", 2.2), ("*=", 2.4), ("|=", 3.5)):
                yield cost + loop, "augment", (unit.splice(*found, new),)


def _swap(facts: Facts, left: ast.expr, right: ast.expr, need_left: int, need_right: int) -> tuple[Edit, ...]:
    unit = facts.unit
    (start, end), (then, until) = unit.source.span(left), unit.source.span(right)
    first, second = unit.text[start:end], unit.text[then:until]
    if unit.source.enclosed(start, end):
        need_left = 0
    if unit.source.enclosed(then, until):
        need_right = 0
    return (
        unit.splice(start, end, fit(second, precedence(right, second), need_left)),
        unit.splice(then, until, fit(first, precedence(left, first), need_right)),
    )


def merged(text: str, edits: list[Edit]) -> tuple[Edit, ...]:
    """Edits in order; those that touch are joined, so that two insertions at one place keep their order."""
    done: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end, edit.new != ")")):
        if done and done[-1].end == edit.start:
            done[-1] = Edit(done[-1].start, edit.end, done[-1].new + edit.new)
        else:
            done.append(edit)
    return tuple(done)


__all__ = ["Draft", "assignments", "merged", "operators"]
