"""Runs pytest in the tested project's interpreter and writes {node id: outcome} as JSON to the report descriptor.

usage: python _ledex_outcomes.py PYTEST-ARGUMENT... DESCRIPTOR        (standard library and pytest, Python 3.8+)
"""

import json
import os
import sys
from typing import Dict

import pytest


class Recorder:
    def __init__(self) -> None:
        self.outcomes: Dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = self.outcomes.get(report.nodeid)
        if report.when == "call" and known != "error":
            expected = hasattr(report, "wasxfail")
            names = {"skipped": "xfailed", "passed": "xpassed"} if expected else {}
            self.outcomes[report.nodeid] = names.get(report.outcome, report.outcome)
        elif report.when != "call" and report.outcome == "failed":
            self.outcomes[report.nodeid] = "error"
        elif report.when == "setup" and report.outcome == "skipped":
            self.outcomes[report.nodeid] = "skipped"

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome == "failed":
            self.outcomes["collection of " + report.nodeid] = "error"


def main() -> int:
    sys.path[0] = os.getcwd()  # as "python -m pytest" has it
    recorder = Recorder()
    code = pytest.main(sys.argv[1:-1], plugins=[recorder])
    with os.fdopen(int(sys.argv[-1]), "w", encoding="utf-8") as report:
        json.dump(recorder.outcomes, report)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
