"""The ``ledex`` command line: a thin shell over ``inference.repair``."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bot import adapters_cli, server_cli, terminal
from bot.saying import fail, warn
from inference import InferenceError
from inference.policy import Policy, load_policy
from inference.repair import Outcome, RepairRequest, outcome_json, repair_checkout
from sandbox import SandboxError, WorkspaceError
from sandbox.interpreters import locate

EXIT = {"fixed": 0, "unfixed": 1, "flaky": 1, "pre_existing": 1, "passing": 3, "broken": 4}

app = typer.Typer(add_completion=False, no_args_is_help=True,
                  help="Repair failed CI: explain the failure, patch it, prove the patch in a sandbox.",
                  pretty_exceptions_enable=False)  # fmt: skip
app.add_typer(server_cli.commands)
app.add_typer(server_cli.registration, name="app")
app.add_typer(adapters_cli.commands, name="adapters")


class EngineName(StrEnum):
    auto = "auto"
    templates = "templates"
    model = "model"


@app.command()
def fix(
    path: Annotated[Path, typer.Argument(help="A git checkout whose tests fail.")] = Path(),
    test: Annotated[str | None, typer.Option(metavar="CMD", help="The command that runs the tests; detected by default.")] = None,
    python: Annotated[Path | None, typer.Option(metavar="EXE", help="Use this interpreter instead of building an environment.")] = None,
    base: Annotated[str | None, typer.Option(metavar="REV", help="Report failures that this revision has too as pre-existing.")] = None,
    budget: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="From the reproduced failure to the verified patch.")] = 120.0,
    setup_timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="For building the environment.")] = 600.0,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Candidate servers that search side by side.")] = 1,
    engine: Annotated[EngineName, typer.Option(help="Who proposes patches.")] = EngineName.auto,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Policy file; default: .github/ledex.toml of the checkout.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Environment variable for the tests; may be repeated.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome as JSON ('-': standard output).")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Apply the verified patch to the checkout.")] = False,
    unsafe_no_sandbox: Annotated[bool, typer.Option("--unsafe-no-sandbox", help="Run the project's code WITHOUT isolation.")] = False,
) -> None:
    """Explain why a checkout's tests fail, and print a patch that was seen to fail before and pass after, in a clean sandbox."""
    try:
        request = RepairRequest(
            path=path, test=test, python=python, base=base, budget=budget, setup_timeout=setup_timeout, jobs=jobs, engine=engine.value,
            environment=_variables(env or []), policy=_policy(path, config), unsafe=unsafe_no_sandbox)  # fmt: skip
        if json_file is not None and json_file != Path("-"):
            _check_writable(json_file)
        if python is not None:
            locate(python)  # what was typed wrong is wrong use, not a project whose tests cannot be run
        outcome = _run(request, quiet=json_file == Path("-"))
        if json_file is not None:
            _write(json_file, outcome_json(outcome))
        if apply and outcome.best is not None:
            _apply(path, outcome.best.patch)
    except (InferenceError, SandboxError) as error:
        raise fail(str(error)) from None
    raise typer.Exit(EXIT[outcome.status])


@app.command(name="demo")
def demonstrate(
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Leave the sample repository and the pages here.")] = None,
) -> None:
    """Show the whole App in one process: an emulated GitHub, a pull request that breaks tests, a signed webhook, the bot's comment."""
    from bot.demo import show

    try:
        fixed = show.demonstrate(Console(highlight=False), keep)
    except FileExistsError as error:
        raise fail(f"{error.filename} is there already: give --keep another folder") from None
    except (InferenceError, SandboxError) as error:
        raise fail(str(error)) from None
    raise typer.Exit(0 if fixed else 1)


def main() -> None:
    """Entry point of the ``ledex`` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a value of the project must not end the command in a locale that lacks its letters
            stream.reconfigure(errors="backslashreplace")
    app()


def _run(request: RepairRequest, quiet: bool = False) -> Outcome:
    console = Console(stderr=quiet, highlight=False)
    with terminal.watch(console) as report:
        outcome = repair_checkout(request, report)
    terminal.show(outcome, console)
    return outcome


def _policy(path: Path, config: Path | None) -> Policy:
    if config is not None:
        return load_policy(config, warn)
    default = path / ".github" / "ledex.toml"
    return load_policy(default, warn) if default.is_file() else Policy()


def _variables(pairs: list[str]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier():
            raise WorkspaceError(f"--env {pair!r} is not of the form NAME=VALUE")
        variables[name] = value
    return variables


def _write(file: Path, outcome: dict[str, Any]) -> None:
    text = json.dumps(outcome, indent=1)
    if file == Path("-"):
        sys.stdout.write(text + "\n")
        return
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"{file} cannot be written: {error.strerror}") from error


def _check_writable(file: Path) -> None:
    """Minutes of work should not end in a path that was wrong from the start. Raises WorkspaceError."""
    where = file if file.exists() else file.parent
    if file.is_dir() or not os.access(where, os.W_OK):
        why = "it is a folder" if file.is_dir() else os.strerror(errno.EACCES if where.exists() else errno.ENOENT)
        raise WorkspaceError(f"{file} cannot be written: {why}")


def _apply(path: Path, patch: bytes) -> None:
    """Apply with git, all or nothing; the user's own git configuration decides about white space."""
    top = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=path, capture_output=True, check=False)
    done = subprocess.run(
        ["git", "apply", "-"], cwd=os.fsdecode(top.stdout).removesuffix("\n") or path, input=patch, capture_output=True, check=False
    )
    if done.returncode:
        raise WorkspaceError(f"the patch could not be applied: {done.stderr.decode(errors='replace').strip()}")


if __name__ == "__main__":
    main()
