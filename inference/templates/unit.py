"""The replaceable units of a file, and the statements and expressions ("sites") of one unit with their spans."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from inference.edits import Edit, FunctionSource
from inference.templates.syntax import ATOM, BLANK_OR_COMMENT, TEST, Source, fit, glue, needed, precedence

MODULE = "<module>"
Definition = ast.FunctionDef | ast.AsyncFunctionDef
_GROUPING = (
    ast.BinOp,
    ast.BoolOp,
    ast.UnaryOp,
    ast.Compare,
    ast.IfExp,
    ast.Attribute,
    ast.Subscript,
    ast.Return,
    ast.Assign,
    ast.AugAssign,
)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True, eq=False)
class Statement:
    """``start``/``end`` are the statement's characters (decorators included); ``whole``: it has its physical lines for itself."""

    node: ast.stmt
    start: int
    end: int
    indent: str
    whole: bool
    block: list[Statement]
    parent: Statement | None
    loop: bool
    """Inside a loop of the same function."""
    within: Definition | None
    """The innermost function."""
    is_elif: bool
    sites: list[Site] = field(default_factory=list)
    blocks: list[list[Statement]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Site:
    """One expression; ``need`` is the binding strength that its place asks for (0 where brackets stand around it already)."""

    node: ast.expr
    parent: ast.AST
    role: str
    start: int
    end: int
    need: int
    statement: Statement
    bound: tuple[str, ...]
    """Names of enclosing comprehensions and lambdas."""
    quoted: tuple[int, int] | None
    """The f-string around it."""
    up: Site | None
    bare: int = 18
    """What the place would need without the pair of grouping brackets that stands close around it; above every strength without one."""


class Unit:
    """The statements and sites of one function, or of everything outside functions."""

    def __init__(self, source: Source, function: FunctionSource) -> None:
        self.source, self.text, self.function = source, source.text, function
        self.statements: list[Statement] = []
        self.sites: list[Site] = []
        self.owner: ast.ClassDef | None = None
        self.node: Definition | None = None
        if function.qualname == MODULE:
            self._block(source.tree.body, None, loop=False, within=None)
        else:
            self.node, self.owner = _find(source, function)
            root = self._statement(self.node, [], None, loop=False, within=None)
            self._sites(self.node.args, root, (), None, None)
            self._add_block(root, self.node.body, loop=False, within=self.node)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.source.span(node)
        return self.text[start:end]

    def words(self, site: Site) -> str:
        return self.text[site.start : site.end]

    def strength(self, site: Site) -> int:
        return precedence(site.node, self.text[site.start : site.end])

    def put(self, site: Site, text: str, strength: int = ATOM) -> Edit:
        """The edit that replaces a whole site by ``text``, bracketed where its place asks for it."""
        if strength >= site.bare and "\n" not in text and "\r" not in text and not (site.bare == ATOM and text.isdigit()):
            return self.splice(site.start - 1, site.end + 1, text)
        return self.splice(site.start, site.end, fit(text, strength, site.need))

    def splice(self, start: int, end: int, text: str) -> Edit:
        return Edit(start, end, glue(self.text[start - 1 : start], text, self.text[end : end + 1]))

    def span(self, statement: Statement) -> tuple[int, int]:
        """The physical lines of a statement that has them for itself, the last line end included."""
        return self.source.line_start(statement.start), self.source.next_line(max(statement.start, statement.end - 1))

    def _block(self, nodes: list[ast.stmt], parent: Statement | None, *, loop: bool, within: Definition | None) -> list[Statement]:
        block: list[Statement] = []
        for node in nodes:
            statement = self._statement(node, block, parent, loop=loop, within=within)
            block.append(statement)
            self._descend(statement)
        return block

    def _statement(
        self, node: ast.stmt, block: list[Statement], parent: Statement | None, *, loop: bool, within: Definition | None
    ) -> Statement:
        start, end = self.source.span(node)
        for decorator in getattr(node, "decorator_list", ()):
            at = self.text.rfind("@", 0, self.source.span(decorator)[0])
            start = min(start, at)
        first = self.source.line_start(start)
        indent = self.text[first:start]
        alone = indent.strip(" \t\f") == ""
        whole = alone and BLANK_OR_COMMENT.match(self.text, end) is not None
        statement = Statement(
            node, start, end, indent if alone else "", whole, block, parent, loop, within, self.text.startswith("elif", start)
        )
        self.statements.append(statement)
        return statement

    def _add_block(self, statement: Statement, nodes: list[ast.stmt], *, loop: bool, within: Definition | None) -> None:
        if nodes:
            statement.blocks.append(self._block(nodes, statement, loop=loop, within=within))

    def _descend(self, statement: Statement) -> None:
        node, loop, within = statement.node, statement.loop, statement.within
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in node.decorator_list:
                    self._site(decorator, node, "decorator_list", statement, (), None, None)
                if self.node is not None:
                    self._sites(node.args, statement, (), None, None)
                    self._add_block(statement, node.body, loop=False, within=node)
                return
            case ast.ClassDef():
                loop, within = False, None
            case ast.For() | ast.AsyncFor() | ast.While():
                self._sites(node, statement, (), None, None)
                self._add_block(statement, node.body, loop=True, within=within)
                self._add_block(statement, node.orelse, loop=loop, within=within)
                return
        self._sites(node, statement, (), None, None)
        self._add_block(statement, getattr(node, "body", []), loop=loop, within=within)
        for handler in getattr(node, "handlers", []):
            self._sites(handler, statement, (), None, None)
            self._add_block(statement, handler.body, loop=loop, within=within)
        for name in ("orelse", "finalbody"):
            self._add_block(statement, getattr(node, name, []), loop=loop, within=within)
        for case in getattr(node, "cases", []):
            if case.guard is not None:
                self._site(case.guard, case, "guard", statement, (), None, None)
            self._add_block(statement, case.body, loop=loop, within=within)

    def _sites(
        self, parent: ast.AST, statement: Statement, bound: tuple[str, ...], quoted: tuple[int, int] | None, up: Site | None
    ) -> None:
        if isinstance(parent, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            targets = [generator.target for generator in parent.generators]
            bound += tuple(node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
        elif isinstance(parent, ast.Lambda):
            bound += tuple(argument.arg for argument in [*parent.args.posonlyargs, *parent.args.args, *parent.args.kwonlyargs])
        for role, value in ast.iter_fields(parent):
            if role in ("annotation", "returns", "type_params", "pattern"):
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.expr):
                    self._site(child, parent, role, statement, bound, quoted, up)
                elif isinstance(child, ast.comprehension | ast.keyword | ast.withitem | ast.arguments):
                    self._sites(child, statement, bound, quoted, up)

    def _site(
        self, node: ast.expr, parent: ast.AST, role: str, statement: Statement, bound: tuple[str, ...],
        quoted: tuple[int, int] | None, up: Site | None,
    ) -> None:  # fmt: skip
        start, end = self.source.span(node)
        if quoted is not None and not self._really(node, start, end):
            return
        need = 0 if self.source.enclosed(start, end) else needed(parent, role, node)
        site = Site(node, parent, role, start, end, need, statement, bound, quoted, up)
        if isinstance(node, ast.GeneratorExp) and isinstance(parent, ast.Call) and self.source.span(parent)[1] == end:
            site.start, site.end, site.need = start + 1, end - 1, 0
        if need == 0 and isinstance(parent, _GROUPING) and self.text[start - 1] == "(" and self.text[end] == ")":
            site.bare = needed(parent, role, node)
        if not isinstance(node, ast.FormattedValue):
            self.sites.append(site)
            statement.sites.append(site)
        if isinstance(node, ast.JoinedStr):
            quoted = quoted or (start, end)
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    self._site(part.value, part, "value", statement, bound, quoted, site)
            return
        self._sites(node, statement, bound, quoted, site)

    def _really(self, node: ast.expr, start: int, end: int) -> bool:
        """Whether the span inside an f-string is right: interpreters before 3.12 give wrong ones for some."""
        if sys.version_info >= (3, 12):
            return True
        try:
            return ast.dump(ast.parse(f"({self.text[start:end]})", mode="eval").body) == ast.dump(node)
        except (SyntaxError, ValueError):
            return False


def units(source: Source) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
    """Every outermost function with its qualified name and class, in file order."""

    def visit(nodes: list[ast.stmt], prefix: str, owner: ast.ClassDef | None) -> Iterator[tuple[str, Definition, ast.ClassDef | None]]:
        for node in nodes:
            if isinstance(node, _DEFINITIONS):
                yield prefix + node.name, node, owner
            elif isinstance(node, ast.ClassDef):
                yield from visit(node.body, f"{prefix}{node.name}.", node)
            else:
                for name in ("body", "orelse", "finalbody"):
                    yield from visit(getattr(node, name, []), prefix, owner)
                for handler in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
                    yield from visit(handler.body, prefix, owner)

    yield from visit(source.tree.body, "", None)


@lru_cache(maxsize=32)
def parse(text: str) -> Source:
    return Source(text)


def functions(path: str, text: str) -> tuple[FunctionSource, ...]:
    """Every replaceable unit of a file, ``<module>`` last; empty where the file does not parse."""
    try:
        source = parse(text)
        return (
            *(FunctionSource(path, text, name, *_extent(source, node)) for name, node, _ in units(source)),
            FunctionSource(path, text, MODULE, 0, len(text)),
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _extent(source: Source, node: Definition) -> tuple[int, int]:
    start, end = source.span(node)
    if node.decorator_list:
        start = source.text.rfind("@", 0, source.span(node.decorator_list[0])[0])
    return start, end


def _find(source: Source, function: FunctionSource) -> tuple[Definition, ast.ClassDef | None]:
    for name, node, owner in units(source):
        if name == function.qualname and _extent(source, node)[0] == function.start:
            return node, owner
    raise ValueError(f"{function.path} has no function {function.qualname!r} at character {function.start}: take it from functions().")


__all__ = ["ATOM", "MODULE", "TEST", "Definition", "Site", "Statement", "Unit", "functions", "parse", "units"]
