"""unified_diff() against the real ``git apply``, whatever the bytes and the names."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference.patch import merged, unified_diff
from sandbox.source_text import decode
from sandbox.workspace import Workspace, patch_paths

LINES = st.lists(
    st.sampled_from([b"a", b"b", b"", b" c", b"-d", b"+e", b"@@ -1 +1 @@", b"\\ No newline", b"f\r", b"\xe9", b"\0", b"\t "]), max_size=14
)
CONTENT = st.one_of(st.binary(max_size=60), st.builds(lambda lines, end: b"\n".join(lines) + end, LINES, st.sampled_from([b"\n", b""])))
PART = st.text(st.sampled_from("ab .\"'\\\té–\u4e2d\U0001f600"), min_size=1, max_size=8).filter(lambda p: p.strip(". ") == p)
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join)


def applied(patch: bytes, before: dict[str, bytes | None]) -> dict[str, bytes]:
    """Contents of a folder after ``git apply``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, content in before.items():
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
        done = subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=folder, input=patch, capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr, patch)
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@settings(max_examples=40)
@given(CONTENT, CONTENT)
@example(b"a\nb", b"a\nb\n")
@example(b"a\n", b"a")
@example(b"a\r\nb\r\n", b"a\r\nc\r\n")
@example(b"", b"x")
@example(b"x\n", b"")
def test_any_change_of_a_file_applies(before: bytes, after: bytes) -> None:
    if before != after:
        assert applied(unified_diff({"f.py": (before, after)}), {"f.py": before}) == {"f.py": after}


@settings(max_examples=40)
@given(NAME)
@example("two words.py")
@example('quo"te\\.py')
@example("Ünï–cödé/ß.py")
@example("b/b/f.py")
def test_a_file_of_any_name_applies(name: str) -> None:
    assert applied(unified_diff({name: (b"x = 1\n", b"x = 2\n")}), {name: b"x = 1\n"}) == {name: b"x = 2\n"}


@pytest.mark.parametrize("name", ["plain.py", "two words.py", 'quo"te.py', "tab\there.py", "back\\slash.py", "é.py", "line\nend.py"])
def test_git_reads_the_name_that_was_written(name: str) -> None:
    assert patch_paths(unified_diff({name: (b"x\n", b"y\n")})) == [name]


@given(CONTENT)
@example(b"")
@settings(max_examples=15)
def test_a_new_file_applies(content: bytes) -> None:
    assert applied(unified_diff({"new/f.py": (None, content)}), {}) == {"new/f.py": content}


@given(CONTENT)
@example(b"")
@settings(max_examples=15)
def test_a_deleted_file_applies(content: bytes) -> None:
    assert applied(unified_diff({"f.py": (content, None)}), {"f.py": content}) == {}


def test_several_files_are_in_one_diff_in_the_order_of_their_names() -> None:
    patch = unified_diff({"b.py": (b"1\n", b"2\n"), "a.py": (b"1\n", b"2\n"), "same.py": (b"1\n", b"1\n")})
    assert patch_paths(patch) == ["a.py", "b.py"]


def test_a_diff_is_what_git_would_write() -> None:
    before = b"".join(b"line %d\n" % n for n in range(1, 11))
    assert unified_diff({"f.py": (before, before.replace(b"line 5\n", b"five\n"))}) == (
        b"diff --git a/f.py b/f.py\n--- a/f.py\n+++ b/f.py\n@@ -2,7 +2,7 @@\n"
        b" line 2\n line 3\n line 4\n-line 5\n+five\n line 6\n line 7\n line 8\n"
    )


def test_nothing_changed_is_no_diff() -> None:
    assert unified_diff({"f.py": (b"x\n", b"x\n")}) == b""


LIST = b"a\nb\nc\nd"


@pytest.mark.parametrize(("one", "other", "expected"), [
    (b"A\nb\nc\nd", b"a\nb\nc\nD", b"A\nb\nc\nD"),
    (b"A\nb\nc\nd", b"a\nB\nc\nd", b"A\nB\nc\nd"),
    (b"a\nx\nb\nc\nd", b"a\nb\nd", b"a\nx\nb\nd"),
    (b"a\nB\nc\nd", b"a\nb\nx\nc\nd", b"a\nB\nx\nc\nd"),
    (b"A\nb\nc\nd", b"A\nb\nc\nd", b"A\nb\nc\nd"),
    (b"A\nb\nc\nd", b"1\nb\nc\nd", None),
    (b"a\nx\nb\nc\nd", b"a\ny\nb\nc\nd", None),
    (b"A\nB\nc\nd", b"a\n2\nC\nd", None),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_two_changes_are_put_together_unless_they_meet(one: bytes, other: bytes, expected: bytes | None, turned: bool) -> None:
    assert merged(LIST, *((other, one) if turned else (one, other))) == expected


@pytest.mark.parametrize(("content", "encoding"), [
    (b"x = 1\r\n", "utf-8"), (b"# coding: latin-1\nx = '\xe9'\n", "iso-8859-1"), (b"\xef\xbb\xbfx = 1\n", "utf-8-sig"),
    ("x = 'é'\n".encode(), "utf-8")])  # fmt: skip
def test_source_is_decoded_and_encoded_as_its_interpreter_does(content: bytes, encoding: str) -> None:
    source = decode(content)
    assert (source.encoding, source.encode(source.text)) == (encoding, content)


@pytest.mark.parametrize("content", [b"# coding: no-such\n", b"x = '\xe9'\n"])
def test_source_that_cannot_be_decoded_is_an_error(content: bytes) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        decode(content)


def test_a_letter_that_the_encoding_lacks_is_an_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        decode(b"# coding: latin-1\n").encode("x = '\u4e2d'")


def test_a_workspace_takes_the_diff(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a b.py").write_bytes(b"x = 1")
    workspace = Workspace(tmp_path / "tree", "tree", ("a b.py",))
    patched = workspace.patched(unified_diff({"a b.py": (b"x = 1", b"x = 2")}), tmp_path)
    assert patched.read("a b.py") == b"x = 2"
