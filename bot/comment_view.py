"""What a comment says, as values. The status words come from the verdict: a view that calls itself ready without one that reached V3
cannot be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox.report import Failure
from sandbox.verification import Check, Counts

State = Literal[
    "working", "fix_ready", "explained", "flaky", "pre_existing", "infra", "not_reproduced", "superseded", "applied", "rejected", "off"
]  # fmt: skip
_VERIFIED = frozenset({"V3", "V4", "V5"})


@dataclass(frozen=True)
class ProofFacts:
    """What stands behind the badge: SHAs, the environment (an image digest or a lock hash), the commands as they were run, whole-suite
    counts before and after, the checks of the ladder, and how to run it all again."""

    base_sha: str
    head_sha: str
    environment: str = ""
    commands: tuple[str, ...] = ()
    before: Counts | None = None
    after: Counts | None = None
    repeats: int = 0
    checks: tuple[Check, ...] = ()
    replay: str = ""
    bundle_url: str = ""


@dataclass(frozen=True)
class CommentView:
    """Everything a comment says. ``level`` is the verdict's rung ("V3"); ``fixed`` of ``failing`` tests now pass, with ``new_failures`` in
    ``total``. ``reason`` is one sentence beside the state, ``explanation`` two to four. ``caused_by_pr`` is None where it is not known.
    ``patch`` are the exact bytes that were verified; ``apply_line`` asks for the `git apply` line: patches outside the diff, and forks.
    ``commands`` are the names of those that can be used now. ``actor`` and ``result`` say who did it, and the commit or pull request.
    ``code_url`` is where the head's files are shown, without the path; only files of the patch are linked.
    ``check`` is the command that failed in the place of tests: a linter's or formatter's. ``test_patch`` is a new test, as a diff, that was
    seen to fail without the patch and to pass with it. ``withheld``: there was a verified patch, too weak to be shown."""

    pr_number: int
    state: State
    head_sha: str = ""
    level: str | None = None
    failing: int = 0
    fixed: int = 0
    new_failures: int = 0
    total: int = 0
    reason: str = ""
    explanation: str = ""
    caused_by_pr: bool | None = None
    failures: tuple[Failure, ...] = ()
    jobs: tuple[str, ...] = ()
    patch: bytes = b""
    patch_url: str = ""
    apply_line: bool = False
    proof: ProofFacts | None = None
    unchecked: tuple[str, ...] = ()
    confidence: str = ""
    model: str = ""
    commands: tuple[str, ...] = ()
    run_url: str = ""
    actor: str = ""
    result: str = ""
    check: str = ""
    test_patch: bytes = b""
    withheld: bool = False
    code_url: str = ""

    def __post_init__(self) -> None:
        if self.state == "fix_ready" and (self.level not in _VERIFIED or not self.patch):
            raise ValueError("a fix is ready only with a patch that reached V3: use the state 'explained'")
        if self.state == "fix_ready" and self.new_failures:
            raise ValueError("a patch with new failures is no fix: use the state 'explained'")
