"""What ``ledex serve`` and ``ledex worker`` do: open the database, start the threads, and stop them in order."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvicorn

from bot import BotConfigurationError, store
from bot.app import create_app
from bot.context import Context
from bot.database import migrate, open_database
from bot.planning import FEEDBACK, QUEUES, REPAIR, WEBHOOKS, Identity
from bot.pulse import Pulse, unread_queues
from bot.scratch import scratch
from bot.settings import BotSettings
from bot.tasks import Extras, Sender, Timer, make_celery, run_job

log = logging.getLogger(__name__)
_IDLE_SECONDS = 2.0
SWITCH_SECONDS = 0.0005
"""How soon a busy thread makes room: with Python's 0.005 an acknowledgement waits for several workers' turns, each ten times as long."""
_Part = TypeVar("_Part", Sender, Timer)


def open_context(settings: BotSettings) -> Context:
    """A context with an up-to-date database. Raises BotConfigurationError."""
    database = open_database(settings.database)
    try:
        migrate(database)
    except OSError as error:
        raise BotConfigurationError(f"the database cannot be used: {error}") from None
    return Context(settings, database, identity=Identity(settings.app_id, settings.account_id))


def serve(
    context: Context, host: str, port: int, extras: Extras | None = None, beside: AbstractContextManager[None] | None = None
) -> None:
    """Answer GitHub until a signal comes; with the embedded queue also do the work. ``beside`` runs from before the first job until after
    the last one. Raises BotConfigurationError."""
    sys.setswitchinterval(SWITCH_SECONDS)
    with _listen(host, port) as listener, scratch(), beside or nullcontext(), running(context, extras) as app:
        print(listening_line(context, host, listener.getsockname()[1]), flush=True)
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10, lifespan="on")
        _on_signal(lambda: None)  # uvicorn raises the signal again once it has stopped, which would end the process before its workers
        uvicorn.Server(config).run(sockets=[listener])
        _on_signal(None)  # whoever asks twice does not want to wait
    _end(context)


def listening_line(context: Context, host: str, port: int) -> str:
    """Where webhooks are taken and what stands behind it, without any password or secret."""
    settings = context.settings
    shown = f"[{host}]" if ":" in host else host
    database = context.database.engine.url
    where = f"SQLite {database.database}" if context.database.is_sqlite else f"PostgreSQL {database.host or 'local'}/{database.database}"
    broker = urlsplit(settings.broker_url.get_secret_value())
    queue = "inside this process" if settings.is_embedded else f"{broker.scheme}://{broker.hostname or broker.path.rpartition('@')[2]}"
    github = f"App {settings.app_id}" if settings.is_configured else "not configured (deliveries are recorded and wait)"
    secret = "" if settings.webhook_secrets else "; no webhook secret is set, so deliveries are refused: set LEDEX_BOT_WEBHOOK_SECRET"
    return f"ledex: webhooks at http://{shown}:{port}/webhook; database: {where}; queue: {queue}; GitHub: {github}{secret}"


@contextmanager
def running(context: Context, extras: Extras | None = None) -> Iterator[Any]:
    """The web application with everything around it started: for ``serve()``, the demo, and tests."""
    settings = context.settings
    with ExitStack() as stack:
        if settings.is_embedded and context.database.is_sqlite:
            stack.enter_context(_alone(context))
        sender = _started(stack, Sender(context, make_celery(settings)))
        pulse = Pulse(context.clock())
        if settings.is_embedded:
            with context.database.writing() as session:
                store.start_over(session, context.clock(), is_alone=context.database.is_sqlite)
            _empty_queues(settings)
            stack.enter_context(_workers(context, sender, QUEUES, pulse))
        _started(stack, Timer(context, sender.send, extras))
        yield create_app(context, sender.send)


def work(context: Context, queues: Sequence[str] = QUEUES, extras: Extras | None = None) -> None:
    """Do the jobs of these queues until a signal comes. Raises BotConfigurationError."""
    settings = context.settings
    if settings.is_embedded:
        raise BotConfigurationError("`ledex worker` needs LEDEX_BOT_BROKER_URL; without it `ledex serve` does the work itself")
    if unknown := set(queues) - set(QUEUES):
        raise BotConfigurationError(f"no such queue: {', '.join(sorted(unknown))}; there are {', '.join(QUEUES)}")
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(scratch())
        sender = _started(stack, Sender(context, make_celery(settings)))
        pulse = Pulse(context.clock())
        _started(stack, Timer(context, sender.send, extras, lambda: _check_pulse(context, pulse, queues)))
        stack.enter_context(_workers(context, sender, queues, pulse))
        _on_signal(stop.set)
        stop.wait()
        _on_signal(None)
    _end(context)


def with_handlers(context: Context, handlers: Mapping[str, Any], **parts: Any) -> Context:
    """The context that jobs get; ``parts``: ``github``, ``runner``, ``identity``, ``extra``."""
    return replace(context, handlers=handlers, **parts)


def _started(stack: ExitStack, part: _Part) -> _Part:
    part.start()
    stack.callback(part.stop)
    return part


def _on_signal(act: Callable[[], None] | None) -> None:
    """What SIGTERM and SIGINT do; None: end the process, as they do by default."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, (lambda *_: act()) if act else signal.SIG_DFL)


def _end(context: Context) -> None:
    """The interpreter waits for the threads of Celery's pools, hours if it must; a job that was cut off here runs again."""
    context.database.engine.dispose()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _empty_queues(settings: BotSettings) -> None:
    """The queue in memory outlives a server that was stopped and started in one process; the job table says what is to be done."""
    with make_celery(settings).connection_for_write() as connection:
        for name in QUEUES:
            connection.default_channel.queue_delete(name)


@contextmanager
def _workers(context: Context, sender: Sender, queues: Sequence[str], pulse: Pulse) -> Iterator[None]:
    """One Celery worker per queue, in threads: a queue full of repairs takes no thread from the commands."""
    from celery.worker import state

    state.should_stop = state.should_terminate = None
    workers = {name: _worker(context, sender, name, pulse) for name in queues}
    for name, worker in workers.items():
        threading.Thread(target=_run_worker, args=(name, worker), name=f"worker-{name}", daemon=True).start()
    try:
        yield
    finally:
        stoppers = [threading.Thread(target=worker.stop, daemon=True) for worker in workers.values()]
        for stopper in stoppers:
            stopper.start()
        _drained(stoppers, state.active_requests, context.settings.drain_seconds)


def _drained(stoppers: Sequence[threading.Thread], active: Collection[object], seconds: float) -> None:
    """Wait until every worker has stopped, at most ``seconds``, and not much longer than its jobs last.

    Closing a connection to Redis reads the answer to a question that the consumer's own thread may have read already, and then waits for
    the time-out of the socket; with no job at work nothing is lost by leaving it. What was taken and not begun stands in the table.
    """
    started = time.monotonic()
    idle_since: float | None = None
    while any(stopper.is_alive() for stopper in stoppers) and (now := time.monotonic()) < started + seconds:
        idle_since = None if active else idle_since or now
        if idle_since is not None and now > idle_since + _IDLE_SECONDS:
            return
        time.sleep(0.02)


def _run_worker(name: str, worker: Any) -> None:
    try:
        worker.start()
    except Exception as error:
        # A process that acknowledges and does not work is worse than none: let what supervises it start a fresh one.
        log.critical("the worker of the queue %s died (%s); the process ends", name, type(error).__name__)
        logging.shutdown()
        os._exit(70)


def _check_pulse(context: Context, pulse: Pulse, queues: Sequence[str]) -> None:
    """End a worker that has lost its queues: whatever supervises it starts a fresh one, and the job table has forgotten nothing."""
    with context.database.reading() as session:
        unread = unread_queues(session, pulse, queues, context.clock(), 4 * context.settings.resend_seconds)
    if unread:
        log.critical("no message came from the queues %s although jobs wait; the process ends", ", ".join(unread))
        logging.shutdown()
        os._exit(70)


def _worker(context: Context, sender: Sender, queue: str, pulse: Pulse) -> Any:
    """A worker with a Celery application of its own: which queues are read is a property of the application."""
    from celery.worker import WorkController

    settings = context.settings

    def run(job_id: int) -> None:
        with pulse.beating(queue, context.clock):
            sender.send(run_job(context, job_id))

    celery = make_celery(settings, run)
    celery.set_default()  # the threads of the pool look the task up in the default application; it is the same for all queues
    # Kombu has one event loop a process, which the workers of several queues would turn at once, each losing what another read: without it
    # each worker waits for its own broker connection.
    concurrency = {WEBHOOKS: settings.webhook_workers, REPAIR: settings.repair_workers, FEEDBACK: settings.feedback_workers}[queue]
    return WorkController(
        app=celery, pool="threads", concurrency=concurrency, queues=[queue], hostname=f"{queue}@{socket.gethostname()}-{os.getpid()}",
        ready_callback=lambda _consumer: pulse.ready(queue, context.clock()),
        loglevel=logging.WARNING, use_eventloop=False, without_gossip=True, without_mingle=True, without_heartbeat=True)  # fmt: skip


@contextmanager
def _alone(context: Context) -> Iterator[None]:
    """Hold the database file, so that no second process runs the same jobs. Raises BotConfigurationError."""
    path = Path(f"{context.database.engine.url.database}.lock")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BotConfigurationError(
                f"another `ledex serve` uses the database {path.with_suffix('')}: stop it, or set LEDEX_BOT_BROKER_URL"
            ) from None
        yield


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise BotConfigurationError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
