"""The embedded proposer: localized functions x buckets of typed edits x the warm tiers, fairly interleaved under a time budget."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from inference.choice import Plausible, rank
from inference.edits import Candidate, FunctionSource
from inference.explanation import explain
from inference.localization import Suspect
from inference.patch import unified_diff
from inference.proposer import Problem, Progress, Proposal, Report, Search
from inference.templates import Space, combine
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Judgement, Trial, Unit
from sandbox.source_text import decode

_BUCKET_WEIGHT = {1: 1.0, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.25}
_EXCEPTION_WEIGHT = 0.9
_MOST_PASSING_TESTS = 60
_BATCH = {"in_process": 96, "fork": 24}
_SEEDS = 12
_COLD_RUNS = 9
"""Runs of the tests that verification makes (V1, repeats, control, mutants), and one and a half for choosing."""
_MODULE_WEIGHT, _IMPORT_ERROR_WEIGHT = 0.08, 0.6
"""A module-level candidate costs an import, some fifty times a swap, so it gets that much less of the turns (errors of names excepted)."""


def unit_of(function: FunctionSource) -> Unit:
    return Unit(function.path, function.qualname, function.start, function.end)


def trial_unit(candidate: Candidate) -> Unit:
    """What has to be compiled anew: the function, or the whole module where an edit (an added import, say) lies outside of it."""
    function = candidate.function
    if all(function.start <= e.start and e.end <= function.end for e in candidate.edits):
        return unit_of(function)
    return Unit(function.path, "<module>", 0, len(function.text))


def edits_of(candidate: Candidate) -> tuple[tuple[int, int, str], ...]:
    return tuple((e.start, e.end, e.new) for e in candidate.edits)


@dataclass(order=True)
class _Stream:
    """Candidates of one bucket of one function; ``due`` is its virtual time (stride scheduling: smallest goes next)."""

    due: float
    number: int
    stride: float = field(compare=False)
    candidates: Iterator[Candidate] = field(compare=False)


class Schedule:
    """Draws candidates from every function and bucket in proportion to their weights, so that none starves another."""

    def __init__(self, suspects: Sequence[Suspect]) -> None:
        self._heap: list[_Stream] = []
        self._count = 0
        self.generated = 0
        best = max((s.score for s in suspects), default=1.0)
        self._weights: dict[Unit, float] = {}
        self._seen: dict[Unit, set[int]] = {}
        self._seeded: dict[Unit, int] = {}
        for place, suspect in enumerate(suspects):
            function = suspect.function
            share = 1.0
            if function.qualname == "<module>":
                share = _IMPORT_ERROR_WEIGHT if function.exception in ("NameError", "ImportError", "AttributeError") else _MODULE_WEIGHT
            self._weights[unit_of(function)] = share * (suspect.score / best) ** 2 / (1 + place) ** 0.6
            self._seen[unit_of(function)] = set()
            for bucket in (1, 2, 3, 5):
                weight = _BUCKET_WEIGHT[bucket]
                if bucket == 5 and function.hot is not None and function.exception not in ("AssertionError", "Failed"):
                    weight = _EXCEPTION_WEIGHT
                self._add(function, self._bucket(function, bucket), weight)
            self._add(function, self._pairs(function), 0.05)

    @property
    def exhausted(self) -> bool:
        return not self._heap

    def draw(self, count: int) -> list[Candidate]:
        found: list[Candidate] = []
        while self._heap and len(found) < count:
            stream = heapq.heappop(self._heap)
            candidate = next(stream.candidates, None)
            if candidate is None:
                continue
            found.append(candidate)
            stream.due += stream.stride
            heapq.heappush(self._heap, stream)
        self.generated += len(found)
        return found

    def seed(self, candidate: Candidate) -> None:
        """A candidate that gained something: try it together with a second edit."""
        function, unit = candidate.function, unit_of(candidate.function)
        if self._seeded.get(unit, 0) < _SEEDS:
            self._seeded[unit] = self._seeded.get(unit, 0) + 1
            self._add(function, combine([candidate], function), _BUCKET_WEIGHT[4])

    def _add(self, function: FunctionSource, candidates: Iterator[Candidate], weight: float) -> None:
        self._count += 1
        stride = 1.0 / (weight * self._weights[unit_of(function)])
        now = self._heap[0].due if self._heap and self.generated else 0.0
        heapq.heappush(self._heap, _Stream(now + stride, self._count, stride, candidates))

    def _bucket(self, function: FunctionSource, bucket: int) -> Iterator[Candidate]:
        yield from Space(function).candidates(bucket, self._seen[unit_of(function)])

    def _pairs(self, function: FunctionSource) -> Iterator[Candidate]:
        yield from combine([], function)


@dataclass
class _State:
    """What the workers of one search share, under ``lock``."""

    schedule: Schedule
    deadline: float
    started: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawing: threading.Lock = field(default_factory=threading.Lock)
    plausible: list[Plausible] = field(default_factory=list)
    first: float | None = None
    long: list[Candidate] = field(default_factory=list)
    again: list[Candidate] = field(default_factory=list)
    ended: bool = False
    errors: list[CandidateServerError] = field(default_factory=list)


class EmbeddedProposer:
    """Templates + warm tiers. Yields plausible patches best first, with explanations of what was observed."""

    origin = "templates"

    def __init__(self, reserve: float | None = None) -> None:
        """``reserve``: seconds of the budget kept for cold verification; by default what the suite's own time suggests."""
        self.reserve = reserve

    def propose(self, problem: Problem, search: Search, report: Report) -> Iterator[Proposal]:
        if not problem.suspects:
            search.notes.append("no function of the project was run by the failing tests")
            search.exhausted = True
            return
        started = time.monotonic()
        reserve = self.reserve
        if reserve is None:
            reserve = min(_COLD_RUNS * problem.reproduction.suite_seconds, 0.5 * problem.seconds)
        state = _State(Schedule(problem.suspects), started + max(problem.seconds - reserve, 1.0), started)
        others = [threading.Thread(target=_work, args=(problem, state, search, report, n), daemon=True) for n in range(1, problem.jobs)]
        for thread in others:
            thread.start()
        with _server(problem, state) as server:
            _work_with(server, problem, state, search, report)
            for thread in others:
                thread.join()
            search.generated += state.schedule.generated
            search.exhausted = state.schedule.exhausted
            search.first_plausible = state.first
            report(Progress("choose", f"{len(state.plausible)} plausible of {sum(search.judged.values())} candidates"))
            for found in rank(state.plausible, server):
                candidate = found.candidate
                patch = _patch(problem, candidate)
                if patch is not None:
                    text = explain(problem, server, candidate, found.alternatives)
                    yield Proposal(
                        patch, text, self.origin, found.score, found.behaviour, candidate.function.path, candidate.line,
                        candidate.function.qualname, candidate.template)  # fmt: skip


def _server(problem: Problem, state: _State) -> CandidateServer:
    reproduction = problem.reproduction
    wall = state.deadline - time.monotonic() + 120.0
    return CandidateServer(
        problem.bench, problem.workspace, reproduction.failing[:20], relevant_passing(problem), wall_seconds=wall)  # fmt: skip


def relevant_passing(problem: Problem) -> list[str]:
    """Passing tests worth running warm: those that cover suspects, most suspicious first, the failing tests' own files preferred."""
    reproduction = problem.reproduction
    files = {t.split("::")[0] for t in reproduction.failing}
    passing = set(reproduction.passing)
    score: dict[str, float] = {}
    for place, suspect in enumerate(problem.suspects[:10]):
        function = suspect.function
        tests = reproduction.coverage.lines.get(function.path, {})
        span = function.lines
        for test, lines in tests.items():
            if test in passing and lines & span:
                score[test] = (
                    score.get(test, 0.0) + len(lines & span) / (1 + len(span)) / (1 + place) + (0.5 if test.split("::")[0] in files else 0)
                )
    return sorted(score, key=lambda t: (-score[t], t))[:_MOST_PASSING_TESTS]


def _work(problem: Problem, state: _State, search: Search, report: Report, number: int) -> None:
    try:
        with _server(problem, state) as server:
            _work_with(server, problem, state, search, report)
    except CandidateServerError as error:
        with state.lock:
            search.notes.append(f"worker {number}: {error}")


def _work_with(server: CandidateServer, problem: Problem, state: _State, search: Search, report: Report) -> None:
    probe = server.start([unit_of(s.function) for s in problem.suspects[:10] if s.function.qualname != "<module>"])
    with state.lock:
        search.tier = probe.tier
        search.notes.append(f"tier {probe.tier}: {probe.reason}")
    last_report = 0.0
    with ThreadPoolExecutor(1) as ahead:  # the next batch is made while the sandbox judges this one
        coming = ahead.submit(_draw, state, _BATCH[_tier(server)])
        while True:
            batch = coming.result()
            if not batch or state.ended or time.monotonic() >= state.deadline:
                break
            coming = ahead.submit(_draw, state, _BATCH[_tier(server)])
            _judge_batch(server, batch, problem, state, search)
            now = time.monotonic()
            if now - last_report > 0.2:
                last_report = now
                judged = sum(search.judged.values())
                done = min((now - state.started) / max(state.deadline - state.started, 0.001), 1.0)
                report(Progress("search", f"{judged} candidates judged, {len(state.plausible)} plausible", done))
    _judge_long(server, state, search)


def _tier(server: CandidateServer) -> str:
    return "in_process" if server.probe is not None and server.probe.tier == "in_process" else "fork"


def _draw(state: _State, size: int) -> list[Candidate]:
    """The next batch: what could not be judged in time, then new candidates; empty when there is nothing left."""
    with state.drawing:
        batch, state.again = state.again[:size], state.again[size:]
        return batch + state.schedule.draw(size - len(batch))


def _judge_batch(server: CandidateServer, batch: Sequence[Candidate], problem: Problem, state: _State, search: Search) -> None:
    judgements = server.judge([Trial(n, trial_unit(c), edits_of(c)) for n, c in enumerate(batch)])
    with state.drawing, state.lock:
        _note(state, batch, judgements)
        _merge(search, server)
        if state.first is not None and time.monotonic() - state.started > _enough(state.first, problem.seconds):
            state.ended = True


def _judge_long(server: CandidateServer, state: _State, search: Search) -> None:
    """Candidates that ran out of fuel or time, again with a hundred times as much, while nothing better was found."""
    with state.lock:
        waiting, state.long = state.long, []
    at = 0
    while at < len(waiting) and time.monotonic() < state.deadline and not state.plausible:
        batch = waiting[at : at + 4]
        at += 4
        judgements = server.judge_long([Trial(n, trial_unit(c), edits_of(c)) for n, c in enumerate(batch)])
        with state.drawing, state.lock:
            _note(state, batch, judgements)
            _merge(search, server)


def _enough(first: float, budget: float) -> float:
    """When to stop collecting, in seconds since the start: twice as long again as the first find took, at most a third of the budget."""
    return first + min(max(3.0, 2 * first), 0.33 * budget)


def _note(state: _State, batch: Sequence[Candidate], judgements: Sequence[Judgement]) -> None:
    for judgement in judgements:
        candidate = batch[judgement.id]
        if judgement.status == "plausible":
            state.plausible.append(Plausible(candidate, trial_unit(candidate), edits_of(candidate)))
            if state.first is None:
                state.first = time.monotonic() - state.started
        elif judgement.status == "unjudged":
            state.again.append(candidate)
        elif judgement.status in ("fuel", "time") and len(state.long) < 400:
            state.long.append(candidate)
        elif judgement.gained and candidate.bucket < 4:
            state.schedule.seed(candidate)


def _merge(search: Search, server: CandidateServer) -> None:
    for tier, count in server.tally.judged.items():
        search.judged[tier] = search.judged.get(tier, 0) + count
        search.seconds[tier] = search.seconds.get(tier, 0.0) + server.tally.seconds[tier]
    server.tally.judged.clear()
    server.tally.seconds.clear()


def _patch(problem: Problem, candidate: Candidate) -> bytes | None:
    path = candidate.function.path
    before = problem.workspace.read(path)
    try:
        after = decode(before).encode(candidate.apply())
    except (SyntaxError, ValueError):
        return None
    return unified_diff({path: (before, after)})
