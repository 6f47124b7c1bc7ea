"""Whole-file changes, as a model writes them, on the warm tiers: which pass there, how many tests each gained, which act alike."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.angelic import angelic_sites
from inference.choice import Plausible, rank
from inference.edits import Candidate, Edit, FunctionSource
from inference.observation import observed_values
from inference.proposer import Problem, Proposal, Search
from inference.schedule import edits_of, trial_unit, unit_of
from inference.search import relevant_passing
from inference.templates import functions
from sandbox import CandidateServerError, WorkspaceError
from sandbox.candidates import CandidateServer, Status, Trial
from sandbox.source_text import decode
from sandbox.workspace import Workspace

Changes = Mapping[str, bytes]
"""Path -> the file's new content."""
_BUCKET = 0


@dataclass(frozen=True)
class Seen:
    """What the warm tiers say of one change; ``status`` is None where they could not judge it, and a cold run has to."""

    status: Status | None
    gained: int = 0

    @property
    def hopeful(self) -> bool:
        return self.status in (None, "plausible", "unjudged")


class WarmJudge:
    """Judges changes of one Python file each; others it leaves to cold runs. Use from one thread."""

    def __init__(self, problem: Problem, server: CandidateServer | None) -> None:
        self._problem, self._server = problem, server

    def observed(self) -> tuple[str, ...]:
        """What the suspects were seen to do in the failing tests; empty without warm tiers."""
        if self._server is None:
            return ()
        try:
            return observed_values(self._problem, self._server)
        except CandidateServerError:
            self._server = None
            return ()

    def angelic(self) -> tuple[str, ...]:
        """Where one other value would make failing tests pass; empty without warm tiers."""
        if self._server is None:
            return ()
        try:
            return angelic_sites(self._problem, self._server)
        except CandidateServerError:
            self._server = None
            return ()

    def judge(self, changes: Sequence[Changes]) -> list[Seen]:
        """One answer for each change, in their order."""
        found = [Seen(None)] * len(changes)
        candidates = {n: c for n, c in ((n, self._candidate(change)) for n, change in enumerate(changes)) if c is not None}
        if self._server is None or not candidates:
            return found
        try:
            for judgement in self._server.judge([Trial(n, trial_unit(c), edits_of(c)) for n, c in candidates.items()]):
                found[judgement.id] = Seen(judgement.status, judgement.gained)
        except CandidateServerError:  # the warm tiers gave up: cold runs judge the rest
            self._server = None
        return found

    def order(self, changes: Sequence[Changes], costs: Sequence[float]) -> list[tuple[int, str | None]]:
        """Indexes, best first, each with the name of its behaviour cluster: what acts alike is added up, then the smallest change.

        ``costs`` are negative log-likelihoods of a kind: smaller is likelier.
        """
        candidates = [self._candidate(change, cost) for change, cost in zip(changes, costs, strict=True)]
        whole = [c for c in candidates if c is not None]
        if self._server is None or len(whole) < len(candidates):
            ordered = sorted(range(len(changes)), key=lambda n: (costs[n] + 0.01 * self._size(changes[n]), n))
            return [(n, None) for n in ordered]
        number = {id(c): n for n, c in enumerate(whole)}
        ranked = rank([Plausible(c, trial_unit(c), edits_of(c)) for c in whole], self._server)
        return [(number[id(p.candidate)], p.behaviour) for p in ranked]

    def alike(self, change: Changes, rivals: Sequence[Proposal]) -> tuple[bytes, ...]:
        """Patches of ``rivals`` that answer like ``change`` on one set of inputs near those of the tests. What changes another function, or
        one that takes more than plain data, cannot be compared and counts as different."""
        mine = self._candidate(change)
        if self._server is None or mine is None or not rivals:
            return ()
        with tempfile.TemporaryDirectory() as folder:
            theirs = [(p.patch, self._candidate(changes_of(self._problem.workspace, p.patch, Path(folder)))) for p in rivals]
        unit = trial_unit(mine)
        same = [(patch, c) for patch, c in theirs if c is not None and trial_unit(c) == unit]
        if unit.qualname == "<module>" or not same:
            return ()
        try:
            own, *others = self._server.behave(unit, [edits_of(mine), *(edits_of(c) for _, c in same)])
        except CandidateServerError:
            self._server = None
            return ()
        return tuple(patch for (patch, _), digests in zip(same, others, strict=True) if own and digests == own)

    def _size(self, change: Changes) -> int:
        return sum(abs(len(new) - len(self._problem.workspace.read(path))) for path, new in change.items() if self._exists(path))

    def _exists(self, path: str) -> bool:
        return self._problem.workspace.exists(path)

    def _candidate(self, change: Changes, cost: float = 0.0) -> Candidate | None:
        """The change as one edit of one unit of an existing Python file: what differs between the common start and the common end."""
        if len(change) != 1:
            return None
        ((path, after),) = change.items()
        if not path.endswith(".py") or not self._exists(path):
            return None
        try:
            old, new = decode(self._problem.workspace.read(path)).text, decode(after).text
        except (SyntaxError, ValueError):
            return None
        start = _alike(old, new)
        end = _alike(old[start:][::-1], new[start:][::-1])
        edit = Edit(start, len(old) - end, new[start : len(new) - end])
        around = [f for f in functions(path, old) if f.qualname != "<module>" and f.start <= edit.start and edit.end <= f.end]
        unit = max(around, key=lambda f: f.start) if around else FunctionSource(path, old, "<module>", 0, len(old))
        return Candidate(unit, (edit,), "model", _BUCKET, cost, old.count("\n", 0, start) + 1)


def changes_of(workspace: Workspace, patch: bytes, folder: Path) -> Changes:
    """What a patch makes of its files; nothing where it does not apply or deletes one."""
    try:
        changed = workspace.patched(patch, folder).diff_from(workspace)
    except WorkspaceError:
        return {}
    found = {path: after for path, (_, after) in changed.items() if after is not None}
    return found if len(found) == len(changed) else {}


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@contextlib.contextmanager
def warm_judge(problem: Problem, deadline: float, search: Search) -> Iterator[WarmJudge]:
    """A judge on warm tiers where this project's tests can be served there, else one that leaves everything to cold runs."""
    reproduction = problem.reproduction
    wall = deadline - time.monotonic() + 120.0
    with contextlib.ExitStack() as stack:
        server: CandidateServer | None = None
        try:
            server = stack.enter_context(CandidateServer(
                problem.bench, problem.workspace, reproduction.failing[:20], relevant_passing(problem), wall_seconds=wall,
                only_fork=True))  # fmt: skip
            server.start([unit_of(s.function) for s in problem.suspects[:10] if s.function.qualname != "<module>"])
        except CandidateServerError as error:
            search.notes.append(f"no warm tiers for the model's patches: {error}")
            server = None
        yield WarmJudge(problem, server)
