"""Faults on order: a share of the calls fails, hangs, or loses its connection, by a seed; or exactly the next one that matches."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field

from bot.demo.emulator.answers import Answer, Refusal

# "drop" loses the connection before anything is done; "drop_after" does the work, commits it, and loses the connection then.
KINDS = ("401", "403", "404", "409", "422", "429", "secondary", "500", "502", "503", "slow", "drop", "drop_after")


@dataclass(frozen=True)
class Fault:
    """``kind`` is one of KINDS; ``seconds`` is how long "slow" takes, and what 429 and "secondary" give as retry-after."""

    kind: str
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is named {self.kind!r}; there are {', '.join(KINDS)}")

    def answer(self) -> Answer | None:
        """What is answered in place of the work, or None for faults that answer nothing or do the work."""
        wait = {"Retry-After": str(max(1, round(self.seconds)))}
        messages = {
            "401": "Bad credentials",
            "403": "Resource not accessible by integration",
            "404": "Not Found",
            "409": "Conflict",
            "422": "Validation Failed",
            "429": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        }
        if self.kind == "secondary":
            return Refusal(403, messages["429"], wait).answer()
        if self.kind in messages:
            return Refusal(int(self.kind), messages[self.kind], wait if self.kind == "429" else None).answer()
        if self.kind in ("500", "502", "503"):
            return Refusal(int(self.kind), "Server Error").answer()
        return None


@dataclass(frozen=True)
class FaultPlan:
    """``share`` of the calls whose method and path match fails with one of ``kinds``, each as likely.

    Add GIT to ``methods`` to fail fetches and pushes too, STORAGE for logs and artifacts; these ignore kinds that have no sense for them.
    """

    seed: int = 0
    share: float = 0.0
    kinds: tuple[str, ...] = ("403", "429", "secondary", "500", "502", "503", "slow", "drop", "drop_after")
    methods: tuple[str, ...] = ("GET", "POST", "PATCH", "PUT", "DELETE")
    path: str = ""
    seconds: float = 1.0


@dataclass
class Faults:
    """Says for each call whether it fails. ``drawn`` counts those that did, by kind; ``asked`` all that the plan is about."""

    plan: FaultPlan = FaultPlan()
    asked: int = 0
    drawn: dict[str, int] = field(default_factory=dict)
    _once: list[tuple[str, str, Fault]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.follow(self.plan)

    def follow(self, plan: FaultPlan) -> None:
        """Use another plan from now on, from the start of its seed."""
        with self._lock:
            self.plan, self._random = plan, random.Random(plan.seed)

    def once(self, method: str, path: str, fault: Fault) -> None:
        """The next call with this method whose path matches the regular expression fails so, whatever the plan says."""
        with self._lock:
            self._once.append((method, path, fault))

    def draw(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for entry in self._once:
                if entry[0] == method and re.search(entry[1], path):
                    self._once.remove(entry)
                    return self._count(entry[2])
            plan = self.plan
            if method not in plan.methods or not re.search(plan.path, path):
                return None
            self.asked += 1
            if self._random.random() >= plan.share:
                return None
            return self._count(Fault(self._random.choice(plan.kinds), plan.seconds))

    def _count(self, fault: Fault) -> Fault:
        self.drawn[fault.kind] = self.drawn.get(fault.kind, 0) + 1
        return fault
