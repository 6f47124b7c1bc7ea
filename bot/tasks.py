"""Running jobs: the Celery application, whose one task is one call of ``run_job``, and the timer that sends forgotten jobs again."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery
from sqlalchemy.exc import SQLAlchemyError

from bot import BotError, locks, store
from bot.context import Context, Postpone, Refused, Result
from bot.planning import QUEUES
from bot.settings import BotSettings
from bot.store import Claim

log = logging.getLogger(__name__)
TASK = "ledex.run_job"
LONGEST_TASK_SECONDS = 6 * 3600
"""Above the time any job may take; Redis gives a message to another worker when its task ran longer."""
DOUBLINGS = 6
"""Of the time between two attempts: killed attempts count too, and a job must not wait for hours because its worker was restarted often."""
REFUSALS = 3
"""The same refusal of GitHub's so often in a row is believed."""
Extras = dict[str, tuple[float, Callable[[Context], None]]]
"""What a timer does beside its sweeps: a name, the seconds between two times, and a function."""


def make_celery(settings: BotSettings, run: Callable[[int], None] | None = None) -> Celery:
    """The application; ``run`` is called with a job's id, and only workers need it."""
    broker = "memory://localhost//" if settings.is_embedded else settings.broker_url.get_secret_value()
    app = Celery("ledex", broker=broker, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue=QUEUES[0],
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(settings),
        enable_utc=True,
    )

    # Not shared: Celery would give every other application of this process the same function.
    @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]
    def run_job_task(job_id: int) -> None:
        if run is not None:
            run(job_id)

    return app


def _transport_options(settings: BotSettings) -> dict[str, Any]:
    if settings.is_embedded:
        return {"polling_interval": 0.02}
    # Without the last two a killed worker's message comes back only after minutes, whatever the time-out says.
    return {"visibility_timeout": LONGEST_TASK_SECONDS, "unacked_restore_interval": 2, "unacked_restore_throttle": 1,
            "socket_timeout": 30, "socket_connect_timeout": 5, "max_retries": 1}  # fmt: skip


def run_job(context: Context, job_id: int) -> list[int]:
    """Claim a job, run its handler, and write down what came of it. Returns the ids of the jobs that follow, to be sent."""
    lease = context.settings.lease_seconds
    with context.database.writing() as session:
        claim = store.claim(session, job_id, context.clock(), lease)
    if claim is None:
        return []  # done, superseded, or another worker was quicker
    if claim.attempt > context.settings.max_attempts:
        return _finish(context, claim, Result(f"given up after {context.settings.max_attempts} attempts", "failed"))
    handler = context.handlers.get(claim.kind)
    if handler is None:
        return _finish(context, claim, Result(f"nothing handles jobs of the kind {claim.kind}", "dropped"))
    try:
        with _kept(context, claim):
            result = handler(context, claim) or Result()
    except Postpone as wait:
        with context.database.writing() as session:
            store.postpone(session, claim, context.clock(), wait.seconds, wait.reason, counts=False)
        return []
    except Refused as no:
        return _refused(context, claim, no)
    except Exception as error:
        # The traceback may quote what came from outside, and a token; the class and the place are enough to find it.
        log.error("job %d (%s), attempt %d: %s at %s", claim.id, claim.kind, claim.attempt, type(error).__name__, _place(error))
        return _retry(context, claim, type(error).__name__)
    return _finish(context, claim, result)


def _finish(context: Context, claim: Claim, result: Result) -> list[int]:
    with context.database.writing() as session:
        return store.finish(session, claim, context.clock(), result.state, result.reason, result.then)


def _retry(context: Context, claim: Claim, reason: str) -> list[int]:
    if claim.attempt >= context.settings.max_attempts:
        return _finish(context, claim, Result(f"{reason}, {claim.attempt} times", "failed"))
    with context.database.writing() as session:
        store.postpone(session, claim, context.clock(), _backoff(context, claim), reason)
    return []


def _refused(context: Context, claim: Claim, no: Refused) -> list[int]:
    if claim.attempt < context.settings.max_attempts:
        with context.database.writing() as session:
            if not store.refuse(session, claim, context.clock(), _backoff(context, claim), str(no), REFUSALS):
                return []
    result = Result(str(no), "dropped")
    if no.answer is not None:
        try:
            with _kept(context, claim):
                result = no.answer()
        except BotError as error:
            log.warning("job %d was refused, and nobody could be told: %s", claim.id, type(error).__name__)
    return _finish(context, claim, result)


def _backoff(context: Context, claim: Claim) -> float:
    return context.settings.backoff_seconds * 2.0 ** min(claim.attempt - 1, DOUBLINGS)


@contextmanager
def _kept(context: Context, claim: Claim) -> Iterator[None]:
    """Renew the lease while the handler runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(context.settings.lease_seconds / 4):
            try:
                with context.database.writing() as session:
                    if not store.renew(session, claim, context.clock(), context.settings.lease_seconds):
                        return
            except SQLAlchemyError as error:
                log.warning("the lease of job %d could not be renewed: %s", claim.id, type(error).__name__)

    thread = threading.Thread(target=renew, name=f"lease-{claim.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"


class Sender:
    """One thread that hands ids of jobs to the queue. When it cannot, a sweep sends them later: the job table does not forget."""

    def __init__(self, context: Context, celery: Celery) -> None:
        self._context = context
        self._celery = celery
        self._waiting: queue.SimpleQueue[tuple[int, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._waiting.put(None)
        self._thread.join(10)

    def send(self, job_ids: Sequence[int]) -> None:
        """Returns at once."""
        self._waiting.put(tuple(job_ids))

    def _run(self) -> None:
        while (job_ids := self._waiting.get()) is not None:
            try:
                with self._context.database.reading() as session:
                    queues = store.queues_of(session, job_ids)
                for job_id, name in queues.items():
                    self._celery.send_task(TASK, (job_id,), queue=name, retry=False)
            except Exception as error:
                log.warning("%d jobs could not be sent and wait for the next sweep: %s", len(job_ids), type(error).__name__)


class Timer:
    """One thread that sweeps every ``sweep_seconds`` and asks ``check``, and runs ``extras``, each of them in one process at a time."""

    def __init__(
        self,
        context: Context,
        send: Callable[[Sequence[int]], None],
        extras: Extras | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._send = send
        self._extras = extras or {}
        self._check = check
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join(10)

    def _run(self) -> None:
        wait = self._context.settings.sweep_seconds
        while True:
            try:
                self._send(sweep(self._context))
                self._check()
                for name, (seconds, function) in self._extras.items():
                    if _take_turn(self._context, name, seconds):
                        function(self._context)
            except Exception as error:
                log.error("the timer failed and goes on: %s at %s", type(error).__name__, _place(error))
            if self._done.wait(wait):
                return


def sweep(context: Context) -> list[int]:
    """Give up what is hopeless; returns the ids to send again."""
    settings = context.settings
    with context.database.writing() as session:
        if locks.take_turn(session, "timer:bodies", 3600, context.clock()):
            store.forget_bodies(session, context.clock(), settings.delivery_days)
        return store.sweep(session, context.clock(), settings.max_attempts, settings.job_days, settings.resend_seconds)


def _take_turn(context: Context, name: str, seconds: float) -> bool:
    with context.database.writing() as session:
        return locks.take_turn(session, f"timer:{name}", seconds, context.clock())
