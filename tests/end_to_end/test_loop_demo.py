"""The whole way: what people did with two comments trains an adapter, and the third comment is by it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.end_to_end.loop_demo import demonstrate


def test_two_comments_fates_train_an_adapter_that_writes_the_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    said: list[str] = []
    shown = demonstrate(tmp_path, said.append)
    name = f"shop@{shown.card.hash[:12]}"
    assert [name in footer for footer in shown.footers] == [False, False, True], said
    assert all("an AI model" in footer for footer in shown.footers)
    assert sorted(one.feedback[0].kind for one in shown.exported) == ["applied", "rejected"]
    assert shown.card.metrics["forced"] is True
    assert shown.card.metrics["gate"]["promoted"] is False
    assert shown.card.data["counts"]["trajectories"] == 2
    assert shown.card.data["left_out"]["people refused it"] == 1
    assert shown.card.served_name in shown.loaded
