"""What the bot says and keeps of a model's fix: who wrote it, its regression test, every round, and nowhere the key of the endpoint."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bot.comment import render
from bot.models import FixRow
from bot.policy import RepositoryPolicy
from bot.recording import trajectory
from bot.runs import FailedRun, PullRequest
from bot.telling import told
from bot.triage import Triage
from inference import trajectory as trajectory_module
from inference.attempt import Attempt
from inference.model.openai import OpenAISampler
from inference.outcome import Outcome, outcome_json
from inference.patch import unified_diff
from inference.proposer import Proposal, Search
from inference.refinement import Effort, ModelProposer
from inference.settings import load_settings
from inference.trajectory import Message, Round, Sampling, trajectory_json
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict
from tests.inference.model.scripted import ScriptedServer, Status
from tests.inference.test_refinement import QUICK, RIGHT, Project, edit, make_project

PATCH = unified_diff({"shop/prices.py": (b"x = 1\n", b"x = 2\n")})
REGRESSION = b"from shop.prices import total\n\n\ndef test_a_fee_is_added():\n    assert total([1], 2) == 3\n"
HOLDS = Check("regression", 5, "passed", "it fails without the fix and passes with it, 2 of 2 times")
SCHEMA = Path(trajectory_module.__file__).with_name("trajectory.schema.json")
KEY = "sk-canary-0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def fix(**more: Any) -> Proposal:
    verdict = Verdict(5, None, (HOLDS,), 3, Counts(0, 1, 1), Counts(1, 0, 1), 1.0)
    valid = Proposal(PATCH, "The fee is taken away.", "model", -0.5, path="shop/prices.py", line=1, template="model", verdict=verdict,
                     model="tiny + shop@3f9a")  # fmt: skip
    return replace(valid, **more)


def comment(outcome: Outcome) -> str:
    pull = PullRequest("octo/shop", 1, 7, "a" * 40, "topic", "octo/shop", "b" * 40, "main", 3)
    run = FailedRun("octo/shop", 1, 2, 3, 1, "CI", "pull_request", "a" * 40, "topic", "failure")
    return render(told(pull, run, Triage("test", ()), outcome, RepositoryPolicy(), "b" * 40))


def fixed(*proposals: Proposal, search: Search | None = None) -> Outcome:
    return Outcome("fixed", "verified V5", Reproduction("failing", "", failing=("t",)), proposals, search=search or Search())


def test_the_footer_names_the_model_with_its_adapter() -> None:
    assert "Text and patch by an AI model (`tiny + shop@3f9a`)" in comment(fixed(fix()))
    assert "by a program, without an AI model" in comment(fixed(fix(model="", origin="templates")))


def test_the_regression_test_is_shown_where_it_holds() -> None:
    shown = comment(fixed(fix(tests={"tests/test_regression.py": REGRESSION})))
    assert "<summary>A regression test</summary>" in shown
    assert "+def test_a_fee_is_added():" in shown
    assert shown.index("+x = 2") < shown.index("+def test_a_fee_is_added():")


@pytest.mark.parametrize("checks", [(), (replace(HOLDS, status="no_opinion"),)], ids=["never run", "no opinion"])
def test_a_regression_test_that_was_not_seen_to_hold_is_not_shown(checks: tuple[Check, ...]) -> None:
    verdict = Verdict(4, None, checks, 3, Counts(0, 1, 1), Counts(1, 0, 1), 1.0)
    assert "test_a_fee_is_added" not in comment(fixed(fix(verdict=verdict, tests={"tests/test_regression.py": REGRESSION})))


def test_a_probability_is_told_only_where_it_was_measured() -> None:
    assert "confidence: of patches like this one, about 87% were right" in comment(fixed(fix(score=0.87)))
    assert "confidence: of patches like the least certain of its 3 parts, about 12% were right" in comment(fixed(fix(score=0.12, parts=3)))
    assert "confidence:" not in comment(fixed(fix(score=None)))


def test_a_withheld_fix_is_not_shown_and_the_comment_says_why() -> None:
    weak = "it is right with an estimated probability of 0.31, and 0.5 is asked for (verify.confidence)"
    outcome = Outcome("unfixed", f"a patch verified V4 was withheld: {weak}", Reproduction("failing", "", failing=("t",)),
                      (fix(withheld=weak),))  # fmt: skip
    shown = comment(outcome)
    assert "+x = 2" not in shown
    assert "**Explanation only** · no fix is sure enough · " in shown
    assert "estimated probability of 0.31" in shown


def rounds() -> list[Round]:
    asked = (Message("user", "task"), Message("assistant", "code"), Message("user", "feedback"))
    sampling = Sampling("tiny", "shop", "3f9a", 0.8, 1000)
    return [Round("model", "", None, "1", asked, "nonsense", sampler=sampling, extra={"refused": "no_edits"}),
            Round("model", PATCH.decode(), {"level": "V5"}, "1", asked, "The fee.", (0, 8), (8, 9), (1, 2), (3,), (-0.1,),
                  sampling)]  # fmt: skip


def recorded(*proposals: Proposal) -> dict[str, Any]:
    row = FixRow(repository="octo/shop", head_sha="a" * 40)
    whole = trajectory(row, fixed(*proposals, search=Search(rounds=rounds())), "b" * 40, (), {}, "id")
    written: dict[str, Any] = json.loads(json.dumps(trajectory_json(whole)))
    jsonschema.validate({**written, "consent": None}, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return written


def test_every_round_of_the_model_is_kept_the_unreadable_one_too() -> None:
    kept = recorded(fix(round=1))
    assert [(r["completion"], r.get("refused")) for r in kept["rounds"]] == [("nonsense", "no_edits"), ("The fee.", None)]
    assert kept["chosen"] == 1
    chosen = kept["rounds"][1]
    assert (chosen["prompt_token_ids"], chosen["token_ids"], chosen["logprobs"]) == ([1, 2], [3], [-0.1])
    assert (chosen["explanation_span"], chosen["refinement_span"]) == ([0, 8], [8, 9])
    assert chosen["sampler"]["adapter_hash"] == "3f9a"
    assert [m["role"] for m in chosen["messages"]] == ["user", "assistant", "user"]


def test_a_template_s_fix_that_won_is_chosen_beside_the_model_s_rounds() -> None:
    kept = recorded(fix(origin="templates", model="", score=0.9, signals={"margin": 2.0}), fix(round=1))
    assert [r["origin"] for r in kept["rounds"]] == ["templates", "model", "model"]
    assert kept["chosen"] == 0
    assert (kept["rounds"][0]["score"], kept["rounds"][0]["signals"]) == (0.9, {"margin": 2.0})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("key"))


@pytest.mark.parametrize("script", [
    [edit("    import os\n    raise ValueError(sorted(os.environ.items()))"), RIGHT],
    [f"My key is {KEY}.", Status(400, f"Incorrect API key provided: {KEY}")], Status(500, f"no such key: {KEY}"),
], ids=["a patch that shows its environment", "an endpoint that echoes it", "a broken one that echoes it"])  # fmt: skip
def test_the_key_of_the_endpoint_is_found_nowhere(
    script: Any, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LEDEX_INFERENCE_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    with ScriptedServer(script, api_key=KEY) as server, OpenAISampler(load_settings(endpoints=server.url, attempts=2)) as sampler:
        search, started = Search(), time.monotonic()
        model = ModelProposer(sampler, Effort(samples=1, rounds=1))
        attempt = Attempt(project.head, project.bench, (model,), QUICK, project.folder, lambda news: said.append(str(news)), 1, search,
                          started, started + 60)  # fmt: skip
        accepted, refused = attempt.one(project.reproduction, started + 60)
        asked = [json.dumps(chat.body) for chat in server.chats]
        headers = [request.headers.get("authorization") for request in server.requests]
    assert set(headers) == {f"Bearer {KEY}"}  # it is in use
    assert os.environ["LEDEX_INFERENCE_API_KEY"] == KEY  # and what runs patches was started from an environment that holds it
    proposals = (*([accepted] if accepted else []), *refused)
    outcome = Outcome("fixed" if accepted else "unfixed", "; ".join(search.notes) or "-", project.reproduction, proposals, search=search)
    row = FixRow(repository="octo/shop", head_sha="a" * 40)
    kept = trajectory_json(trajectory(row, outcome, "b" * 40, (), {}, "id"))
    found = [caplog.text, *said, *asked, json.dumps(kept), json.dumps(outcome_json(outcome)), comment(outcome), repr(load_settings())]
    if accepted is not None:
        assert "PATH" in asked[1]  # the environment was shown
    assert [text for text in found if KEY in text] == []
