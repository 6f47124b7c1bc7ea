"""The small storm; ``make test-faults`` runs the large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import services
from tests.faults import storm


@pytest.mark.parametrize("mode", ["embedded", "broker"])
def test_after_kills_duplicates_and_failing_calls_each_pull_request_has_one_comment(mode: str, tmp_path: Path) -> None:
    try:
        raged = storm.run(30, mode, 7, tmp_path)
    except services.NotInstalled as reason:
        pytest.skip(str(reason))
    assert list(raged.faults()) == []
    assert len(raged.pulls) >= 2
