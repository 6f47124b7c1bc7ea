"""What models write, read: forms and slips of many kinds, the exact border of the explanation, and edits applied byte for byte."""

from __future__ import annotations

import re

import pytest

from inference.completion import (
    BlockEdit,
    Malformed,
    Parsed,
    TextEdit,
    apply_edits,
    completion_regex,
    parse_completion,
    render_completion,
)
from inference.context import Excerpt

SHOP = "import math\n\n\ndef add(a, b):\n    return a - b\n\n\ndef sub(a, b):\n    return a - b\n\n\n"
SHOP += "class Cart:\n    def add(self):\n        return 1\n"
FIXED = SHOP.replace("    return a - b", "    return a + b", 1)
FILES = {"shop/prices.py": SHOP.encode(), "other/prices.js": b"function f() {\r\n\treturn 1;\r\n}"}
SHOWN = [Excerpt("shop/prices.py", 4, "def add(a, b):\n    return a - b", ""), Excerpt("other/prices.js", 1, "function f() {", "")]
BLOCK = "<<<<<<< SEARCH\ndef add(a, b):\n    return a - b\n=======\ndef add(a, b):\n    return a + b\n>>>>>>> REPLACE"
FUNCTION = "def add(a, b):\n    return a + b"
DIFF = "--- a/shop/prices.py\n+++ b/shop/prices.py\n@@ -4,2 +4,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b"


def applied(text: str) -> dict[str, bytes] | Malformed:
    parsed = parse_completion(text, "explain")
    return parsed if isinstance(parsed, Malformed) else apply_edits(parsed.edits, FILES.get, SHOWN)


@pytest.mark.parametrize("text", [
    f"shop/prices.py\n{BLOCK}", f"```\nshop/prices.py\n{BLOCK}\n```", f"shop/prices.py\n```python\n{BLOCK}\n```",
    f"```python shop/prices.py\n{BLOCK}\n```", f"```python:shop/prices.py\n{BLOCK}\n```", f"### `shop/prices.py`\n\n{BLOCK}",
    f"**shop/prices.py**:\n{BLOCK}", f"File: ./shop/prices.py\n{BLOCK}", f"a/shop/prices.py\n{BLOCK}", f"b/shop/prices.py\n{BLOCK}",
    f"shop\\prices.py\n{BLOCK}", f"In `shop/prices.py` this is wrong:\n{BLOCK}", f"# shop/prices.py\n{BLOCK}", BLOCK,
    f"shop/prices.py\n{BLOCK.replace('<<<<<<<', '<<<<<').replace('>>>>>>>', '>>>>>>>>>')}",
    "shop/prices.py\n" + "\n".join("  " + line for line in BLOCK.split("\n")),
    "shop/prices.py\n" + BLOCK.replace("    return", "return"), "shop/prices.py\n" + BLOCK.replace("b):\n", "b):   \n", 1),
    f"shop/prices.py\n{BLOCK.replace('SEARCH', 'search').replace('REPLACE', 'replace')}",
    f"shop/prices.py\n```python\n{BLOCK.rsplit(chr(10), 1)[0]}\n```", f"shop/prices.py\n{BLOCK.rsplit(chr(10), 1)[0]}",
    f"shop/prices.py\n{BLOCK}\n\nshop/prices.py\n{BLOCK}", f"shop/prices.py\n{BLOCK}".replace("\n", "\r\n"),
    f"shop/prices.py\n```python\n{FUNCTION}\n```", f"```python\n# shop/prices.py\n{FUNCTION}\n```", f"```python\n{FUNCTION}\n```",
    f"shop/prices.py\n{FUNCTION}\n", f"prices.py\n```\n{FUNCTION}\n```", "shop/prices.py\n```\n  def add(a, b):\n      return a + b\n```",
    f"~~~python shop/prices.py\n{FUNCTION}\n~~~", f"```diff\n{DIFF}\n```", DIFF, f"diff --git a/x b/x\nindex 1..2\n{DIFF}",
    DIFF.replace("a/", "").replace("b/", ""), f"<think>Look at `x.py`\n{BLOCK.replace('+', '*')}</think>shop/prices.py\n{BLOCK}",
    "shop/prices.py\n<<<<<<< SEARCH\n    return a - b\n=======\ndef add(a, b):\n    return a + b\n>>>>>>> REPLACE",
])  # fmt: skip
def test_one_change_is_read_in_whatever_form_it_comes(text: str) -> None:
    assert applied(text) == {"shop/prices.py": FIXED.encode()}


def test_the_canonical_form_is_read_as_it_was_written() -> None:
    edits = (TextEdit("a/b.py", "x", "y"), TextEdit("c.js", "  p\n\n  q", ""), TextEdit("new.py", "", "z = 1"))
    text = render_completion("Why it fails.\n\nIn two paragraphs.", edits)
    parsed = parse_completion(text, "explain")
    assert isinstance(parsed, Parsed)
    assert (parsed.explanation, parsed.edits) == ("Why it fails.\n\nIn two paragraphs.", edits)


def test_the_border_between_explanation_and_refinement_is_exact() -> None:
    text = f"\nThe sign is wrong.\nVery.\n\n```python shop/prices.py\n{BLOCK}\n```\nThat is all."
    parsed = parse_completion(text, "explain")
    assert isinstance(parsed, Parsed)
    assert parsed.explanation_span is not None
    assert text[slice(*parsed.explanation_span)] == "The sign is wrong.\nVery."
    assert text[slice(*parsed.refinement_span)] == f"```python shop/prices.py\n{BLOCK}\n```"


def test_the_mode_refine_has_no_explanation() -> None:
    parsed = parse_completion(f"Here it is:\n\nshop/prices.py\n{BLOCK}", "refine")
    assert isinstance(parsed, Parsed)
    assert (parsed.explanation, parsed.explanation_span) == ("", None)


def test_code_that_an_explanation_shows_is_no_change() -> None:
    parsed = parse_completion(f"This is wrong:\n```python\ndef add(a, b):\n    return a - b\n```\nshop/prices.py\n{BLOCK}", "explain")
    assert isinstance(parsed, Parsed)
    assert len(parsed.edits) == 1
    assert "```" in parsed.explanation


def test_several_files_and_hunks_line_ends_and_missing_newlines_survive() -> None:
    text = render_completion("x", [TextEdit("shop/prices.py", "def sub(a, b):\n    return a - b", "def sub(a, b):\n    return b"),
                                   TextEdit("shop/prices.py", "        return 1", "        return 2\n        # é"),
                                   TextEdit("other/prices.js", "    return 1;\n}", "    return 2;\n}")])  # fmt: skip
    changes = applied(text.replace("    return 1;", "\treturn 1;").replace("    return 2;", "\treturn 2;"))
    assert not isinstance(changes, Malformed)
    assert changes["other/prices.js"] == b"function f() {\r\n\treturn 2;\r\n}"
    assert changes["shop/prices.py"].decode() == SHOP.replace("sub(a, b):\n    return a - b", "sub(a, b):\n    return b").replace(
        "        return 1", "        return 2\n        # é")  # fmt: skip


def test_a_file_in_its_own_encoding_stays_in_it() -> None:
    content = "# -*- coding: latin-1 -*-\n# é\nx = 1\n".encode("latin-1")
    assert apply_edits([TextEdit("a.py", "x = 1", "x = 'ü'")], {"a.py": content}.get) == {
        "a.py": content.replace(b"x = 1", b"x = '\xfc'")}  # fmt: skip
    found = apply_edits([TextEdit("a.py", "x = 1", "x = '漢'")], {"a.py": content}.get)
    assert isinstance(found, Malformed)
    assert found.reason == "encoding"


def test_bytes_that_are_no_text_of_any_encoding_stay_as_they_are() -> None:
    content = b"// \xff\xfe\nlet x = 1;\n"
    assert apply_edits([TextEdit("a.js", "let x = 1;", "let x = 2;")], {"a.js": content}.get) == {"a.js": content.replace(b"1", b"2")}


def test_of_two_places_the_one_that_was_shown_is_meant() -> None:
    edit = TextEdit("shop/prices.py", "    return a - b", "    return a + b")
    assert apply_edits([edit], FILES.get, SHOWN) == {"shop/prices.py": FIXED.encode()}
    found = apply_edits([edit], FILES.get)
    assert isinstance(found, Malformed)
    assert (found.reason, "fits 2 places" in found.message) == ("ambiguous", True)


LINE = b"import max_of\nif x == 1 and maximum(y) <= max(z):\n\treturn x - 1  # max\n"


@pytest.mark.parametrize(("search", "replace", "after"), [
    ("max(z)", "min(z)", LINE.replace(b"max(z)", b"min(z)")), (" x == 1", " x != 1", LINE.replace(b"==", b"!=")),
    ("- 1", "- 2", LINE.replace(b"- 1", b"- 2")), ("<=", "<", LINE.replace(b"<=", b"<")),
    (" and maximum(y)", "", LINE.replace(b"and maximum(y)", b"")),
])  # fmt: skip
def test_a_piece_of_a_line_that_stands_once_is_replaced_alone(search: str, replace: str, after: bytes) -> None:
    assert apply_edits([TextEdit("a.py", search, replace)], {"a.py": LINE}.get) == {"a.py": after}


@pytest.mark.parametrize(("search", "replace", "reason"), [
    ("max", "min", "ambiguous"), ("x", "y", "ambiguous"), ("= 1", "= 2", "no_match"), ("maxi", "mini", "no_match"),
    ("= max(z", "< max(z", "no_match"),
    ("max(z)", "min(z)\nor y", "no_match"),
])  # fmt: skip
def test_a_piece_that_ends_within_a_token_or_stands_twice_is_refused(search: str, replace: str, reason: str) -> None:
    found = apply_edits([TextEdit("a.py", search, replace)], {"a.py": LINE}.get)
    assert isinstance(found, Malformed)
    assert found.reason == reason


def test_of_two_pieces_the_one_that_was_shown_is_meant() -> None:
    content = b"a = f(1)\nb = f(1)\n"
    shown = [Excerpt("a.py", 2, "b = f(1)", "")]
    assert apply_edits([TextEdit("a.py", "f(1)", "f(2)")], {"a.py": content}.get, shown) == {"a.py": b"a = f(1)\nb = f(2)\n"}


def test_a_function_with_a_new_helper_and_a_new_import() -> None:
    code = "import os\n\n\ndef helper():\n    return os.name\n\n\ndef sub(a, b):\n    return helper()"
    found = apply_edits([BlockEdit("shop/prices.py", code)], FILES.get, SHOWN)
    assert not isinstance(found, Malformed)
    text = found["shop/prices.py"].decode()
    assert text.startswith("import os\nimport math\n")
    assert "\n\n\ndef helper():\n    return os.name\n\n\ndef sub(a, b):\n    return helper()\n\n\nclass Cart:" in text


@pytest.mark.parametrize(("edit", "reason"), [
    (BlockEdit("shop/prices.py", "x = 1"), "no_definition"), (BlockEdit("shop/prices.py", "def none():\n    pass"), "no_definition"),
    (TextEdit("shop/none.py", "x", "y"), "no_file"), (TextEdit("", "not there", "y"), "no_path"),
    (TextEdit("/etc/passwd", "x", "y"), "outside"),
    (TextEdit("shop/prices.py", "return a *  b", "y"), "no_match"), (TextEdit("shop/prices.py", "\n", "y"), "empty_search"),
    (TextEdit("shop/prices.py", "class Cart:\nreturn 1\n  def add(self):", "y"), "no_match"),
    (TextEdit("shop/prices.py", "  class Cart:\ndef add(self):\n return 1", "y"), "indentation"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_reason(edit: TextEdit | BlockEdit, reason: str) -> None:
    found = apply_edits([edit], FILES.get, SHOWN)
    assert isinstance(found, Malformed)
    assert found.reason == reason


def test_a_refused_search_text_quotes_the_nearest_lines() -> None:
    found = apply_edits([TextEdit("shop/prices.py", "class Cart:\n    def add(self, n):\n        return n", "y")], FILES.get)
    assert isinstance(found, Malformed)
    assert found.quoted == "class Cart:\n    def add(self):\n        return 1"


@pytest.mark.parametrize("mode", ["explain", "refine"])
def test_the_expression_for_structured_output_takes_the_canonical_form_and_little_else(mode: str) -> None:
    pattern = completion_regex(mode, ["shop/prices.py", "a+b.js"])  # type: ignore[arg-type]
    why = "It is wrong.\nVery." if mode == "explain" else ""
    edits = [TextEdit("shop/prices.py", "x\n\n  y", "z"), TextEdit("a+b.js", "x", "")]
    assert re.fullmatch(pattern, render_completion(why, edits))
    assert not re.fullmatch(pattern, render_completion(why, [TextEdit("etc/passwd", "x", "z")]))
    assert not re.fullmatch(pattern, why + "\nno change\n")


def test_half_a_change_at_the_end_of_a_cut_text_is_no_change() -> None:
    cut = f"x\n\nshop/prices.py\n{BLOCK}"[:-40]
    found = parse_completion(cut, "explain", finished=False)
    assert isinstance(found, Malformed)
    assert found.reason == "unfinished"


@pytest.mark.parametrize("text", ["<<<<<<< SEARCH\n" * 20_000, "```\n" * 50_000, "a/" * 90_000, "--- a\n+++ b\n@@\n" * 1_600, "`" * 150_000,
                                  "x.py\n" * 4_900, "#" * 150_000, "-" * 150_000, "```\n" * 4_900, "```x\n" * 4_900 + "<<<<<<< SEARCH",
                                  "<<<<<<< SEARCH\n=======\n" * 2_000, "[](" * 50_000, "a@+" * 60_000])  # fmt: skip
def test_a_hostile_text_takes_no_time(text: str) -> None:
    parse_completion(text, "explain")
