"""One wrong expression: a part forgotten, added, swapped, taken from elsewhere, or bracketed differently."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from training.benchmark.mutation.source import Source, Span

Found = list[tuple[str, tuple[Span, ...]]]
WRAPPERS = ("abs", "int", "len", "str", "sorted", "list", "set", "sum", "max")
ATOMS = (ast.Name, ast.Constant, ast.Call, ast.Subscript, ast.Attribute, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp)


def expression_mutations(source: Source) -> Found:
    """(operator, spans) of every one-expression slip."""
    found: Found = []
    for node in source.expressions():
        if isinstance(node, ast.Starred) or isinstance(source.parent(node), ast.keyword):
            continue
        found += _structure(source, node)
        found += _additions(source, node)
    found += _donors(source)
    return found


def _text(source: Source, node: ast.expr) -> str:
    """The node's text, bracketed where it could bind otherwise in another place."""
    text = source.segment(node)
    return text if isinstance(node, ATOMS) else f"({text})"


def _become(source: Source, node: ast.expr, new: str) -> tuple[Span, ...]:
    start, end = source.span(node)
    return (Span(start, end, new),)


def _swap(source: Source, first: ast.expr, second: ast.expr) -> tuple[Span, ...]:
    return _become(source, first, source.segment(second)) + _become(source, second, source.segment(first))


def _structure(source: Source, node: ast.expr) -> Iterator[tuple[str, tuple[Span, ...]]]:
    """Slips inside what is there: lost, swapped and differently grouped parts."""
    if isinstance(node, ast.BinOp):
        yield from (("lost operand", _become(source, node, _text(source, part))) for part in (node.left, node.right))
        if not isinstance(node.op, (ast.Add, ast.Mult)) or isinstance(node.left, (ast.Constant, ast.List)):
            yield "swapped operands", _swap(source, node.left, node.right)
        yield from _grouping(source, node)
    elif isinstance(node, ast.BoolOp):
        for left_out in range(len(node.values)):
            kept = [source.segment(v) for i, v in enumerate(node.values) if i != left_out]
            word = " and " if isinstance(node.op, ast.And) else " or "
            yield "lost condition", _become(source, node, word.join(kept) if len(kept) == 1 else f"({word.join(kept)})")
    elif isinstance(node, ast.Compare):
        if len(node.ops) == 1 and isinstance(node.ops[0], (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In)):
            yield "swapped operands", _swap(source, node.left, node.comparators[0])
        if len(node.ops) > 1:
            yield "lost condition", (Span(source.span(node.comparators[-2])[1], source.span(node.comparators[-1])[1], ""),)
    elif isinstance(node, ast.Call):
        yield from _call(source, node)
    elif isinstance(node, ast.Subscript):
        yield from _subscript(source, node)
    elif isinstance(node, ast.IfExp):
        yield "swapped branches", _swap(source, node.body, node.orelse)
        yield from (("lost branch", _become(source, node, _text(source, branch))) for branch in (node.body, node.orelse))
    elif isinstance(node, (ast.Tuple, ast.List)) and 2 <= len(node.elts) <= 6:
        yield from (("swapped elements", _swap(source, a, b)) for a, b in itertools.pairwise(node.elts))
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
        yield from _comprehension(source, node)
    elif isinstance(node, ast.Lambda):
        names = [a.arg for a in node.args.args]
        yield from (("wrong key", _become(source, node.body, name)) for name in names if source.segment(node.body) != name)


def _grouping(source: Source, node: ast.BinOp) -> Iterator[tuple[str, tuple[Span, ...]]]:
    """Forgotten brackets, and brackets around the wrong pair."""
    tokens = source.tokens_between(*_outer(source, node))
    for side in (node.left, node.right):
        start, end = source.span(side)
        before = next((t for t in reversed(tokens) if t.end <= start), None)
        after = next((t for t in tokens if t.start >= end), None)
        if isinstance(side, (ast.BinOp, ast.UnaryOp)) and before and after and before.text == "(" and after.text == ")":
            yield "lost brackets", (Span(before.start, before.end, ""), Span(after.start, after.end, ""))
    if isinstance(node.left, ast.BinOp):
        yield (
            "wrong brackets",
            (
                Span(source.span(node.left.right)[0], source.span(node.left.right)[0], "("),
                Span(source.span(node.right)[1], source.span(node.right)[1], ")"),
            ),
        )
    if isinstance(node.right, ast.BinOp):
        yield (
            "wrong brackets",
            (
                Span(source.span(node)[0], source.span(node)[0], "("),
                Span(source.span(node.right.left)[1], source.span(node.right.left)[1], ")"),
            ),
        )


def _outer(source: Source, node: ast.expr) -> tuple[int, int]:
    start, end = source.span(node)
    return max(0, start - 2), end + 2


def _call(source: Source, node: ast.Call) -> Iterator[tuple[str, tuple[Span, ...]]]:
    if node.args and not isinstance(node.args[0], (ast.Starred, ast.GeneratorExp)):
        yield "lost call", _become(source, node, _text(source, node.args[0]))
    if isinstance(node.func, ast.Attribute):
        yield "lost call", _become(source, node, _text(source, node.func.value))
    yield "lost parentheses", (Span(source.span(node.func)[1], source.span(node)[1], ""),)
    yield from (("swapped arguments", _swap(source, a, b)) for a, b in itertools.pairwise(node.args))
    parts: list[ast.expr | ast.keyword] = [*node.args, *node.keywords]
    spans = sorted(source.span(part) for part in parts)
    for index, (start, end) in enumerate(spans):
        if len(spans) > 1:
            # The comma goes with the argument: the one before it, or for the first argument the one after.
            yield "lost argument", (Span(spans[index - 1][1], end, "") if index else Span(start, spans[1][0], ""),)
        elif node.keywords:
            yield "lost argument", (Span(start, end, ""),)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and len(node.args) == 2:
        yield "index for get", _become(source, node, f"{_text(source, node.func.value)}[{source.segment(node.args[0])}]")


def _subscript(source: Source, node: ast.Subscript) -> Iterator[tuple[str, tuple[Span, ...]]]:
    yield "lost index", _become(source, node, _text(source, node.value))
    if isinstance(node.value, ast.Subscript):
        yield "swapped indices", _swap(source, node.value.slice, node.slice)
    if not isinstance(node.slice, ast.Slice):
        yield "index from the end", (Span(*source.span(node.slice), f"-{_text(source, node.slice)}"),)
        return
    lower, upper, step = (source.segment(part) if part else "" for part in (node.slice.lower, node.slice.upper, node.slice.step))
    tail = f":{step}" if step else ""
    variants = {
        "swapped slice": f"{upper}:{lower}{tail}",
        "lost slice bound": f":{upper}{tail}",
        "lost slice end": f"{lower}:{tail}",
        "lost slice step": f"{lower}:{upper}",
        "slice off by one": f"{lower}:{upper} + 1{tail}" if upper else f"{lower or '0'} + 1:{tail}",
    }
    start = source.span(node.value)[1]
    yield from ((name, (Span(start, source.span(node)[1], f"[{new}]"),)) for name, new in variants.items())


def _comprehension(source: Source, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Iterator[tuple[str, tuple[Span, ...]]]:
    for loop in node.generators:
        for test in loop.ifs:
            start, end = source.span(test)
            word = [t for t in source.tokens if t.end <= start and t.text == "if"]
            if word:
                yield "lost filter", (Span(word[-1].start, end, ""),)
    target = node.generators[0].target
    if isinstance(target, ast.Name) and source.segment(node.elt) != target.id:
        yield "wrong element", _become(source, node.elt, target.id)


def _additions(source: Source, node: ast.expr) -> Iterator[tuple[str, tuple[Span, ...]]]:
    """Slips that put in something too much."""
    parent = source.parent(node)
    text = _text(source, node)
    callee = isinstance(parent, ast.Call) and parent.func is node
    if callee or isinstance(node, (ast.Slice, ast.Lambda)) or isinstance(parent, (ast.Attribute, ast.Slice)):
        return
    counts = isinstance(parent, (ast.Call, ast.Subscript, ast.Return, ast.Compare, ast.Assign))
    numeric = isinstance(node, (ast.Name, ast.BinOp, ast.Call, ast.Subscript))
    if counts and numeric and not (isinstance(parent, ast.Subscript) and parent.value is node):
        yield "off by one", _become(source, node, f"{text} + 1")
        yield "off by one", _become(source, node, f"{text} - 1")
    if (isinstance(parent, (ast.If, ast.While, ast.IfExp)) and parent.test is node) or isinstance(parent, ast.BoolOp):
        yield "negated condition", _become(source, node, f"not {text}")
    if isinstance(parent, (ast.Return, ast.Assign, ast.Call, ast.Compare)) and isinstance(node, (ast.Name, ast.BinOp, ast.Subscript)):
        yield from (("needless call", _become(source, node, f"{name}({source.segment(node)})")) for name in WRAPPERS)
    if isinstance(node, ast.Name) and isinstance(parent, (ast.Return, ast.Compare, ast.Call)):
        yield from (("needless index", _become(source, node, f"{node.id}[{index}]")) for index in ("0", "-1"))


def _donors(source: Source) -> Found:
    """Copied from the wrong place: an expression of the same function where another of a like role belongs."""
    found: Found = []
    for function in source.functions():
        inside = [n for n in source.expressions() if source.enclosing(n) is function]
        rich = [n for n in inside if isinstance(n, (ast.BinOp, ast.Call, ast.Subscript, ast.Compare, ast.BoolOp))]
        for node in rich:
            for donor in rich:
                truth = (ast.Compare, ast.BoolOp)
                apart = source.span(donor)[1] <= source.span(node)[0] or source.span(node)[1] <= source.span(donor)[0]
                if apart and isinstance(node, truth) == isinstance(donor, truth) and source.segment(node) != source.segment(donor):
                    found.append(("copied expression", _become(source, node, _text(source, donor))))
            if isinstance(node, (ast.BinOp, ast.Subscript, ast.Call)):
                parts = dict.fromkeys(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in source.names_in_scope(node))
                found += [("simplified to a variable", _become(source, node, name)) for name in parts]
    return found
