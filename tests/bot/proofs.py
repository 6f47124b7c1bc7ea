"""Proof bundles for tests: facts with values that are easily told apart, and archives that nobody honest writes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot import bundle
from bot.policy import LearningPolicy, RepositoryPolicy
from bot.proof import Facts
from bot.runs import FailedRun, Job, PullRequest
from inference.outcome import Outcome, Surroundings, Timings
from inference.policy import EnvironmentPolicy
from inference.proposer import Proposal
from sandbox.report import Failure, TestReport
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict

HEAD, BASE = "a" * 40, "b" * 40
PATCH = b"diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-    return max(prices)\n+    return min(prices)\n"
FAILURE = Failure("test_shop.py::test_cheapest[<3>]", "AssertionError", "assert 3 == 1", (), "test_shop.py:5: AssertionError \x1b[0m")
BEFORE = TestReport(
    {FAILURE.test_id: "failed", "test_shop.py::test_total": "passed", "test_shop.Old.test_skip": "skipped"}, (FAILURE,), seconds=0.5
)
AFTER = TestReport({t: "passed" if o == "failed" else o for t, o in BEFORE.outcomes.items()}, seconds=0.25)
VERDICT = Verdict(
    4, None, (Check("applies", 0, "passed", "applies to shop.py"), Check("mutation", 4, "passed", "1 of 1 mutants is noticed")), 3,
    Counts(1, 1, 3), Counts(2, 0, 3), 2.5, AFTER, "2 passed, 1 skipped")  # fmt: skip
BEST = Proposal(PATCH, "`cheapest` took the largest price.", "templates", 0.5, path="shop.py", line=1, template="builtins", verdict=VERDICT)


def facts(**changes: Any) -> Facts:
    """One of everything; ``changes`` are fields of Facts."""
    pull = PullRequest("octo/shop", 71, 7, HEAD, "cheap", "octo/shop", "c" * 40, "main", 5)
    job = Job(900, "test (3.11)", "failure", log="FAILED test_shop.py::test_cheapest\n")
    run = FailedRun("octo/shop", 71, 3, 800, 2, "CI", "pull_request", HEAD, "cheap", "failure", jobs=(job,))
    reproduction = Reproduction(
        "failing", "1 of 3 tests fail", (FAILURE,), (FAILURE.test_id,), ("test_shop.py::test_total",), (), tuple(BEFORE.outcomes),
        output="1 failed, 1 passed, 1 skipped", report=BEFORE)  # fmt: skip
    outcome = Outcome(
        "fixed", "verified V4", reproduction, (BEST,), timings=Timings(1.0, 2.0, 3.0004, 0.125, 2.5, 6.0), python="/env/bin/python",
        test_command="python -m pytest", surroundings=Surroundings("3.11", "9.0.1", "d" * 64, "bubblewrap"))  # fmt: skip
    policy = RepositoryPolicy(environment=EnvironmentPolicy(setup=("make ready",)), learning=LearningPolicy(share_code=False))
    return replace(Facts(17, run, pull, BASE, outcome, BEST, policy, 1_795_500_000.0), **changes)


def with_proof(files: Mapping[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    """The files with another ``proof.json``, all hashes made to fit again, as a forger would."""
    proof = json.loads(files[bundle.PROOF])
    proof["files"] = bundle.listing(files)
    change(proof)
    changed = {**files, bundle.PROOF: json.dumps(proof).encode()}
    statement = json.loads(files[bundle.STATEMENT])
    statement["predicate"]["configuration"][0]["digest"]["sha256"] = bundle.sha256(changed[bundle.PROOF])
    return {**changed, bundle.STATEMENT: json.dumps(statement).encode()}


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive with just these members, however odd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return gzip.compress(buffer.getvalue())


def saved(folder: Path, data: bytes) -> Path:
    file = folder / "17.tar.gz"
    file.write_bytes(data)
    return file
