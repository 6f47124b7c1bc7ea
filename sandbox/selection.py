"""Which Runner is used here."""

from __future__ import annotations

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.runner import Runner


def select_runner(prefer: str = "auto", allow_unsafe: bool = False) -> Runner:
    return BubblewrapRunner()
