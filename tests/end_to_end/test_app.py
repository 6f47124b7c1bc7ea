"""The App against an emulated GitHub: a real push, a signed webhook, a real repair, one comment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.demo.emulator import script
from bot.demo.stage import Stage, stage
from bot.markdown import visible

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


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("stage"), repair_seconds=30.0) as running:
        yield running


def test_a_failed_run_becomes_one_comment_with_a_verified_patch(app: Stage) -> None:
    repository = script.add_repository(app.emulator, "octo/shop", {"shop.py": SHOP, "test_shop.py": TESTS}, writers=("octocat",))
    pull = script.open_pull_request(app.emulator, repository, "cheap", {"shop.py": BROKEN})
    script.fail_run(app.emulator, pull, [script.CiJob("test (3.11)", LOG), script.CiJob("test (3.12)", LOG)])
    app.settle()
    [comment] = script.comments_of(app.emulator, pull)
    assert "**Fix ready**" in comment.body, visible(comment.body)
    assert "+    return min(prices)" in comment.body
    assert app.emulator.violations == []
    [check] = script.check_runs_of(app.emulator, pull)
    assert check.conclusion == "success"
