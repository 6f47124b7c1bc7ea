"""The project of a storm's pull requests, as quick to test as a project can be, and what its CI says when it fails."""

from __future__ import annotations

from tests.bot.shop import SHOP

FILES = {
    "shop.py": SHOP,
    "test_shop.py": "import unittest\n\nfrom shop import cheapest\n\n\nclass TestShop(unittest.TestCase):\n"
    "    def test_cheapest(self):\n        self.assertEqual(cheapest([3, 1, 2]), 1)\n",
    ".github/ledex.toml": '[environment]\ntest = "python -m unittest"\n[limits]\nattempts_per_failure = 10\n',
}
"""Every head that fails is worked on, so that the last one must be spoken of."""
LOG = (
    "F\n======================================================================\n"
    "FAIL: test_cheapest (test_shop.TestShop.test_cheapest)\n"
    "----------------------------------------------------------------------\n"
    'Traceback (most recent call last):\n  File "/home/runner/work/shop/shop/test_shop.py", line 8, in test_cheapest\n'
    "    self.assertEqual(cheapest([3, 1, 2]), 1)\nAssertionError: 3 != 1\n\n"
    "----------------------------------------------------------------------\nRan 1 test in 0.001s\n\nFAILED (failures=1)\n"
    "##[error]Process completed with exit code 1.\n"
)
