"""The throughput benchmark measures every tier on the real sandbox; no speed is asserted."""

from __future__ import annotations

from sandbox.selection import select_runner
from training.benchmark.throughput import measure


def test_every_tier_is_measured() -> None:
    found = measure(select_runner(), in_process=96, fork=6, cold=1, starts=2)
    assert min(found.in_process, found.fork, found.cold, found.bare_ms, found.sandboxed_ms) > 0
    assert found.in_process > found.cold
