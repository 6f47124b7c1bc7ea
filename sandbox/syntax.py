"""JavaScript, TypeScript, Go, Rust and Java source by their tree-sitter grammars: names, functions. Pure.

Python is read by its own parser elsewhere. A text that a grammar cannot read whole still gives a tree, with its errors inside; a file
above a mebibyte gives none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import tree_sitter
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_rust
import tree_sitter_typescript
from tree_sitter import Node, Tree

MOST_BYTES = 1 << 20
_GRAMMARS: dict[str, Callable[[], object]] = {
    "javascript": tree_sitter_javascript.language, "typescript": tree_sitter_typescript.language_typescript,
    "tsx": tree_sitter_typescript.language_tsx, "go": tree_sitter_go.language, "rust": tree_sitter_rust.language,
    "java": tree_sitter_java.language,
}  # fmt: skip
_SUFFIXES = {
    "js": "javascript", "cjs": "javascript", "mjs": "javascript", "jsx": "javascript", "ts": "typescript", "mts": "typescript",
    "cts": "typescript", "tsx": "tsx", "go": "go", "rs": "rust", "java": "java",
}  # fmt: skip
_FUNCTIONS = frozenset({
    "function_declaration", "generator_function_declaration", "function_expression", "arrow_function", "method_definition", "func_literal",
    "method_declaration", "function_item", "constructor_declaration", "compact_constructor_declaration", "generator_function",
})  # fmt: skip
_TYPES = frozenset({
    "class_declaration", "abstract_class_declaration", "interface_declaration", "enum_declaration", "record_declaration", "struct_item",
    "enum_item", "trait_item", "impl_item", "type_spec", "type_alias_declaration", "union_item", "class",
})  # fmt: skip
_CONSTANTS = frozenset({"const_item", "static_item", "const_spec", "var_spec", "variable_declarator"})
Kind = Literal["function", "type", "constant"]
_KINDS: dict[Kind, frozenset[str]] = {"function": _FUNCTIONS, "type": _TYPES, "constant": _CONSTANTS}
_NAMES = frozenset({
    "identifier", "property_identifier", "field_identifier", "type_identifier", "package_identifier", "shorthand_property_identifier",
    "shorthand_property_identifier_pattern", "private_property_identifier", "label_name", "statement_identifier",
})  # fmt: skip
STRINGS = frozenset({
    "string", "template_string", "interpreted_string_literal", "raw_string_literal", "rune_literal", "string_literal", "char_literal",
    "character_literal",
})  # fmt: skip
_MARKS = ("/proc", "/dev/fd", "/run/ledex", "_ledex_", "ledex-report", "--- PASS", '"Action"')
"""Parts of strings that say where a report lies, or what one looks like."""


@dataclass(frozen=True, order=True)
class Definition:
    """A function, type or constant: lines ``first``..``last`` (from 1, both included), with what is written right above it."""

    first: int
    last: int
    name: str
    kind: Kind


def knows(path: str) -> bool:
    """Whether a grammar reads files of this name."""
    return path.rpartition(".")[2].lower() in _SUFFIXES


def language_of(path: str) -> str | None:
    """"javascript" (TypeScript too), "go", "rust" or "java"; None for everything else."""
    found = _SUFFIXES.get(path.rpartition(".")[2].lower())
    return "javascript" if found in ("typescript", "tsx") else found


@cache
def _parser(language: str) -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(_GRAMMARS[language]()))


@lru_cache(maxsize=64)
def parsed(path: str, content: bytes) -> Tree | None:
    """The tree of a file; None where no grammar reads it."""
    language = _SUFFIXES.get(path.rpartition(".")[2].lower())
    return _parser(language).parse(content) if language is not None and len(content) <= MOST_BYTES else None


def nodes(tree: Tree | Node) -> Iterator[Node]:
    """All nodes, parents first."""
    waiting = [tree.root_node if isinstance(tree, Tree) else tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def text_of(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def broken(path: str, content: bytes) -> bool:
    """Whether the grammar finds a mistake in the text."""
    tree = parsed(path, content)
    return tree is not None and tree.root_node.has_error


def mentions(path: str, content: bytes) -> Counter[str]:
    """How often each name is mentioned in code, and in strings that are short; comments do not count."""
    found: Counter[str] = Counter()
    tree = parsed(path, content)
    for node in nodes(tree) if tree is not None else ():
        if node.type in _NAMES:
            found[text_of(node).lstrip("#")] += 1
        elif node.type in STRINGS and node.is_named:
            text = text_of(node)
            found.update(mark for mark in _MARKS if mark in text)
            if len(text) < 60:
                found.update(re.findall(r"[A-Za-z_][\w:./-]*", text))
        elif node.type in ("attribute_item", "marker_annotation", "annotation", "inner_attribute_item", "macro_invocation"):
            # The arguments of an attribute or macro are tokens to the grammar.
            found.update(set(re.findall(r"[A-Za-z_]\w*", text_of(node)[:2000])) if node.type != "macro_invocation" else
                         [w for w in ("cfg", "exit", "abort") if re.search(rf"\b{w}\b", text_of(node)[:2000])])  # fmt: skip
    return found


def definitions(path: str, content: bytes) -> tuple[Definition, ...]:
    """Functions and types that have a name, and constants outside functions, in the order of the file."""
    tree = parsed(path, content)
    found: list[Definition] = []
    for node in nodes(tree) if tree is not None else ():
        kind = next((k for k, types in _KINDS.items() if node.type in types), None)
        if kind is None or not (name := _name(node)):
            continue
        if kind == "constant" and (_inside_function(node) or _is_function(node.child_by_field_name("value"))):
            continue
        outer = _outer(node)
        found.append(Definition(_with_heading(outer) + 1, _last_line(outer) + 1, name, kind))
    return tuple(sorted(found))


_GIVING = frozenset({"variable_declarator", "pair", "assignment_expression", "field_definition", "public_field_definition"})


def _name(node: Node) -> str:
    """What a definition is called; of an anonymous function the variable, field or property that it is given to."""
    named = node.child_by_field_name("name") or (node.child_by_field_name("type") if node.type == "impl_item" else None)
    if named is None and node.parent is not None and node.type in _FUNCTIONS:
        parent = node.parent
        for role in ("name", "key", "left", "property"):
            other = parent.child_by_field_name(role)
            if other is not None and other != node and parent.type in _GIVING:
                named = other
                break
    return text_of(named).rpartition(".")[2][:200] if named is not None else ""


def _is_function(node: Node | None) -> bool:
    return node is not None and node.type in _FUNCTIONS


def _inside_function(node: Node) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.type in _FUNCTIONS:
            return True
        parent = parent.parent
    return False


def _outer(node: Node) -> Node:
    """The statement that a definition is, with ``export``, ``const`` or ``type`` in front."""
    wrapping = ("export_statement", "lexical_declaration", "variable_declaration", "variable_declarator", "type_declaration", "pair",
                "const_declaration", "var_declaration", "expression_statement", "assignment_expression", "field_definition",
                "public_field_definition")  # fmt: skip
    while node.parent is not None and node.parent.type in wrapping:
        siblings = [c for c in node.parent.named_children if c.type == node.type]
        if len(siblings) > 1:
            break
        node = node.parent
    return node


def _with_heading(node: Node) -> int:
    """The first line (from 0) of a node with the comments, attributes and decorators right above it."""
    first, before = node.start_point[0], node.prev_sibling
    while before is not None and before.type in ("comment", "line_comment", "block_comment", "attribute_item", "decorator"):
        last = _last_line(before)
        if last < first - 1 or last >= first and before.type != "decorator":
            break
        first, before = before.start_point[0], before.prev_sibling
    return first


def _last_line(node: Node) -> int:
    """The last line (from 0); a node that ends at the start of a line does not reach into it."""
    row, column = node.end_point
    return max(row - 1, node.start_point[0]) if column == 0 else row


def always_true(path: str, content: bytes) -> int:
    """How many methods that compare objects answer true whatever they are asked."""
    tree = parsed(path, content)
    found = 0
    for node in nodes(tree) if tree is not None else ():
        body = node.child_by_field_name("body") if node.type in _FUNCTIONS else None
        if body is not None and _name(node) in ("equals", "eq", "ne", "Equal", "Equals", "compareTo", "cmp"):
            found += re.fullmatch(r"\{\s*(?:return\s+)?true\s*;?\s*\}", text_of(body)) is not None
    return found
