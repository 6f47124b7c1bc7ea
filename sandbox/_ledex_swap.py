"""Compile one candidate edit of a function alone, and put its code into the live functions that came from that place in the file.

Loaded by ``_ledex_serve.py``. What compiled code calls of the server (``TOOLS``) stands among its constants, not in any namespace: a test
finds no name that a cold run lacks. A unit is {"path", "qualname", "start", "end"}, an edit (start, end, new text): character offsets of
the whole file.
Standard library only, Python 3.8+.
"""

from __future__ import annotations

import ast
import gc
import importlib.machinery
import os
import tokenize
import types
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable, Sequence
    from typing import Any, Union

    Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]
    Transform = Callable[[Function], None]
    Unit = dict[str, Any]
    Edits = Sequence[Sequence[Any]]

FUTURES = 0x20000 | 0x40000 | 0x80000 | 0x100000 | 0x200000 | 0x400000 | 0x800000 | 0x1000000
REPR = 200
PLACE = "\0ledex"  # the constant in whose place TOOLS is put
TOOLS: list[object] = []  # one object: reading ``burn`` burns fuel; ``seen`` and ``enter`` record


class Unfit(Exception):
    """The edit cannot be swapped into a live function: it changes what only an import can change."""


class Source:
    """One file of the tree as the interpreter reads it, and the live functions that came from it."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        with open(self.path, "rb") as raw:
            encoding, _ = tokenize.detect_encoding(raw.readline)
        with open(self.path, encoding=encoding, newline="") as file:
            self.text = file.read()
        self.functions: dict[tuple[int, int], list[types.FunctionType]] = {}
        self.shapes: dict[tuple[int, int], tuple[str, list[str]]] = {}

    def line(self, offset: int) -> int:
        """The line number, from 1, of a character offset."""
        text = self.text[:offset]
        return 1 + text.count("\n") + text.count("\r") - text.count("\r\n")

    def edited(self, edits: Edits, start: int = 0, end: int | None = None) -> str:
        """text[start:end] with the edits made (character offsets of the whole file)."""
        end = len(self.text) if end is None else end
        parts: list[str] = []
        at = start
        for first, last, new in edits:
            parts += [self.text[at:first], new]
            at = last
        return "".join(parts + [self.text[at:end]])

    def live(self, unit: Unit) -> list[types.FunctionType]:
        """Function objects of this file whose code starts at the unit's first line, wherever decorators and classes keep them."""
        key = (unit["start"], unit["end"])
        if key not in self.functions:
            line, name = self.line(unit["start"]), unit["qualname"].split(".")[-1]
            gc.unfreeze()  # a worker froze what it inherited, and frozen objects are not listed
            self.functions[key] = [
                f for f in gc.get_objects()
                if type(f) is types.FunctionType and f.__code__.co_name == name and f.__code__.co_firstlineno == line
                and os.path.realpath(f.__code__.co_filename) == self.path]
        return self.functions[key]

    def shape(self, unit: Unit) -> tuple[str, list[str]]:
        """The unit's unchanged signature and decorators, as dumps of their syntax."""
        key = (unit["start"], unit["end"])
        if key not in self.shapes:
            _, known = parse_unit(self, unit, self.text[unit["start"]:unit["end"]])
            self.shapes[key] = (ast.dump(known.args), [ast.dump(d) for d in known.decorator_list])
        return self.shapes[key]


SOURCES: dict[str, Source] = {}


def source(path: str) -> Source:
    """The file at this path, read once. Raises OSError, SyntaxError (its encoding), UnicodeDecodeError."""
    if path not in SOURCES:
        SOURCES[path] = Source(path)
    return SOURCES[path]


def line_start(text: str, offset: int) -> int:
    """The offset at which the line of this offset begins."""
    return max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1


def wrapped(file: Source, unit: Unit, text: str) -> str:
    """The unit's text as a module that compiles alone: class headers around a method, blank lines in front of it for right numbers."""
    first = line_start(file.text, unit["start"])
    indent = file.text[first:unit["start"]]
    if indent.strip():
        raise Unfit()
    classes = unit["qualname"].split(".")[:-1]
    if indent and not classes:
        classes = [""]
    step = "\t" if indent.startswith("\t") else " "
    if len(classes) > len(indent):
        raise Unfit()
    headers = [step * n + ("class %s:\n" % name if name else "if 1:\n") for n, name in enumerate(classes)]
    padding = file.line(unit["start"]) - 1 - len(headers)
    return "\n" * max(padding, 0) + "".join(headers) + indent + text + "\n"


def parse_unit(file: Source, unit: Unit, text: str) -> tuple[ast.Module, Function]:
    """The syntax tree of the unit's text and the function in it. Raises SyntaxError, Unfit."""
    tree = ast.parse(wrapped(file, unit, text), file.path)
    body: list[ast.stmt] | None = tree.body
    for _ in range(8):
        if not body:
            raise Unfit()
        node = body[0]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if len(body) > 1:
                raise Unfit()
            return tree, node
        body = getattr(node, "body", None)
    raise Unfit()


def first_statement(function: Function) -> int:
    """The index in the function's body of what follows its docstring."""
    return 1 if ast.get_docstring(function, clean=False) is not None else 0


def move_to(tree: ast.AST, line: int) -> None:
    """Give every node of a new piece of syntax this line and column 0."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.lineno = node.end_lineno = line
            node.col_offset = node.end_col_offset = 0


def burn(line: int) -> ast.stmt:
    """The statement ``TOOLS.burn``: an attribute, because the compiler warns of a constant that is called."""
    read = ast.Expr(ast.Attribute(ast.Constant(PLACE), "burn", ast.Load()))
    move_to(read, line)
    return read


def equipped(code: types.CodeType) -> types.CodeType:
    """The code, and the code nested in it, with the tools in their place."""
    constants = tuple(
        TOOLS[0] if type(c) is str and c == PLACE else equipped(c) if type(c) is types.CodeType else c for c in code.co_consts)
    return code.replace(co_consts=constants)


def add_fuel(function: Function) -> None:
    """A counter at the start of every loop body and of the function and its inner functions."""
    for node in list(ast.walk(function)):
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            node.body.insert(0, burn(node.body[0].lineno))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body.insert(first_statement(node), burn(node.body[0].lineno))


def find_code(code: types.CodeType, name: str) -> types.CodeType | None:
    """The code of the function of this name, wherever it is nested; None if there is none."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_name == name and constant.co_flags & 0x2:  # CO_NEWLOCALS: a function, not a class body
                return constant
            found = find_code(constant, name)
            if found is not None:
                return found
    return None


def compile_unit(
    file: Source, unit: Unit, text: str, original: types.CodeType, transform: Transform = add_fuel
) -> tuple[types.CodeType, ast.arguments | None]:
    """The code of the unit's function in this text, and its arguments if they changed. Raises SyntaxError, Unfit."""
    tree, node = parse_unit(file, unit, text)
    signature, decorators = file.shape(unit)
    if [ast.dump(d) for d in node.decorator_list] != decorators:
        raise Unfit()
    arguments = node.args if ast.dump(node.args) != signature else None
    transform(node)
    if "__class__" in original.co_freevars:
        keep = ast.parse("if 0:\n __class__").body[0]
        move_to(keep, node.body[0].lineno)
        node.body.insert(first_statement(node), keep)
    module = compile(tree, file.path, "exec", flags=original.co_flags & FUTURES, dont_inherit=True)
    code = find_code(module, unit["qualname"].split(".")[-1])
    if code is None or code.co_freevars != original.co_freevars:
        raise Unfit()
    return equipped(code), arguments


def evaluate(node: ast.expr | None, namespace: dict[str, Any]) -> Any:
    """The value of an expression in this namespace; None for no expression."""
    if node is None:
        return None
    return eval(compile(ast.Expression(node), "<default>", "eval"), namespace)


class Swap:
    """A candidate's code in the live functions; ``undo`` puts the original back."""

    def __init__(self, file: Source, unit: Unit, edits: Edits, transform: Transform = add_fuel) -> None:
        functions = file.live(unit)
        if not functions:
            raise Unfit()
        original = functions[0].__code__
        code, arguments = compile_unit(file, unit, file.edited(edits, unit["start"], unit["end"]), original, transform)
        self.saved = [(f, f.__code__, f.__defaults__, f.__kwdefaults__) for f in functions]
        for function in functions:
            function.__code__ = code
            if arguments is not None:
                try:
                    function.__defaults__ = tuple(evaluate(d, function.__globals__) for d in arguments.defaults) or None
                    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults)
                    function.__kwdefaults__ = {a.arg: evaluate(d, function.__globals__) for a, d in pairs if d is not None} or None
                except Exception as error:
                    self.undo()
                    raise Unfit() from error

    def undo(self) -> None:
        """Put the original code and defaults back."""
        for function, code, defaults, keywords in self.saved:
            function.__code__, function.__defaults__, function.__kwdefaults__ = code, defaults, keywords


def import_edited(path: str, text: str) -> None:
    """Imports of this file read the edited text instead (in this process only)."""
    loader: Any = importlib.machinery.SourceFileLoader  # Any: its method is replaced
    known: Callable[..., types.CodeType | None] = loader.get_code

    def get_code(self: importlib.machinery.SourceFileLoader, name: str) -> types.CodeType | None:
        if os.path.realpath(self.path) == path:
            return compile(text, self.path, "exec", dont_inherit=True)
        return known(self, name)

    loader.get_code = get_code


def text_of(value: object) -> str:
    """The value's repr, shortened, whatever its class does."""
    try:
        text = repr(value)
    except BaseException as error:
        text = "<%s without a repr: %s>" % (type(value).__name__, type(error).__name__)
    return text if len(text) <= REPR else text[:REPR] + "..."


def record_values(function: Function, wanted: list[list[int]]) -> None:
    """Wrap the expressions whose source positions are in ``wanted`` ([line, column, end line, end column], columns in UTF-8 bytes)."""
    positions: dict[tuple[int | None, ...], int] = {tuple(w): n for n, w in enumerate(wanted)}

    class Wrap(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> ast.AST:
            super().generic_visit(node)
            if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", ast.Load()), (ast.Store, ast.Del)):
                key = positions.pop((node.lineno, node.col_offset, node.end_lineno, node.end_col_offset), None)
                if key is not None:
                    call = ast.Call(ast.Attribute(ast.Constant(PLACE), "seen", ast.Load()), [ast.Constant(key), node], [])
                    return ast.fix_missing_locations(ast.copy_location(call, node))
            return node

    function.body = [Wrap().visit(s) for s in function.body]
    names = [a.arg for a in getattr(function.args, "posonlyargs", []) + function.args.args + function.args.kwonlyargs]
    text = "%r.enter({%s})" % (PLACE, ", ".join("%r: %s" % (n, n) for n in names))
    insert_call(function, text)


def insert_call(function: Function, text: str) -> None:
    """Run this statement first whenever the function is called."""
    call = ast.parse(text).body[0]
    move_to(call, function.body[0].lineno)
    function.body.insert(first_statement(function), call)


def record_arguments(function: Function) -> None:
    """Hand the positional arguments to ``TOOLS.enter`` on every call."""
    names = [a.arg for a in getattr(function.args, "posonlyargs", []) + function.args.args]
    insert_call(function, "%r.enter([%s])" % (PLACE, ", ".join(names)))
