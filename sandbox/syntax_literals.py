"""The literals of JavaScript, TypeScript, Go, Rust and Java source, and those that something is compared with. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tree_sitter import Node, Tree

from sandbox.syntax import STRINGS, nodes, text_of

_NUMBERS = frozenset({
    "number", "int_literal", "float_literal", "imaginary_literal", "integer_literal", "decimal_integer_literal", "hex_integer_literal",
    "octal_integer_literal", "binary_integer_literal", "decimal_floating_point_literal", "hex_floating_point_literal",
})  # fmt: skip
_LOOKUPS = frozenset({"includes", "has", "indexOf", "contains", "containsKey", "equals", "equalsIgnoreCase", "contentEquals", "eq",
                      "contains_key", "EqualFold", "Contains", "matches", "compareTo"})  # fmt: skip
_CASES = frozenset({"switch_case", "expression_case", "match_pattern", "switch_label", "keyed_element", "pair"})
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
    if node.type in STRINGS and not any(c.type in ("template_substitution", "interpolation") for c in node.children):
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
    """Literals that something is compared with: beside == and !=, as a case, as a key, in a call that looks one up."""
    for node in nodes(tree):
        if node.type == "binary_expression":
            operator = node.child_by_field_name("operator")
            if operator is not None and operator.type in ("==", "===", "!=", "!=="):
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
