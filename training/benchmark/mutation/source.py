"""Source: a parsed file with exact character spans of nodes and tokens, for edits that leave everything else as it is."""

from __future__ import annotations

import ast
import io
import threading
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

_WARNINGS = threading.Lock()  # Python's warning filters are one per process


def parse(text: str) -> ast.Module:
    """The syntax tree of text that compiles; raises SyntaxError (or ValueError for NUL) where it does not.

    Old code is full of odd escapes: what Python warns of is not this reader's business.
    """
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
        compile(tree, "<benchmark>", "exec", dont_inherit=True)
    return tree


@dataclass(frozen=True, order=True)
class Span:
    """Replace the characters ``start`` to ``end`` by ``new``."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Token:
    """One token that carries meaning (no comment, newline or indentation)."""

    start: int
    end: int
    text: str
    type: int


@dataclass(frozen=True)
class Source:
    """``starts[i]`` is the offset of line i + 1. ``parents`` maps a node's id to the node around it."""

    text: str
    tree: ast.Module
    starts: tuple[int, ...]
    lines: tuple[str, ...]
    tokens: tuple[Token, ...]
    parents: dict[int, ast.AST]

    @classmethod
    def parse(cls, text: str) -> Source:
        """Raises SyntaxError where Python would."""
        tree = parse(text)
        lines = tuple(text.splitlines(keepends=True))
        starts, at = [], 0
        for line in lines:
            starts.append(at)
            at += len(line)
        starts.append(at)
        skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
        tokens = tuple(
            Token(starts[t.start[0] - 1] + t.start[1], starts[t.end[0] - 1] + t.end[1], t.string, t.type)
            for t in tokenize.generate_tokens(io.StringIO(text).readline)
            if t.type not in skipped
        )
        parents = {id(child): node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        return cls(text, tree, tuple(starts), lines, tokens, parents)

    def offset(self, line: int, column: int) -> int:
        """Character offset of a node's position; ast counts columns in UTF-8 bytes."""
        content = self.lines[line - 1]
        return self.starts[line - 1] + len(content.encode()[:column].decode())

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.ExceptHandler) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def line_of(self, offset: int) -> int:
        return max(1, sum(start <= offset for start in self.starts[: len(self.lines)]))

    def tokens_between(self, start: int, end: int) -> list[Token]:
        return [t for t in self.tokens if start <= t.start and t.end <= end]

    def operator_between(self, left: ast.expr, right: ast.expr) -> list[Token]:
        """The operator's tokens between two operands, closing and opening parentheses of the operands left out."""
        between = self.tokens_between(self.span(left)[1], self.span(right)[0])
        return [t for t in between if t.text not in "()"]

    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [n for n in ast.walk(self.tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.parents.get(id(node))

    def enclosing(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around a node, None at module level."""
        at = self.parent(node)
        while at is not None and not isinstance(at, (ast.FunctionDef, ast.AsyncFunctionDef)):
            at = self.parent(at)
        return at

    def expressions(self) -> Iterator[ast.expr]:
        """Expressions that run: no annotations, docstrings, targets of assignments, decorators, or parts of f-strings."""
        hidden: set[int] = set()
        for node in ast.walk(self.tree):
            roots: list[ast.AST | None] = []
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                roots += [node.returns, *node.decorator_list]
            elif isinstance(node, (ast.arg, ast.AnnAssign)):
                roots.append(node.annotation)
            elif isinstance(node, ast.JoinedStr):
                roots.append(node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                roots.append(node.value)
            for root in roots:
                if root is not None:
                    hidden.update(id(n) for n in ast.walk(root))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr) and id(node) not in hidden and not isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)):
                yield node

    def names_in_scope(self, node: ast.AST) -> list[str]:
        """Parameters and assigned names of the functions around a node, in order of first appearance; module variables at module level."""
        scope: ast.AST = self.enclosing(node) or self.tree
        names: dict[str, None] = {}
        for inner in ast.walk(scope):
            if isinstance(inner, ast.arg):
                names[inner.arg] = None
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names[inner.id] = None
        return list(names)
