"""The embedded proposer: localized functions x buckets of typed edits x the warm tiers, fairly interleaved under a time budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from inference.choice import Plausible, rank
from inference.edits import Candidate
from inference.explanation import explain
from inference.patch import unified_diff
from inference.proposer import Problem, Progress, Proposal, Report, Search
from inference.schedule import Schedule, edits_of, trial_unit, unit_of
from sandbox import CandidateServerError
from sandbox.candidates import CandidateServer, Judgement, Trial
from sandbox.source_text import decode

_MOST_PASSING_TESTS = 60
_BATCH = {"in_process": 96, "fork": 24}
_IN_PROCESS_FACTOR = 6.0
_TYPED = (1, 2, 3, 5)
_MOST_TOLD = 12
_MOST_NEAR, _SHORT = 4, 120
_COLD_RUNS = 9
"""Runs of the tests that verification makes (V1, repeats, control, mutants), and one and a half for choosing."""

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
    typed: float | None = None
    """When the first plausible single edit was found."""
    long: list[Candidate] = field(default_factory=list)
    again: list[Candidate] = field(default_factory=list)
    near: list[tuple[int, Candidate]] = field(default_factory=list)
    """Single edits that made some failing tests pass, with how many."""
    ended: bool = False
    slowed: bool = False
    errors: list[CandidateServerError] = field(default_factory=list)


class EmbeddedProposer:
    """Templates + warm tiers. Yields plausible patches best first, with explanations of what was observed."""

    origin = "templates"

    def __init__(self, reserve: float | None = None) -> None:
        """``reserve``: seconds of the budget kept for cold verification; by default what the suite's own time suggests."""
        self.reserve = reserve

    def propose(self, problem: Problem, search: Search, report: Report) -> Iterator[Proposal]:
        if not problem.suspects:
            python = problem.bench.plan.framework in ("pytest", "unittest")
            search.notes.append("no function of the project was run by the failing tests" if python else "the templates know Python only")
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
            search.near_misses += _near_misses(state.near, len(problem.reproduction.failing))
            report(Progress("choose", f"{len(state.plausible)} plausible of {sum(search.judged.values())} candidates"))
            ranked = [(found, p) for found in rank(state.plausible, server) if (p := self._proposal(problem, found)) is not None]
            search.ranked.append(tuple(p for _, p in ranked if "margin" in p.signals)[:_MOST_TOLD])
            for found, proposal in ranked:
                yield replace(proposal, explanation=explain(problem, server, found.candidate, found.alternatives))

    def _proposal(self, problem: Problem, found: Plausible) -> Proposal | None:
        """The patch of a plausible candidate, unexplained; None where it cannot be written."""
        candidate = found.candidate
        patch = _patch(problem, candidate)
        if patch is None:
            return None
        return Proposal(
            patch, "", self.origin, found.score, found.behaviour, candidate.function.path, candidate.line, candidate.function.qualname,
            candidate.template, alternatives=found.alternatives, signals=found.signals)  # fmt: skip


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
    with state.drawing, state.lock:
        if probe.tier == "in_process" and not state.slowed:
            state.slowed = True
            state.schedule.slow_modules(_IN_PROCESS_FACTOR)
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
        if _is_over(state, time.monotonic() - state.started, problem.seconds):
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


def _is_over(state: _State, elapsed: float, budget: float) -> bool:
    """Whether enough was collected. Pairs and composed expressions that pass are no reason to stop while typed edits are left to try: they
    pass by luck more often."""
    if state.typed is not None:
        return elapsed > _enough(state.typed, budget)
    return state.first is not None and state.schedule.exhausted and elapsed > _enough(state.first, budget)


def _enough(first: float, budget: float) -> float:
    """When to stop collecting, in seconds since the start: twice as long again as the first find took, at most a third of the budget."""
    return first + min(max(3.0, 2 * first), 0.33 * budget)


def _note(state: _State, batch: Sequence[Candidate], judgements: Sequence[Judgement]) -> None:
    for judgement in judgements:
        candidate = batch[judgement.id]
        if judgement.status == "plausible":
            state.plausible.append(Plausible(candidate, trial_unit(candidate), edits_of(candidate)))
            now = time.monotonic() - state.started
            state.first = now if state.first is None else state.first
            if state.typed is None and candidate.bucket in _TYPED:
                state.typed = now
        elif judgement.status == "unjudged":
            state.again.append(candidate)
        elif judgement.status in ("fuel", "time") and len(state.long) < 400:
            state.long.append(candidate)
        elif judgement.gained and candidate.bucket < 4:
            state.near.append((judgement.gained, candidate))
            state.schedule.seed(candidate)


def _near_misses(near: Sequence[tuple[int, Candidate]], failing: int) -> list[str]:
    """Of the edits that made some of ``failing`` tests pass, those that helped most, as lines for whoever goes on from here."""
    found: dict[str, None] = {}
    for gained, candidate in sorted(near, key=lambda n: -n[0]):
        text, edit = candidate.function.text, candidate.edits[0]
        old, new = (" ".join(part.split())[:_SHORT] for part in (text[edit.start : edit.end], edit.new))
        place = f"{candidate.function.path}:{candidate.line}"
        found.setdefault(f"{place}: -{old} +{new} (makes {gained} of {failing} failing tests pass)")
        if len(found) == _MOST_NEAR:
            break
    return list(found)


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
