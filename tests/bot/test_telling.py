"""What is told of an outcome: where annotations go, and what the comment may claim."""

from __future__ import annotations

import pytest

from bot.policy import RepositoryPolicy
from bot.runs import FailedRun, PullRequest
from bot.telling import causes_of, told
from bot.triage import Triage
from inference.outcome import Outcome, Surroundings
from inference.patch import unified_diff
from inference.proposer import Proposal
from sandbox.reproduction import Reproduction
from sandbox.verification import Counts, Verdict

PATCH = unified_diff({"a.py": (b"x = 1\n", b"x = 2\n"), "b.py": (b"y = 1\n", b"y = 2\n")})
TWO = "1. `t1` fails. At a.py:1, `x` gives `1`.\n\n2. `t2` fails. At b.py:1, `y` gives `1`."
VERDICT = Verdict(4, None, (), 3, Counts(0, 1, 1), Counts(1, 0, 1), 1.0)


def proposal(explanation: str) -> Proposal:
    return Proposal(PATCH, explanation, "templates", 0.0, path="a.py", line=1, verdict=VERDICT)


def test_each_cause_is_annotated_at_its_own_line() -> None:
    assert [(a.path, a.start_line, "t1" in a.message) for a in causes_of(proposal(TWO))] == [("a.py", 1, True), ("b.py", 1, False)]


def test_an_explanation_cannot_put_an_annotation_on_a_file_that_the_patch_leaves_alone() -> None:
    [cause] = causes_of(proposal("It fails. At secrets.py:9, something."))
    assert (cause.path, cause.start_line) == ("a.py", 1)


@pytest.mark.parametrize(("passes_on_base", "said"), [(True, True), (False, None)])
def test_the_pull_request_is_blamed_only_when_the_base_was_seen_to_pass(passes_on_base: bool, said: bool | None) -> None:
    reproduction = Reproduction("failing", "1 of 1 tests fail", failing=("t",), passes_on_base=passes_on_base)
    outcome = Outcome("fixed", "verified V4", reproduction, (proposal(TWO),), surroundings=Surroundings("3.12", "9.0", "f" * 64, "bwrap"))
    pull = PullRequest("octo/shop", 1, 7, "a" * 40, "topic", "octo/shop", "b" * 40, "main", 3)
    run = FailedRun("octo/shop", 1, 2, 3, 1, "CI", "pull_request", "a" * 40, "topic", "failure")
    view = told(pull, run, Triage("test", ()), outcome, RepositoryPolicy(), "b" * 40)
    assert view.caused_by_pr is said
    assert view.proof is not None
    assert view.proof.environment == "Python 3.12, pytest 9.0, lock ffffffffffff, isolation bwrap"
