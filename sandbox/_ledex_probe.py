"""The first request to a warm server: what the tests do on the unchanged code, and whether they leave anything behind.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import gc
import importlib
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from sandbox import _ledex_live as live
    from sandbox import _ledex_state as state
    from sandbox import _ledex_swap as swapping
    from sandbox._ledex_fork import Record, Send
    from sandbox._ledex_serve import Server
else:
    load_sibling = sys.modules["__main__"].load_sibling
    live, state, swapping = (load_sibling("_ledex_" + name) for name in ("live", "state", "swap"))


def probe(server: Server, request: Record) -> None:
    """Run every test twice on the unchanged code, in one worker: outcomes, times, fuel burnt, and whether anything was left behind."""
    answer: Record = {"kind": "probe", "tests": {}, "state_changed": True, "live": []}

    def work(send: Send) -> None:
        server.set_up(1 << 30)
        units = []
        for unit in request["units"]:
            file = swapping.source(unit["path"])
            try:
                swapping.Swap(file, unit, [])
                units.append(len(file.live(unit)))
            except (swapping.Unfit, SyntaxError, OSError, UnicodeDecodeError):
                units.append(0)
        send({"live": units})
        before = None
        for turn in range(2):
            state.clear_caches()
            if turn == 1:
                before = state.snapshot(server.root)
            for test_id in request["tests"]:
                if test_id not in server.collected().items:
                    continue
                started = time.perf_counter()
                outcome = server.run_test(test_id, 1 << 40, request["seconds"])
                send({"test": test_id, "outcome": outcome, "seconds": time.perf_counter() - started, "fuel": (1 << 40) - live.FUEL[0],
                      "turn": turn, "direct": bool(server.collected().direct.get(test_id))})
        state.clear_caches()
        send({"state_changed": state.snapshot(server.root) != before})
        send({"imported": [n for n in state.project_modules(server.root) if n not in known]})
        server.workers.mark(0, 1)

    server.workers.mark(0)
    known = set(state.project_modules(server.root))
    records, ended = server.workers.run(work, request["seconds"] * 3 + 5)
    late = [n for r in records for n in r.get("imported", [])]
    if late:  # modules that only the tests import: have them here, where every worker inherits their functions
        for name in late:
            try:
                importlib.import_module(name)
            except BaseException:
                continue
        state.find_caches(server.root)
        swapping.SOURCES.clear()
        known = set(state.project_modules(server.root))
        records, ended = server.workers.run(work, request["seconds"] * 3 + 5)
    for record in records:
        if "test" in record:
            seen = [record[key] for key in ("outcome", "seconds", "fuel", "direct")]
            answer["tests"].setdefault(record["test"], []).append(seen)
        elif "debug" not in record:
            answer.update(record)
        else:
            answer["debug"] = record["debug"]
    answer["ended"] = ended
    if answer["state_changed"] is False and ended == "ended":
        warm_up(server, request)
    server.channel.send(answer)


def warm_up(server: Server, request: Record) -> None:
    """Run the tests once here, now that a probe saw them leave nothing behind: every worker is forked with their lazy work done."""
    signal.signal(signal.SIGALRM, live.alarm)
    for test_id in request["tests"]:
        if test_id in server.collected().items and server.run_test(test_id, 1 << 40, request["seconds"]) is False:
            once, twice = (server.failing_text(test_id, 1 << 40, request["seconds"]) for _ in range(2))
            if once == twice:
                server.texts[test_id] = once
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    server.collected().pause()
    gc.collect()
