"""Tests that stand in the file of the code they test: Rust's test modules and documented examples, Vitest's blocks. Pure."""

from __future__ import annotations

import re
from collections import Counter

from sandbox.syntax import nodes, parsed, text_of

_RUST_TEST = re.compile(
    rb"#\[\s*(?:[\w:]+::)?(?:test|rstest|proptest|quickcheck|test_case|wasm_bindgen_test)\b"
    rb"|#\[\s*cfg\s*\(\s*(?:test|all\s*\(\s*test)\b"
)
_FENCE = re.compile(rb"^[ \t]*//[/!][ \t]?(.*)$", re.M)


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
