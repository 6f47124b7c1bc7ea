"""The one comment: what each state says, letter by letter, and the limits no view can break."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.comment import MAX_CHARACTERS, MAX_VISIBLE_LINES, render, visible_lines
from bot.comment_sections import apply_command, changed_lines
from bot.comment_view import CommentView, State
from sandbox.report import Failure, Frame
from tests.bot.comment_views import PATCH, PROOF, VIEWS, fix_ready
from tests.bot.rendering import HOSTILE, rendered

GOLDEN = Path(__file__).parents[1] / "fixtures" / "comments"
TAGS = {"p", "strong", "code", "pre", "details", "summary", "ul", "li", "sub", "table", "thead", "tbody", "tr", "th", "td", "a", "em"}


@pytest.mark.parametrize("state", get_args(State))
def test_each_state_says_what_its_golden_file_says(state: State) -> None:
    """LEDEX_WRITE_GOLDEN=1 writes the files anew; read them before they are committed."""
    file = GOLDEN / f"{state}.md"
    if os.environ.get("LEDEX_WRITE_GOLDEN"):
        file.write_text(render(VIEWS[state]), encoding="utf-8")
    assert render(VIEWS[state]) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("state", get_args(State))
def test_each_state_keeps_to_the_lines_that_can_be_seen(state: State) -> None:
    assert visible_lines(render(VIEWS[state])) <= MAX_VISIBLE_LINES


@pytest.mark.parametrize("state", get_args(State))
def test_the_marker_comes_first_and_names_the_pull_request(state: State) -> None:
    assert render(VIEWS[state]).startswith("<!-- ledex:v1 pr:7 -->\n")


def test_the_status_line_has_level_and_counts() -> None:
    line = render(fix_ready()).split("\n")[2]
    assert line.startswith("**Fix ready** · verified V3 · 4 of 4 failing tests now pass · 0 new failures in 812")


@pytest.mark.parametrize("change", [{"level": None}, {"level": "V2"}, {"patch": b""}, {"new_failures": 1}])
def test_nothing_unverified_can_be_called_ready(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="use the state 'explained'"):
        replace(fix_ready(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["working", "explained", "flaky", "pre_existing", "infra", "not_reproduced", "superseded", "off"])
def test_only_a_verified_state_shows_a_patch(state: State) -> None:
    assert "+    return" not in render(replace(VIEWS[state], patch=PATCH))


def test_a_long_patch_is_folded_and_a_longer_one_cut_with_a_note() -> None:
    def patch(lines: int) -> bytes:
        head = b"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,0 +1,%d @@\n" % lines
        return head + b"".join(b"+line %d\n" % i for i in range(lines))

    folded, cut = (render(replace(fix_ready(), patch=patch(n), patch_url="https://github.com/x")) for n in (40, 100))
    assert "<details><summary>The patch</summary>" in folded
    assert "line 39" in folded
    assert "_cut: the first 60 of 104 lines are shown_" in cut
    assert "[the whole patch](https://github.com/x)" in cut
    assert max(visible_lines(folded), visible_lines(cut)) <= MAX_VISIBLE_LINES


def test_the_apply_line_applies_exactly_the_patch(tmp_path: Path) -> None:
    old = b"a\r\nb  \nc\n"
    patch = b"diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ b/x.txt\n@@ -1,3 +1,3 @@\n a\r\n-b  \n+b\xc3\xa9 \t\n c\n"
    (tmp_path / "x.txt").write_bytes(old)
    for command in ("git init -q .", "git add x.txt"):
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    line = apply_command(patch)
    assert line is not None
    assert "\n" not in line
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    assert (tmp_path / "x.txt").read_bytes() == b"a\r\nb\xc3\xa9 \t\nc\n"


def test_the_apply_line_stands_in_the_comment_when_it_is_asked_for() -> None:
    line = apply_command(PATCH)
    assert line is not None
    assert line in render(replace(fix_ready(), apply_line=True))
    assert line not in render(fix_ready())


def test_a_patch_too_long_for_a_line_has_none() -> None:
    assert apply_command(b"x" * 10_000) is None
    assert apply_command(b"") is None


def test_changed_lines_are_counted_whatever_they_hold() -> None:
    patch = b"diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n--- x\n+++ y\n z\n"
    assert changed_lines(patch) == (("a",), 1, 1)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_outside_adds_no_markup_anywhere(text: str) -> None:
    failure = Failure(text, text, text, (Frame(text, 1, text),), text)
    proof = replace(PROOF, environment=text, commands=(text,), replay=text, base_sha=text)
    view = replace(
        fix_ready(),
        explanation=text,
        reason=text,
        failures=(failure, failure),
        jobs=(text, text),
        proof=proof,
        unchecked=(text,),
        confidence=text,
        model=text,
        actor=text,
        result=text,
        patch=PATCH.replace(b"def first", text.encode("utf-8", "replace")),
    )
    seen = rendered(render(view))
    plain = rendered(render(replace(fix_ready(), explanation="plain")))
    assert set(seen.tags) <= TAGS
    assert seen.comments == [" ledex:v1 pr:7 "]
    assert (seen.tags.count("details"), seen.tags.count("a")) == (plain.tags.count("details"), plain.tags.count("a"))
    assert "@octocat" not in seen.text


long = st.sampled_from(["x", "`", "é", "🐛", "& ", "@a ", "\n", "<b>", "a b "]).flatmap(
    lambda unit: st.integers(0, 3000).map(lambda n: unit * n)
)


@given(st.sampled_from(get_args(State)), long, long, st.integers(0, 60), st.integers(1, 200))
def test_no_view_breaks_the_limits(state: State, text: str, other: str, count: int, lines: int) -> None:
    patch = b"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -0,0 +1,9 @@\n" + f"+{other[:300]}\n".encode() * lines
    failure = Failure(text, other, text, (Frame(other, 3, text),) * 5, text)
    proof = replace(PROOF, environment=text, commands=(text,) * count, replay=other, checks=PROOF.checks * count)
    view = CommentView(
        7,
        state,
        "a" * 40,
        "V4",
        3,
        3,
        0,
        9,
        reason=text,
        explanation=other,
        caused_by_pr=True,
        failures=(failure,) * count,
        jobs=(other,) * count,
        patch=patch,
        patch_url="https://github.com/" + "x" * 500,
        apply_line=True,
        proof=proof,
        unchecked=(text, other) * count,
        confidence=text,
        model=other,
        commands=("apply", "pr", "reject", "fix", "retry", "rerun", "explain", "on"),
        run_url="https://github.com/",
        actor=text,
        result=other,
    )
    body = render(view)
    assert len(body) <= MAX_CHARACTERS
    assert visible_lines(body) <= MAX_VISIBLE_LINES


def test_what_does_not_fit_is_left_out_whole_and_named() -> None:
    patch = b"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -0,0 +1,50 @@\n" + (b"+" + "🐛".encode() * 390 + b"\n") * 50
    failures = tuple(Failure("t" * 200 + str(i), "E" * 80, "&" * 200) for i in range(20))
    checks = tuple(replace(c, detail="&" * 240) for c in PROOF.checks) * 7
    body = render(replace(fix_ready(), patch=patch, failures=failures, unchecked=("&" * 300,) * 10, proof=replace(PROOF, checks=checks)))
    assert len(body) <= MAX_CHARACTERS
    assert "_Left out, since the comment would be too long: What was not checked" in body
    assert body.count("<details>") == body.count("</details>") > 0


def test_visible_lines_are_counted_as_they_are_seen() -> None:
    assert (
        visible_lines("<!-- m -->\n\na\n\n" + "b" * 250 + "\n\n```\nx\n\ny\n```\n\n<details><summary>s</summary>\n\nhidden\n\n</details>\n")
        == 8
    )


def test_the_place_of_a_failure_is_the_repositorys_own_code() -> None:
    frames = (Frame("shop/cart.py", 6, "total"), Frame("/usr/lib/python3.12/json/decoder.py", 9, "decode"))
    assert "at `shop/cart.py:6`" in render(replace(fix_ready(), failures=(Failure("t", "E", "m", frames),)))


def test_a_program_does_not_call_itself_a_model() -> None:
    assert "by a program, without an AI model" in render(replace(fix_ready(), model=""))
    assert "by an AI model (`ledex-7b@2026-03`)" in render(fix_ready())


def test_the_place_of_the_cause_leads_to_its_line_on_the_head() -> None:
    place = f"At [`shop/cart.py:6`](https://github.com/example/shop/blob/{'a' * 40}/shop/cart.py#L6), `sum(prices)"
    assert place in render(fix_ready())
    assert "At `shop/cart.py:6`, `sum(prices)" in render(replace(fix_ready(), code_url=""))


def test_a_place_outside_the_patch_is_plain_text() -> None:
    assert "(https://github.com/example/shop/blob" not in render(replace(fix_ready(), explanation="At other/x.py:1, `a` gives `b`."))


def test_several_causes_are_a_list_of_whole_sentences_with_the_rest_folded() -> None:
    long = "`a` fails with `b`. " + "The value is wrong here, there and everywhere. " * 10 + "`x` gives `1`."
    body = render(replace(fix_ready(), explanation=f"1. {long}\n\n2. short cause."))
    assert "**Why it failed** 2 causes, all brought in by this pull request:\n\n1. `a` fails with `b`. The" in body
    assert "everywhere. …\n2. short cause.\n" in body
    assert "<details><summary>The whole explanation</summary>" in body
    assert visible_lines(body) <= MAX_VISIBLE_LINES
