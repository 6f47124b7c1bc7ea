"""One valid comment of each state, for the golden files and for everything that changes one thing of them."""

from __future__ import annotations

from bot.comment_view import CommentView, ProofFacts, State
from sandbox.report import Failure, Frame
from sandbox.verification import Check, Counts

PATCH = (
    b"diff --git a/shop/cart.py b/shop/cart.py\n--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -5,5 +5,5 @@\n def total(prices, discount=0):\n"
    b"-    return sum(prices) + discount\n+    return sum(prices) - discount\n \n \n def first(items):\n"
)
EXPLANATION = (
    "`tests/test_cart.py::test_total` fails with `assert 14 == 10`. At shop/cart.py:6, `sum(prices) + discount` gives `14` when `total` is "
    "called with discount=2. The patch subtracts the discount, and the test passes."
)
CAUSE = EXPLANATION.rsplit(" The patch", 1)[0]
FAILURE = Failure(
    "tests/test_cart.py::test_total",
    "AssertionError",
    "assert 14 == 10\n +  where 14 = total([5, 7])",
    (Frame("tests/test_cart.py", 9, "test_total"), Frame("shop/cart.py", 6, "total")),
)
PROOF = ProofFacts(
    base_sha="b" * 40,
    head_sha="a" * 40,
    environment="python 3.12.4, lock 9f31c2",
    commands=("python -m pytest -q",),
    before=Counts(808, 4, 812),
    after=Counts(812, 0, 812),
    repeats=3,
    checks=(
        Check("target", 1, "passed", "4 of 4 failing tests pass"),
        Check("suite", 3, "passed", "no test that passed on head fails now"),
        Check("mutation", 4, "no_opinion", "the changed line has no mutant"),
    ),
    replay="ledex replay ledex-proof-7-3f9a.tar.gz",
    bundle_url="https://ledex.example.com/proof/3f9a",
)
RUN = "https://github.com/example/shop/actions/runs/42"


def fix_ready() -> CommentView:
    return CommentView(
        7,
        "fix_ready",
        head_sha="a" * 40,
        level="V3",
        failing=4,
        fixed=4,
        total=812,
        explanation=EXPLANATION,
        caused_by_pr=True,
        failures=(FAILURE,),
        jobs=("tests (3.11)", "tests (3.12)"),
        patch=PATCH,
        proof=PROOF,
        unchecked=("whether callers outside this repository rely on the old sum",),
        confidence="one behaviour passed all tests",
        model="ledex-7b@2026-03",
        commands=("apply", "pr", "reject"),
        run_url=RUN,
        code_url=f"https://github.com/example/shop/blob/{'a' * 40}",
    )


VIEWS: dict[State, CommentView] = {
    "working": CommentView(7, "working", failing=4, jobs=("tests (3.11)", "tests (3.12)"), run_url=RUN),
    "fix_ready": fix_ready(),
    "explained": CommentView(
        7,
        "explained",
        explanation=CAUSE,
        caused_by_pr=True,
        failures=(FAILURE,),
        model="ledex-7b@2026-03",
        reason="the best patch breaks 2 other tests",
        commands=("retry",),
        run_url=RUN,
    ),
    "flaky": CommentView(
        7,
        "flaky",
        reason="`tests/test_cart.py::test_total` failed in 2 of 3 runs of the same commit",
        failures=(FAILURE,),
        commands=("rerun",),
        run_url=RUN,
    ),
    "pre_existing": CommentView(
        7,
        "pre_existing",
        reason="`tests/test_cart.py::test_total` fails on bbbbbbb too",
        failures=(FAILURE,),
        commands=("fix",),
        run_url=RUN,
    ),
    "infra": CommentView(7, "infra", reason="the runner's disk is full: `No space left on device`", run_url=RUN),
    "not_reproduced": CommentView(
        7,
        "not_reproduced",
        reason="all 812 tests pass in the sandbox with Python 3.12.4; CI ran them on Windows",
        commands=("rerun", "retry"),
        run_url=RUN,
    ),
    "superseded": CommentView(7, "superseded", reason="the tests of ccccccc run now"),
    "applied": CommentView(
        7,
        "applied",
        level="V3",
        actor="octocat",
        result="ddddddd",
        explanation=EXPLANATION,
        patch=PATCH,
        proof=PROOF,
        model="ledex-7b@2026-03",
    ),
    "rejected": CommentView(
        7, "rejected", actor="octocat", reason="style: we round discounts", patch=PATCH, model="ledex-7b@2026-03", commands=("retry",)
    ),
    "off": CommentView(7, "off", actor="octocat", commands=("on",)),
}
