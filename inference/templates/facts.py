"""What one unit knows: names in scope with the kinds of value their uses suggest, literals, attributes, conditions, returned values."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field

from inference.templates.kinds import BUILTINS, CALL_KINDS, METHOD_KINDS, RESULT_KINDS
from inference.templates.syntax import precedence
from inference.templates.unit import Definition, Site, Statement, Unit


@dataclass(slots=True)
class Name:
    first: int = -1
    """Offset of the first binding; -1 for parameters and globals."""
    rank: int = 0
    """0 parameter or local, 1 global this unit uses, 2 another global of the file, 3 builtin."""
    kinds: Counter[str] = field(default_factory=Counter)
    called: bool = False

    @property
    def kind(self) -> str:
        return self.kinds.most_common(1)[0][0] if self.kinds else ""


class Facts:
    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.names: dict[str, Name] = {}
        self.parameters: list[str] = []
        self.literals: Counter[str] = Counter()
        self.attributes: dict[str, Counter[str]] = {}
        self.modules: set[str] = set()
        self.idle: set[str] = set()  # parameters that nothing reads: what is missing probably needs them
        self.lost: list[str] = []  # names that are read and bound nowhere, in the order of their first use
        self.unread: set[str] = set()  # locals that are bound and never read
        self.unused_imports: set[str] = set()  # what `from ... import` brings in and the file never reads
        self.unused_modules: set[str] = set()
        self.unread_globals: set[str] = set()
        self._bind()
        self._use()
        self._collect()
        for unused in (self.unused_imports, self.unused_modules, self.unread_globals):
            if len(unused) > 6:  # a file that hands names on, not one that forgot to use them
                unused.clear()
        self.conditions = self._conditions()
        self.returns = self._returns()

    def kind(self, node: ast.expr) -> str:
        """The kind of value an expression gives: num, str, list, dict, set, tuple, bool, none, func, seq, ... or "" (unknown)."""
        match node:
            case ast.Constant(value=bool()):
                return "bool"
            case ast.Constant(value=int() | float() | complex()):
                return "num"
            case ast.Constant(value=str()) | ast.JoinedStr():
                return "str"
            case ast.Constant(value=None):
                return "none"
            case ast.Constant(value=bytes()):
                return "bytes"
            case ast.List() | ast.ListComp():
                return "list"
            case ast.Dict() | ast.DictComp():
                return "dict"
            case ast.Set() | ast.SetComp():
                return "set"
            case ast.Tuple():
                return "tuple"
            case ast.GeneratorExp():
                return "iter"
            case ast.Lambda():
                return "func"
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return "bool"
            case ast.UnaryOp():
                return "num"
            case ast.BinOp(op=ast.Add() | ast.Mult() | ast.Mod()):
                left, right = self.kind(node.left), self.kind(node.right)
                return left if left not in ("", "num") else right if right not in ("", "num") else "num" if "num" in (left, right) else ""
            case ast.BinOp(op=ast.Sub() | ast.Div() | ast.FloorDiv() | ast.Pow()):
                return "set" if self.kind(node.left) == "set" else "num"
            case ast.BoolOp():
                return self.kind(node.values[-1])
            case ast.IfExp():
                return self.kind(node.body) or self.kind(node.orelse)
            case ast.Call(func=ast.Name(id=name)):
                return CALL_KINDS.get(name, "")
            case ast.Call(func=ast.Attribute(attr=attribute)):
                return RESULT_KINDS.get(attribute, "")
            case ast.Subscript(slice=ast.Slice()):
                return self.kind(node.value)
            case ast.Subscript():
                return "str" if self.kind(node.value) == "str" else ""
            case ast.Name(id=name):
                return self.names[name].kind if name in self.names else ""
            case _:
                return ""

    def in_scope(self, site: Site, most: int = 1) -> list[tuple[float, str]]:
        """Names that may stand at ``site`` with a penalty each: not bound before it, globals of the file, ..."""
        here = site.start
        found = [(0.0, name) for name in site.bound]
        for name, about in self.names.items():
            forgotten = name in self.unread_globals
            if (about.rank <= most or forgotten) and name not in site.bound:
                late = about.first > here and not site.statement.loop
                found.append((0.3 if forgotten else about.rank + (2.5 if late else 0.0), name))
        return found

    def values(self, statement: Statement) -> list[str]:
        """Parameters and locals bound before ``statement``, nearest first."""
        known = [(about.first, name) for name, about in self.names.items() if about.rank == 0 and about.first < statement.start]
        return [name for _, name in sorted(known, key=lambda item: -item[0]) if name not in ("self", "cls")]

    def _bind(self) -> None:
        unit = self.unit
        node: Definition | None = unit.node
        if node is not None:
            arguments = node.args
            for argument in [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]:
                if argument is not None:
                    self.parameters.append(argument.arg)
                    self.names[argument.arg] = Name()
                    if argument.annotation is not None:
                        self._annotate(argument.arg, argument.annotation)
            if arguments.vararg:
                self.names[arguments.vararg.arg].kinds["tuple"] += 3
            if arguments.kwarg:
                self.names[arguments.kwarg.arg].kinds["dict"] += 3
        for statement in unit.statements:
            inner = statement.node
            if inner is node:
                continue
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._local(inner.name, statement.start).called = True
            elif isinstance(inner, ast.Import | ast.ImportFrom):
                for alias in inner.names:
                    if alias.name != "*":
                        self._local(alias.asname or alias.name.split(".")[0], statement.start)
            for handler in getattr(inner, "handlers", ()):
                if handler.name:
                    self._local(handler.name, statement.start)
        for site in unit.sites:
            if isinstance(site.node, ast.Name) and isinstance(site.node.ctx, ast.Store) and site.node.id not in site.bound:
                self._local(site.node.id, site.statement.start if site.statement.loop else site.start)
        for name, module in self._globals().items():
            self.names.setdefault(name, module)

    def _local(self, name: str, at: int) -> Name:
        return self.names.setdefault(name, Name(first=at))

    def _annotate(self, name: str, annotation: ast.expr) -> None:
        match annotation:
            case ast.Subscript(value=ast.Name(id=word)) | ast.Name(id=word):
                kind = {
                    "int": "num",
                    "float": "num",
                    "Sequence": "seq",
                    "Dict": "dict",
                    "List": "list",
                    "Mapping": "dict",
                    "Callable": "func",
                }
                self.names[name].kinds[kind.get(word, word if word in CALL_KINDS else "")] += 3

    def _globals(self) -> dict[str, Name]:
        found: dict[str, Name] = {}
        for node in self.unit.source.tree.body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    found[name] = Name(rank=2, called=True)
                case ast.Import() | ast.ImportFrom():
                    for alias in node.names:
                        if alias.name != "*":
                            if (alias.asname or alias.name) not in self.unit.source.read:
                                unused = self.unused_imports if isinstance(node, ast.ImportFrom) else self.unused_modules
                                unused.add(alias.asname or alias.name)
                            found[alias.asname or alias.name.split(".")[0]] = Name(rank=2)
                            if isinstance(node, ast.Import):
                                self.modules.add(alias.asname or alias.name.split(".")[0])
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    found[name] = Name(rank=2)
                    found[name].kinds[self.kind(value)] += 2
                    if name not in self.unit.source.read and not name.startswith("__"):
                        self.unread_globals.add(name)
        return found

    def _use(self) -> None:
        read = {site.node.id for site in self.unit.sites if isinstance(site.node, ast.Name) and isinstance(site.node.ctx, ast.Load)}
        self.idle = set(self.parameters) - read - {"self", "cls"}
        self.unread = {site.node.id for site in self.unit.sites if isinstance(site.node, ast.Name)} - read
        for site in self.unit.sites:
            node, parent = site.node, site.parent
            if not isinstance(node, ast.Name):
                continue
            about = self.names.get(node.id)
            if about is None:
                if node.id in BUILTINS:
                    self.names[node.id] = Name(rank=3, called=True)
                elif isinstance(node.ctx, ast.Load) and node.id not in site.bound and node.id not in self.lost:
                    self.lost.append(node.id)
                continue
            if about.rank == 2:
                about.rank = 1
            hint = self._hint(site, parent)
            if hint:
                about.kinds[hint] += 1
            about.called |= isinstance(parent, ast.Call) and site.role == "func"

    def _hint(self, site: Site, parent: ast.AST) -> str:
        node = site.node
        match parent:
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if site.role in ("targets", "target"):
                return self.kind(value)
            case ast.For(target=target, iter=source) | ast.comprehension(target=target, iter=source) if target is node:
                return "num" if self.kind(source) == "range" else "str" if self.kind(source) == "str" else ""
            case ast.For() | ast.comprehension() if site.role == "iter":
                return "seq"
            case ast.Attribute(attr=attribute):
                return METHOD_KINDS.get(attribute, "")
            case ast.Subscript() if site.role == "slice":
                return ""
            case ast.Subscript(slice=ast.Slice()):
                return "seq"
            case ast.Subscript(slice=index) if site.role == "value":
                return "dict" if self.kind(index) == "str" else "seq"
            case ast.Call(func=ast.Name(id="len" | "sorted" | "enumerate" | "reversed" | "max" | "min" | "sum")):
                return "seq"
            case ast.Call(func=ast.Name(id="range" | "abs" | "chr")) | ast.Slice():
                return "num"
            case ast.Call() if site.role == "func":
                return "func"
            case ast.BinOp(op=ast.Sub() | ast.Div() | ast.FloorDiv() | ast.Pow() | ast.Mod() | ast.BitXor() | ast.LShift() | ast.RShift()):
                return "num"
            case ast.UnaryOp(op=ast.USub()):
                return "num"
            case ast.BinOp() | ast.Compare(ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE() | ast.Eq() | ast.NotEq()]):
                return next(
                    (
                        kind
                        for side in ast.iter_child_nodes(parent)
                        if isinstance(side, ast.expr) and side is not node and (kind := self.kind(side)) not in ("none", "bool")
                    ),
                    "",
                )
            case ast.AugAssign(op=ast.Add() | ast.Sub() | ast.Mult()):
                return self.kind(parent.value) or "num"
            case _:
                return ""

    def _collect(self) -> None:
        for site in self.unit.sites:
            if isinstance(site.node, ast.Constant) and not isinstance(site.parent, ast.Expr) and site.node.value is not Ellipsis:
                words = self.unit.words(site)
                if len(words) <= 80 and "\n" not in words and "\r" not in words:
                    self.literals[words] += 1
        for node in ast.walk(self.unit.owner or self.unit.source.tree):
            if isinstance(node, ast.Attribute):
                receiver = node.value.id if isinstance(node.value, ast.Name) else ""
                self.attributes.setdefault(receiver, Counter())[node.attr] += 1
        if self.unit.owner is not None:
            own = self.attributes.setdefault("self", Counter())
            for member in self.unit.owner.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("__"):
                    own[member.name] += 1

    def _conditions(self) -> list[tuple[str, int]]:
        """Conditions that the unit asks anywhere, with the binding strength of their text."""
        found: dict[str, int] = {}
        for site in self.unit.sites:
            asked = site.role in ("test", "ifs") or isinstance(site.parent, ast.BoolOp) or isinstance(site.node, ast.Compare)
            words = self.unit.words(site)
            if asked and len(words) <= 90 and "\n" not in words and "\r" not in words and site.quoted is None and not site.bound:
                found.setdefault(words, precedence(site.node, words))
        return list(found.items())

    def _returns(self) -> list[str]:
        found: Counter[str] = Counter()
        for statement in self.unit.statements:
            if isinstance(statement.node, ast.Return) and statement.node.value is not None:
                words = self.unit.segment(statement.node.value)
                if len(words) <= 60 and "\n" not in words and "\r" not in words and not {"await", "yield"} & set(words.split()):
                    found[words] += 1
        return [words for words, _ in found.most_common()]
