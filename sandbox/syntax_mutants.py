"""Small mutants of a patch's changed lines in the languages of ``sandbox.syntax``, as ``sandbox.mutants`` makes them for Python. Pure.

Each keeps the types as they are where that can be told from the text: a mutant that does not compile says nothing, and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from tree_sitter import Node

from sandbox.inline_tests import split_tests
from sandbox.mutants import changed_lines, changed_spans, lines_of
from sandbox.syntax import broken, nodes, parsed, text_of

_FLIPPED = {
    "<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "==", "===": "!==", "!==": "===", "&&": "||", "||": "&&", "+": "-",
    "-": "+", "*": "+", "/": "*", "%": "*", "+=": "-=", "-=": "+=", "*=": "+=",
}  # fmt: skip
_BINARY = frozenset({"binary_expression", "assignment_expression", "assignment_statement", "augmented_assignment_expression",
                     "compound_assignment_expr"})  # fmt: skip
_CONDITIONAL = frozenset({"if_statement", "while_statement", "if_expression", "while_expression", "ternary_expression"})
_INTEGERS = frozenset({"number", "int_literal", "integer_literal", "decimal_integer_literal"})
_STATEMENTS = frozenset({"expression_statement", "assignment_statement", "inc_statement", "dec_statement", "break_statement",
                         "continue_statement", "throw_statement"})  # fmt: skip


def mutated_sources(path: str, before: bytes, after: bytes, most: int = 4) -> list[bytes]:
    """Contents of ``after`` with one changed place damaged: each hunk undone (where there are several), operators flipped, conditions
    negated, integers moved, statements left out. Tests in the file are left alone. At most ``most``, the undone hunks first."""
    try:
        old, new = lines_of(before.decode()), lines_of(after.decode())
    except UnicodeDecodeError:
        return []
    hunks = changed_lines(before.decode(), after.decode())
    found: list[bytes] = []
    if len(hunks) > 1:
        found += ["".join(new[:c] + old[a:b] + new[d:]).encode() for a, b, c, d in hunks]
    spans = changed_spans(old, new, hunks)
    tree = parsed(path, split_tests(path, after)[0])
    for first, last, text in _damages(tree.root_node, spans) if tree is not None else ():
        if len(found) >= most:
            break
        content = after[:first] + text.encode() + after[last:]
        if content not in found and content not in (before, after) and not broken(path, content):
            found.append(content)
    return found[:most]


def _damages(root: Node, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    """(first byte, end, what stands there instead) at nodes that a changed span cuts and that do not reach far beyond it."""

    def touched(node: Node) -> bool:
        first, last = node.start_byte, node.end_byte
        return any(first < e and s < last and last - first <= max(60, 3 * (e - s)) for s, e in spans)

    later: list[tuple[int, int, str]] = []
    for node in nodes(root):
        if node.type in _CONDITIONAL:
            condition = node.child_by_field_name("condition")
            if condition is not None and touched(condition) and not any(c.type in ("let_condition", "let_chain") for c in nodes(condition)):
                wrapped = condition.type == "parenthesized_expression"
                yield condition.start_byte, condition.end_byte, f"(!{text_of(condition)})" if wrapped else f"!({text_of(condition)})"
        if not touched(node):
            continue
        if node.type in _BINARY:
            operator = node.child_by_field_name("operator") or next((c for c in node.children if c.type in _FLIPPED), None)
            if operator is not None and operator.type in _FLIPPED:
                yield operator.start_byte, operator.end_byte, _FLIPPED[operator.type]
        elif node.type in _INTEGERS and text_of(node).isdecimal():
            yield node.start_byte, node.end_byte, str(int(text_of(node)) + 7)
        elif node.type in _STATEMENTS:
            later.append((node.start_byte, node.end_byte, ""))
    yield from later
