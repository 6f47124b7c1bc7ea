"""The ``ledex`` command line: a thin shell over ``inference.repair``."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bot import BotConfigurationError, demo, terminal
from inference import InferenceError
from inference.policy import Policy, load_policy
from inference.repair import Outcome, RepairRequest, outcome_json, repair_checkout
from sandbox import SandboxError, WorkspaceError
from sandbox.interpreters import locate

if TYPE_CHECKING:
    from bot.context import Context

EXIT = {"fixed": 0, "unfixed": 1, "flaky": 1, "pre_existing": 1, "passing": 3, "broken": 4}
WRONG_USE = 2

app = typer.Typer(add_completion=False, no_args_is_help=True,
                  help="Repair failed CI: explain the failure, patch it, prove the patch in a sandbox.",
                  pretty_exceptions_enable=False)  # fmt: skip


class EngineName(StrEnum):
    auto = "auto"
    templates = "templates"
    model = "model"


def fail(message: str) -> typer.Exit:
    """Print one sentence and leave with the code for wrong use."""
    _tell(message)
    return typer.Exit(WRONG_USE)


def warn(message: str) -> None:
    """Print one sentence beside the result, and go on."""
    _tell(f"warning: {message}")


def _tell(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"ledex: {message}", markup=False)


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
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Lay the sample repository out here and leave it.")] = None,
) -> None:
    """Repair a sample repository with several planted bugs: the main job, without server, GPU or weights."""
    with tempfile.TemporaryDirectory(prefix="ledex-demo-") as folder:
        checkout = demo.lay_out((keep or Path(folder)) / "corner-shop")
        console = Console(highlight=False)
        console.print(f"[bold]$ git clone corner-shop && ledex fix corner-shop[/]   [dim]({checkout})[/]")
        try:
            outcome = _run(RepairRequest(path=checkout, budget=60.0))
        except (InferenceError, SandboxError) as error:
            raise fail(str(error)) from None
    raise typer.Exit(EXIT[outcome.status])


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Answer GitHub's webhooks (settings: LEDEX_BOT_...); without LEDEX_BOT_BROKER_URL the work is done here too."""
    from bot import serving, setting_up

    with _explained():
        context = _opened()
        serving.serve(context, host, port, setting_up.timers(context))


@app.command()
def worker(
    queues: Annotated[str, typer.Option(metavar="A,B", help="Which queues: webhooks, repair, feedback.")] = "webhooks,repair,feedback",
) -> None:
    """Do the jobs that `ledex serve` put on the broker of LEDEX_BOT_BROKER_URL."""
    from bot import serving, setting_up

    with _explained():
        context = _opened()
        serving.work(context, [q.strip() for q in queues.split(",") if q.strip()], setting_up.timers(context))


def _opened() -> Context:
    """The bot of this process's settings, saying to standard error what it does."""
    import logging

    from bot.setting_up import open_bot
    from bot.settings import load_settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "alembic", "celery", "kombu"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return open_bot(settings)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BotConfigurationError as error:
        raise fail(str(error)) from None


@app.command()
def doctor() -> None:
    """Check what this machine allows, and print the one command that allows what it refuses."""
    from sandbox.doctor import diagnose, measure_start
    from sandbox.selection import select_runner

    console = Console(highlight=False)
    findings = diagnose()
    terminal.show_findings(findings, console)
    if not all(f.ok for f in findings):
        raise typer.Exit(1)
    bare, sandboxed = measure_start(select_runner())
    console.print(f"a sandbox starts in {sandboxed:.1f} ms, {sandboxed - bare:.1f} ms over a bare process (median of 50)")


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
