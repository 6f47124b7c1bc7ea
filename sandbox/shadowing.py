"""What a patch puts in the place of names that a language gives and that tests rely on: ``assert_eq!`` of the crate's own, Go's ``true``,
``Object.is``, a class ``String`` beside the test. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tree_sitter import Node

from sandbox.syntax import language_of, nodes, parsed, text_of

_GIVEN: Mapping[str, frozenset[str]] = {
    "rust": frozenset({"assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne", "panic", "matches",
                       "unreachable", "todo", "unimplemented", "vec", "format"}),
    # Not min, max and clear: older projects have functions of these names.
    "go": frozenset({"true", "false", "nil", "len", "cap", "append", "copy", "make", "new", "panic", "recover", "print", "println",
                     "close", "delete", "error", "string", "bool", "int", "int64", "float64", "byte", "rune", "any"}),
    "java": frozenset({"String", "Object", "Integer", "Long", "Double", "Float", "Boolean", "Character", "Math", "System", "Exception",
                       "RuntimeException", "Error", "Throwable", "Override", "Iterable", "Comparable", "Thread", "Test", "Before",
                       "BeforeEach", "Assertions"}),
    "javascript": frozenset({"Object", "Array", "String", "Number", "Boolean", "BigInt", "Symbol", "Function", "Math", "JSON", "Date",
                             "Promise", "Map", "Set", "WeakMap", "WeakSet", "Reflect", "Proxy", "RegExp", "Error", "TypeError",
                             "RangeError", "console", "global", "globalThis"}),
}  # fmt: skip
_GO_LEVEL = frozenset({"source_file", "const_declaration", "var_declaration", "type_declaration", "var_spec_list"})


def shadowed(path: str, content: bytes) -> Counter[str]:
    """How often a file redefines each of these names; of JavaScript's how often it assigns to what they hold."""
    language, tree = language_of(path), parsed(path, content)
    if language is None or tree is None:
        return Counter()
    found = {"rust": _rust, "go": _go, "java": _java, "javascript": _javascript}[language](tree.root_node)
    return Counter(name for name in found if name in _GIVEN[language])


def _named(node: Node, field: str = "name") -> Iterator[str]:
    name = node.child_by_field_name(field)
    if name is not None:
        yield text_of(name)


def _rust(root: Node) -> Iterator[str]:
    for node in nodes(root):
        if node.type == "macro_definition":
            yield from _named(node)
        elif node.type == "use_as_clause":
            yield from _named(node, "alias")


def _go(root: Node) -> Iterator[str]:
    """Of the package's own level: inside a function such a name reaches no test."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.type in ("function_declaration", "type_spec", "type_alias"):
            yield from _named(node)
        elif node.type in ("const_spec", "var_spec"):
            yield from (text_of(name) for name in node.children_by_field_name("name"))
        elif node.type in _GO_LEVEL:
            waiting += node.named_children


def _java(root: Node) -> Iterator[str]:
    for node in root.named_children:
        yield from _named(node)


def _javascript(root: Node) -> Iterator[str]:
    for node in nodes(root):
        if node.type in ("assignment_expression", "augmented_assignment_expression"):
            target = node.child_by_field_name("left")
        elif node.type == "call_expression" and text_of(node.child_by_field_name("function") or node) in ("Object.assign", "Reflect.set"):
            arguments = node.child_by_field_name("arguments")
            target = arguments.named_children[0] if arguments is not None and arguments.named_children else None
        elif node.type == "unary_expression" and node.children and node.children[0].type == "delete":
            target = node.child_by_field_name("argument")
        else:
            continue
        while target is not None and target.type in ("member_expression", "subscript_expression"):
            target = target.child_by_field_name("object")
        if target is not None and target.type == "identifier":
            yield text_of(target)
