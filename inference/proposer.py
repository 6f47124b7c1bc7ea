"""The Proposer protocol and what travels through it: a Problem in, Proposals out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from inference.localization import Suspect
from inference.trajectory import Round
from sandbox.refusal import Scope
from sandbox.reproduction import Reproduction
from sandbox.testing import Bench
from sandbox.verification import Verdict
from sandbox.workspace import Workspace


@dataclass(frozen=True)
class Progress:
    """One line of news for whoever watches: ``stage`` is a fixed word, ``detail`` is for people, ``done`` a share of the budget."""

    stage: str
    detail: str
    done: float | None = None


Report = Callable[[Progress], None]
Strategy = Literal["refine", "resample"]
"""What later rounds of a model do: go on from what failed, or draw from the first prompt again at the same cost."""


@dataclass(frozen=True)
class Problem:
    """A reproduced failure with everything a proposer may use."""

    workspace: Workspace
    bench: Bench
    reproduction: Reproduction
    suspects: Sequence[Suspect]
    seconds: float
    jobs: int = 1
    check: Callable[[Proposal], Proposal] | None = None
    """Verifies a proposal cold, for those who go on from what the verdict says."""
    accepts: Callable[[Proposal], bool] = lambda proposal: proposal.verdict is not None and proposal.verdict.accepted
    """Whether a verdict is enough."""
    scope: Scope = field(default_factory=Scope)
    touched: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Lines that the pull request changed, by path."""
    near_misses: Sequence[str] = ()
    """What proposers before this one tried, each in a line, and why it is no fix."""
    rivals: Sequence[Proposal] = ()
    """What proposers before this one found that passes the failing tests, verified or not: acting like one of them is agreement."""
    hint: str = ""
    """Words of a person who may write to the repository, for whoever can read them. They are untrusted text like all others."""


@dataclass(frozen=True)
class Proposal:
    """A patch with its explanation and origin ("templates", "model"). ``prior``: higher is likelier right; comparable within an origin.
    ``behaviour`` names the cluster of patches that acted alike on other inputs. ``verdict`` is None until verified cold."""

    patch: bytes
    explanation: str
    origin: str
    prior: float
    behaviour: str | None = None
    path: str = ""
    line: int = 0
    function: str = ""
    template: str = ""
    verdict: Verdict | None = None
    round: int | None = None
    """Its place in ``Search.rounds``, where it was sampled."""
    alternatives: int = 0
    """How many other behaviours passed the failing tests too: the more, the less passing says."""
    alike: tuple[bytes, ...] = ()
    """Patches of other origins that act like this one on inputs near those of the tests; only where that was looked at."""
    tests: Mapping[str, bytes] = field(default_factory=dict)
    """New files with a regression test that came with it: path -> content. Only where the verdict says that it holds is it to be shown."""
    model: str = ""
    """Who sampled it: the base model's name, and after a + the adapter's with its version."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """What is known of it as numbers, for the estimate of how probably it is right: see ``inference.confidence``."""
    score: float | None = None
    """That estimate, of a verified patch, or of the least certain one that was joined into it; None where nothing was measured of such
    patches."""
    parts: int = 1
    """How many patches were joined into it."""
    withheld: str = ""
    """Why a patch that verification accepted is not shown."""


@dataclass
class Search:
    """What a proposer did, filled while it works."""

    generated: int = 0
    judged: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    exhausted: bool = False
    first_plausible: float | None = None
    tier: str = ""
    notes: list[str] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    """Every completion that a model gave, readable or not, in the order they came."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Of the model: prompt, cached (of the prompt), completion."""
    gpu_seconds: float = 0.0
    """Seconds in which a model was sampling."""
    cost: float = 0.0
    """Of that sampling, in the currency of the settings' prices."""
    models: list[str] = field(default_factory=list)
    """Who was sampled, as in ``Proposal.model``."""
    near_misses: list[str] = field(default_factory=list)
    """Changes that made some of the failing tests pass, each in a line, the best of each search first."""
    ranked: list[tuple[Proposal, ...]] = field(default_factory=list)
    """Of each search by templates one patch of each behaviour that passed the failing tests, best first, unverified: for who measures the
    ranking, and told nobody."""

    def to_json(self) -> Mapping[str, object]:
        return {
            **{t: self.judged.get(t, 0) for t in ("in_process", "fork", "import", "cold")}, "generated": self.generated,
            "exhausted": self.exhausted, "seconds": {t: round(s, 3) for t, s in self.seconds.items()}, "tier": self.tier,
            "notes": self.notes}  # fmt: skip


class Proposer(Protocol):
    """Finds patches that pass on the warm tiers or by its own judgement, best first. Nothing it yields counts as verified."""

    origin: str

    def propose(self, problem: Problem, search: Search, report: Report) -> Iterator[Proposal]: ...
