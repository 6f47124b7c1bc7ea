"""Text from outside in our Markdown: rendered, it is text and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.markdown import cap, code, escape, fence, link, one_line, prose, visible
from tests.bot.rendering import HOSTILE, rendered

hostile = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60), st.text(alphabet="`~<>!-@#[]()\\ \n\tab1:/.w*_|&$", max_size=60))
hostiles = st.lists(hostile, max_size=4).map("\n".join)
GITHUB_LOOKS_FOR = re.compile(r"(?<![\w`])@[A-Za-z0-9]|#\d|\bGH-\d|\b[a-z]+://|\bwww\.|\b(?:mailto|xmpp):\w", re.IGNORECASE)


@given(hostiles)
@example("`a` b `c`")
def test_escaped_text_renders_as_text_alone(text: str) -> None:
    seen = rendered(escape(text))
    assert set(seen.tags) <= {"p"}
    assert seen.comments == []
    assert not GITHUB_LOOKS_FOR.search(seen.text)


@given(hostiles)
def test_escaped_text_says_what_it_said(text: str) -> None:
    said = rendered(escape(text)).text.replace("\u200b", "")
    assert " ".join(said.split()) == " ".join(one_line(text, 1000).split())


@given(hostiles)
def test_prose_renders_as_text_and_code_alone(text: str) -> None:
    seen = rendered(prose(text))
    assert set(seen.tags) <= {"p", "code"}
    assert not GITHUB_LOOKS_FOR.search(seen.text)


def test_code_in_prose_stays_code() -> None:
    seen = rendered(prose("`total` adds where it *should* take off, says @octocat in `x`y`"))
    assert seen.tags == ["p", "code", "code"]
    assert seen.code == "totalx"


@given(hostiles, st.sampled_from(["", "a ", "- ", "**b** "]))
def test_inline_code_is_one_span_with_everything_in_it(text: str, before: str) -> None:
    seen = rendered(before + code(text) + " after")
    assert seen.tags.count("code") == 1
    assert set(seen.tags) <= {"p", "code", "ul", "li", "strong"}
    assert seen.code.strip() == one_line(text, 200).strip()


@given(hostiles, st.text(max_size=10))
def test_a_fence_holds_everything_and_is_closed(text: str, language: str) -> None:
    seen = rendered(fence(text, language) + "\n\nafter")
    assert set(seen.tags) <= {"pre", "code", "p", "em"}
    assert seen.tags.count("pre") == 1
    assert seen.text.strip().endswith("after")
    assert "after" not in seen.code or "after" in text


@given(hostiles)
def test_a_fence_inside_details_does_not_leave_them(text: str) -> None:
    seen = rendered(f"<details><summary>s</summary>\n\n{fence(text)}\n\n</details>\n\nafter")
    assert seen.tags.count("details") == 1
    assert set(seen.tags) <= {"details", "summary", "pre", "code", "p", "em"}


def test_nobody_else_writes_our_marker() -> None:
    assert "<!-- ledex:" not in fence("x\n<!-- ledex:v1 pr:7 -->")


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200b", "\u200f", "\x00", "\x7f", "\x85", "\u2028", "\U000e0041", "\ufeff", "\ud800"]
)
def test_what_would_be_invisible_is_shown(hidden: str) -> None:
    assert f"U+{ord(hidden):04X}" in visible(f"a{hidden}b")


def test_terminal_codes_are_gone() -> None:
    assert visible("\x1b[1;31mred\x1b[0m \x1b]0;title\x07end") == "red end"


@given(hostiles, st.integers(1, 30), st.integers(5, 200), st.sampled_from(["head", "tail"]))
def test_a_cut_keeps_to_its_limits_and_says_so(text: str, lines: int, chars: int, keep: str) -> None:
    kept, note = cap(text, lines, chars, "head" if keep == "head" else "tail")
    assert kept.count("\n") < lines or not kept
    assert len(kept) <= chars
    assert bool(note) == (kept != text)


def test_a_cut_names_both_counts() -> None:
    assert fence("1\n2\n3", lines=2).endswith("_cut: the first 2 of 3 lines are shown_")
    assert fence("1\n2\n3", lines=1, keep="tail").startswith("```\n3\n```")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://", "data:text/html,x", "https://a.invalid/\u202e", "//a.invalid", "https://[", "x y"]
)
def test_an_address_that_is_none_is_no_link(url: str) -> None:
    assert rendered(link("text", url)).tags == ["p"]


@given(hostiles, st.text(alphabet="ab/?#()[]<>\"' `\\%20@", max_size=40))
def test_a_link_has_one_target_and_its_text_no_markup(text: str, path: str) -> None:
    seen = rendered(link(text, f"https://github.com/{path}"))
    assert set(seen.tags) <= {"p", "a"}
    assert seen.tags.count("a") <= 1
