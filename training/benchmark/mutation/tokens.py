"""One wrong token: operator, literal, name, attribute, keyword."""

from __future__ import annotations

import ast
import itertools
import tokenize
from collections.abc import Iterator

from training.benchmark.mutation.source import Source, Span, Token

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
OPERATORS = {
    "+": ("-", "*"), "-": ("+",), "*": ("+", "**", "/"), "/": ("//", "*"), "//": ("/", "%"), "%": ("//", "/"), "**": ("*",),
    "&": ("|", "^"), "|": ("&", "^"), "^": ("|", "&"), "<<": (">>",), ">>": ("<<",),
}  # fmt: skip
AUGMENTED = {"+=": ("-=", "="), "-=": ("+=", "="), "*=": ("+=", "="), "//=": ("/=", "-="), "/=": ("//=", "*="), "|=": ("=",), "^=": ("|=",)}
CONFUSED = (
    {"min", "max"}, {"any", "all"}, {"sorted", "reversed"}, {"int", "float", "str"}, {"list", "tuple", "set"}, {"len", "sum", "max"},
    {"ord", "chr"}, {"map", "filter"}, {"abs", "int"}, {"range", "len"}, {"zip", "enumerate"}, {"ceil", "floor"}, {"sqrt", "pow"},
    {"sin", "cos"}, {"append", "extend", "insert"}, {"append", "add"}, {"add", "discard"}, {"pop", "remove"}, {"upper", "lower"},
    {"isupper", "islower"}, {"isdigit", "isalpha", "isalnum"}, {"startswith", "endswith"}, {"find", "index", "rfind"},
    {"keys", "values", "items"},
    {"strip", "lstrip", "rstrip"}, {"split", "rsplit"}, {"sort", "reverse"}, {"union", "intersection", "difference"}, {"count", "index"},
    {"match", "search", "findall", "fullmatch"}, {"sub", "subn"}, {"log", "log10", "log2"}, {"heappush", "heappop"},
    {"nlargest", "nsmallest"},
    {"issubset", "issuperset"}, {"combinations", "permutations"}, {"get", "setdefault"}, {"replace", "strip"}, {"capitalize", "title"},
)  # fmt: skip
Found = list[tuple[str, tuple[Span, ...]]]


def token_mutations(source: Source) -> Found:
    """(operator, spans) of every one-token slip, each a single span that replaces, adds or drops one token."""
    found: Found = []
    for expression in source.expressions():
        found += [(name, (span,)) for name, span in _expression(source, expression)]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AugAssign):
            operator = _first(source, source.span(node.target)[1], source.span(node.value)[0])
            found += [("augmented assignment", (Span(operator.start, operator.end, new),)) for new in AUGMENTED.get(operator.text, ())]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and source.enclosing(node):
            start, end = source.span(node)
            others = [n for n in source.names_in_scope(node) if n != node.id]
            found += [("wrong target", (Span(start, end, other),)) for other in others]
        elif isinstance(node, (ast.Break, ast.Continue)):
            start, end = source.span(node)
            found.append(("loop exit", (Span(start, end, "continue" if isinstance(node, ast.Break) else "break"),)))
    found += [("elif", (Span(t.start, t.end, "if"),)) for t in source.tokens if t.text == "elif"]
    return found


def _expression(source: Source, node: ast.expr) -> Iterator[tuple[str, Span]]:
    start, end = source.span(node)
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, right in itertools.pairwise(operands):
            yield from _comparison(source.operator_between(left, right))
    elif isinstance(node, ast.BinOp):
        for token in source.operator_between(node.left, node.right)[:1]:
            for new in OPERATORS.get(token.text, ()):
                yield "arithmetic operator", Span(token.start, token.end, new)
    elif isinstance(node, ast.BoolOp):
        for left, right in itertools.pairwise(node.values):
            for token in source.operator_between(left, right)[:1]:
                yield "boolean operator", Span(token.start, token.end, "or" if token.text == "and" else "and")
    elif isinstance(node, ast.UnaryOp):
        yield "lost sign or not", Span(start, source.tokens_between(*source.span(node))[1].start, "")
    elif isinstance(node, ast.Constant):
        yield from (("wrong literal", Span(start, end, new)) for new in _literals(node, source.text[start:end]))
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool) and node.value:
            yield "wrong sign", Span(start, start, "-")
    elif isinstance(node, ast.Name):
        yield from _name(source, node, start, end)
    elif isinstance(node, ast.Attribute):
        token = source.tokens_between(start, end)[-1]
        yield from (("wrong method", Span(token.start, token.end, other)) for other in _siblings(node.attr))


def _comparison(operator: list[Token]) -> Iterator[tuple[str, Span]]:
    if len(operator) == 1 and operator[0].text in COMPARISONS:
        token = operator[0]
        near = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}[token.text]
        yield "comparison boundary", Span(token.start, token.end, near)
        yield from (("comparison operator", Span(token.start, token.end, new)) for new in COMPARISONS if new not in (token.text, near))
        if token.text == "==":
            yield "identity for equality", Span(token.start, token.end, "is")
    elif [t.text for t in operator] in (["not", "in"], ["is", "not"]):
        token = operator[0] if operator[0].text == "not" else operator[1]
        yield "lost sign or not", Span(token.start, token.end, "")
    elif len(operator) == 1:
        token = operator[0]
        yield "comparison operator", Span(token.start, token.end, {"in": "not in", "is": "is not"}[token.text])


def _literals(node: ast.Constant, written: str) -> Iterator[str]:
    value = node.value
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        near = {value + 1, value - 1, 0, 1, value * 10, value // 10, value + 2} - {value}
        digits = str(value)
        if len(digits) > 1:
            near |= {int(digits[1] + digits[0] + digits[2:]), int(digits[:-1])}
        yield from (str(v) for v in sorted(near - {value}) if v >= 0)
    elif isinstance(value, float):
        yield from (repr(v) for v in sorted({value + 1, value / 10, value * 10, float(int(value)), round(value, 1)} - {value}))
    elif value is None:
        yield from ("0", "False")
    elif isinstance(value, str) and len(written) >= 2 and written[0] in "'\"" and written[:3] not in ("'''", '"""'):
        # Slips at the keyboard, made on the written form so that escapes stay escapes.
        body, quote = written[1:-1], written[0]
        variants = {body.lower(), body.upper(), body[1:], body[:-1], body + " ", "", body[1:2] + body[:1] + body[2:], " "}
        yield from (quote + v + quote for v in sorted(variants - {body}))


def _name(source: Source, node: ast.Name, start: int, end: int) -> Iterator[tuple[str, Span]]:
    scope = source.names_in_scope(node)
    if node.id in scope:
        yield from (("wrong variable", Span(start, end, other)) for other in scope if other != node.id)
    else:
        yield from (("wrong function", Span(start, end, other)) for other in _siblings(node.id))


def _siblings(name: str) -> list[str]:
    return sorted({other for family in CONFUSED if name in family for other in family} - {name})


def _first(source: Source, start: int, end: int) -> Token:
    return next(t for t in source.tokens_between(start, end) if t.type == tokenize.OP and t.text not in "()")
