"""The commands of whoever runs the App: serve, worker, sandbox, migrate, replay, export, forget, doctor, app create."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bot import BotError, terminal
from bot.saying import fail, tell, warn
from inference import InferenceError
from sandbox import SandboxError
from sandbox.interpreters import locate

if TYPE_CHECKING:
    from bot.context import Context
    from sandbox.cache import EnvironmentCache

commands = typer.Typer()
registration = typer.Typer(no_args_is_help=True, help="The GitHub App's registration.")


@commands.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Answer GitHub's webhooks (settings: LEDEX_BOT_...); without LEDEX_BOT_BROKER_URL the work is done here too.

    With LEDEX_INFERENCE_VLLM a vLLM runs beside it; the one that answers at its port already is used.
    """
    from bot import serving, setting_up
    from inference import settings as inference
    from inference.model.vllm import local_vllm

    with _explained():
        context, model = _opened(), inference.load_settings()
        beside = local_vllm(model, context.settings.data_dir / "vllm.log")
        serving.serve(context, host, port, setting_up.timers(context, model), beside)


@commands.command()
def worker(
    queues: Annotated[str, typer.Option(metavar="A,B", help="Which queues: webhooks, repair, feedback.")] = "webhooks,repair,feedback",
) -> None:
    """Do the jobs that `ledex serve` put on the broker of LEDEX_BOT_BROKER_URL."""
    from bot import serving, setting_up
    from inference import settings as inference

    with _explained():
        context = _opened()
        timers = setting_up.timers(context, inference.load_settings())
        serving.work(context, [q.strip() for q in queues.split(",") if q.strip()], timers)


@commands.command()
def sandbox(
    repositories: Annotated[Path, typer.Option(metavar="DIR", help="The worker's folder of fetched repositories, at the same path.")],
    socket: Annotated[Path, typer.Option(metavar="FILE", help="Unix socket to answer at.")] = Path("/run/ledex/sandbox.sock"),
    repairs: Annotated[int, typer.Option(min=1, max=64, help="Repairs side by side.")] = 1,
) -> None:
    """Do the repairs for `ledex worker` in a process without any secret (LEDEX_BOT_SANDBOX_SOCKET)."""
    from bot.sandbox_service import serve_sandbox

    with _explained():
        serve_sandbox(socket, repositories, repairs)


@commands.command()
def migrate() -> None:
    """Bring the database of LEDEX_BOT_DATABASE_URL up to date, and end: for deployments that start several processes at once."""
    from bot import serving
    from bot.settings import load_settings

    with _explained():
        settings = load_settings()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        serving.open_context(settings).database.engine.dispose()


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
    except (BotError, InferenceError, SandboxError) as error:
        raise fail(str(error)) from None


@commands.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A proof bundle: RUN.tar.gz.")],
    repository: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A checkout that has the commits; needed where the bundle holds no code.")
    ] = None,
    python: Annotated[Path | None, typer.Option(metavar="EXE", help="Use this interpreter instead of building an environment.")] = None,
    setup_timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="For building the environment.")] = 600.0,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Public key (PEM) that must have signed the bundle's statement.")] = None,
) -> None:
    """Run a proof again and say whether it still holds: exit status 0 if it does, 1 if not, 2 for a damaged bundle or wrong use."""
    from bot import replay as replaying
    from bot.bundle import read_bundle
    from bot.markdown import one_line
    from sandbox.selection import select_runner

    console = Console(highlight=False)
    try:
        found = read_bundle(file)
        if key is not None:
            replaying.check_signature(found, key)
        if python is not None:
            locate(python)
        runner = select_runner()
        with terminal.watch(console) as report:
            result = replaying.replay(found, runner, repository, python, setup_timeout, report)
    except (BotError, InferenceError, SandboxError) as error:
        raise fail(one_line(str(error), 600)) from None
    terminal.show_replay(found.proof, result.holds, result.reason, result.verdict, console)
    raise typer.Exit(0 if result.holds else 1)


@commands.command()
def export(
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only fixes posted since then (UTC).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here, and sources to trees/ beside it; default: standard output, no sources.")
    ] = None,
    follow: Annotated[
        float | None, typer.Option(min=1.0, metavar="SECONDS", help="Go on, and write the file anew so often; for `ledex-train loop`.")
    ] = None,
) -> None:
    """Write what repositories allow to be learnt from, one trajectory a line (policy: learning.use_feedback, learning.share_code)."""
    from bot.export import Exported
    from bot.export import export as write
    from bot.export import follow as go_on

    def told(written: Exported) -> None:
        tell(f"{written.trajectories} trajectories, {written.trees} sources")

    if follow is not None and out is None:
        raise fail("--follow writes the same file again and again: name it with --out FILE")
    with _explained():
        context, begin = _database_only(), since.replace(tzinfo=UTC).timestamp() if since is not None else 0.0
        if follow is not None and out is not None:
            go_on(context, out, begin, follow, told)
        told(write(context, out, sys.stdout, begin))


@commands.command()
def forget(
    installation: Annotated[int, typer.Argument(help="The installation's number, as GitHub shows it in its address.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase everything that is kept of an installation: rows, sources, checkouts, built environments and proof bundles."""
    from bot.erasure import forget_installation

    with _explained():
        context = _database_only()
        if not yes:
            typer.confirm(f"Erase everything of installation {installation} below {context.settings.data_dir}?", abort=True)
        erased = forget_installation(context.database, context.settings.data_dir, installation, context.clock(), _environments())
    tell(f"{erased.rows} rows and {erased.files} files erased; what was exported before lies where you put it")
    if erased.running:
        warn(f"{erased.running} jobs were running: run this again in a few minutes")
    if erased.still_installed:
        warn("the App is still installed there, and new events make new rows: uninstall it or set LEDEX_BOT_DISABLED_INSTALLATIONS")


def _environments() -> EnvironmentCache:
    from sandbox.cache import EnvironmentCache
    from sandbox.settings import SandboxSettings

    settings = SandboxSettings()
    return EnvironmentCache(settings.cache_folder, settings.cache_bytes)


def _database_only() -> Context:
    """The bot's data, without asking anything of GitHub."""
    from bot.serving import open_context
    from bot.settings import load_settings

    return open_context(load_settings())


@commands.command()
def doctor() -> None:
    """Check what this machine allows, the model and, where an App is set up, the way to GitHub; each finding with its way out."""
    from bot import doctor as examination
    from bot.setting_up import connect
    from bot.settings import load_settings
    from inference import settings as inference
    from inference.model import doctor as model_examination
    from sandbox.doctor import diagnose, measure_start
    from sandbox.selection import select_runner

    console = Console(highlight=False)
    machine = diagnose()
    terminal.show_findings(machine, console)
    with _explained():
        model = model_examination.examine(inference.load_settings())
        terminal.show_findings(model, console)
        settings = load_settings()
        between = examination.examine(settings, connect(settings)) if settings.is_configured or settings.webhook_secrets else []
    if between:
        terminal.show_findings(between, console)
    if not all(f.ok for f in (*machine, *model, *between)):
        raise typer.Exit(1)
    bare, sandboxed = measure_start(select_runner())
    console.print(f"a sandbox starts in {sandboxed:.1f} ms, {sandboxed - bare:.1f} ms over a bare process (median of 50)")


@registration.command(name="create")
def create_app(
    public_url: Annotated[str, typer.Option(metavar="URL", help="Where GitHub will reach `ledex serve`.")],
    organization: Annotated[str | None, typer.Option(metavar="NAME", help="Register it for this organisation.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="The App's name; GitHub wants it unique.")] = "ledex",
    commits: Annotated[bool, typer.Option("--commits", help="Also ask for contents: write, for /ledex apply and /ledex pr.")] = False,
    host: Annotated[str | None, typer.Option(metavar="URL", help="GitHub Enterprise Server; default: github.com.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the local page; 0: any.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the credentials that are stored already.")] = False,
) -> None:
    """Register the GitHub App in the browser, and store its credentials in LEDEX_BOT_DATA_DIR."""
    from bot import app_manifest
    from bot.settings import load_settings

    console = Console(highlight=False, soft_wrap=True)
    with _explained():
        addresses = {"web_url": host, "api_url": f"{host.rstrip('/')}/api/v3"} if host else {}
        settings = load_settings(public_url=public_url, **addresses)
        file = app_manifest.environment_file(settings.data_dir)
        if file.exists() and not replace:
            raise fail(f"{file} holds an App already: use --replace, or another LEDEX_BOT_DATA_DIR")
        plan = app_manifest.Plan(
            name, str(settings.public_url), settings.web_url, settings.api_url, organization=organization, commits=commits)  # fmt: skip
        made = app_manifest.create(plan, lambda page: console.print(f"Open {page} in a browser on this machine.", markup=False), port)
        lines = app_manifest.store(plan, made, settings.data_dir)
    console.print(f"Made {made.html_url}. The key and these settings, with the webhook secret, are in {file}:\n", markup=False)
    for line in lines:
        console.print(f"  {line}", markup=False)
    console.print(f"\nNext: set -a; . {file}; set +a; ledex serve", markup=False)
    console.print(f"Then install it: {made.html_url}/installations/new", markup=False)
