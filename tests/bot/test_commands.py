"""Commands in comments: what is one, what is quoted, and the short answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import NAMES, Command, Unknown, help_reply, parse, refused_reply, unknown_reply
from tests.bot.rendering import HOSTILE, rendered


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_read(name: str) -> None:
    found = parse(f"thanks!\n/ledex {name}\nbye")
    assert isinstance(found, Command)
    assert found.name == name


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        ("/ledex reject", None, ""),
        ("/ledex reject wrong", "wrong", ""),
        ("/ledex reject not-wanted we like it so", "not-wanted", "we like it so"),
        ("/ledex reject Style: tabs, please", "style", "tabs, please"),
        ("/ledex reject not_wanted", "not-wanted", ""),
        ("/ledex reject because of the weather", None, "because of the weather"),
    ],
)
def test_a_rejection_has_a_reason_and_words(line: str, reason: str | None, text: str) -> None:
    assert parse(line) == Command("reject", reason, text)  # type: ignore[arg-type]


def test_a_hint_comes_with_a_retry() -> None:
    assert parse("/ledex retry  look at the rounding ") == Command("retry", text="look at the rounding")


@pytest.mark.parametrize("body", ["/LEDEX Fix", "   /ledex fix", "/ledex\tfix", "/ledex fix\r\n", "`/x`\r\n/ledex fix"])
def test_spelling_and_blanks_are_forgiven(body: str) -> None:
    assert parse(body) == Command("fix")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nothing",
        "see /ledex fix",
        "/ledexfix",
        "//ledex fix",
        "`/ledex fix`",
        "> /ledex apply",
        "  > > /ledex apply",
        "    /ledex apply",
        "\t/ledex apply",
        "```\n/ledex apply\n```",
        "~~~sh\n/ledex apply\n~~~",
        "````\n```\n/ledex apply\n````",
        "```\n/ledex apply",
        "<!-- /ledex apply -->",
        "<!--\n/ledex apply\n-->",
        "a <!-- x\n/ledex apply",
        "/ledex-bot fix",
        "@ledex fix",
    ],
)
def test_what_is_no_command_gets_no_answer(body: str) -> None:
    assert parse(body) is None


def test_a_command_after_a_closed_block_counts() -> None:
    assert parse("```\n/ledex apply\n```\n<!-- x -->\n/ledex off") == Command("off")


def test_the_first_command_counts() -> None:
    assert parse("/ledex proof\n/ledex apply") == Command("proof")


def test_the_bare_word_asks_for_help() -> None:
    assert parse("/ledex") == Command("help")


def test_an_unknown_word_is_told_in_one_short_line() -> None:
    found = parse("/ledex aply now")
    assert found == Unknown("aply")
    assert isinstance(found, Unknown)
    assert unknown_reply(found) == "`/ledex aply` is no command; `/ledex help` lists them."


@pytest.mark.parametrize("text", HOSTILE)
def test_an_answer_repeats_nothing_dangerous(text: str) -> None:
    assert set(rendered(unknown_reply(Unknown(text))).tags) <= {"p", "code"}


def test_words_are_capped() -> None:
    found = parse("/ledex retry " + "x" * 5000)
    assert isinstance(found, Command)
    assert len(found.text) == 1000


def test_help_lists_what_can_be_used() -> None:
    assert all(f"`/ledex {name}`" in help_reply() for name in NAMES)
    assert "/ledex pr" not in help_reply(("fix", "help"))


def test_refusals_name_the_command_and_the_reason() -> None:
    assert refused_reply(Command("apply"), "the head has moved on") == "`/ledex apply` was not carried out: the head has moved on."


@given(st.text(max_size=200))
def test_any_comment_is_read(body: str) -> None:
    parse(body)
    assert parse("/ledex fix\n" + body) == Command("fix")
