"""What code does while tests run: the values that expressions take, and how candidates answer inputs near those of the tests.

Loaded by ``_ledex_serve.py``. Standard library only, Python 3.8+.
"""

from __future__ import annotations

import copy
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from typing import Any

    from sandbox import _ledex_behave as behaving
    from sandbox import _ledex_live as live
    from sandbox import _ledex_state as state
    from sandbox import _ledex_swap as swapping
    from sandbox._ledex_fork import Record, Send
    from sandbox._ledex_serve import Server
else:
    load_sibling = sys.modules["__main__"].load_sibling
    behaving, live, state, swapping = (load_sibling("_ledex_" + name) for name in ("behave", "live", "state", "swap"))


def short_hash(text: str) -> str:
    """A digest that is short enough to send and long enough to tell behaviours apart."""
    import hashlib  # in the worker that compares behaviours alone: it is slow to load, and cold runs do without

    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


def observe(server: Server, request: Record) -> None:
    """Run one test with expressions of a unit recorded: values seen at ``spans`` of the edited text, and the unit's arguments."""
    found: Record = {"kind": "observed", "values": [], "arguments": [], "outcome": None}

    def work(send: Send) -> None:
        server.set_up(1 << 30)
        unit, file = request["unit"], swapping.source(request["unit"]["path"])
        seen: list[list[Any]] = []

        def record(key: int, value: Any) -> Any:
            if len(seen) < 40:
                seen.append([key, swapping.text_of(value)])
            return value

        def enter(names: Record) -> None:
            if len(seen) < 40:
                seen.append([-1, {k: swapping.text_of(v) for k, v in names.items()}])

        live.TOOLS.seen, live.TOOLS.enter = record, enter
        edits = [list(e) for e in request["edits"]]
        swapping.Swap(file, unit, edits, transform=lambda node: swapping.record_values(node, request["wanted"]))
        state.clear_caches()
        outcome = server.run_test(request["test"], 1 << 40, request["seconds"])
        send({"outcome": outcome, "seen": seen})
        server.workers.mark(0, 1)

    server.workers.mark(0)
    for record in server.workers.run(work, request["seconds"] * 3 + 5)[0]:
        if "seen" in record:
            found["outcome"] = record["outcome"]
            found["values"] = [s for s in record["seen"] if s[0] >= 0]
            found["arguments"] = [s[1] for s in record["seen"] if s[0] == -1]
        elif "debug" in record:
            found["debug"] = record["debug"]
    server.channel.send(found)


def behave(server: Server, request: Record) -> None:
    """Record the unit's plain arguments during tests, mutate them, and tell how each candidate answers: one digest an edit list."""
    found: Record = {"kind": "behaviour", "digests": [], "inputs": 0}

    def work(send: Send) -> None:
        server.set_up(1 << 30)
        unit, file = request["unit"], swapping.source(request["unit"]["path"])
        recorded: list[list[Any]] = []

        def enter(arguments: list[Any]) -> None:
            if len(recorded) < behaving.MOST_RECORDED and behaving.plain(arguments):
                recorded.append(copy.deepcopy(arguments))

        live.TOOLS.enter = enter
        swap = swapping.Swap(file, unit, [], transform=swapping.record_arguments)
        for test_id in request["tests"]:
            server.run_test(test_id, 1 << 40, request["seconds"])
        swap.undo()
        function = file.live(unit)[0]
        near = behaving.inputs(recorded)
        send({"inputs": len(near)})
        for number, edits in enumerate(request["candidates"]):
            answers: list[str] = []
            try:
                swap = swapping.Swap(file, unit, edits)
            except (swapping.Unfit, SyntaxError, ValueError, RecursionError, MemoryError):
                continue
            for arguments in near:
                state.clear_caches()
                live.FUEL[0] = request["fuel"]
                signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
                try:
                    answers.append(behaving.answer(function, arguments))
                except BaseException as error:
                    answers.append("!" + type(error).__name__)
                finally:
                    live.stop_alarm()
            swap.undo()
            send({"number": number, "answers": [("!" if a.startswith("!") else "") + short_hash(a) for a in answers]})
        server.workers.mark(0, 1)

    server.workers.mark(0)
    for record in server.workers.run(work, request["seconds"] * 4 + 5)[0]:
        if "number" in record:
            found["digests"].append([record["number"], record["answers"]])
        else:
            found.update(record)
    server.channel.send(found)
