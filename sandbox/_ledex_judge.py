"""Judging batches of candidates: in place, in a fork each, or imported anew in a fork each.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from typing import Any

    from sandbox import _ledex_state as state
    from sandbox import _ledex_swap as swapping
    from sandbox._ledex_fork import Record, Send
    from sandbox._ledex_serve import Server
else:
    load_sibling = sys.modules["__main__"].load_sibling
    state, swapping = (load_sibling("_ledex_" + name) for name in ("state", "swap"))

MOST_IN_PLACE = 96


class Judge:
    """Judges for a server, and remembers which tests reject most candidates and how many a worker may judge before it is looked at."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.killers: list[str] = []
        self.chunk = MOST_IN_PLACE
        self.imported: tuple[float, float, float] | None = None

    def judge(self, request: Record) -> None:
        """Judge a batch; one answer a candidate: [id, status, failing tests that pass, killer].

        status: plausible, fails, breaks, syntax, unfit, fuel, time, crash, unjudged (the batch's time was over).
        In place, a worker judges a chunk and then looks whether the unchanged code still acts as before; if not, the chunk is judged
        again in smaller chunks, down to a worker for each candidate.
        """
        failing, passing, batch = request["failing"], list(request["passing"]), request["candidates"]
        passing.sort(key=lambda t: -self.killers.index(t) if t in self.killers else len(self.killers))
        at, in_place = 0, request["in_place"]
        importing = 0.0
        if self.server.options["mode"] == "swap":
            look_up(batch)
        else:
            if self.imported is None:
                self.imported = self.time_import(failing + passing)
            collected, slowest, whole = self.imported
            importing = 0.75 + 4 * collected  # an import has no alarm of its own
            request = {**request, "seconds": request["seconds"] + 4 * slowest, "all_seconds": request["all_seconds"] + whole}
        patience = request["seconds"] * 2 + 0.5 + 4 * request["all_seconds"]
        over = time.monotonic() + request["batch_seconds"]
        while at < len(batch):
            if time.monotonic() > over:
                self.server.channel.send({"kind": "answers", "answers": [[c["id"], "unjudged", 0, None] for c in batch[at:]]})
                break
            piece = batch[at:at + self.chunk] if in_place else batch[at:at + 1]
            answered: list[list[Any]] = []
            first = at

            def note(record: Record, answered: list[Any] = answered) -> None:
                if "answer" not in record:
                    return
                answered.append(record["answer"])
                killer = record["answer"][3]
                if killer in passing:
                    if killer in self.killers:
                        self.killers.remove(killer)
                    self.killers.append(killer)

            self.server.workers.mark(-1)
            work = functools.partial(self.work, piece=piece, failing=failing, passing=passing, request=request, over=over)
            records, ended = self.server.workers.run(work, patience, note, importing or patience)
            if ended != "ended" or not self.server.workers.finished():  # os._exit(0) in a candidate looks like an end
                number = self.server.workers.reached()
                done = {a[0] for a in answered}
                if number < len(piece) and piece[number]["id"] not in done:
                    answered.append([piece[number]["id"], "time" if ended == "hung" else "crash", 0, None])
                at += number + 1
            else:
                at += len(piece)
            if in_place:
                if any(r.get("soiled") for r in records):
                    self.chunk = max(self.chunk // 4, 1)
                    at = first
                    continue
                self.chunk = min(self.chunk + 4, MOST_IN_PLACE)
            self.server.channel.send({"kind": "answers", "answers": answered})
        self.server.channel.send({"kind": "judged"})

    def work(self, send: Send, piece: list[Record], failing: list[str], passing: list[str], request: Record, over: float) -> None:
        """What a worker does: judge the candidates of a piece, one after the other."""
        self.server.set_up(request["memory"])
        if self.server.options["mode"] == "import":
            self.work_imported(send, piece[0], failing, passing, request)
            return
        for number, candidate in enumerate(piece):
            self.server.workers.mark(number)
            if time.monotonic() > over:
                for left in piece[number:]:
                    send({"answer": [left["id"], "unjudged", 0, None]})
                break
            file = swapping.source(candidate["unit"]["path"])
            try:
                swap = swapping.Swap(file, candidate["unit"], candidate["edits"])
            except swapping.Unfit:
                send({"answer": [candidate["id"], "unfit", 0, None]})
                continue
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                send({"answer": [candidate["id"], "syntax", 0, None]})
                continue
            state.clear_caches()
            answer = self.try_tests(failing, passing, request)
            swap.undo()
            send({"answer": [candidate["id"], *answer]})
        if len(piece) > 1 and request["in_place"]:
            state.clear_caches()
            text = self.server.failing_text(failing[0], request["fuel"], request["seconds"])
            good = text is not None and text == self.server.texts.get(failing[0], text)
            for test_id in passing[:5]:
                good = good and self.server.run_test(test_id, request["fuel"], request["seconds"]) is True
            if not good:
                send({"soiled": True})
        self.server.workers.mark(len(piece), 1)

    def try_tests(self, failing: list[str], passing: list[str], request: Record) -> list[Any]:
        """[status, failing tests that pass, killer] of the code as it stands: failing tests first, and none needlessly."""
        gained, status, killer = 0, "", None
        for number, test_id in enumerate(failing):
            outcome = self.server.run_test(test_id, request["fuel"], request["seconds"])
            if outcome is True:
                gained += 1
            else:
                killer = killer or test_id
                status = status or (outcome if outcome in ("fuel", "time") else "fails")
                if status != "fails" or number >= request["patience"]:
                    break
        if not status:
            for test_id in passing:
                outcome = self.server.run_test(test_id, request["fuel"], request["seconds"])
                if outcome is not True:
                    return [outcome if outcome in ("fuel", "time") else "breaks", gained, test_id]
        return [status or "plausible", gained, killer]

    def time_import(self, tests: list[str]) -> tuple[float, float, float]:
        """Seconds that the unchanged code takes in a worker that imports it: the collection, the slowest test, all of these tests."""
        started = time.monotonic()
        took: list[float] = []

        def work(send: Send) -> None:
            def serve() -> None:
                send({"collected": time.monotonic() - started})
                for test_id in tests:
                    if test_id in self.server.collected().items:
                        began = time.monotonic()
                        self.server.run_test(test_id, 1 << 40, 10.0)
                        send({"test": time.monotonic() - began})
                self.server.workers.mark(0, 1)
                send({"end": True})
                os._exit(0)

            self.server.set_up(1 << 30)
            self.server.collect_then(serve)

        self.server.workers.mark(0)
        collected = 1.5  # where it cannot be told
        for record in self.server.workers.run(work, 30.0)[0]:
            collected = record.get("collected", collected)
            took += [record["test"]] if "test" in record else []
        return collected, max(took, default=0.0), sum(took)

    def work_imported(self, send: Send, candidate: Record, failing: list[str], passing: list[str], request: Record) -> None:
        """What a worker does that imports its candidate: the tests are collected on the edited file."""
        file = swapping.source(candidate["unit"]["path"])
        text = file.edited(candidate["edits"])
        self.server.workers.mark(0)
        try:
            compile(text, file.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            send({"answer": [candidate["id"], "syntax", 0, None]})
            self.server.workers.mark(1, 1)
            return
        swapping.import_edited(file.path, text)
        answer: list[Any] = ["crash", 0, None]

        def serve() -> None:
            send({"imported": True})
            missing = [t for t in failing + passing if t not in self.server.collected().items]
            answer[:] = ["breaks", 0, missing[0]] if missing else self.try_tests(failing, passing, request)
            send({"answer": [candidate["id"], *answer]})
            self.server.workers.mark(1, 1)
            send({"end": True})
            os._exit(0)

        self.server.collect_then(serve)
        send({"answer": [candidate["id"], "breaks", 0, None]})
        self.server.workers.mark(1, 1)


def look_up(batch: list[Record]) -> None:
    """Find the batch's functions here, once, so that no forked worker has to."""
    for unit in {(c["unit"]["path"], c["unit"]["start"]): c["unit"] for c in batch}.values():
        try:
            swapping.source(unit["path"]).live(unit)
            swapping.source(unit["path"]).shape(unit)
        except (swapping.Unfit, SyntaxError, ValueError, OSError):
            pass
