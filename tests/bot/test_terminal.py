"""What ``ledex`` shows: plain text outside a terminal, and nothing of the project taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bot import terminal
from inference.edits import FunctionSource
from inference.localization import Suspect
from inference.outcome import Outcome, Timings
from inference.proposer import Progress, Proposal, Search
from sandbox.report import Failure
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict

PATCH = b"--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-\treturn x - [fee]   \r\n+\treturn x + [fee]   \r\n"
VERDICT = Verdict(
    4, None, (Check("target", 1, "passed", "1 of 1 failing tests pass"), Check("mutation", 4, "no_opinion", "no mutant [made]")), 3,
    Counts(4, 1, 5), Counts(5, 0, 5), 1.0)  # fmt: skip
FIX = Proposal(PATCH, "It [bold]fails[/bold] with `[1]`.", "templates", 0.0, verdict=VERDICT)
FAILURES = (Failure("t.py::test_a[red]", "AssertionError", "assert [1] == 2\nmore"),)
REPRODUCTION = Reproduction("failing", "1 of 5 tests fail", FAILURES, ("t.py::test_a[red]",))
FIXED = Outcome(
    "fixed", "verified V4", REPRODUCTION, (FIX,), search=Search(judged={"in_process": 90, "fork": 2}), timings=Timings(1.0, 2.0, 3.0)
)


def shown(outcome: Outcome, live: bool = False) -> str:
    file = io.StringIO()
    terminal.show(outcome, Console(file=file, highlight=False, force_terminal=live, width=80))
    return file.getvalue()


@pytest.mark.parametrize("words", [
    "Fixed  ·  verified V4  ·  1 of 1 failing tests pass  ·  0 new failures in 5", "It [bold]fails[/bold] with `[1]`.",
    "  V1 ok 1 of 1 failing tests pass", "  V4 -- no mutant [made]",
    "environment 1.0 s, reproduction 2.0 s, repair 3.0 s, 92 candidates judged",
])  # fmt: skip
def test_a_fix_is_shown_with_its_proof(words: str) -> None:
    assert words in shown(FIXED)


def test_a_patch_is_shown_byte_for_byte() -> None:
    assert PATCH.decode() in shown(FIXED)


def test_a_patch_reaches_a_pipe_in_its_own_encoding() -> None:
    raw = io.BytesIO()
    patch = b"--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-\xe9\n+\xe8\n"
    with io.TextIOWrapper(raw, encoding="ascii", write_through=True, errors="replace") as file:
        terminal.show(replace(FIXED, proposals=(replace(FIX, patch=patch),)), Console(file=file, highlight=False))
        assert patch in raw.getvalue()


def test_outside_a_terminal_no_escape_codes_are_written() -> None:
    assert "\x1b" not in shown(FIXED)


def test_in_a_terminal_explanation_and_patch_are_shown_too() -> None:
    text = shown(FIXED, live=True)
    assert ("[bold]fails[/bold]" in text, "\x1b" in text) == (True, True)


@pytest.mark.parametrize(("status", "word"), [
    ("unfixed", "Not fixed"), ("flaky", "Flaky"), ("pre_existing", "Failed before already"), ("passing", "Nothing to fix"),
    ("broken", "Could not run the tests")])  # fmt: skip
def test_every_other_outcome_is_one_line_with_its_reason(status: str, word: str) -> None:
    assert shown(Outcome(status, "the [reason]")).startswith(f"{word}  ·  the [reason]\n")  # type: ignore[arg-type]


def test_what_still_fails_is_listed_by_the_first_line_of_its_message() -> None:
    assert "  t.py::test_a[red]: assert [1] == 2\n" in shown(Outcome("unfixed", "no", REPRODUCTION))


def test_the_most_suspicious_functions_are_named() -> None:
    suspects = tuple(Suspect(FunctionSource("shop.py", "", name, 0, 0), 1.0, 4) for name in ("a", "b", "c", "d"))
    assert "  most suspicious: shop.py:4 a, shop.py:4 b, shop.py:4 c\n" in shown(Outcome("unfixed", "no", REPRODUCTION, suspects=suspects))


def test_a_refused_patch_is_never_shown() -> None:
    refused = replace(FIX, verdict=replace(VERDICT, level=2, refused_by="regressions"))
    assert "+++ b/shop.py" not in shown(replace(FIXED, status="unfixed", reason="refused", proposals=(refused,)))


def test_a_partial_fix_says_what_it_repairs() -> None:
    text = shown(replace(FIXED, status="unfixed", reason="repairs 1 of 2 failing tests; verified V4"))
    assert text.startswith(
        "Not fixed  ·  verified V4  ·  1 of 1 failing tests pass  ·  0 new failures in 5  ·  repairs 1 of 2 failing tests\n"
    )


def test_progress_outside_a_terminal_is_one_line_a_stage() -> None:
    file = io.StringIO()
    with terminal.watch(Console(file=file)) as report:
        for stage, detail in (("snapshot", "[x]"), ("search", "1"), ("search", "2"), ("verify", "3"), ("search", "4")):
            report(Progress(stage, detail))
    assert file.getvalue() == "snapshot: [x]\nsearch: 1\nverify: 3\nsearch: 4\n"


def test_progress_in_a_terminal_takes_project_text_as_text() -> None:
    file = io.StringIO()
    with terminal.watch(Console(file=file, force_terminal=True, width=120)) as report:
        report(Progress("search", "[red]shop.py[/]", 0.5))
    assert "[red]shop.py[/]" in file.getvalue()
