"""The safety net under the warm tiers: what only they let pass is never called fixed."""

from __future__ import annotations

import sys
from pathlib import Path

from inference.repair import RepairRequest, repair_checkout
from sandbox.settings import SandboxSettings
from tests.git_repository import GitRepository

SPYING = """\
import signal

import sums


def test_add():
    assert sums.add(1, 2) != -1 and signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL


def test_nothing():
    assert sums.add(0, 0) == 0
"""


def test_a_test_that_passes_on_the_warm_tiers_alone_is_not_repaired(tmp_path: Path) -> None:
    """Its judge gives itself away by a handler of SIGALRM: any edit turns the test green there, and none in a cold run."""
    repository = GitRepository(tmp_path / "project")
    repository.folder.mkdir()
    repository.files({"sums.py": "def add(a, b):\n    return a - b\n", "test_sums.py": SPYING, "pytest.ini": "[pytest]\n"}).commit()
    request = RepairRequest(repository.folder, python=Path(sys.executable), budget=12.0)
    outcome = repair_checkout(request, settings=SandboxSettings(cache_folder=tmp_path / "cache"))
    assert outcome.status == "unfixed"
    verdicts = [p.verdict for p in outcome.proposals if p.verdict is not None]
    assert verdicts, "a warm tier let an edit pass, and a cold run judged it"
    assert {(v.level, v.refused_by) for v in verdicts} == {(0, "target")}
