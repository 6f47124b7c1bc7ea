"""The repository that the storm rages over."""

from __future__ import annotations

FIXED = "def cheapest(prices):\n    return min(prices)\n"
BROKEN = FIXED.replace("min(", "max(")
TESTS = "from shop import cheapest\n\n\ndef test_cheapest():\n    assert cheapest([3, 1, 2]) == 1\n"
FILES: dict[str, str | bytes | None] = {"shop.py": FIXED, "test_shop.py": TESTS}
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
