"""The repository that the bot repairs in its own tests and in the storm: its files, the planted bug, the true fix, and the failed log."""

from __future__ import annotations

from inference.outcome import Outcome
from inference.patch import unified_diff
from inference.proposer import Proposal
from sandbox.verification import Counts, Verdict

SHOP = "def total(prices):\n    return sum(prices)\n\n\ndef cheapest(prices):\n    return min(prices)\n"
TESTS = "from shop import cheapest\n\n\ndef test_cheapest():\n    assert cheapest([3, 1, 2]) == 1\n"
BROKEN = SHOP.replace("min(prices)", "max(prices)")
FILES: dict[str, str | bytes | None] = {"shop.py": SHOP, "test_shop.py": TESTS}
LOG = (
    "============================= test session starts ==============================\n"
    "collected 1 item\n"
    "=================================== FAILURES ===================================\n"
    "________________________________ test_cheapest _________________________________\n"
    ">       assert cheapest([3, 1, 2]) == 1\n"
    "E       assert 3 == 1\n"
    "test_shop.py:5: AssertionError\n"
    "=========================== short test summary info ============================\n"
    "FAILED test_shop.py::test_cheapest - assert 3 == 1\n"
    "============================== 1 failed in 0.02s ===============================\n"
    "##[error]Process completed with exit code 1.\n"
)
FIXED = Outcome(
    "fixed",
    "verified V4",
    proposals=(
        Proposal(
            unified_diff({"shop.py": (BROKEN.encode(), SHOP.encode())}), "`cheapest` took the largest price.", "templates", 0.0,
            path="shop.py", line=6, verdict=Verdict(4, None, (), 3, Counts(0, 1, 1), Counts(1, 0, 1), 1.0)),
    ),
)  # fmt: skip
