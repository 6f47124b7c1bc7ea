"""The outcome's format: schema, golden file, and what a reader may rely on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from inference import outcome as module
from inference.edits import FunctionSource
from inference.localization import Suspect
from inference.outcome import Outcome, Timings, outcome_json
from inference.proposer import Proposal, Search
from inference.trajectory import Message, Round
from sandbox.report import Failure, Frame
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict

GOLDEN = Path(__file__).parent / "fixtures" / "outcome.json"
SCHEMA = json.loads(Path(module.__file__).with_name("outcome.schema.json").read_text(encoding="utf-8"))


def verdict(level: int, refused_by: str | None, *checks: Check, after: Counts | None = None) -> Verdict:
    return Verdict(level, refused_by, checks, 3, Counts(4, 1, 5), after, 2.34567)


ACCEPTED = verdict(
    4, None, Check("applies", 0, "passed", "applies to shop.py"), Check("mutation", 4, "no_opinion", "no mutant could be made"),
    after=Counts(5, 0, 5))  # fmt: skip
REFUSED = verdict(-1, "allowed", Check("allowed", 0, "failed", "the patch changes a test (test_shop.py)"))


def outcome() -> Outcome:
    """One of everything, with values that are easily told apart."""
    failure = Failure("test_shop.py::test_total", "AssertionError", "assert 25 == 35", (Frame("shop.py", 5, "total"),), "long text")
    shown = Proposal(b"--- a/shop.py\n+\xe9\n", "Because.", "templates", -0.5, "shop.py:total:00c0ffee", "shop.py", 5, "total",
                     "arithmetic", ACCEPTED, signals={"margin": 1.23456, "share": 0.5}, score=0.87654)  # fmt: skip
    refused = Proposal(b"--- a/test_shop.py\n", "No.", "templates", -1.0, None, "test_shop.py", 1, "test_total", "constant", REFUSED,
                       withheld="too weak")  # fmt: skip
    unverified = Proposal(b"", "Not yet.", "model", -2.0, round=1, model="tiny + shop@3")
    turns = tuple(Message(role, "") for role in ("user", "assistant", "user"))
    rounds = [Round("model", "", messages=turns, extra={"refused": "no_edits"}),
              Round("model", "", messages=(*turns, *turns[1:]))]  # fmt: skip
    search = Search(120, {"in_process": 100, "fork": 7, "cold": 2}, {"in_process": 0.5, "fork": 0.25, "cold": 4.0}, False, 0.125,
                    "in_process", ["tier in_process: two runs agree"], rounds, {"prompt": 900, "cached": 300, "completion": 80}, 1.23456,
                    0.0125, ["tiny + shop@3"])  # fmt: skip
    suspect = Suspect(FunctionSource("shop.py", "", "total", 0, 0), 1.23456, 4)
    return Outcome(
        "fixed", "verified V4", Reproduction("failing", "1 of 5 tests fail", (failure,), (failure.test_id,)), (shown, refused, unverified),
        (suspect,), search, Timings(1.0, 2.0, 3.00049, 0.125, 2.5, 6.0), ("pytest only",), "/env/bin/python",
        "python -m pytest")  # fmt: skip


def steady(found: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the machine."""
    return {**found, "versions": {**found["versions"], "ledexbot": "0", "host_python": "3", "cpus": 1}}


def test_the_format_is_that_of_the_golden_file() -> None:
    assert steady(outcome_json(outcome())) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_golden_file_is_valid() -> None:
    jsonschema.validate(json.loads(GOLDEN.read_text(encoding="utf-8")), SCHEMA)


def test_the_schema_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("status", ["unfixed", "flaky", "pre_existing", "passing", "broken"])
def test_an_outcome_with_nothing_in_it_is_valid(status: Any) -> None:
    jsonschema.validate(outcome_json(Outcome(status, "a reason")), SCHEMA)


def test_bytes_of_a_patch_survive_json() -> None:
    found = json.loads(json.dumps(outcome_json(outcome())))
    assert found["proposals"][0]["patch"].encode("utf-8", "surrogateescape") == b"--- a/shop.py\n+\xe9\n"


def _set(*path: str | int, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize("change", [
    _set("format", value=2), _set("status", value="done"), _set("reason", value=""), _set("proposals", 0, "verdict", "level", value="V9"),
    _set("proposals", 0, "verdict", "level", value="V2"), _set("proposals", 0, "verdict", value=None), _set("proposals", value=[]),
    _set("proposals", 0, "verdict", "checks", 0, "status", value="maybe"), _set("failures", 0, "frames", 0, value=["shop.py", "five", "f"]),
    _set("timings", "total", value=-1), _set("candidates", "cold", value=0.5), _set("candidates", "tier", value="cold"),
    _set("proposals", 0, "verdict", "refused_by", value="target"), _set("proposals", 0, "origin", value="oracle"),
])  # fmt: skip
def test_the_schema_refuses_what_the_format_does_not_allow(change: Callable[[Any], None]) -> None:
    found = json.loads(GOLDEN.read_text(encoding="utf-8"))
    change(found)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(found)


def _objects(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*([value] if isinstance(value, dict) else []), *(o for v in inner for o in _objects(v))]


def test_every_key_of_the_format_is_required() -> None:
    """Only the signals' names, the seconds by tier and the reasons of refused answers depend on what was done."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    optional = set()
    for number, found in enumerate(_objects(golden)):
        for key in found:
            changed = copy.deepcopy(golden)
            del _objects(changed)[number][key]
            if jsonschema.Draft202012Validator(SCHEMA).is_valid(changed):
                optional.add(key)
    assert optional == {"in_process", "fork", "cold", "no_edits", "margin", "share"}


def test_fields_that_a_later_version_adds_are_kept() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for found in _objects(golden):
        found["added_later"] = 1.0
    jsonschema.validate(golden, SCHEMA)


# --- what an outcome says -----------------------------------------------------------------------------------------------------------------


def test_the_best_proposal_is_the_first_accepted_one() -> None:
    found = outcome()
    assert found.best is found.proposals[0]


@pytest.mark.parametrize("given", [REFUSED, None, verdict(2, "regressions"), verdict(4, "mutation"), verdict(2, None)])
def test_a_proposal_that_was_not_accepted_is_never_the_best(given: Verdict | None) -> None:
    assert Outcome("unfixed", "no", proposals=(Proposal(b"", "", "model", 0.0, verdict=given),)).best is None


def test_a_withheld_patch_is_not_the_one_to_show() -> None:
    weak = Proposal(b"x", "", "model", 0.0, verdict=ACCEPTED, withheld="it is weak")
    shown = Proposal(b"y", "", "model", 0.0, verdict=ACCEPTED)
    assert Outcome("fixed", "no", proposals=(weak, shown)).best is shown


@pytest.mark.parametrize(("level", "text"), [(-1, None), (0, "V0"), (3, "V3"), (4, "V4")])
def test_levels_are_written_as_rungs(level: int, text: str | None) -> None:
    assert verdict(level, None).to_json()["level"] == text
