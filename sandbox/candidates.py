"""CandidateServer: judges many candidate edits a second on warm tiers, inside the isolation, and says which tier it trusts.

Tiers (reference: repair without a model, "Tiers"): *in process* swaps the edited function's code into the collected test session and
runs hundreds of candidates in one disposable worker; *fork* gives every candidate a worker of its own; *import* forks before the
project is imported, for edits that only an import can change. The cold tier is ``verification.verify``; only its word is posted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sandbox import CandidateServerError
from sandbox.testing import Bench
from sandbox.warm_process import WarmProcess
from sandbox.workspace import Workspace

Tier = Literal["in_process", "fork", "import"]
Status = Literal["plausible", "fails", "breaks", "syntax", "unfit", "fuel", "time", "crash", "unjudged"]
_LONG_FUEL = 100
_BATCH_SECONDS = 3.0
"""A batch that takes longer is cut short, so that the caller keeps control of its budget."""
_MOST_RESTARTS = 5
_IN_PROCESS_SECONDS = 0.05


@dataclass(frozen=True)
class Unit:
    """The function (or module body) that an edit changes: character span of the decoded file, and its dotted name."""

    path: str
    qualname: str
    start: int
    end: int

    def record(self) -> dict[str, object]:
        return {"path": self.path, "qualname": self.qualname, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class Trial:
    """One candidate to judge; edits are (start, end, replacement), sorted, in characters of the whole file."""

    id: int
    unit: Unit
    edits: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Judgement:
    """What the warm tiers saw. ``gained``: failing tests that pass now; ``killer``: the test that refused the candidate."""

    id: int
    status: Status
    gained: int
    killer: str | None
    tier: Tier


@dataclass(frozen=True)
class Probe:
    """What two runs of the unchanged code showed. ``failing``/``passing``: tests whose warm outcome is the cold one, twice."""

    tier: Tier
    reason: str
    failing: tuple[str, ...]
    passing: tuple[str, ...]
    seconds: Mapping[str, float]
    fuel: int
    live: tuple[int, ...]


@dataclass
class Tally:
    """Candidates judged and seconds spent by tier."""

    judged: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, tier: str, count: int, seconds: float) -> None:
        self.judged[tier] = self.judged.get(tier, 0) + count
        self.seconds[tier] = self.seconds.get(tier, 0.0) + seconds


class CandidateServer:
    """Warm judge of one workspace and test set. Use as a context manager, from one thread that outlives it.

    ``failing`` tests must pass and ``passing`` tests must keep passing. Raises CandidateServerError where the test set cannot be served
    warm at all (the failing tests do not fail there).
    """

    def __init__(
        self,
        bench: Bench,
        workspace: Workspace,
        failing: Sequence[str],
        passing: Sequence[str],
        *,
        wall_seconds: float,
        only_fork: bool = False,
    ) -> None:
        if bench.plan.framework not in ("pytest", "unittest"):
            raise CandidateServerError("the warm tiers serve pytest and unittest only")
        self._bench, self._workspace, self._wall = bench, workspace, wall_seconds
        self._only_fork = only_fork
        self._wanted = (*failing, *passing)
        self._failing, self._passing = tuple(failing), tuple(passing)
        self._swap: WarmProcess | None = WarmProcess(bench, workspace, "swap", self._wanted, wall_seconds)
        self._import: WarmProcess | None = None
        self.tally = Tally()
        self._doubtful = 0
        self._batches = 0
        self._restarts = 0
        self.probe: Probe | None = None

    def __enter__(self) -> CandidateServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for link in (self._swap, self._import):
            if link is not None:
                with contextlib.suppress(Exception):
                    link.close()
        self._swap = self._import = None

    def start(self, units: Sequence[Unit], test_seconds: float = 10.0) -> Probe:
        """Run the tests twice on the unchanged code and decide the tier."""
        link = self._swap_link()
        link.send({"op": "probe", "units": [u.record() for u in units], "tests": list(self._wanted), "seconds": test_seconds})
        answer = link.receive(2 * test_seconds * max(len(self._wanted), 1) + 30)
        turns: dict[str, list[list[Any]]] = answer.get("tests", {})
        twice = {t: r for t, r in turns.items() if len(r) == 2}
        failing = tuple(t for t in self._failing if t in twice and all(r[0] is not True for r in twice[t]))
        passing = tuple(t for t in self._passing if t in twice and all(r[0] is True for r in twice[t]))
        if not failing:
            raise CandidateServerError("the failing tests do not fail the same way on the warm tiers")
        seconds = {t: min(r[0][1], r[1][1]) for t, r in twice.items()}
        fuel = max((r[2] for rs in twice.values() for r in rs if r[0] in (True, False)), default=0)
        steady = all(rs[0][0] == rs[1][0] for rs in twice.values()) and len(twice) == len(turns) and answer.get("ended") == "ended"
        tier: Tier = "in_process"
        reason = "two runs agree and leave nothing behind"
        if self._only_fork:
            tier, reason = "fork", "asked for"
        elif answer.get("state_changed", True):
            tier, reason = "fork", "a run changes module state, the environment or the tree"
        elif not steady:
            tier, reason = "fork", "two runs differ"
        elif seconds[failing[0]] > _IN_PROCESS_SECONDS:
            tier, reason = "fork", "a test takes longer than a fork"
        self.probe = Probe(tier, reason, failing, passing, seconds, fuel, tuple(int(n) for n in answer.get("live", [])))
        return self.probe

    def judge(self, trials: Sequence[Trial]) -> list[Judgement]:
        """Judge a batch; plausible ones were seen to pass in a fork of their own.

        What could not be judged in time is "unjudged": ask again. A sandbox that a candidate brought down is replaced, and the whole batch
        comes back "crash".
        """
        try:
            return self._judge(trials)
        except CandidateServerError:
            self._restarts += 1
            if self._restarts > _MOST_RESTARTS:
                raise
            self.close()
            self._swap_link()
            return [Judgement(t.id, "crash", 0, None, "fork") for t in trials]

    def _judge(self, trials: Sequence[Trial]) -> list[Judgement]:
        probe = self._probed()
        done: dict[int, Judgement] = {}
        by_id = {t.id: t for t in trials}
        pending = list(trials)
        if probe.tier == "in_process":
            self._batches += 1
            again = []
            for judgement in self._ask(self._swap_link(), pending, True, 1, "in_process"):
                if judgement.status == "plausible":
                    again.append(by_id[judgement.id])
                else:
                    done[judgement.id] = judgement
            if len(again) > len(trials) // 2 and len(trials) > 8:  # hardly any edit is right: what makes most pass is damage
                self._doubtful += 1
                if self._doubtful >= 3 and self._doubtful * 3 > self._batches:
                    self.probe = replace(probe, tier="fork", reason="candidates kept damaging shared state")
            pending = again
        for judgement in self._ask(self._swap_link(), pending, False, 1, "fork") if pending else ():
            done[judgement.id] = judgement
        unfit = [by_id[i] for i, j in done.items() if j.status == "unfit"]
        if unfit:
            for judgement in self._ask(self._import_link(), unfit, False, 1, "import"):
                done[judgement.id] = judgement
        return [done[t.id] for t in trials if t.id in done]

    def judge_long(self, trials: Sequence[Trial]) -> list[Judgement]:
        """Judge candidates that ran out of fuel or time again, with a hundred times as much of both, one fork each."""
        return list(self._ask(self._swap_link(), list(trials), False, _LONG_FUEL, "fork"))

    def observe(
        self, unit: Unit, edits: Sequence[tuple[int, int, str]], wanted: Sequence[tuple[int, int, int, int]], test: str
    ) -> dict[str, Any]:
        """Values that expressions of the (edited) unit had during a test, and the unit's arguments; texts, capped.

        ``wanted`` are (line, column, end line, end column) of expressions, columns in UTF-8 bytes as in ``ast``.
        """
        link = self._swap_link()
        link.send({"op": "observe", "unit": unit.record(), "edits": [list(e) for e in edits], "wanted": [list(w) for w in wanted],
                   "test": test, "seconds": 5.0})  # fmt: skip
        return link.receive(40.0)

    def behave(self, unit: Unit, candidates: Sequence[Sequence[tuple[int, int, str]]]) -> list[tuple[str, ...] | None]:
        """How each edit list answers on inputs near those of the tests, as digests (one an input); None where it could not be called.

        Lists are comparable position by position; an empty answer means that the unit takes more than plain data.
        """
        probe = self._probed()
        link = self._swap_link()
        link.send({"op": "behave", "unit": unit.record(), "candidates": [[list(e) for e in edits] for edits in candidates],
                   "tests": [*probe.failing, *probe.passing][:12], "fuel": probe.fuel * 20 + 20_000, "seconds": 3.0})  # fmt: skip
        answer = link.receive(60.0 + 20.0 * len(candidates))
        found: list[tuple[str, ...] | None] = [None] * len(candidates)
        for number, digests in answer.get("digests", []):
            found[int(number)] = tuple(map(str, digests))
        return found

    def _probed(self) -> Probe:
        if self.probe is None:
            raise CandidateServerError("start() comes before judge()")
        return self.probe

    def _swap_link(self) -> WarmProcess:
        if self._swap is None or self._swap.session.poll() is not None:
            self._swap = WarmProcess(self._bench, self._workspace, "swap", self._wanted, self._wall)
        return self._swap

    def _import_link(self) -> WarmProcess:
        if self._import is None or self._import.session.poll() is not None:
            self._import = WarmProcess(self._bench, self._workspace, "import", self._wanted, self._wall)
        return self._import

    def _ask(self, link: WarmProcess, trials: Sequence[Trial], in_place: bool, factor: int, tier: Tier) -> Iterator[Judgement]:
        probe = self._probed()
        slowest = max((probe.seconds.get(t, 0.0) for t in (*probe.failing, *probe.passing)), default=0.0)
        seconds = (0.15 + 4 * slowest) * min(factor, 20)
        whole = sum(probe.seconds.get(t, 0.0) for t in (*probe.failing, *probe.passing))
        quick = all(probe.seconds.get(t, 1.0) < 0.005 for t in probe.failing)
        started = time.monotonic()
        link.send({
            "op": "judge", "in_place": in_place, "failing": list(probe.failing), "passing": list(probe.passing),
            "fuel": (probe.fuel * 20 + 20_000) * factor, "seconds": seconds, "all_seconds": whole, "patience": 4 if quick else 0,
            "batch_seconds": _BATCH_SECONDS, "memory": 1 << 30,
            "candidates": [{"id": t.id, "unit": t.unit.record(), "edits": [list(e) for e in t.edits]} for t in trials]})  # fmt: skip
        answered = 0
        most = _BATCH_SECONDS + seconds * (len(probe.failing) + len(probe.passing) + 4) + 4 * whole + (60 if tier == "import" else 30)
        while True:
            message = link.receive(most)
            if message.get("kind") == "judged":
                break
            for number, status, gained, killer in message.get("answers", []):
                answered += status != "unjudged"
                yield Judgement(int(number), status, int(gained), killer, tier)
        self.tally.add(tier, answered, time.monotonic() - started)
