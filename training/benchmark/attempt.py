"""One repair attempt in a child process of its own: its outcome, its time, its peak memory; a crash or a hang is a value."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast


@dataclass(frozen=True)
class RepairJob:
    """What a repair is asked: the fields of ``ledex fix``. Times in seconds."""

    path: Path
    test: str | None = None
    python: Path | None = None
    budget: float = 20.0
    setup_timeout: float = 600.0
    engine: str = "auto"
    environment: Mapping[str, str] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the engine that take the place of this process's own."""


Repair = Callable[[RepairJob], dict[str, Any]]
"""A module-level function (it is called in a fresh process) that returns what ``ledex fix --json`` writes, and where it knows them under
"ranked" the patches of each search: see ``Search.ranked``."""


@dataclass(frozen=True)
class Attempt:
    """``outcome`` is None when the repair crashed or overran; ``error`` says how. Memory in bytes, of the repair's largest process."""

    outcome: dict[str, Any] | None
    error: str
    seconds: float
    peak_memory_bytes: int


def never_searched(outcome: Mapping[str, Any] | None) -> bool:
    """Whether a repair ended before its search: a crash, tests that did not run or fail as needed, or suspects but not one candidate."""
    if outcome is None or outcome.get("status") not in ("fixed", "unfixed"):
        return True
    return outcome.get("candidates", {}).get("generated") == 0 and bool(outcome.get("suspects"))


def was_withheld(outcome: Mapping[str, Any]) -> bool:
    """Whether a patch that verification accepted was thought too weak to be shown."""
    return outcome.get("status") != "fixed" and any(p.get("withheld") for p in outcome.get("proposals", ()))


def ledex_repair(job: RepairJob) -> dict[str, Any]:
    """The product's own repair, as the command and the bot call it."""
    from inference.repair import Engine, RepairRequest, outcome_json, repair_checkout
    from inference.settings import load_settings

    request = RepairRequest(
        path=job.path, test=job.test, python=job.python, budget=job.budget, setup_timeout=job.setup_timeout,
        engine=cast(Engine, job.engine), environment=dict(job.environment),
    )  # fmt: skip
    found = repair_checkout(request, inference=load_settings(**job.inference))
    ranked = [[{"patch": p.patch.decode("utf-8", "surrogateescape"), "template": p.template, "signals": dict(p.signals)} for p in one]
              for one in found.search.ranked]  # fmt: skip
    return {**outcome_json(found), "ranked": ranked}


class Interrupted(Exception):
    """The attempt was given up because the run was stopped; it has no result."""


def attempt(repair: Repair, job: RepairJob, limit: float, stop: threading.Event) -> Attempt:
    """Calls the repair in a fresh process; past ``limit`` seconds of wall time its whole process group is killed.

    Raises Interrupted, with the process killed, once ``stop`` is set.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    start = time.monotonic()
    process = context.Process(target=_child, args=(repair, job, theirs), daemon=False)
    process.start()
    theirs.close()
    outcome, error, peak = None, "", 0
    try:
        while not ours.poll(0.2):
            if stop.is_set():
                error = "stopped"
                raise Interrupted
            if time.monotonic() - start > limit:
                error = f"still running after {limit:.0f} s"
                break
        else:
            outcome, error, peak = ours.recv()
    except EOFError:
        error = "the repair process died"
    finally:
        ours.close()
        process.join(5 if not error else 0)
        if process.is_alive() and process.pid is not None:
            _kill_group(process.pid)
            process.join(30)
    return Attempt(outcome, error, time.monotonic() - start, peak)


def _child(repair: Repair, job: RepairJob, channel: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result: tuple[dict[str, Any] | None, str, int] = (repair(job), "", _peak())
    except Exception as error:  # reported to the parent, which goes on with the next task
        where = traceback.extract_tb(error.__traceback__)[-1]
        result = None, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})", _peak()
    channel.send(result)
    channel.close()


def _peak() -> int:
    """Linux counts in KiB. A child that was forked from a larger process starts with that one's peak: an upper bound, never too low."""
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage) * 1024


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:  # the child had no time to make its group
        os.kill(pid, signal.SIGKILL)
