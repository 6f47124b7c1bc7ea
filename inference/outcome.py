"""What a repair comes to: Outcome, and the format of ``ledex fix --json``."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any, Literal

from inference.localization import Suspect
from inference.patch import unified_diff
from inference.proposer import Proposal, Search
from sandbox.environment import Environment
from sandbox.regression import holds
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench

Status = Literal["fixed", "unfixed", "flaky", "pre_existing", "passing", "broken"]
FORMAT = 1


@dataclass(frozen=True)
class Timings:
    """Seconds of each stage; ``first_plausible`` and ``chosen`` count from the reproduced failure, None when there was none."""

    environment: float = 0.0
    reproduction: float = 0.0
    search: float = 0.0
    first_plausible: float | None = None
    chosen: float | None = None
    total: float = 0.0


@dataclass(frozen=True)
class Surroundings:
    """Where the tests ran: versions of the project's Python and pytest ("" where unknown), the hash that names the built environment
    (its lock, interpreter and set-up), and the isolation's name."""

    python: str = ""
    pytest: str = ""
    environment: str = ""
    isolation: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``proposals`` best first: verified ones that were accepted, then refused and withheld ones with their verdicts."""

    status: Status
    reason: str
    reproduction: Reproduction | None = None
    proposals: tuple[Proposal, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    search: Search = field(default_factory=Search)
    timings: Timings = Timings()
    notes: tuple[str, ...] = ()
    python: str = ""
    test_command: str = ""
    surroundings: Surroundings = Surroundings()
    check_command: str = ""
    """What failed in the place of tests: the check of a tool whose fixer repaired it."""
    tool_setup: tuple[str, ...] = ()
    """What brought that tool into the environment, after the policy's own set-up."""

    @property
    def best(self) -> Proposal | None:
        """The patch to show, or None."""
        return next((p for p in self.proposals if p.verdict is not None and p.verdict.accepted and not p.withheld), None)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The format of ``ledex fix --json`` (schema: ``inference/outcome.schema.json``)."""
    reproduction = outcome.reproduction
    failures = reproduction.failures if reproduction is not None else ()
    return {
        "format": FORMAT,
        "status": outcome.status,
        "reason": outcome.reason,
        "failures": [
            {"test": f.test_id, "exception": f.exception, "message": f.message, "frames": [[r.path, r.line, r.function] for r in f.frames]}
            for f in failures
        ],
        "proposals": [
            {
                "patch": p.patch.decode("utf-8", "surrogateescape"), "explanation": p.explanation, "origin": p.origin,
                "path": p.path, "line": p.line, "function": p.function, "template": p.template, "behaviour": p.behaviour,
                "verdict": p.verdict.to_json() if p.verdict is not None else None, "model": p.model or None,
                "prior": round(p.prior, 4), "alternatives": p.alternatives,
                "test_patch": test_patch(p).decode("utf-8", "replace") or None,
                "signals": {name: round(value, 4) for name, value in sorted(p.signals.items())},
                "score": round(p.score, 4) if p.score is not None else None, "withheld": p.withheld or None,
            }
            for p in outcome.proposals
        ],
        "candidates": dict(outcome.search.to_json()),
        "model": _model(outcome.search),
        "timings": {k: round(v, 3) if v is not None else None for k, v in vars(outcome.timings).items()},
        "suspects": [
            {"path": s.function.path, "function": s.function.qualname, "line": s.line, "score": round(s.score, 4)} for s in outcome.suspects
        ],
        "notes": list(outcome.notes),
        "test_command": outcome.test_command,
        "versions": {
            "ledexbot": ledexbot_version(), "python": outcome.python, "host_python": platform.python_version(), "cpus": os.cpu_count(),
        },
    }  # fmt: skip


def test_patch(proposal: Proposal) -> bytes:
    """The regression test that holds, as a unified diff; empty where there is none."""
    if proposal.verdict is None or not holds(proposal.verdict):
        return b""
    return unified_diff({path: (None, content) for path, content in proposal.tests.items()})


def _model(search: Search) -> dict[str, Any] | None:
    """What was asked of the model: None where it was not asked. ``rounds``: refinements of the longest dialogue."""
    if not search.tokens and not search.models:
        return None
    tokens = {name: search.tokens.get(name, 0) for name in ("prompt", "cached", "completion")}
    depth = max((sum(m.role == "assistant" for m in r.messages) - 1 for r in search.rounds), default=0)
    return {
        "names": list(dict.fromkeys(search.models)), "answers": len(search.rounds), "rounds": depth, "tokens": tokens,
        "prefix_cache_hit_rate": round(tokens["cached"] / tokens["prompt"], 4) if tokens["prompt"] else None,
        "gpu_seconds": round(search.gpu_seconds, 3), "cost": round(search.cost, 6),
        "refused": dict(Counter(str(r.extra["refused"]) for r in search.rounds if "refused" in r.extra)),
    }  # fmt: skip


def surroundings_of(bench: Bench) -> Surroundings:
    environment = bench.environment
    version = ".".join(map(str, environment.version))
    return Surroundings(version, _pytest_version(environment), environment.key, bench.runner.name)


def _pytest_version(environment: Environment) -> str:
    """Of the interpreter's own prefix before the overlay: an interpreter below it may hold another pytest, which nobody sees."""
    prefix = PurePosixPath(environment.python).parent.parent
    own = [m.source / prefix.relative_to(m.target) for m in environment.mounts if prefix.is_relative_to(m.target)]
    overlays = [m.source for m in environment.mounts if m.target == environment.overlay]
    places = [*(folder / f"lib/python{'.'.join(map(str, environment.version))}/site-packages" for folder in own), *overlays]
    found = [path.name for place in places for path in sorted(place.glob("pytest-[0-9]*.dist-info"))]
    return found[0].removeprefix("pytest-").removesuffix(".dist-info") if found else ""


def ledexbot_version() -> str:
    try:
        return metadata.version("ledexbot")
    except metadata.PackageNotFoundError:
        return "unknown"
