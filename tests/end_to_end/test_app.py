"""The App against an emulated GitHub with nothing replaced: a real push, a signed webhook, a real repair in the sandbox, one comment.

The cases that need no repair of their own (infrastructure, drafts, disabled repositories, what happens midway) are in
``tests/bot/test_handlers.py``, on the same emulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.bundle import read_bundle
from bot.demo.emulator import script
from bot.demo.emulator.state import Comment, Pull, Repository
from bot.demo.stage import Stage, stage
from bot.markdown import visible
from bot.replay import replay
from sandbox.selection import select_runner

SHOP = "def total(prices):\n    return sum(prices)\n\n\ndef cheapest(prices):\n    return min(prices)\n"
TESTS = (
    "from shop import cheapest, total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n    assert total([5]) == 5\n\n\n"
    "def test_cheapest():\n    assert cheapest([3, 1, 2]) == 1\n    assert cheapest([2, 9]) == 2\n"
)
BROKEN = SHOP.replace("min(prices)", "max(prices)")
LOG = (
    "2026-11-24T10:00:00.0000000Z ============================= test session starts ==============================\n"
    "2026-11-24T10:00:00.1000000Z collected 2 items\n"
    "2026-11-24T10:00:00.2000000Z =================================== FAILURES ===================================\n"
    "2026-11-24T10:00:00.2000000Z ________________________________ test_cheapest _________________________________\n"
    "2026-11-24T10:00:00.2000000Z     def test_cheapest():\n"
    "2026-11-24T10:00:00.2000000Z >       assert cheapest([3, 1, 2]) == 1\n"
    "2026-11-24T10:00:00.2000000Z E       assert 3 == 1\n"
    "2026-11-24T10:00:00.2000000Z test_shop.py:10: AssertionError\n"
    "2026-11-24T10:00:00.3000000Z =========================== short test summary info ============================\n"
    "2026-11-24T10:00:00.3000000Z FAILED test_shop.py::test_cheapest - assert 3 == 1\n"
    "2026-11-24T10:00:00.3000000Z ========================= 1 failed, 1 passed in 0.02s ==========================\n"
    "2026-11-24T10:00:00.4000000Z ##[error]Process completed with exit code 1.\n"
)
SYNTAX_LOG = (
    "============================= test session starts ==============================\n"
    "collected 0 items / 1 error\n"
    "==================================== ERRORS ====================================\n"
    "_________________________ ERROR collecting test_shop.py _________________________\n"
    "test_shop.py:1: in <module>\n"
    "    from shop import cheapest, total\n"
    'E     File "/home/runner/work/shop/shop/shop.py", line 5\n'
    "E       def cheapest(prices)\n"
    "E                           ^\n"
    "E   SyntaxError: expected ':'\n"
    "=========================== short test summary info ============================\n"
    "ERROR test_shop.py\n"
    "!!!!!!!!!!!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!!!!!!!!!!!\n"
    "=============================== 1 error in 0.05s ===============================\n"
    "##[error]Process completed with exit code 2.\n"
)
LINT_LOG = (
    "##[group]Run pip install ruff==0.14.3\n"
    "Successfully installed ruff-0.14.3\n"
    "##[group]Run ruff format --check .\n"
    "ruff format --check .\n"
    "##[endgroup]\n"
    "Would reformat: shop.py\n"
    "Would reformat: test_shop.py\n"
    "2 files would be reformatted\n"
    "##[error]Process completed with exit code 1.\n"
)
# In every run another of these fails, so that no two runs agree.
FLAKY = (
    "import os\nimport pytest\n\nUNLUCKY = int.from_bytes(os.urandom(4), 'big') % 400\n\n\n"
    "@pytest.mark.parametrize('n', range(400))\ndef test_luck(n):\n    assert n != UNLUCKY\n"
)
FLAKY_LOG = LOG.replace("test_shop.py", "test_luck.py").replace("test_cheapest", "test_luck[7]")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage"), repair_seconds=30.0, repair_workers=2) as running:
        yield running
        assert running.emulator.violations == []


@pytest.fixture(scope="module")
def shop(app: Stage) -> Repository:
    """One for all, so that its environment is built once."""
    files = {"shop.py": SHOP, "test_shop.py": TESTS}
    return script.add_repository(app.emulator, "octo/shop", files, writers=("octocat",))


def fail(app: Stage, pull: Pull, log: str = LOG, jobs: int = 1) -> None:
    script.fail_run(app.emulator, pull, [script.CiJob(f"test ({n})", log) for n in range(jobs)])


def only_comment(app: Stage, pull: Pull) -> Comment:
    app.settle()
    [comment] = script.comments_of(app.emulator, pull)
    return comment


def check_of(app: Stage, pull: Pull) -> tuple[str | None, str, str]:
    """Conclusion, title and summary of our one check run; nothing was written on the conversation."""
    app.settle()
    assert script.comments_of(app.emulator, pull) == []
    [check] = script.check_runs_of(app.emulator, pull)
    return check.conclusion, check.title or "", check.summary or ""


def test_six_jobs_of_a_matrix_that_fail_become_one_comment_with_a_verified_patch(app: Stage, shop: Repository) -> None:
    pull = script.open_pull_request(app.emulator, shop, "cheap", {"shop.py": BROKEN})
    fail(app, pull, jobs=6)
    comment = only_comment(app, pull)
    assert "**Fix ready**" in comment.body, visible(comment.body)
    assert "6 jobs failed alike" in comment.body
    assert "+    return min(prices)" in comment.body
    [check] = script.check_runs_of(app.emulator, pull)
    assert check.conclusion == "success"


def test_two_pull_requests_at_once_each_get_their_own_patch(app: Stage, shop: Repository) -> None:
    first = script.open_pull_request(app.emulator, shop, "one", {"shop.py": BROKEN})
    second = script.open_pull_request(app.emulator, shop, "two", {"shop.py": SHOP.replace("sum(prices)", "sum(prices) + 1")})
    fail(app, first)
    fail(app, second, LOG.replace("test_cheapest", "test_total"))
    assert "+    return min(prices)" in only_comment(app, first).body
    other = only_comment(app, second).body
    assert "**Fix ready**" in other
    assert "min(prices)" not in other.partition("```diff")[2].partition("```")[0].replace("     return min(prices)", "")


def test_a_fork_gets_a_patch_that_its_author_can_apply_and_no_button_that_commits(app: Stage, shop: Repository) -> None:
    pull = script.open_pull_request(app.emulator, shop, "cheap", {"shop.py": BROKEN}, from_fork="stranger")
    fail(app, pull)
    comment = only_comment(app, pull)
    assert "**Fix ready**" in comment.body, visible(comment.body)
    assert "git apply" in comment.body
    [check] = script.check_runs_of(app.emulator, pull)
    assert [action["identifier"] for action in check.actions] == ["reject"]


def test_a_formatter_that_refuses_the_code_is_answered_with_what_it_would_write(app: Stage, shop: Repository) -> None:
    untidy = {"shop.py": SHOP.replace("sum(prices)", "sum( prices )"), "test_shop.py": TESTS.replace("[1, 2]", "[1,2]")}
    pull = script.open_pull_request(app.emulator, shop, "untidy", untidy)
    fail(app, pull, LINT_LOG)
    comment = only_comment(app, pull)
    line = "**Fix ready** · verified V3 · `ruff format --check -- .` now passes · 0 new failures in 2"
    assert line in comment.body, visible(comment.body)
    assert "+    return sum(prices)" in comment.body
    assert "+    assert total([1, 2]) == 3" in comment.body
    assert "by ruff 0.14.3, as in the log of CI; no model had a part in it" in comment.body
    assert "without an AI model" in comment.body


RUFF_CHECK_LOG = (
    "##[group]Run pip install ruff==0.14.3\nSuccessfully installed ruff-0.14.3\n##[endgroup]\n"
    "##[group]Run ruff check .\nruff check .\n##[endgroup]\n"
    "F401 [*] `os` imported but unused\n --> shop.py:1:8\n  |\n1 | import os\n  |        ^^\n  |\nhelp: Remove unused import: `os`\n\n"
    "Found 1 error.\n[*] 1 fixable with the `--fix` option.\n##[error]Process completed with exit code 1.\n"
)
BLACK_LOG = (
    "##[group]Run black --check .\nblack --check .\n##[endgroup]\nwould reformat shop.py\n\nOh no! 💥 💔 💥\n"
    "1 file would be reformatted, 1 file would be left unchanged.\n##[error]Process completed with exit code 1.\n"
)
ISORT_LOG = (
    "##[group]Run isort --check-only .\nisort --check-only .\n##[endgroup]\n"
    "ERROR: /home/runner/work/shop/shop/shop.py Imports are incorrectly sorted and/or formatted.\n"
    "##[error]Process completed with exit code 1.\n"
)
MESSY_IMPORTS = "import sys\nimport os\n\nHERE = os.sep + sys.platform\n\n\n" + SHOP


@pytest.mark.parametrize(
    ("branch", "untidy", "log", "check", "line"),
    [
        ("ruff-check", "import os\n\n\n" + SHOP, RUFF_CHECK_LOG, "ruff check -- .", "-import os"),
        ("black", SHOP.replace("return sum(prices)", "return sum( prices )"), BLACK_LOG, "black --check -- .", "+    return sum(prices)"),
        ("isort", MESSY_IMPORTS, ISORT_LOG, "isort --check-only -- .", "+import os"),
    ],
    ids=["ruff check", "black", "isort"],
)
def test_a_linters_own_fixer_repairs_and_its_proof_holds_when_it_is_replayed(
    app: Stage, shop: Repository, branch: str, untidy: str, log: str, check: str, line: str
) -> None:
    pull = script.open_pull_request(app.emulator, shop, branch, {"shop.py": untidy})
    fail(app, pull, log)
    comment = only_comment(app, pull)
    assert f"**Fix ready** · verified V3 · `{check}` now passes · 0 new failures in 2" in comment.body, visible(comment.body)
    assert f"\n{line}\n" in comment.body
    if branch == "ruff-check":
        data = app.context.settings.data_dir
        [proof] = [found for path in data.glob("proofs/*.tar.gz") if (found := read_bundle(path)).proof["head_sha"] == pull.head_sha]
        again = replay(proof, select_runner(), data / "repositories" / str(shop.id) / "shop")
        assert (again.holds, again.reason) == (True, "verified V3 again")


def test_a_flaky_test_is_called_flaky_and_nothing_is_patched(app: Stage, shop: Repository) -> None:
    pull = script.open_pull_request(app.emulator, shop, "luck", {"test_luck.py": FLAKY})
    fail(app, pull, FLAKY_LOG)
    comment = only_comment(app, pull)
    assert "**Flaky**" in comment.body, visible(comment.body)
    assert "```diff" not in comment.body


def test_a_failure_that_the_base_has_too_is_not_this_pull_requests(app: Stage, shop: Repository) -> None:
    script.push(app.emulator, shop, "old", {"shop.py": BROKEN}, base="main")
    pull = script.open_pull_request(app.emulator, shop, "notes", {"notes.txt": "new\n"}, base="old")
    fail(app, pull)
    comment = only_comment(app, pull)
    assert "**Fails on the base too** · this pull request did not cause it" in comment.body, visible(comment.body)


def test_a_file_that_cannot_be_parsed_is_named_with_its_line(app: Stage, shop: Repository) -> None:
    pull = script.open_pull_request(app.emulator, shop, "typo", {"shop.py": SHOP.replace("cheapest(prices):", "cheapest(prices)")})
    fail(app, pull, SYNTAX_LOG)
    conclusion, title, summary = check_of(app, pull)
    assert (conclusion, title) == ("neutral", "Explanation only")
    assert "a file cannot be parsed at shop.py:5: SyntaxError: expected ':'" in summary, summary


def test_infrastructure_is_told_in_the_check_run_alone_and_nothing_is_run(app: Stage, shop: Repository, tmp_path: Path) -> None:
    pull = script.open_pull_request(app.emulator, shop, "unlucky", {"notes.txt": "1\n"})
    fail(app, pull, "##[error]No space left on device\n")
    conclusion, title, _ = check_of(app, pull)
    assert (conclusion, title) == ("neutral", "Infrastructure failure")


def test_what_needs_a_service_that_is_not_here_says_what_it_needs(app: Stage) -> None:
    policy = '[environment]\nservices = ["postgres:16"]\n'
    files = {"shop.py": SHOP, "test_shop.py": TESTS, ".github/ledex.toml": policy}
    repository = script.add_repository(app.emulator, "octo/served", files, writers=("octocat",))
    pull = script.open_pull_request(app.emulator, repository, "cheap", {"shop.py": BROKEN})
    fail(app, pull)
    conclusion, title, summary = check_of(app, pull)
    assert (conclusion, title) == ("neutral", "Could not reproduce")
    assert "needs postgres:16" in summary
