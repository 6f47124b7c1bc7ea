"""From the settings to a bot that can work: its client of GitHub, who it is there, its handlers, and what its timer does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from bot import store
from bot.context import Context
from bot.erasure import enforce_retention
from bot.github import GitHubError, NotFound
from bot.github.client import GitHub
from bot.github.deliveries import redeliver_lost
from bot.github.protocol import READING, App
from bot.github.tokens import Credentials
from bot.github.transport import Manners
from bot.handlers import default_handlers
from bot.kept_outcome import SWEEP_SECONDS, sweep_outcomes
from bot.planning import Identity, JobSpec
from bot.sandbox_service import RemoteRepair
from bot.serving import open_context, with_handlers
from bot.settings import BotSettings
from inference import InferenceError
from inference.settings import InferenceSettings

log = logging.getLogger(__name__)
MISSED_RUNS_SECONDS, RETENTION_SECONDS = 1800.0, 3600.0
ADAPTER_SECONDS = 60.0
LOOK_BACK = timedelta(days=3)
"""GitHub keeps deliveries for so long."""


def open_bot(settings: BotSettings) -> Context:
    """Database, client, handlers and identity. Raises BotConfigurationError."""
    github = connect(settings)
    extra = {"repair": RemoteRepair(settings.sandbox_socket)} if settings.sandbox_socket is not None else {}
    return with_handlers(open_context(settings), default_handlers(), github=github, identity=identify(settings, github), extra=extra)


def connect(settings: BotSettings) -> GitHub | None:
    """The App's client; None without credentials. Raises BotConfigurationError for a key that cannot be read."""
    if not settings.is_configured or settings.app_id is None:
        return None
    credentials = Credentials(str(settings.app_id), settings.read_private_key().get_secret_value())
    return GitHub(credentials, Manners(api_url=settings.api_url), settings.web_url)


def identify(settings: BotSettings, github: App | None) -> Identity:
    """Who we are, as far as it is known; GitHub is asked for the account's number where the settings do not hold it."""
    account = settings.account_id
    if account is None and github is not None:
        try:
            login = github.identity().login
            for installation in github.installations():
                for repository_id, repository in github.repositories(installation).items():
                    with github.for_step(installation, repository_id, repository, {"metadata": "read"}) as session:
                        return Identity(settings.app_id, session.user_id(login))
        except GitHubError as error:  # it is asked again at the next start; until then our own comments are known by the App's id
            log.warning("the App's account is not known yet: %s", error)
    return Identity(settings.app_id, account)


def timers(context: Context, model: InferenceSettings | None = None) -> dict[str, tuple[float, Callable[[Context], None]]]:
    """What the timer does beside its sweeps; ``model`` for those that keep its adapters as the registry says."""
    always: dict[str, tuple[float, Callable[[Context], None]]] = {
        "retention": (RETENTION_SECONDS, enforce_retention), "outcomes": (SWEEP_SECONDS, sweep_outcomes)}  # fmt: skip
    if model is not None and model.addresses and model.adapters is not None:
        always["adapters"] = (ADAPTER_SECONDS, synchronizer(model))
    if context.github is None:
        return always
    return always | {
        "redelivery": (context.settings.redelivery_seconds, redeliver), "missed-runs": (MISSED_RUNS_SECONDS, find_missed_runs),
    }  # fmt: skip


def synchronizer(model: InferenceSettings) -> Callable[[Context], None]:
    """Puts adapters on the model's servers when they are published, made the canary or rolled back, and takes off those out of use."""
    from inference.adapters import Registry
    from inference.model.openai import OpenAISampler

    assert model.adapters is not None
    sampler = OpenAISampler(model, Registry(model.adapters))

    def synchronize(context: Context) -> None:
        try:
            told = sampler.synchronize()
        except InferenceError as error:
            log.warning("the adapters cannot be kept up to date: %s", error)
            return
        for url, why in told.items():
            log.warning("the adapters at %s are not up to date: %s", url, why)

    return synchronize


def redeliver(context: Context) -> None:
    """Ask again for deliveries that never arrived: GitHub never does so by itself."""
    assert context.github is not None

    def recorded(guid: str) -> bool:
        with context.database.reading() as session:
            return bool(store.known_deliveries(session, [guid]))

    now = datetime.fromtimestamp(context.clock(), UTC)
    try:
        asked = redeliver_lost(context.github, now - LOOK_BACK, recorded, now)
    except GitHubError as error:
        log.warning("lost deliveries could not be looked for: %s", error)
        return
    if asked:
        log.info("asked GitHub for %d lost deliveries", len(asked))


def find_missed_runs(context: Context) -> None:
    """The last resort: runs that failed and of which no delivery tells. The job's key makes those that are known already no new ones."""
    assert context.github is not None
    since = datetime.fromtimestamp(context.clock(), UTC) - timedelta(hours=6)
    try:
        for installation in context.github.installations():
            if installation in context.settings.disabled_installations:
                continue
            for repository_id, repository in context.github.repositories(installation).items():
                if repository not in context.settings.disabled_repositories:
                    _find_missed_runs(context, context.github, installation, repository_id, repository, since)
    except GitHubError as error:
        log.warning("missed runs could not be looked for: %s", error)


def _find_missed_runs(context: Context, app: App, installation: int, repository_id: int, repository: str, since: datetime) -> None:
    with app.for_step(installation, repository_id, repository, READING) as github:
        specs = []
        for run_id in github.failed_run_ids(since):
            try:
                run = github.failed_run(run_id)
            except NotFound:
                continue
            key = f"failed_run:{repository_id}:run:{run_id}:{run.attempt}"
            payload = {"is_actions": True, "run_id": run_id, "run_attempt": run.attempt, "head_branch": run.head_branch}
            specs.append(JobSpec("failed_run", key, payload, repository_id, repository, installation, None, run.head_sha))
    with context.database.writing() as session:
        store.enqueue(session, specs, context.clock())  # the next sweep sends them
