"""How likely an expression is where it stands: a probabilistic grammar of Python expressions, counted from a corpus.

A node's *head* is its operator or callee with the number of its children (``+``, ``len/1``, ``.split/0``, ``math.ceil/1``); locals are one
head, so are strings that are not common. Its *context* is the head above it and its place there (``range/2@1``, ``return``). Heads are
drawn from their context, interpolated with how frequent they are anywhere (Witten and Bell, The zero-frequency problem, 1991).
"""

from __future__ import annotations

import ast
import builtins
import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from inference.templates.syntax import BINARY, COMPARISON

DATA = Path(__file__).with_name("data") / "idioms.json"
VARIABLE, TEXT = "var", "text"
_UNSEEN = 1.5e-4
_BUILTINS = frozenset(dir(builtins))
_UNARY = {ast.USub: "-", ast.Not: "not", ast.Invert: "~", ast.UAdd: "+"}
_COMPREHENSIONS = {ast.ListComp: "list", ast.SetComp: "set", ast.GeneratorExp: "iter"}
_LARGEST = 20
Child = tuple[str, ast.expr]
"""A child's context and the child."""


class Idioms:
    """Probabilities from counts: context -> head -> how often."""

    def __init__(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.counts = counts
        self._anywhere: dict[str, int] = {}
        for heads in counts.values():
            for head, count in heads.items():
                self._anywhere[head] = self._anywhere.get(head, 0) + count
        self._all = sum(self._anywhere.values()) or 1
        self._sums = {context: sum(heads.values()) for context, heads in counts.items()}

    def cost(self, context: str, head: str) -> float:
        """Minus the logarithm of the head's probability in the context."""
        anywhere = max(0.98 * self._anywhere.get(head, 0) / self._all, _UNSEEN)
        heads = self.counts.get(context)
        if not heads:
            return -math.log(anywhere)
        kinds = len(heads)
        return -math.log((heads.get(head, 0) + kinds * anywhere) / (self._sums[context] + kinds))

    def heads(self) -> Iterator[str]:
        """Every head of the corpus."""
        yield from self._anywhere

    def surprise(self, node: ast.AST, known: frozenset[str] | None = None) -> float:
        """Minus the log-probability of all expressions below a node (a function, a statement); locals are ``known``."""
        return sum(self.cost(context, head(child, local)) for context, child, local in contexts(node, known))

    def surprise_at(self, context: str, node: ast.expr, known: frozenset[str]) -> float:
        """The same of one expression in its context."""
        return sum(self.cost(where, head(child, local)) for where, child, local in _below(context, node, known))


@lru_cache(maxsize=1)
def shipped() -> Idioms:
    """The grammar that comes with the package."""
    return Idioms(json.loads(DATA.read_text(encoding="utf-8")))


def locals_of(node: ast.AST) -> frozenset[str]:
    """Names that are bound below a node: arguments, targets, comprehensions'."""
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    return frozenset(stored | {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)})


def contexts(node: ast.AST, known: frozenset[str] | None = None) -> Iterator[tuple[str, ast.expr, frozenset[str]]]:
    """(context, expression, locals) of every expression that is read below a node."""
    local = locals_of(node) if known is None else known
    for statement in ast.walk(node):
        if isinstance(statement, ast.stmt):
            for context, child in _of_statement(statement):
                yield from _below(context, child, local)


def _below(context: str, node: ast.expr, local: frozenset[str]) -> Iterator[tuple[str, ast.expr, frozenset[str]]]:
    yield context, node, local
    for inner, child in children(node, local):
        yield from _below(inner, child, local)


def _of_statement(node: ast.stmt) -> Iterator[Child]:
    match node:
        case ast.Return(value=ast.expr() as value):
            yield "return", value
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            yield "=", value
            for target in getattr(node, "targets", ()):
                if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
                    yield "[]@1", target.slice
        case ast.AugAssign(value=value):
            yield "+=", value
        case ast.For(iter=iterated) | ast.AsyncFor(iter=iterated):
            yield "for", iterated
        case ast.If(test=test):
            yield "if", test
        case ast.While(test=test):
            yield "while", test
        case ast.Expr(value=value) if not isinstance(value, ast.Constant):
            yield "do", value
        case ast.Assert(test=test):
            yield "if", test


def head(node: ast.expr, local: frozenset[str]) -> str:
    """What an expression is at its top."""
    match node:
        case ast.Name(id=name):
            return VARIABLE if name in local or name not in _BUILTINS else name
        case ast.Constant(value=bool() | None as value):
            return str(value)
        case ast.Constant(value=int() as value):
            return str(value) if -1 <= value <= _LARGEST else "int"
        case ast.Constant(value=str() as value):
            return repr(value) if len(value) <= 1 else TEXT
        case ast.Constant(value=value):
            return type(value).__name__
        case ast.BinOp(op=op):
            return BINARY[type(op)][0]
        case ast.UnaryOp(op=op):
            return f"{_UNARY[type(op)]}/1"
        case ast.BoolOp(op=op):
            return "and" if isinstance(op, ast.And) else "or"
        case ast.Compare(ops=[op]):
            return COMPARISON[type(op)]
        case ast.Call(func=function, args=arguments, keywords=keywords):
            words = "".join(f",{keyword.arg}" for keyword in keywords)
            match function:
                case ast.Name(id=name):
                    called = name
                case ast.Attribute(value=ast.Name(id=module), attr=name) if module not in local:
                    called = f"{module}.{name}"
                case ast.Attribute(attr=name):
                    called = f".{name}"
                case _:
                    called = "?"
            return f"{called}/{len(arguments)}{words}"
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module not in local:
            return f"{module}.{name}"
        case ast.Attribute(attr=name):
            return f".{name}"
        case ast.Subscript(slice=ast.Slice(lower=lower, upper=upper, step=step)):
            return f"[{'a' if lower else ''}:{'b' if upper else ''}{':c' if step else ''}]"
        case ast.Subscript():
            return "[]"
        case ast.IfExp():
            return "if else"
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return f"#{type(node).__name__.lower()}/{min(len(elements), 4)}"
        case ast.ListComp(generators=[one]) | ast.SetComp(generators=[one]) | ast.GeneratorExp(generators=[one]):
            return f"{_COMPREHENSIONS[type(node)]} for{' if' * min(len(one.ifs), 1)}"
        case ast.Lambda(args=arguments):
            return f"lambda/{len(arguments.args)}"
        case _:
            return type(node).__name__


def children(node: ast.expr, local: frozenset[str]) -> Iterator[Child]:
    """The expressions right below an expression, each with its context."""
    name = head(node, local)
    parts: list[ast.expr]
    match node:
        case ast.Call(func=function, args=arguments, keywords=keywords):
            parts = [*arguments, *(keyword.value for keyword in keywords)]
            if isinstance(function, ast.Attribute) and name.startswith("."):
                parts.insert(0, function.value)
            elif not isinstance(function, ast.Name | ast.Attribute):
                parts.insert(0, function)
        case ast.Attribute(value=value):
            parts = [value] if name.startswith(".") else []
        case ast.Subscript(value=value, slice=ast.Slice(lower=lower, upper=upper, step=step)):
            parts = [value, *(part for part in (lower, upper, step) if part is not None)]
        case ast.Compare(left=left, comparators=others):
            parts = [left, *others]
        case ast.ListComp(elt=element) | ast.SetComp(elt=element) | ast.GeneratorExp(elt=element):
            parts = [element, *(g.iter for g in node.generators), *(test for g in node.generators for test in g.ifs)]
        case ast.DictComp(key=key, value=value):
            parts = [key, value, *(g.iter for g in node.generators), *(test for g in node.generators for test in g.ifs)]
        case ast.Lambda(body=body):
            parts = [body]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            parts = [body, test, orelse]
        case _:
            parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    for at, part in enumerate(parts):
        yield f"{name}@{min(at, 3)}", part
