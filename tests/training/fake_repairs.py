"""Repairs with the real interface and no engine behind them. A fresh process imports this module, so it needs nothing of the tests."""

from __future__ import annotations

import difflib
import os
import time
from pathlib import Path
from typing import Any

from training.benchmark.attempt import RepairJob


def outcome(status: str, patch: str = "", **more: Any) -> dict[str, Any]:
    """A valid outcome; the caller changes one thing."""
    proposals = [{"patch": patch, "explanation": "", "origin": "fake", "verdict": {"level": "V3"}}] if patch else []
    candidates = {"in_process": 100, "fork": 0, "cold": 1, "generated": 101, "exhausted": True, "seconds": {"in_process": 0.5, "cold": 1.0}}
    timings = {"environment": 0.0, "reproduction": 0.1, "search": 0.5, "first_plausible": 0.2, "chosen": 0.6, "total": 0.8}
    return {
        "format": 1, "status": status, "reason": "", "failures": [], "proposals": proposals, "candidates": candidates,
        "timings": timings, "suspects": [], "versions": {}, **more,
    }  # fmt: skip


def swap(job: RepairJob, name: str, old: str, new: str) -> dict[str, Any]:
    before = (job.path / name).read_text()
    after = before.replace(old, new, 1)
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), f"a/{name}", f"b/{name}")
    return outcome("fixed", "".join(lines))


def subtracts_back(job: RepairJob) -> dict[str, Any]:
    """Turns the first minus of the solution into a plus."""
    return swap(job, "solution.py", "a - b", "a + b")


def special_cases(job: RepairJob) -> dict[str, Any]:
    """Passes the shown asserts and nothing else."""
    return swap(job, "solution.py", "return a - b", "return {(1, 2): 3, (2, 5): 7}.get((a, b))")


def ranks(job: RepairJob) -> dict[str, Any]:
    """Shows the special case, and knows the right one too."""
    right, wrong = subtracts_back(job)["proposals"][0]["patch"], special_cases(job)
    known = (("cases", 1.0, wrong["proposals"][0]["patch"]), ("operator", -1.0, right))
    return {**wrong, "ranked": [[{"template": name, "signals": {"margin": margin}, "patch": patch} for name, margin, patch in known]]}


def withholds(job: RepairJob) -> dict[str, Any]:
    found = subtracts_back(job)
    found["proposals"][0] |= {"withheld": "too weak", "signals": {"margin": 2.0}}
    return {**found, "status": "unfixed"}


def by_strategy(job: RepairJob) -> dict[str, Any]:
    refines = job.inference["strategy"] == "refine"
    tokens = {"prompt": 100, "cached": 30, "completion": 50}
    return outcome("unfixed", model={"answers": 6 if refines else 8, "tokens": tokens, "gpu_seconds": 1.5, "cost": 0.25})


def mends_calc(job: RepairJob) -> dict[str, Any]:
    return swap(job, "src/calc.py", "value * 3", "value * 2")


def gives_up(job: RepairJob) -> dict[str, Any]:
    return outcome("unfixed")


def crashes(job: RepairJob) -> dict[str, Any]:
    raise ValueError("no such engine")


def dies(job: RepairJob) -> dict[str, Any]:
    os._exit(3)


def hangs(job: RepairJob) -> dict[str, Any]:
    Path(job.path, "pid").write_text(str(os.getpid()))
    time.sleep(600)
    return outcome("unfixed")


def takes_memory(job: RepairJob) -> dict[str, Any]:
    held = bytearray(b"x") * (300 * 2**20)
    return outcome("unfixed" if held else "")
