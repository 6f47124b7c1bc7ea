"""``ledex fix`` from the command line to the verified patch: real sandbox, real tests, real git."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.end_to_end.checkouts import FIXED, PRICES, ROOT, STACK, UNFIXED, Checkout, Run, command, passing
from tests.end_to_end.conftest import Ran

SCHEMA = json.loads((ROOT / "inference" / "outcome.schema.json").read_text(encoding="utf-8"))
APPLIED = "unittest"
"""The one checkout that was fixed with --apply."""
CODES = {
    "unfixed": 1, "half fixed": 1, "flaky": 1, "pre_existing": 1, "passing": 3, "unreadable name": 3, "no tests": 4, "syntax error": 4,
    "import error": 4, "hanging": 4,
    "no such command": 4, "too large": 2, "too large for the sandbox": 4}  # fmt: skip
REASONS = {
    "unfixed": r"^no edit of \d+ tried makes the failing tests pass",
    "half fixed": r"^repairs 1 of 2 failing tests; verified V[34]$",
    "flaky": r"^test_luck\.py::test_luck\[\d+\] fails in one run and passes in another$",
    "pre_existing": r"^test_add\.py::test_add fails on the base too$",
    "passing": r"^all 1 tests pass$",
    "unreadable name": r"^all 1 tests pass$",
    "no tests": r"^no tests were found: name the command that runs them with --test$",
    "syntax error": r"^test_add\.py cannot be imported \(SyntaxError: .*\): make the tests importable$",
    "import error": r"^test_add\.py cannot be imported \(ModuleNotFoundError: .*no_such_module.*\): make the tests importable$",
    "hanging": r"^the tests passed the time limit after \d+ s: ",
    "no such command": r"no-such-runner.*not found",
    "too large for the sandbox": r"tree_mb",
}
STATUSES = {"unfixed": "unfixed", "flaky": "flaky", "pre_existing": "pre_existing", "passing": "passing",
            "no tests": "broken"}  # fmt: skip
fixed = pytest.mark.parametrize("name", FIXED)
unfixed = pytest.mark.parametrize("name", UNFIXED)
every = pytest.mark.parametrize("name", [*FIXED, *UNFIXED])


# --- repaired -----------------------------------------------------------------------------------------------------------------------------


@fixed
def test_a_repaired_checkout_exits_with_0(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.code == 0, run.stdout + run.stderr


@fixed
def test_a_repair_was_verified_at_v3_or_above(ran: Ran, name: str) -> None:
    assert ran(name).best["verdict"]["level"] in ("V3", "V4")


@fixed
def test_a_repair_was_refused_by_no_check(ran: Ran, name: str) -> None:
    assert ran(name).best["verdict"]["refused_by"] is None


@pytest.mark.parametrize(("name", "words"), [
    ("named like ours", ["tests/test_cli.py::test_total_adds_the_shipping", "bot/cli.py:11", "820", "Invoice.total"]),
    ("src layout", ["tests/test_count.py::test_weeks_and_days", "src/weeks/count.py:1", "16", "14"]),
    ("two bugs", ["test_prices.py::test_total", "prices.py:4", "25", "35", "test_prices.py::test_rest", "prices.py:7", "14", "6"]),
    ("unittest", ["tests.test_stack.StackTest.test_peek", "stack.py:11", "6", "7"]),
    ("odd tree", ["test_area.py::test_area", "area.py:6", "90"]),
    ("no dependency file", ["test_limits.py::test_allowed[18-True]", "limits.py:2", "False", "age=18"]),
])  # fmt: skip
def test_the_explanation_names_test_file_line_and_values(ran: Ran, name: str, words: list[str]) -> None:
    explanation = ran(name).best["explanation"]
    assert [w for w in words if w not in explanation] == [], explanation


@fixed
def test_explanation_and_patch_are_printed(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.best["explanation"] in run.stdout
    assert run.patch.decode("utf-8", "replace") in run.stdout


@pytest.mark.parametrize("name", sorted(set(FIXED) - {APPLIED}))
def test_the_patch_applies_with_git_and_the_tests_then_pass(ran: Ran, name: str, tmp_path: Path) -> None:
    run = ran(name)
    copy = tmp_path / "copy"
    shutil.copytree(run.checkout.folder, copy, symlinks=True)
    subprocess.run(["chmod", "-R", "u+w", str(copy)], check=True, capture_output=True)
    subprocess.run(["git", "apply", "-"], input=run.patch, cwd=copy, check=True, capture_output=True)
    assert _own_tests(copy, "pytest", "-q", "-p", "no:cacheprovider") == 0


def test_the_tests_pass_after_apply(ran: Ran) -> None:
    assert _own_tests(ran(APPLIED).checkout.folder, "unittest") == 0


def _own_tests(folder: Path, *arguments: str) -> int:
    done = subprocess.run([sys.executable, "-B", "-m", *arguments], cwd=folder, capture_output=True, check=False, timeout=60,
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ""})  # fmt: skip
    return done.returncode


@pytest.mark.parametrize(("name", "changed"), [
    ("named like ours", ["bot/cli.py"]), ("src layout", ["src/weeks/count.py"]), ("two bugs", ["prices.py"]),
    ("unittest", ["stack.py"]), ("odd tree", ["area.py"]), ("no dependency file", ["limits.py"])])  # fmt: skip
def test_the_patch_touches_only_the_files_with_bugs(ran: Ran, name: str, changed: list[str]) -> None:
    assert re.findall(rb"^\+\+\+ b/(.*)$", ran(name).patch, re.M) == [c.encode() for c in changed]


def test_only_the_edited_tokens_of_a_crlf_file_change(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_bytes(PRICES)
    subprocess.run(["git", "apply", "-"], input=ran("two bugs").patch, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "prices.py").read_bytes() == PRICES.replace(b") - fee", b") + fee").replace(b"paid + due", b"paid - due")


def test_only_the_edited_token_of_a_latin_1_file_changes(ran: Ran) -> None:
    assert (ran(APPLIED).checkout.folder / "stack.py").read_bytes() == STACK.replace(b"-2", b"-1")


def test_bugs_in_neighbouring_functions_are_joined_in_one_patch(ran: Ran) -> None:
    run = ran("two bugs")
    assert (run.patch.count(b"\n@@ "), "2 of 2 failing tests pass" in run.stdout) == (1, True)


@fixed
def test_the_first_plausible_patch_comes_before_the_chosen_one(ran: Ran, name: str) -> None:
    outcome = ran(name).outcome
    assert outcome is not None
    assert 0 < outcome["timings"]["first_plausible"] < outcome["timings"]["chosen"]


def test_a_constant_of_a_module_is_repaired_in_its_line(ran: Ran) -> None:
    assert b"-DAYS = 8\n+DAYS = 7\n" in ran("src layout").patch


# --- not repaired -------------------------------------------------------------------------------------------------------------------------


@unfixed
def test_what_is_not_repaired_exits_with_its_code(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.code == CODES[name], run.stdout + run.stderr


@pytest.mark.parametrize("name", STATUSES)
def test_the_status_says_what_was_found(ran: Ran, name: str) -> None:
    outcome = ran(name).outcome
    assert outcome is not None
    assert outcome["status"] == STATUSES[name]


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_one_clear_line(ran: Ran, name: str) -> None:
    assert re.search(REASONS[name], ran(name).reason), ran(name).reason


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_printed(ran: Ran, name: str) -> None:
    assert ran(name).reason.split(";")[0] in ran(name).stdout


def test_a_patch_that_repairs_a_part_is_shown_but_is_no_fix(ran: Ran) -> None:
    run = ran("half fixed")
    assert (run.outcome is not None and run.outcome["status"], b"add.py" in run.patch) == ("unfixed", True)


def test_a_checkout_above_the_tree_limit_is_named_on_stderr(ran: Ran) -> None:
    assert (
        ran("too large").stderr == "ledex: the checkout is larger than 1024 MB ('data.bin' passed it): ignore large files in .gitignore\n"
    )


# --- wrong use ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return passing(tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize(("arguments", "words"), [
    (["/nowhere/at/all"], "/nowhere/at/all does not exist"),
    (["{checkout}/add.py"], "is not a folder"),
    (["{folder}/no-git"], "is no git checkout: run `git init`"),
    (["{checkout}", "--python", "/missing"], "/missing cannot be read (No such file or directory): give the path of a Python executable"),
    (["{checkout}", "--env", "NO_VALUE"], "--env 'NO_VALUE' is not of the form NAME=VALUE"),
    (["{checkout}", "--config", "{folder}/absent.toml"], "absent.toml cannot be read: No such file or directory"),
    (["{checkout}", "--config", "{folder}/torn.toml"], "torn.toml is no valid TOML: "),
    (["{checkout}", "--config", "{folder}/wrong.toml"], "wrong.toml: verify.repeats: "),
    (["{checkout}", "--base", "no-such-branch"], "'no-such-branch' names no commit in this repository"),
    (["{checkout}", "--base=--all"], "'--all' is no revision"),
    (["{checkout}", "--engine", "model"], "no model is configured: set LEDEX_INFERENCE_ENDPOINTS"),
    (["{checkout}", "--json", "{folder}/no/such/folder.json"], "folder.json cannot be written: No such file or directory"),
    (["{checkout}", "--json", "{folder}/folder"], "folder cannot be written: it is a folder"),
    (["{checkout}", "--budget", "0"], "--budget"),
    (["{checkout}", "--test", "pytest 'x"], "the test command cannot be read"),
])  # fmt: skip
def test_wrong_use_exits_with_2_one_reason_and_no_json(checkout: Checkout, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "no-git").mkdir()
    (tmp_path / "torn.toml").write_text("[verify\n")
    (tmp_path / "wrong.toml").write_text("[verify]\nrepeats = 'many'\n")
    file = tmp_path / "outcome.json"
    (tmp_path / "folder").mkdir()
    given = [a.format(checkout=checkout.folder, folder=tmp_path) for a in arguments]
    done = command("fix", "--python", sys.executable, "--json", file, *given)
    stderr = done.stderr.decode()
    assert (done.returncode, file.exists(), words in stderr, "Traceback" in stderr) == (2, False, True, False), stderr


# --- every run ----------------------------------------------------------------------------------------------------------------------------


@every
def test_no_traceback_is_ever_shown(ran: Ran, name: str) -> None:
    run = ran(name)
    assert "Traceback" not in run.stderr + run.stdout.split("diff --git")[0]


@every
def test_stderr_is_at_most_one_line(ran: Ran, name: str) -> None:
    assert len(ran(name).stderr.splitlines()) <= 1


@pytest.mark.parametrize("name", sorted({*FIXED, *UNFIXED} - {APPLIED}))
def test_the_checkout_is_unchanged_byte_for_byte(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.after == run.before


def test_apply_changes_exactly_the_patched_file(ran: Ran) -> None:
    run = ran(APPLIED)
    assert set(_contents(run.after) ^ _contents(run.before)) == {
        ("stack.py", run.before["stack.py"][2]), ("stack.py", run.after["stack.py"][2])}  # fmt: skip


def _contents(state: dict[str, tuple[int, int, str]]) -> set[tuple[str, str]]:
    return {(name, content) for name, (_, _, content) in state.items()}


@pytest.mark.parametrize("name", sorted({*FIXED, *UNFIXED} - {"too large"}))
def test_the_json_file_is_valid_against_the_shipped_schema(ran: Ran, name: str) -> None:
    jsonschema.validate(ran(name).outcome, SCHEMA)


def test_no_json_is_written_for_a_checkout_that_cannot_be_read(ran: Ran) -> None:
    assert ran("too large").outcome is None


def test_json_to_standard_output_is_nothing_but_json(tmp_path: Path) -> None:
    checkout = passing(tmp_path)
    done = command("fix", checkout.folder, "--python", sys.executable, "--json", "-")
    assert json.loads(done.stdout)["status"] == "passing"


def test_a_run_ends_within_its_budget_and_a_little(ran: Ran) -> None:
    run = ran("unfixed")
    assert isinstance(run, Run)
    assert run.outcome is not None
    assert run.outcome["timings"]["search"] < 4 + 10
