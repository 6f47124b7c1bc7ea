"""Suggestions: only where GitHub would take them, and what accepting one makes of the file is what was verified."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.suggestions import Suggestion, suggestions
from inference.patch import unified_diff

HEAD = [f"line {n}" for n in range(1, 31)]


def patch_of(old: list[str], new: list[str], path: str = "a.py") -> bytes:
    return unified_diff({path: ("".join(f"{x}\n" for x in old).encode(), "".join(f"{x}\n" for x in new).encode())})


def pr_patch(first: int, last: int) -> str:
    """A diff of the pull request that shows the head's lines first to last, the middle one as added."""
    middle = (first + last) // 2
    rows = [("+" if n == middle else " ") + HEAD[n - 1] for n in range(first, last + 1)]
    return "\n".join([f"@@ -{first},{last - first} +{first},{last - first + 1} @@ def f():", *rows])


def changed(at: int, *lines: str, count: int = 1) -> bytes:
    return patch_of(HEAD, [*HEAD[: at - 1], *lines, *HEAD[at - 1 + count :]])


def test_one_line_becomes_one_suggestion_on_the_right_side() -> None:
    assert suggestions(changed(10, "new"), {"a.py": pr_patch(8, 12)}) == (Suggestion("a.py", None, 10, "```suggestion\nnew\n```", "RIGHT"),)


def test_several_lines_have_a_start_and_an_end() -> None:
    (found,) = suggestions(changed(10, "x", "y", "z", count=2), {"a.py": pr_patch(8, 12)}) or ()
    assert (found.start_line, found.line, found.body) == (10, 11, "```suggestion\nx\ny\nz\n```")


def test_a_removal_is_an_empty_suggestion() -> None:
    (found,) = suggestions(changed(10), {"a.py": pr_patch(8, 12)}) or ()
    assert (found.start_line, found.line, found.body) == (None, 10, "```suggestion\n```")


def test_an_insertion_stands_on_the_line_before_it() -> None:
    (found,) = suggestions(changed(10, "new", count=0), {"a.py": pr_patch(8, 12)}) or ()
    assert (found.line, found.body) == (9, "```suggestion\nline 9\nnew\n```")


def test_an_insertion_at_the_top_stands_on_the_line_after_it() -> None:
    (found,) = suggestions(changed(1, "new", count=0), {"a.py": pr_patch(1, 5)}) or ()
    assert (found.line, found.body) == (1, "```suggestion\nnew\nline 1\n```")


def test_the_note_stands_above() -> None:
    (found,) = suggestions(changed(10, "new"), {"a.py": pr_patch(8, 12)}, note="Verified V3.") or ()
    assert found.body.startswith("Verified V3.\n\n```suggestion\n")


def test_backticks_in_the_code_do_not_close_the_block() -> None:
    (found,) = suggestions(changed(10, "````"), {"a.py": pr_patch(8, 12)}) or ()
    assert found.body == "`````suggestion\n````\n`````"


@pytest.mark.parametrize("shown", [{}, {"a.py": None}, {"b.py": pr_patch(8, 12)}, {"a.py": pr_patch(12, 20)}, {"a.py": pr_patch(2, 9)}])
def test_a_hunk_outside_the_diff_is_no_suggestion(shown: dict[str, str | None]) -> None:
    assert suggestions(changed(10, "new"), shown) is None


def test_one_hunk_outside_is_enough_to_have_none() -> None:
    both = patch_of(HEAD, [*HEAD[:2], "new", *HEAD[3:24], "new", *HEAD[25:]])
    assert suggestions(both, {"a.py": pr_patch(1, 6)}) is None
    assert len(suggestions(both, {"a.py": pr_patch(1, 6) + "\n" + pr_patch(22, 28)}) or ()) == 2


def test_start_and_end_lie_in_one_hunk_of_the_diff() -> None:
    wide = patch_of(HEAD, [*HEAD[:9], "x", *HEAD[10:13], "y", *HEAD[14:]])  # lines 10 and 14, one hunk
    assert suggestions(wide, {"a.py": pr_patch(8, 12) + "\n" + pr_patch(13, 16)}) is None
    assert suggestions(wide, {"a.py": pr_patch(8, 16)}) is not None


def test_a_diff_of_another_commit_is_no_place_for_a_suggestion() -> None:
    assert suggestions(changed(10, "new"), {"a.py": pr_patch(8, 12).replace("line 10", "other")}) is None


@pytest.mark.parametrize("line", ["tab\u202e", "a\u200b", "cr\r", "\x1b[31m"])
def test_what_cannot_be_seen_is_not_suggested(line: str) -> None:
    assert suggestions(changed(10, line), {"a.py": pr_patch(8, 12)}) is None


@pytest.mark.parametrize(
    "patch",
    [
        b"",
        b"\xff",
        unified_diff({"a.py": (None, b"x\n")}),
        unified_diff({"a.py": (b"line 1\n", None)}),
        unified_diff({"a.py": (b"line 1", b"line 2")}),
        unified_diff({"a.py": (b"line 1\r\n", b"line 2\r\n")}),
        b"diff --git a/a.py b/b.py\nrename from a.py\nrename to b.py\n--- a/a.py\n+++ b/b.py\n@@ -1 +1 @@\n-line 1\n+x\n",
    ],
)
def test_what_a_suggestion_cannot_say_is_none(patch: bytes) -> None:
    assert suggestions(patch, {"a.py": pr_patch(1, 5), "b.py": pr_patch(1, 5)}) is None


line = st.sampled_from(["", "a", "b", "- x", "+ y", "--- z", "+++ q", "@@ -1 +1 @@", "```", "é"])


@given(st.lists(line, min_size=1, max_size=12), st.lists(line, min_size=1, max_size=12))
@settings(max_examples=200)
def test_accepting_every_suggestion_makes_the_verified_file(old: list[str], new: list[str]) -> None:
    whole = "\n".join([f"@@ -0,0 +1,{len(old)} @@", *(f"+{x}" for x in old)])
    found = suggestions(patch_of(old, new), {"a.py": whole})
    if old == new:
        assert found is None
        return
    assert found is not None
    result = list(old)
    for s in reversed(found):
        ticks, *inner = s.body.split("\n")
        assert inner.pop() == ticks.removesuffix("suggestion")
        result[(s.start_line or s.line) - 1 : s.line] = inner
    assert result == new


def test_git_agrees_on_what_the_patch_does(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("".join(f"{x}\n" for x in HEAD), encoding="utf-8")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=changed(10, "new"), check=True)
    assert (tmp_path / "a.py").read_text(encoding="utf-8").split("\n")[9] == "new"
