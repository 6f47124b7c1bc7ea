"""The command line's own part: options, exit codes, and files. What a whole repair does is shown in ``tests/end_to_end``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot import demo
from bot.cli import EXIT, app


def ledex(*arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a command that ends before anything runs in a sandbox."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.output


@pytest.mark.parametrize("status", ["fixed", "unfixed", "flaky", "pre_existing", "passing", "broken"])
def test_every_status_has_an_exit_code(status: str) -> None:
    assert EXIT[status] in (0, 1, 3, 4)


def test_only_a_fix_exits_with_0() -> None:
    assert [s for s, code in EXIT.items() if code == 0] == ["fixed"]


@pytest.mark.parametrize("option", [
    "--test", "--python", "--base", "--budget", "--setup-timeout", "--jobs", "--engine", "--config", "--env", "--json", "--apply",
    "--unsafe-no-sandbox"])  # fmt: skip
def test_the_help_names_every_option(option: str) -> None:
    done = CliRunner().invoke(app, ["fix", "--help"], env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    assert option in done.output


@pytest.mark.parametrize(
    "arguments", [["--budget", "0"], ["--jobs", "0"], ["--engine", "magic"], ["--setup-timeout", "x"], ["--no-such-option"]]
)
def test_an_option_that_cannot_be_used_is_wrong_use(arguments: list[str], tmp_path: Path) -> None:
    assert ledex("fix", tmp_path, *arguments)[0] == 2


@pytest.mark.parametrize("pair", ["NAME", "=value", "1NAME=value", "A B=value"])
def test_a_variable_that_is_none_is_wrong_use(pair: str, tmp_path: Path) -> None:
    code, output = ledex("fix", tmp_path, "--env", pair)
    assert (code, output) == (2, f"ledex: --env {pair!r} is not of the form NAME=VALUE\n")


def test_a_broken_policy_of_the_checkout_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "ledex.toml").write_text("[limits]\nmax_files = 0\n")
    code, output = ledex("fix", tmp_path)
    assert (code, output.startswith(f"ledex: {tmp_path}/.github/ledex.toml: limits.max_files: ")) == (2, True)


def test_an_unknown_key_of_the_policy_is_one_warning_and_no_end(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[verify]\nrepeat = 9\n[limts]\nmax_files = 1\n")
    code, output = ledex("fix", tmp_path / "absent", "--config", file)
    first, second, *_, last = output.splitlines()
    assert first == (
        f"ledex: warning: {file}: verify.repeat is no known key and is left alone; "
        "[verify] knows level, repeats, full_suite, regression_test, confidence")  # fmt: skip
    assert second.startswith(f"ledex: warning: {file}: limts is no known key and is left alone; the file knows version, environment, ")
    assert (code, last) == (2, f"ledex: {tmp_path}/absent does not exist: name a git checkout")


@pytest.mark.parametrize(("python", "words"), [
    ("missing", "cannot be read (No such file or directory): give the path of a Python executable"),
    (".", "cannot be read (Is a directory): give the path of a Python executable"),
    ("notes.txt", "is no program: give the path of a Python executable"),
])  # fmt: skip
def test_an_interpreter_that_is_none_is_wrong_use(tmp_path: Path, python: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("no program\n")
    code, output = ledex("fix", tmp_path, "--python", tmp_path / python)
    assert (code, output) == (2, f"ledex: {tmp_path / python} {words}\n")


def test_brackets_in_a_message_are_no_markup(tmp_path: Path) -> None:
    output = ledex("fix", tmp_path / "[red]x[/]")[1]
    assert output.endswith(f"ledex: {tmp_path}/[red]x[/] does not exist: name a git checkout\n")


def test_an_outcome_that_could_not_be_written_is_found_before_any_work(tmp_path: Path) -> None:
    code, output = ledex("fix", tmp_path / "absent", "--json", tmp_path / "no" / "folder.json")
    assert (code, "folder.json cannot be written: No such file or directory" in output) == (2, True)


def test_no_command_shows_the_help() -> None:
    assert "fix" in ledex()[1]


def test_the_sample_is_laid_out_as_a_repository_with_one_commit(tmp_path: Path) -> None:
    checkout = demo.lay_out(tmp_path / "corner-shop")
    log = subprocess.run(["git", "log", "--format=%an: %s"], cwd=checkout, capture_output=True, check=True, text=True).stdout
    assert log == "Corner Shop: Open the shop\n"


def test_the_sample_is_clean_after_it_is_laid_out(tmp_path: Path) -> None:
    checkout = demo.lay_out(tmp_path / "corner-shop")
    assert subprocess.run(["git", "status", "--porcelain"], cwd=checkout, capture_output=True, check=True).stdout == b""


def test_the_sample_is_never_laid_over_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        demo.lay_out(tmp_path)


def test_serve_without_the_vllm_that_its_settings_ask_for_says_the_ways_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDEX_BOT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEDEX_INFERENCE_VLLM", "qwen")
    monkeypatch.setenv("LEDEX_INFERENCE_VLLM_PYTHON", str(tmp_path / "absent"))
    code, output = ledex("serve", "--port", "0")
    assert code == 2
    assert "LEDEX_INFERENCE_VLLM_PYTHON: " in output
    assert output.count("\n") == 1
