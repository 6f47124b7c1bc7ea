"""What becomes of a posted fix: the decision alone, then against the emulated GitHub with a stand-in for the repair."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from bot import store
from bot.demo.emulator import script
from bot.demo.emulator.state import Pull
from bot.feedback import PER_ACTOR, Fate, capped, fate, is_restored, patch_hunks, regions, reverted_commits
from bot.models import AuditRow, FeedbackRow, FixRow
from inference.patch import unified_diff
from inference.trajectory import Feedback
from tests.bot.shop import BROKEN, SHOP
from tests.bot.staged import Case

PATCH = unified_diff({"shop.py": (BROKEN.encode(), SHOP.encode())}).decode()
ANOTHER_FIX = BROKEN.replace("max(prices)", "sorted(prices)[0]")
SWAPPED = "def ratio(a, b):\n    return divide(b, a)\n"


def became(now: str, before: str = BROKEN, patch: str = PATCH, still_failing: bool = False, **others: str) -> Fate:
    texts = {"shop.py": before, **{f"{name}.py": "x = 1\n" for name in others}}
    return fate(patch_hunks(patch), texts, {"shop.py": now, **{f"{name}.py": text for name, text in others.items()}}, still_failing)


# The decision


def test_what_landed_as_it_was_posted_is_applied() -> None:
    assert became(SHOP) == Fate("applied", edit_distance=0.0)


@pytest.mark.parametrize(
    "now",
    [
        f"import math\n\n\n{SHOP}\n\ndef dearest(prices):\n    return max(prices)\n",
        SHOP.replace("    return min", "    # the smallest\n    return min"),
    ],
)
def test_changes_beside_the_fix_do_not_matter(now: str) -> None:
    assert became(now).kind == "applied"


@pytest.mark.parametrize(
    "line",
    ["    return min(prices, default=0)", "    smallest = min(prices)\n    return smallest"],
)
def test_a_fix_that_was_worked_into_another_shape_is_edited_and_how_far_is_measured(line: str) -> None:
    found = became(BROKEN.replace("    return max(prices)", line))
    assert found.kind == "edited"
    assert 0 < (found.edit_distance or 0) < 1
    assert line.splitlines()[-1] in (found.human_patch or "")


def test_more_editing_is_a_greater_distance() -> None:
    little, much = (became(BROKEN.replace("max(prices)", f"min(prices{more})")) for more in (", default=0", ", " * 40))
    assert (little.edit_distance or 0) < (much.edit_distance or 0)


@pytest.mark.parametrize("now", [ANOTHER_FIX, BROKEN.replace("    return max(prices)\n", "    raise NotImplementedError\n")])
def test_another_change_of_the_same_lines_supersedes_the_fix(now: str) -> None:
    found = became(now)
    assert found.kind == "superseded"
    assert found.human_patch == unified_diff({"shop.py": (BROKEN.encode(), now.encode())}).decode()


def test_a_repair_in_another_file_of_the_same_kind_supersedes_the_fix() -> None:
    found = became(BROKEN, prices="x = 2\n")
    assert (found.kind, "+x = 2" in (found.human_patch or "")) == ("superseded", True)


def test_what_nobody_touched_is_ignored() -> None:
    assert became(BROKEN) == Fate("ignored")


def test_a_change_of_another_kind_of_file_supersedes_nothing() -> None:
    assert fate(patch_hunks(PATCH), {"shop.py": BROKEN, "README.md": "a"}, {"shop.py": BROKEN, "README.md": "b"}).kind == "ignored"


def test_a_change_after_which_the_same_failure_was_seen_supersedes_nothing() -> None:
    assert became(ANOTHER_FIX, still_failing=True).kind == "ignored"


def test_a_fix_whose_commit_is_gone_is_ignored_and_not_guessed_about() -> None:
    assert fate(patch_hunks(PATCH), {"shop.py": None}, {"shop.py": SHOP}) == Fate("ignored", "unreadable")


def test_two_words_that_change_places_are_a_change_too() -> None:
    broken = SWAPPED.replace("b, a", "a, b")
    patch = unified_diff({"shop.py": (broken.encode(), SWAPPED.encode())}).decode()
    assert became(SWAPPED.replace("divide(b, a)", "divide(b, a)  # b first"), broken, patch).kind == "edited"
    assert became(broken.replace("divide(a, b)", "divide(a, abs(b))"), broken, patch).kind == "superseded"


LINES = st.lists(st.sampled_from(["a", "b", "c", "d", "return", ""]), min_size=1, max_size=30)


@given(LINES, LINES)
def test_every_patch_that_landed_is_seen_in_full_and_one_that_did_not_in_no_part(before: list[str], after: list[str]) -> None:
    old, new = ("\n".join(lines) + "\n" for lines in (before, after))
    hunks = patch_hunks(unified_diff({"f.py": (old.encode(), new.encode())}).decode())
    landed, not_landed = regions(hunks, {"f.py": old}, {"f.py": new}), regions(hunks, {"f.py": old}, {"f.py": old})
    assert landed is not None
    assert not_landed is not None
    assert all(r.now == r.posted for r in landed)
    assert all(r.now == r.before != r.posted for r in not_landed)
    assert bool(hunks) == (old != new)


def test_a_new_file_is_a_hunk_and_its_removal_restores_what_was() -> None:
    hunks = patch_hunks(unified_diff({"new.py": (None, b"x = 1\n")}).decode())
    assert fate(hunks, {"new.py": None}, {"new.py": "x = 1\n"}).kind == "applied"
    assert is_restored(hunks, {"new.py": None}, {"new.py": None})


def test_the_old_lines_are_restored_only_when_all_of_them_are_back() -> None:
    before = "a = 1\n" + "#\n" * 9 + "b = 1\n"
    hunks = patch_hunks(unified_diff({"f.py": (before.encode(), before.replace("1", "2").encode())}).decode())
    assert is_restored(hunks, {"f.py": before}, {"f.py": before + "c = 3\n"})
    assert not is_restored(hunks, {"f.py": before}, {"f.py": before.replace("a = 1", "a = 2")})
    assert not is_restored(hunks, {"f.py": before}, {"f.py": None})


def test_reverted_commits_are_read_from_messages() -> None:
    said = f'Revert "Repair"\n\nThis reverts commit {"a" * 40}.'
    assert reverted_commits(["Repair", said, said, "This reverts commit abc1234, reversing changes"]) == ("a" * 40, "abc1234")
    assert reverted_commits(["This reverts commit nothing"]) == ()


def test_one_person_is_not_heard_more_often_than_the_cap() -> None:
    counted: Counter[str] = Counter()
    heard = [capped([Feedback("applied", 0.0, actor_hash=who)], counted) for who in ["one"] * (PER_ACTOR + 2) + ["two"]]
    assert [len(h) for h in heard] == [1] * PER_ACTOR + [0, 0] + [1]


def test_ignored_gives_way_to_whatever_else_is_known() -> None:
    ignored, applied = Feedback("ignored", 0.0), Feedback("applied", 1.0)
    assert capped([ignored, applied], Counter()) == (applied,)
    assert capped([ignored], Counter()) == (ignored,)


# Against the emulated GitHub

LEARNING = {".github/ledex.toml": "[learning]\nuse_feedback = true\n"}


def posted(case: Case, **options: object) -> Pull:
    """A pull request with a fix."""
    pull = case.pull(**options)
    case.fail(pull)
    return pull


def push(case: Case, files: dict[str, str], by: str = "maintainer", branch: str = "cheap", message: str = "Change") -> None:
    script.push(case.stage.emulator, case.repository, branch, files, by=by, message=message)
    case.stage.settle(60)


def merge(case: Case, pull: Pull, by: str = "maintainer") -> None:
    script.close(case.stage.emulator, pull, by=by, merge=True)
    case.stage.settle(60)


def fix_of(case: Case) -> FixRow:
    with case.stage.context.database.reading() as session:
        return session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()


def said(case: Case) -> list[FeedbackRow]:
    with case.stage.context.database.reading() as session:
        chosen = select(FeedbackRow).join(FixRow).where(FixRow.repository_id == case.repository.id)
        return list(session.scalars(chosen.order_by(FeedbackRow.id)))


def kinds(case: Case) -> list[str]:
    return [row.kind for row in said(case)]


def test_a_person_who_pushes_the_posted_lines_has_applied_the_fix(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP + "# and more\n"})
    [row] = said(case)
    assert (row.kind, row.edit_distance, fix_of(case).state, fix_of(case).commit_sha) == ("applied", 0.0, "applied", pull.head_sha)
    assert row.actor_hash is not None
    assert "maintainer" not in row.actor_hash


def test_a_fix_that_was_applied_by_command_and_merged_is_told_of_once_and_known_to_have_landed(case: Case) -> None:
    pull = posted(case)
    case.say(pull, "/ledex apply")
    merge(case, pull)
    fix = fix_of(case)
    assert kinds(case) == ["applied"]
    assert (fix.state, fix.landed_sha, fix.landed_ref) == ("merged", pull.merge_sha, "main")


def test_a_fix_that_was_edited_before_the_merge_has_its_distance(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP.replace("min(prices)", "min(prices, default=0)")})
    merge(case, pull)
    [row] = said(case)
    assert row.kind == "edited"
    assert 0 < (row.edit_distance or 0) < 1
    assert fix_of(case).state == "merged"


@pytest.mark.parametrize(("case", "kept"), [({}, False), (LEARNING, True)], indirect=["case"])
def test_another_fix_supersedes_ours_and_its_diff_is_kept_only_where_that_is_allowed(case: Case, kept: bool) -> None:
    pull = posted(case)
    push(case, {"shop.py": ANOTHER_FIX})
    merge(case, pull)
    [row] = said(case)
    assert (row.kind, fix_of(case).state) == ("superseded", "superseded")
    assert ("+    return sorted(prices)[0]" in (row.human_patch or "")) is kept


@pytest.mark.parametrize("case", [LEARNING], indirect=True)
def test_a_rejected_fix_keeps_its_rejection_beside_the_fix_that_took_its_place(case: Case) -> None:
    pull = posted(case)
    case.say(pull, "/ledex reject wrong")
    push(case, {"shop.py": ANOTHER_FIX})
    merge(case, pull)
    assert kinds(case) == ["rejected", "superseded"]


def test_a_merge_without_the_fix_is_ignored_which_is_nobodys_judgement(case: Case) -> None:
    merge(case, posted(case))
    [row] = said(case)
    assert (row.kind, row.actor_hash, fix_of(case).state) == ("ignored", None, "posted")


def test_a_pull_request_that_is_closed_and_then_merged_after_all_is_not_ignored(case: Case) -> None:
    pull = posted(case)
    script.close(case.stage.emulator, pull)
    case.stage.settle(60)
    assert [(row.kind, row.reason) for row in said(case)] == [("ignored", "closed")]
    script.reopen(case.stage.emulator, pull)
    push(case, {"shop.py": SHOP})
    merge(case, pull)
    assert kinds(case) == ["applied"]


def test_a_fix_that_was_taken_out_again_before_the_merge_is_reverted(case: Case) -> None:
    pull = posted(case)
    case.say(pull, "/ledex apply")
    push(case, {"shop.py": BROKEN})
    merge(case, pull)
    assert [(row.kind, row.reason) for row in said(case)] == [("applied", None), ("reverted", "before merge")]


@pytest.mark.parametrize("by_message", [True, False])
def test_a_merged_fix_that_is_taken_back_on_the_default_branch_is_reverted(case: Case, by_message: bool) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP + "# more\n"})
    merge(case, pull)
    message = f"Revert\n\nThis reverts commit {fix_of(case).landed_sha}." if by_message else "Never mind"
    push(case, {"README.md": "more\n"} if by_message else {"shop.py": BROKEN}, branch="main", message=message)
    assert [(row.kind, row.reason) for row in said(case)] == [("applied", None), ("reverted", "commit" if by_message else "lines")]
    assert fix_of(case).state == "reverted"


def test_a_revert_after_two_weeks_is_a_change_like_any_other(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP + "# more\n"})
    merge(case, pull)
    with case.stage.context.database.writing() as session:
        fix = session.get_one(FixRow, fix_of(case).id)
        assert fix.landed_at is not None
        fix.landed_at -= 14.1 * store.DAY
    push(case, {"shop.py": BROKEN}, branch="main")
    assert kinds(case) == ["applied"]


def test_a_push_that_leaves_the_fix_in_place_reverts_nothing(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP + "# more\n"})
    merge(case, pull)
    push(case, {"shop.py": SHOP + "# still more\n"}, branch="main")
    assert kinds(case) == ["applied"]


def test_the_label_that_opts_out_is_written_down(case: Case) -> None:
    pull = posted(case)
    script.set_label(case.stage.emulator, pull, "no-ledex", by="maintainer")
    case.stage.settle(60)
    assert kinds(case) == ["opted_out"]
    with case.stage.context.database.reading() as session:
        chosen = select(AuditRow.kind).where(AuditRow.repository_id == case.repository.id)
        assert "opted_out" in set(session.scalars(chosen))


def test_what_somebody_without_write_access_does_counts_when_a_maintainer_merges_it(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP}, by="stranger")
    assert kinds(case) == []
    merge(case, pull)
    assert kinds(case) == ["applied"]


def test_a_bots_merge_is_no_judgement_but_the_fix_has_landed(case: Case) -> None:
    pull = posted(case)
    push(case, {"shop.py": SHOP}, by="merger[bot]")
    merge(case, pull, by="merger[bot]")
    assert kinds(case) == []
    assert fix_of(case).state == "merged"
