"""The new side of a unified diff: which lines of which file it touches, and that no text inside a hunk passes for a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.patch import unified_diff
from inference.touched import touched_lines

BEFORE = b"a\nb\nc\nd\ne\nf\ng\nh\n"


def touched(after: bytes, before: bytes | None = BEFORE, path: str = "f.py") -> dict[str, set[int]]:
    return {name: set(lines) for name, lines in touched_lines(unified_diff({path: (before, after)})).items()}


@pytest.mark.parametrize(("after", "expected"), [
    (BEFORE.replace(b"c\n", b"C\n"), {3}), (BEFORE.replace(b"c\n", b"c\nx\ny\n"), {4, 5}), (BEFORE.replace(b"c\n", b""), {2, 3}),
    (BEFORE.replace(b"a\n", b""), {1}), (BEFORE.replace(b"h\n", b"h"), {8}), (BEFORE.replace(b"b\nc\n", b"X\n"), {2}),
], ids=["changed", "added", "taken away", "first taken away", "no line end any more", "fewer"])  # fmt: skip
def test_lines_are_those_of_the_new_side(after: bytes, expected: set[int]) -> None:
    assert touched(after) == {"f.py": expected}


def test_a_new_file_is_touched_everywhere() -> None:
    assert touched(b"a\nb\n", None) == {"f.py": {1, 2}}


def test_a_deleted_file_is_left_out() -> None:
    assert touched_lines(unified_diff({"f.py": (BEFORE, None)})) == {}


@pytest.mark.parametrize("path", ["a b.py", 'quo"te.py', "é.py", "tab\t.py", "b/b/c.py", "new\nline.py", "back\\slash.py"])
def test_paths_are_those_of_the_tree(path: str) -> None:
    assert list(touched(b"x\n", path=path)) == [path]


def test_a_line_that_looks_like_a_header_is_a_line() -> None:
    assert touched(b"++ b/evil.py\n@@ -1 +1 @@\n" + BEFORE) == {"f.py": {1, 2}}


PIECES = [b"@@ -1,2 +3,4 @@", b"+++ b/x", b"--- a/x", b"+y", b"-y", b" y", b"\\ n", b'+++ "\\7']


@given(st.binary(max_size=200), st.lists(st.sampled_from(PIECES)))
def test_no_input_raises(noise: bytes, lines: list[bytes]) -> None:
    for numbers in touched_lines(b"\n".join([*lines, noise, *lines])).values():
        assert min(numbers) >= 0


@given(st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"-- x\n", b"++ y\n"]), max_size=20),
       st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"\n", b"-- x\n", b"++ y\n"]), max_size=20))  # fmt: skip
def test_a_line_that_is_not_touched_was_there_before(before: list[bytes], after: list[bytes]) -> None:
    lines = touched_lines(unified_diff({"f": (b"".join(before), b"".join(after))})).get("f", frozenset())
    left = list(before)
    for number, line in enumerate(after, 1):
        if number not in lines:
            left.remove(line)  # raises where the line is new
