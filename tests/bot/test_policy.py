"""The repository's policy as the bot reads it: which file counts, what is left alone, and what holds in the end."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import policy
from bot.policy import (
    EffectivePolicy,
    PolicyFile,
    RepositoryPolicy,
    effective_policy,
    matches,
    may_commit,
    policy_text,
    schema,
    why_not,
)
from bot.runs import FailedRun, PullRequest

SHIPPED = Path(policy.__file__).with_name("policy.schema.json")
FULL = """\
version = 1
mode = "stacked_pr"
trigger = "label"

[scope]
workflows = ["CI", "test*"]
never_fix = ["*e2e*"]
allow_paths = ["src/**"]
deny_paths = ["**/migrations/**"]
protected_branches = ["main", "release/*"]
drafts = true
bots = [49699333]

[environment]
setup = ["pip install -e .[test]"]
test = "pytest -q"
network = "setup-only"
timeout_minutes = 15

[verify]
level = "V4"
repeats = 5

[limits]
attempts_per_failure = 1
daily_runs = 5

[classify]
"tests/e2e/**" = "flaky"

[learning]
use_feedback = true
share_code = true
retention_days = 7
"""


def file(text: str, source: str = ".github/ledex.toml") -> PolicyFile:
    return PolicyFile(source, text)


def test_a_full_file_is_read_without_a_warning() -> None:
    found = effective_policy(file(FULL))
    p = found.policy
    assert found.warnings == ()
    assert (p.mode, p.trigger, p.scope.bots, p.verify.level, p.limits.daily_runs) == ("stacked_pr", "label", (49699333,), "V4", 5)
    assert (p.classify, p.learning.retention_days, p.scope.deny_paths) == ({"tests/e2e/**": "flaky"}, 7, ("**/migrations/**",))


def test_everything_about_learning_is_off_by_default() -> None:
    learning = RepositoryPolicy().learning
    assert (learning.use_feedback, learning.share_code) == (False, False)


def test_without_any_file_the_servers_defaults_hold() -> None:
    defaults = RepositoryPolicy(mode="explain")
    assert effective_policy(None, None, defaults) == EffectivePolicy(defaults, "the server's defaults")


def test_the_repositorys_file_goes_before_the_organisations() -> None:
    found = effective_policy(file('mode = "off"'), file('mode = "commit"', "org"))
    assert (found.policy.mode, found.source) == ("off", ".github/ledex.toml")


def test_the_organisations_file_goes_before_the_defaults() -> None:
    found = effective_policy(None, file('mode = "commit"', "example/.github"))
    assert (found.policy.mode, found.source) == ("commit", "example/.github")


def test_what_a_file_leaves_out_has_the_servers_default() -> None:
    defaults = RepositoryPolicy.model_validate({"mode": "explain", "limits": {"daily_runs": 3, "max_files": 1}})
    found = effective_policy(file("[limits]\nmax_files = 2"), None, defaults).policy
    assert (found.mode, found.limits.daily_runs, found.limits.max_files) == ("explain", 3, 2)


def test_classes_of_a_file_replace_those_of_the_server() -> None:
    defaults = RepositoryPolicy.model_validate({"classify": {"a/**": "flaky"}})
    assert effective_policy(file('[classify]\n"b/**" = "infra"'), None, defaults).policy.classify == {"b/**": "infra"}


@pytest.mark.parametrize("key", ["nonsense = 1", "[scope]\nworkflow = []", "[table]\nx = 1", '"\\u202e" = 1'])
def test_an_unknown_key_is_a_warning_and_nothing_else(key: str) -> None:
    found = effective_policy(file(key))
    assert (found.policy, len(found.warnings)) == (RepositoryPolicy(), 1)
    assert "is no known key and is left alone" in found.warnings[0]
    assert found.warnings[0].isprintable()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('mode = "yes"', "mode"),
        ("version = 2", "version"),
        ("[limits]\nmax_files = 0", "limits.max_files"),
        ("scope = 3", "scope"),
        ('[scope]\nbots = ["dependabot"]', "scope.bots"),
        ('[classify]\n"a" = "bad"', "classify"),
        ("[verify]\nlevel = 3", "verify.level"),
    ],
)
def test_a_wrong_value_gets_its_default_and_a_warning_and_the_rest_still_counts(text: str, key: str) -> None:
    found = effective_policy(file(f'trigger = "command"\n{text}\n[learning]\nretention_days = 9'))
    assert found.policy == RepositoryPolicy.model_validate({"trigger": "command", "learning": {"retention_days": 9}})
    assert len(found.warnings) == 1
    assert key in found.warnings[0]


@pytest.mark.parametrize("text", ["x =", "[[", "\x00", "a" * 300_000])
def test_a_file_that_is_no_toml_leaves_the_defaults_and_says_so(text: str) -> None:
    found = effective_policy(file(text))
    assert (found.policy, found.source, len(found.warnings)) == (RepositoryPolicy(), "the server's defaults", 1)


def test_off_is_obeyed_even_in_a_file_that_cannot_be_read() -> None:
    assert effective_policy(file('mode = "off"\nbroken =')).policy.mode == "off"


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 10**6), st.text(max_size=8), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
KEYS = ["version", "mode", "trigger", "scope", "environment", "verify", "limits", "classify", "learning", "other"]
INNER = ["bots", "drafts", "workflows", "max_files", "level", "repeats", "variables", "setup", "retention_days", "a/**"]
tables = st.dictionaries(
    st.sampled_from(KEYS), st.one_of(toml_values, st.dictionaries(st.sampled_from(INNER), toml_values, max_size=4)), max_size=5
)


@given(tables)
def test_any_file_gives_a_policy(data: dict[str, object]) -> None:
    text = "\n".join(f"{policy._key(k)} = {policy._value(v)}" for k, v in data.items())
    found = effective_policy(file(text))
    assert isinstance(found.policy, RepositoryPolicy)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=3), st.floats(0, 1e9))
def test_the_effective_configuration_reads_back_as_itself(globs: list[str], seconds: float) -> None:
    one = RepositoryPolicy.model_validate(
        {
            "scope": {"never_fix": globs},
            "classify": dict.fromkeys(globs, "flaky"),
            "environment": {"variables": {g: g for g in globs}},
            "limits": {"gpu_seconds": seconds},
        }
    )
    assert RepositoryPolicy.model_validate(tomllib.loads(policy_text(EffectivePolicy(one)))) == one


def test_the_schema_that_ships_is_the_models() -> None:
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == schema(), "write it with: python -m bot.policy > bot/policy.schema.json"


def test_the_schema_takes_a_full_file_and_refuses_a_wrong_one() -> None:
    check = jsonschema.Draft202012Validator(schema())
    assert check.is_valid(tomllib.loads(FULL))
    assert not check.is_valid({"mode": "yes"})


# what is worked on

PULL = PullRequest("o/r", 1, 7, "a" * 40, "topic", "o/r", "b" * 40, "main", 5)
RUN = FailedRun("o/r", 1, 2, 3, 1, "CI", "pull_request", "a" * 40, "topic", "failure")


def of(**values: object) -> RepositoryPolicy:
    return RepositoryPolicy.model_validate(values)


def test_an_ordinary_failure_is_worked_on() -> None:
    assert why_not(RepositoryPolicy(), RUN, PULL) is None


@pytest.mark.parametrize(
    ("chosen", "pull", "said"),
    [
        (of(mode="off"), PULL, "mode is off"),
        (of(), replace(PULL, state="closed"), "closed"),
        (of(), replace(PULL, labels=frozenset({"no-ledex"})), "label no-ledex"),
        (of(), replace(PULL, head_sha="c" * 40), "another commit"),
        (of(scope={"workflows": ["nightly"]}), PULL, "scope.workflows"),
        (of(scope={"never_fix": ["C*"]}), PULL, "scope.never_fix"),
    ],
)
def test_nobody_can_ask_for_what_is_switched_off(chosen: RepositoryPolicy, pull: PullRequest, said: str) -> None:
    assert said in (why_not(chosen, RUN, pull) or "")
    assert said in (why_not(chosen, RUN, pull, asked=True) or "")


@pytest.mark.parametrize(
    ("chosen", "pull", "said"),
    [
        (of(trigger="command"), PULL, "/ledex fix"),
        (of(trigger="label"), PULL, "label ledex"),
        (of(), replace(PULL, draft=True), "draft"),
        (of(), replace(PULL, author_is_bot=True), "bot"),
    ],
)
def test_a_command_goes_where_the_bot_waits(chosen: RepositoryPolicy, pull: PullRequest, said: str) -> None:
    assert said in (why_not(chosen, RUN, pull) or "")
    assert why_not(chosen, RUN, pull, asked=True) is None


@pytest.mark.parametrize(
    ("chosen", "pull"),
    [
        (of(trigger="label"), replace(PULL, labels=frozenset({"ledex"}))),
        (of(scope={"drafts": True}), replace(PULL, draft=True)),
        (of(scope={"bots": [5]}), replace(PULL, author_is_bot=True)),
        (of(scope={"workflows": ["C?"]}), PULL),
    ],
)
def test_what_the_policy_opens_is_open(chosen: RepositoryPolicy, pull: PullRequest) -> None:
    assert why_not(chosen, RUN, pull) is None


def test_a_protected_branch_and_a_fork_are_never_committed_to() -> None:
    chosen = of(scope={"protected_branches": ["release/*"]})
    assert may_commit(chosen, PULL)
    assert not may_commit(chosen, replace(PULL, head_ref="release/1"))
    assert not may_commit(chosen, replace(PULL, head_repository="fork/r"))
    assert not may_commit(chosen, replace(PULL, head_repository=None))


@pytest.mark.parametrize(
    ("name", "glob", "fits"), [("tests/e2e/a.py", "tests/e2e/**", True), ("test_a.py", "**/test_a.py", True), ("x/b.py", "a/*", False)]
)
def test_globs_cross_folders(name: str, glob: str, fits: bool) -> None:
    assert matches(name, (glob,)) is fits


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[environment]\npython = "/usr/bin/python3"\n', "environment.python"),
        ("[verify]\nfull_suite = false\n", "verify.full_suite has no effect yet: every test is run that environment.test names"),
    ],
)
def test_a_key_that_changes_nothing_is_said(text: str, words: str) -> None:
    [warning] = effective_policy(PolicyFile("the file", text)).warnings
    assert words in warning
