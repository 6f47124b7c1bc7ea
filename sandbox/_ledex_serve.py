"""Judge thousands of candidate edits a second: tests are collected once, then each candidate runs in a fork or in place.

Started by ``_ledex_run.py``, beside the ``_ledex_*.py`` files that it loads: ``run`` (options, selection), ``live`` (the collected tests),
``swap`` (candidates' code), ``fork`` (workers), ``behave``. OPTIONS as for ``run``, with mode "swap" (collect once; candidates replace the
code of live functions) or "import" (nothing imported beforehand; each candidate is imported anew in its fork), plus cpu_seconds of a cold
run's process. One JSON object a line each way on FD. Requests: probe, judge, observe, behave, quit. This process itself runs no test that
leaves anything behind: forked workers do, and a worker that hangs, crashes or soils its state is thrown away. Nothing said here is ever
shown: plausible candidates are judged again, cold. Standard library only, Python 3.8+, beside pytest itself.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the names below are for the type checker alone: Python 3.8 never evaluates them
    from collections.abc import Callable
    from typing import Any, Protocol, Union

    Record = dict[str, Any]
    Send = Callable[[Record], None]
    Outcome = Union[bool, str]

    class Items(Protocol):
        """The collected tests: PytestItems or UnittestItems of ``_ledex_live.py``."""

        items: dict[str, Any]
        direct: dict[str, Callable[[], object] | None]
        heard: list[str] | None

        def run(self, test_id: str) -> bool:
            """True when the test passes."""

        def pause(self) -> None:
            """Stop capturing output."""


MOST_IN_PLACE = 96
run: Any = sys.modules["__main__"]  # _ledex_run.py, by which every mode is started
forking = run.load_sibling("_ledex_fork")
live = run.load_sibling("_ledex_live")
swapping = run.load_sibling("_ledex_swap")
swapping.TOOLS[:] = [live.TOOLS]
Unfit, Swap, source = swapping.Unfit, swapping.Swap, swapping.source


def short_hash(text: str) -> str:
    """A digest that is short enough to send and long enough to tell behaviours apart."""
    import hashlib  # in the worker that compares behaviours alone: it is slow to load, and cold runs do without

    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()


class Server:
    """The collected tests, and the requests that are answered with them."""

    def __init__(self, options: Record, channel: Any, root: str) -> None:
        self.options, self.channel, self.root = options, channel, root
        self.items: Items | None = None
        self.killers: list[str] = []
        self.chunk = MOST_IN_PLACE
        self.texts: dict[str, list[str] | None] = {}
        self.space = 0
        self.imported: tuple[float, float, float] | None = None
        self.workers = forking.Workers(channel.descriptor)

    def collect_then(self, serve: Callable[[], None]) -> None:
        """Import and collect the tests, then call ``serve`` from within the framework's own session."""

        def ready(items: Items) -> None:
            self.items = items
            serve()

        live.collect(run, self.options, ready)

    def set_up(self, memory: int) -> None:
        """Give this worker its alarm and its limits: ``memory`` bytes beyond what it was forked with."""
        signal.signal(signal.SIGALRM, live.alarm)
        live.cap_memory(self.space + memory)
        live.cap_processor(self.options["cpu_seconds"])

    def collected(self) -> Items:
        """The collected tests."""
        assert self.items is not None, "requests come after the collection"
        return self.items

    def run_test(self, test_id: str, fuel: int, seconds: float) -> Outcome:
        """True, False, "fuel" or "time"."""
        live.FUEL[0] = fuel
        live.drop_output()
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            return self.collected().run(test_id)
        except live.OutOfFuel:
            return "fuel"
        except live.TimeUp:
            return "time"
        finally:
            live.stop_alarm()

    def failing_text(self, test_id: str, fuel: int, seconds: float) -> list[str] | None:
        """What a failing test raised; None where it passes."""
        heard: list[str] = []
        self.collected().heard = heard
        try:
            return None if self.run_test(test_id, fuel, seconds) is True else heard
        finally:
            self.collected().heard = None

    # requests

    def probe(self, request: Record) -> None:
        """Run every test twice on the unchanged code, in one worker: outcomes, times, fuel burnt, and whether anything was left behind."""
        answer: Record = {"kind": "probe", "tests": {}, "state_changed": True, "live": []}

        def work(send: Send) -> None:
            self.set_up(1 << 30)
            units = []
            for unit in request["units"]:
                file = source(unit["path"])
                try:
                    Swap(file, unit, [])
                    units.append(len(file.live(unit)))
                except (Unfit, SyntaxError, OSError, UnicodeDecodeError):
                    units.append(0)
            send({"live": units})
            before = None
            for turn in range(2):
                live.clear_caches()
                if turn == 1:
                    before = live.snapshot(self.root)
                for test_id in request["tests"]:
                    if test_id not in self.collected().items:
                        continue
                    started = time.perf_counter()
                    outcome = self.run_test(test_id, 1 << 40, request["seconds"])
                    send({"test": test_id, "outcome": outcome, "seconds": time.perf_counter() - started, "fuel": (1 << 40) - live.FUEL[0],
                          "turn": turn, "direct": bool(self.collected().direct.get(test_id))})
            live.clear_caches()
            send({"state_changed": live.snapshot(self.root) != before})
            send({"imported": [n for n in live.project_modules(self.root) if n not in known]})
            self.workers.mark(0, 1)

        self.workers.mark(0)
        known = set(live.project_modules(self.root))
        records, ended = self.workers.run(work, request["seconds"] * 3 + 5)
        late = [n for r in records for n in r.get("imported", [])]
        if late:  # modules that only the tests import: have them here, where every worker inherits their functions
            for name in late:
                try:
                    importlib.import_module(name)
                except BaseException:
                    continue
            live.find_caches(self.root)
            swapping.SOURCES.clear()
            known = set(live.project_modules(self.root))
            records, ended = self.workers.run(work, request["seconds"] * 3 + 5)
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
            self.warm_up(request)
        self.channel.send(answer)

    def warm_up(self, request: Record) -> None:
        """Run the tests once here, now that a probe saw them leave nothing behind: every worker is forked with their lazy work done."""
        signal.signal(signal.SIGALRM, live.alarm)
        for test_id in request["tests"]:
            if test_id in self.collected().items and self.run_test(test_id, 1 << 40, request["seconds"]) is False:
                once, twice = (self.failing_text(test_id, 1 << 40, request["seconds"]) for _ in range(2))
                if once == twice:
                    self.texts[test_id] = once
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self.collected().pause()
        gc.collect()

    def judge(self, request: Record) -> None:
        """Judge a batch; one answer a candidate: [id, status, failing tests that pass, killer].

        status: plausible, fails, breaks, syntax, unfit, fuel, time, crash, unjudged (the batch's time was over).
        In place, a worker judges a chunk and then looks whether the unchanged code still acts as before; if not, the chunk is judged
        again in smaller chunks, down to a worker for each candidate.
        """
        failing, passing, batch = request["failing"], list(request["passing"]), request["candidates"]
        passing.sort(key=lambda t: -self.killers.index(t) if t in self.killers else len(self.killers))
        at, in_place = 0, request["in_place"]
        if self.options["mode"] == "swap":  # looked up here once, so that no forked worker has to
            for unit in {(c["unit"]["path"], c["unit"]["start"]): c["unit"] for c in batch}.values():
                try:
                    source(unit["path"]).live(unit)
                    source(unit["path"]).shape(unit)
                except (Unfit, SyntaxError, ValueError, OSError):
                    pass
        importing = 0.0
        if self.options["mode"] == "import":
            if self.imported is None:
                self.imported = self.time_import(failing + passing)
            collected, slowest, whole = self.imported
            importing = 0.75 + 4 * collected  # an import has no alarm of its own
            request = {**request, "seconds": request["seconds"] + 4 * slowest, "all_seconds": request["all_seconds"] + whole}
        patience = request["seconds"] * 2 + 0.5 + 4 * request["all_seconds"]
        over = time.monotonic() + request["batch_seconds"]
        while at < len(batch):
            if time.monotonic() > over:
                self.channel.send({"kind": "answers", "answers": [[c["id"], "unjudged", 0, None] for c in batch[at:]]})
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

            self.workers.mark(-1)
            work = functools.partial(self.work, piece=piece, failing=failing, passing=passing, request=request, over=over)
            records, ended = self.workers.run(work, patience, note, importing or patience)
            if ended != "ended" or not self.workers.finished():  # os._exit(0) in a candidate looks like an end
                number = self.workers.reached()
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
            self.channel.send({"kind": "answers", "answers": answered})
        self.channel.send({"kind": "judged"})

    def work(self, send: Send, piece: list[Record], failing: list[str], passing: list[str], request: Record, over: float) -> None:
        """What a worker does: judge the candidates of a piece, one after the other."""
        self.set_up(request["memory"])
        if self.options["mode"] == "import":
            self.work_imported(send, piece[0], failing, passing, request)
            return
        for number, candidate in enumerate(piece):
            self.workers.mark(number)
            if time.monotonic() > over:
                for left in piece[number:]:
                    send({"answer": [left["id"], "unjudged", 0, None]})
                break
            file = source(candidate["unit"]["path"])
            try:
                swap = Swap(file, candidate["unit"], candidate["edits"])
            except Unfit:
                send({"answer": [candidate["id"], "unfit", 0, None]})
                continue
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                send({"answer": [candidate["id"], "syntax", 0, None]})
                continue
            live.clear_caches()
            answer = self.try_tests(failing, passing, request)
            swap.undo()
            send({"answer": [candidate["id"], *answer]})
        if len(piece) > 1 and request["in_place"]:
            live.clear_caches()
            text = self.failing_text(failing[0], request["fuel"], request["seconds"])
            good = text is not None and text == self.texts.get(failing[0], text)
            for test_id in passing[:5]:
                good = good and self.run_test(test_id, request["fuel"], request["seconds"]) is True
            if not good:
                send({"soiled": True})
        self.workers.mark(len(piece), 1)

    def try_tests(self, failing: list[str], passing: list[str], request: Record) -> list[Any]:
        """[status, failing tests that pass, killer] of the code as it stands: failing tests first, and none needlessly."""
        gained, status, killer = 0, "", None
        for number, test_id in enumerate(failing):
            outcome = self.run_test(test_id, request["fuel"], request["seconds"])
            if outcome is True:
                gained += 1
            else:
                killer = killer or test_id
                status = status or (outcome if outcome in ("fuel", "time") else "fails")
                if status != "fails" or number >= request["patience"]:
                    break
        if not status:
            for test_id in passing:
                outcome = self.run_test(test_id, request["fuel"], request["seconds"])
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
                    if test_id in self.collected().items:
                        began = time.monotonic()
                        self.run_test(test_id, 1 << 40, 10.0)
                        send({"test": time.monotonic() - began})
                self.workers.mark(0, 1)
                send({"end": True})
                os._exit(0)

            self.set_up(1 << 30)
            self.collect_then(serve)

        self.workers.mark(0)
        collected = 1.5  # where it cannot be told
        for record in self.workers.run(work, 30.0)[0]:
            collected = record.get("collected", collected)
            took += [record["test"]] if "test" in record else []
        return collected, max(took, default=0.0), sum(took)

    def work_imported(self, send: Send, candidate: Record, failing: list[str], passing: list[str], request: Record) -> None:
        """What a worker does that imports its candidate: the tests are collected on the edited file."""
        file = source(candidate["unit"]["path"])
        text = file.edited(candidate["edits"])
        self.workers.mark(0)
        try:
            compile(text, file.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            send({"answer": [candidate["id"], "syntax", 0, None]})
            self.workers.mark(1, 1)
            return
        swapping.import_edited(file.path, text)
        answer: list[Any] = ["crash", 0, None]

        def serve() -> None:
            send({"imported": True})
            missing = [t for t in failing + passing if t not in self.collected().items]
            answer[:] = ["breaks", 0, missing[0]] if missing else self.try_tests(failing, passing, request)
            send({"answer": [candidate["id"], *answer]})
            self.workers.mark(1, 1)
            send({"end": True})
            os._exit(0)

        self.collect_then(serve)
        send({"answer": [candidate["id"], "breaks", 0, None]})
        self.workers.mark(1, 1)

    def observe(self, request: Record) -> None:
        """Run one test with expressions of a unit recorded: values seen at ``spans`` of the edited text, and the unit's arguments."""
        found: Record = {"kind": "observed", "values": [], "arguments": [], "outcome": None}

        def work(send: Send) -> None:
            self.set_up(1 << 30)
            unit, file = request["unit"], source(request["unit"]["path"])
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
            Swap(file, unit, edits, transform=lambda node: swapping.record_values(node, request["wanted"]))
            live.clear_caches()
            outcome = self.run_test(request["test"], 1 << 40, request["seconds"])
            send({"outcome": outcome, "seen": seen})
            self.workers.mark(0, 1)

        self.workers.mark(0)
        for record in self.workers.run(work, request["seconds"] * 3 + 5)[0]:
            if "seen" in record:
                found["outcome"] = record["outcome"]
                found["values"] = [s for s in record["seen"] if s[0] >= 0]
                found["arguments"] = [s[1] for s in record["seen"] if s[0] == -1]
            elif "debug" in record:
                found["debug"] = record["debug"]
        self.channel.send(found)

    def behave(self, request: Record) -> None:
        """Record the unit's plain arguments during tests, mutate them, and tell how each candidate answers: one digest an edit list."""
        found: Record = {"kind": "behaviour", "digests": [], "inputs": 0}
        behave = run.load_sibling("_ledex_behave")

        def work(send: Send) -> None:
            self.set_up(1 << 30)
            unit, file = request["unit"], source(request["unit"]["path"])
            recorded: list[list[Any]] = []

            def enter(arguments: list[Any]) -> None:
                if len(recorded) < behave.MOST_RECORDED and behave.plain(arguments):
                    recorded.append(behave.copy.deepcopy(arguments))

            live.TOOLS.enter = enter
            swap = Swap(file, unit, [], transform=swapping.record_arguments)
            for test_id in request["tests"]:
                self.run_test(test_id, 1 << 40, request["seconds"])
            swap.undo()
            function = file.live(unit)[0]
            near = behave.inputs(recorded)
            send({"inputs": len(near)})
            for number, edits in enumerate(request["candidates"]):
                answers: list[str] = []
                try:
                    swap = Swap(file, unit, edits)
                except (Unfit, SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
                for arguments in near:
                    live.clear_caches()
                    live.FUEL[0] = request["fuel"]
                    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
                    try:
                        answers.append(behave.answer(function, arguments))
                    except BaseException as error:
                        answers.append("!" + type(error).__name__)
                    finally:
                        live.stop_alarm()
                swap.undo()
                send({"number": number, "answers": [short_hash(a) for a in answers]})
            self.workers.mark(0, 1)

        self.workers.mark(0)
        for record in self.workers.run(work, request["seconds"] * 4 + 5)[0]:
            if "number" in record:
                found["digests"].append([record["number"], record["answers"]])
            else:
                found.update(record)
        self.channel.send(found)

    def loop(self) -> None:
        """Answer requests until the other side is gone."""
        live.find_caches(self.root)
        self.workers.find_outputs()
        known = sorted(self.items.items) if self.items is not None else []
        self.channel.send({"kind": "ready", "tests": known, "python": list(sys.version_info[:3])})
        while True:
            request = self.channel.receive()
            if request is None or request["op"] == "quit":
                os._exit(0)
            self.space = live.address_space()
            {"probe": self.probe, "judge": self.judge, "observe": self.observe, "behave": self.behave}[request["op"]](request)


def main(options: Record, number: int) -> None:
    """Serve the tests that the options describe, on this descriptor."""
    channel = forking.Channel(number)
    run.prepare_path(options)
    sys.argv = ["pytest" if options["framework"] == "pytest" else "python -m unittest", *options["arguments"]]
    root = os.path.realpath(os.getcwd())
    server = Server(options, channel, root)
    if options["mode"] == "import":
        if options["framework"] == "pytest":
            import _pytest.runner  # noqa: F401
            import pytest  # noqa: F401
        server.loop()
    else:
        server.collect_then(server.loop)
        channel.send({"kind": "failed", "message": "the tests could not be collected"})
