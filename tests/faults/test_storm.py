"""The small storm; ``make test-faults`` runs the large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import services
from tests.faults import storm


@pytest.mark.parametrize("mode", ["embedded", "broker"])
def test_after_kills_duplicates_and_failing_calls_each_pull_request_has_one_comment(mode: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    try:
        raged = storm.run(30, mode, 7, tmp_path)
    except services.NotInstalled as reason:
        pytest.skip(str(reason))
    assert raged.faults() == []
    assert len(raged.watched) >= 2
    assert raged.fixed >= len(raged.watched)
    assert any(one.asked is not None for one in raged.watched)
    assert (raged.lock.held, raged.restarts) == (1, mode == "broker")
