"""The storm's judge notices each thing that must not be: it is shown what a bot without care would leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.comment import marker
from bot.demo.emulator import script, server
from bot.demo.emulator.emulator import Emulator, LogEntry
from bot.demo.emulator.state import CheckRun, CheckSuite
from tests.bot.shop import BROKEN, FILES
from tests.faults.promises import Watched, broken

Held = tuple[Emulator, Watched]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """A pull request on which everything was done once."""
    with server.serve(tmp_path) as emulator:
        repository = script.add_repository(emulator, "octo/shop", FILES)
        pull = script.open_pull_request(emulator, repository, "cheap", {"shop.py": BROKEN})
        one = Watched(pull, pull.head_sha)
        said(held := (emulator, one), f"{marker(pull.number)}\n\n**Fix ready** · verified V4\n\n- head `{pull.head_sha[:12]}`")
        suite = CheckSuite(1, repository, pull.head_sha, None, "ours", 0.0, 0.0)
        emulator.state.check_runs[2] = CheckRun(2, suite, "ledex", "completed", "success")
        done(held, "POST", "check-runs", head_sha=pull.head_sha, external_id="ledex:1:x")
        yield held


def done(held: Held, method: str, path: str, **body: Any) -> None:
    emulator, one = held
    emulator.log.append(LogEntry(0.0, method, f"{one.api}/{path}", "ours", 201, body, {}, None, True))


def said(held: Held, text: str) -> None:
    emulator, one = held
    script.comment(emulator, one.pull, text)
    done(held, "POST", f"issues/{one.pull.number}/comments", body=text)


def faults(held: Held) -> list[str]:
    return list(broken(held[0], [held[1]]))


def test_everything_done_once_is_no_fault(held: Held) -> None:
    assert faults(held) == []


def test_a_second_comment_review_or_check_run_is_one(held: Held) -> None:
    said(held, f"{marker(1)}\nonce more")
    for _ in range(2):
        done(held, "POST", "pulls/1/reviews", body="<!-- ledex:v1 suggestions:abc -->\n")
    done(held, "POST", "check-runs", head_sha=held[1].failed, external_id="ledex:1:x")
    assert [fault.rpartition(" was made ")[2] for fault in faults(held)] == ["2 times"] * 3


def test_a_missing_comment_and_a_missing_or_unfinished_check_run_are_ones(held: Held) -> None:
    emulator, one = held
    emulator.state.comments.clear()
    emulator.state.check_runs[2].status = "in_progress"
    assert [fault.partition(": ")[2] or fault for fault in faults(held)] == [
        "octo/shop#1 has no comment", f"the check run on {one.failed[:12]} is in_progress"]  # fmt: skip
    emulator.log.clear()
    assert any("no check run" in fault for fault in faults(held))


def test_a_comment_on_an_older_head_is_one(held: Held) -> None:
    held[1].failed = "f" * 40
    assert any("does not speak of ffffffffffff" in fault for fault in faults(held))


def test_a_commit_nobody_asked_for_a_second_one_and_a_missing_one_are_ones(held: Held) -> None:
    held[1].asked = "apply"
    assert faults(held) == ["octo/shop#1: 0 commits of ours instead of 1 (asked for: apply)"]
    done(held, "PATCH", "git/refs/heads/cheap", sha="a" * 40)
    assert faults(held) == []
    done(held, "PATCH", "git/refs/heads/cheap", sha="b" * 40)
    assert faults(held) == ["octo/shop#1: 2 commits of ours instead of 1 (asked for: apply)"]
    held[1].asked = None
    assert faults(held) == ["octo/shop#1: 2 commits of ours instead of 0 (asked for: nothing)"]


def test_a_second_stacked_pull_request_is_one(held: Held) -> None:
    held[1].asked = "pr"
    for _ in range(2):
        done(held, "POST", "git/refs", ref="refs/heads/ledex/1-1")
        done(held, "POST", "pulls", head="ledex/1-1")
    assert faults(held) == [f"octo/shop#1: 2 {what} of ours instead of 1 (asked for: pr)" for what in ("branches", "pull requests")]
