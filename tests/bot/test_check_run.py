"""The check run: never red, within GitHub's limits, and honest about the policy."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from bot.check_run import APPLY, MAX_ANNOTATIONS, MAX_TEXT, REJECT, STACKED_PR, CheckRunView, render_check_run
from bot.comment_view import State
from bot.policy import EffectivePolicy, PolicyFile, RepositoryPolicy, effective_policy
from bot.runs import Annotation
from tests.bot.comment_views import VIEWS, fix_ready
from tests.bot.rendering import HOSTILE, rendered

PLAIN = EffectivePolicy(RepositoryPolicy())


@pytest.mark.parametrize("state", get_args(State))
def test_no_state_is_red(state: State) -> None:
    run = render_check_run(CheckRunView(VIEWS[state], PLAIN))
    assert run.conclusion in (None, "neutral", "success")
    assert (run.status == "in_progress") == (run.conclusion is None) == (state == "working")


@pytest.mark.parametrize(
    ("state", "conclusion"), [("fix_ready", "success"), ("applied", "success"), ("explained", "neutral"), ("infra", "neutral")]
)
def test_only_a_fix_is_a_success(state: State, conclusion: str) -> None:
    assert render_check_run(CheckRunView(VIEWS[state], PLAIN)).conclusion == conclusion


def test_a_silent_abstention_says_why() -> None:
    run = render_check_run(CheckRunView(None, PLAIN, reason="no failing test was found in `lint`"))
    assert (run.conclusion, run.title, run.summary) == ("neutral", "Nothing to say", "no failing test was found in `lint`")


def test_a_fix_that_is_ready_has_three_buttons_and_nothing_else_has_any() -> None:
    assert render_check_run(CheckRunView(fix_ready(), PLAIN)).actions == (APPLY, STACKED_PR, REJECT)
    assert render_check_run(CheckRunView(replace(fix_ready(), commands=("reject", "retry")), PLAIN)).actions == (REJECT,)
    assert render_check_run(CheckRunView(VIEWS["applied"], PLAIN)).actions == ()


@pytest.mark.parametrize("action", [APPLY, STACKED_PR, REJECT])
def test_the_buttons_keep_to_githubs_lengths(action: object) -> None:
    assert isinstance(action, type(APPLY))
    assert (len(action.label) <= 20, len(action.description) <= 40, len(action.identifier) <= 20) == (True, True, True)


def test_the_title_has_level_and_counts() -> None:
    assert render_check_run(CheckRunView(fix_ready(), PLAIN)).title == "Fix ready, verified V3: 4 of 4 failing tests now pass"


def test_mistakes_in_the_policy_are_told() -> None:
    run = render_check_run(CheckRunView(None, effective_policy(PolicyFile(".github/ledex.toml", "wrong = 1\nmode = 3"))))
    assert "wrong is no known key" in run.summary.replace("\\", "")
    assert "mode" in run.summary


def test_the_effective_configuration_is_shown_with_its_source() -> None:
    text = render_check_run(CheckRunView(None, effective_policy(PolicyFile(".github/ledex.toml at 1a2b3c4", 'mode = "explain"')))).text
    assert "# from .github/ledex.toml at 1a2b3c4\n" in text
    assert 'mode = "explain"\n' in text


def test_annotations_are_at_most_fifty_and_never_failures() -> None:
    causes = tuple(Annotation("a.py", n, n - 1, "failure", "x" * 9000, "t" * 300) for n in range(1, 80))
    run = render_check_run(CheckRunView(fix_ready(), PLAIN, causes=causes))
    assert len(run.annotations) == MAX_ANNOTATIONS
    assert {a.level for a in run.annotations} == {"warning"}
    assert all(a.end_line >= a.start_line and len(a.message) <= 4000 and len(a.title) <= 200 for a in run.annotations)
    assert "The first 50 of 79 annotations are shown" in run.summary


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_outside_adds_no_markup(text: str) -> None:
    policy = EffectivePolicy(RepositoryPolicy.model_validate({"classify": {text: "flaky"}}), text, (text,))
    run = render_check_run(CheckRunView(None, policy, reason=text))
    for seen in (rendered(run.summary), rendered(run.text)):
        assert set(seen.tags) <= {"p", "strong", "ul", "li", "code", "pre", "details", "summary"}
        assert seen.comments == []


def test_summary_and_text_keep_to_their_limit() -> None:
    policy = RepositoryPolicy.model_validate({"classify": {f"{'x' * 900}{n}": "flaky" for n in range(200)}})
    run = render_check_run(CheckRunView(fix_ready(), EffectivePolicy(policy, "s", ("w" * 5000,) * 100)))
    assert len(run.summary) <= MAX_TEXT
    assert len(run.text) <= MAX_TEXT
