"""JavaScript, TypeScript, Go, Rust and Java source by their tree-sitter grammars: names, literals, functions, tests inside. Pure.

Python is read by its own parser elsewhere. A text that a grammar cannot read whole still gives a tree, with its errors inside; a file
above a mebibyte gives none.
"""

from __future__ import annotations

import ast
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
_STRINGS = frozenset({
    "string", "template_string", "interpreted_string_literal", "raw_string_literal", "rune_literal", "string_literal", "char_literal",
    "character_literal",
})  # fmt: skip
_NUMBERS = frozenset({
    "number", "int_literal", "float_literal", "imaginary_literal", "integer_literal", "decimal_integer_literal", "hex_integer_literal",
    "octal_integer_literal", "binary_integer_literal", "decimal_floating_point_literal", "hex_floating_point_literal",
})  # fmt: skip
_LOOKUPS = frozenset({"includes", "has", "indexOf", "contains", "containsKey", "equals", "equalsIgnoreCase", "contentEquals", "eq",
                      "contains_key", "EqualFold", "Contains", "matches", "compareTo"})  # fmt: skip
_CASES = frozenset({"switch_case", "expression_case", "match_pattern", "switch_label", "keyed_element", "pair"})
_RUST_TEST = re.compile(
    rb"#\[\s*(?:[\w:]+::)?(?:test|rstest|proptest|quickcheck|test_case|wasm_bindgen_test)\b"
    rb"|#\[\s*cfg\s*\(\s*(?:test|all\s*\(\s*test)\b"
)
_FENCE = re.compile(rb"^[ \t]*//[/!][ \t]?(.*)$", re.M)


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
        elif node.type in _STRINGS and node.is_named:
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


# Literals

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


def literals(node: Tree | Node) -> Iterator[str]:
    """The telling literals below a node as Python writes them, so that those of a test and of code compare; small numbers and single
    characters are everyday code."""
    for inner in nodes(node):
        value = _value(inner)
        if value is None or isinstance(value, (int, float)) and abs(value) <= 2 or isinstance(value, str) and len(value) <= 1:
            continue
        yield repr(value)


def _value(node: Node) -> str | int | float | None:
    text = text_of(node)
    if not node.is_named:  # a keyword of the grammar, as the type `string`
        return None
    if node.type in _STRINGS and not any(c.type in ("template_substitution", "interpolation") for c in node.children):
        inner = re.sub(r'^(?:b|r|br|c)?#*(?:"""|["\'`])|(?:"""|["\'`])#*$', "", text)
        return inner if "raw" in node.type else re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), inner)
    if node.type in _NUMBERS:
        number = re.sub(r"(?<=[\d.])(?:[iu](?:8|16|32|64|128|size)|f(?:32|64)|[nlLdDfF])$", "", text.replace("_", "").rstrip("."))
        number = re.sub(r"^0(?=\d+$)", "0o", number)
        try:
            value = ast.literal_eval(number)
        except (ValueError, SyntaxError):
            return None
        return value if isinstance(value, (int, float)) else None
    return None


def compared(tree: Tree) -> Iterator[str]:
    """Literals that something is compared with: beside == and ===, as a case, as a key, in a call that looks one up."""
    for node in nodes(tree):
        if node.type == "binary_expression":
            operator = node.child_by_field_name("operator")
            if operator is not None and operator.type in ("==", "==="):
                yield from literals(node)
        elif node.type in _CASES:
            heads = [c for c in (node.child_by_field_name("value"), node.child_by_field_name("key")) if c is not None]
            if node.type in ("match_pattern", "switch_label"):
                heads = [node]
            elif node.type in ("keyed_element", "pair"):
                heads = [node.child_by_field_name("key") or node.named_children[0]] if node.named_children else []
            for head in heads:
                yield from literals(head)
        elif node.type in ("call_expression", "method_invocation"):
            called = node.child_by_field_name("function") or node.child_by_field_name("name")
            if called is not None and re.split(r"[.:]+", text_of(called)[-60:])[-1] in _LOOKUPS:
                yield from literals(node)
        elif node.type == "macro_invocation" and text_of(node).startswith("matches!"):
            yield from literals(node)


def always_true(path: str, content: bytes) -> int:
    """How many methods that compare objects answer true whatever they are asked."""
    tree = parsed(path, content)
    found = 0
    for node in nodes(tree) if tree is not None else ():
        body = node.child_by_field_name("body") if node.type in _FUNCTIONS else None
        if body is not None and _name(node) in ("equals", "eq", "ne", "Equal", "Equals", "compareTo", "cmp"):
            found += re.fullmatch(r"\{\s*(?:return\s+)?true\s*;?\s*\}", text_of(body)) is not None
    return found


# Tests that stand in the code's own file


def split_tests(path: str, content: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """(the code with blanks where tests stood, the tests): Rust's test modules and functions, Vitest's blocks in a source file."""
    tree = parsed(path, content)
    if tree is None or not path.endswith(".rs") and b"import.meta.vitest" not in content:
        return content, ()
    spans: list[tuple[int, int]] = []
    for node in nodes(tree):
        if spans and node.start_byte < spans[-1][1]:
            continue
        if node.type in ("mod_item", "function_item", "impl_item", "use_declaration", "macro_invocation", "struct_item", "const_item"):
            first, attributes = node.start_byte, b""
            before = node.prev_sibling
            while before is not None and before.type in ("attribute_item", "line_comment", "block_comment"):
                first, attributes = before.start_byte, (before.text or b"") + attributes
                before = before.prev_sibling
            if _RUST_TEST.search(attributes):
                spans.append((first, node.end_byte))
        elif node.type == "if_statement" and "import.meta.vitest" in text_of(node.child_by_field_name("condition") or node):
            spans.append((node.start_byte, node.end_byte))
    code = bytearray(content)
    for first, last in spans:
        code[first:last] = re.sub(rb"[^\n]", b" ", content[first:last])
    return bytes(code), tuple(content[first:last] for first, last in spans)


def examples(path: str, content: bytes) -> Counter[str]:
    """Documented examples that the tools run as tests: Rust's code blocks in doc comments."""
    found: Counter[str] = Counter()
    if not path.endswith(".rs"):
        return found
    fence, lines = False, list[str]()
    for line in _FENCE.findall(content):
        text = line.decode("utf-8", "replace").rstrip()
        if text.lstrip().startswith("```"):
            if fence:
                found["\n".join(lines)] += 1
            fence, lines = not fence, [text.strip()]
        elif fence:
            lines.append(text)
    return found
