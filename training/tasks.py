"""Rollout workers: training's own Celery application, queue ``rollout``. An order is a bug and how to attempt it, its answer a trajectory.

An order names everything that its answer depends on, seeds too, so one that a killed worker leaves is simply done again by another. Answers
are files below LEDEX_TRAINING_WORK, which trainer and workers share for the policy's weights too. Nothing is shared with the bot: neither
its queues nor its database.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from inference.model import ModelError, Sampler
from inference.refinement import Effort
from inference.trajectory import Trajectory, parse_trajectory, trajectory_json
from sandbox.runner import Runner
from sandbox.testing import Bench
from training import DataError, TrainingError
from training.benchmark.judging import Oracle
from training.benchmark.mbpp import Bug, Task
from training.benchmark.mutation import Mutant
from training.problems import from_bug, open_planted
from training.rollout import attempt_failure
from training.settings import TrainingSettings

log = logging.getLogger(__name__)
TASK, QUEUE = "ledex_training.attempt", "rollout"
ANSWERS = "rollouts"
"""Folder of the answers, a file each; they stay, as the record of what a run learned from."""
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Order:
    """``seconds``: for all of its rounds. ``adapter``: a served name that the workers' model can load."""

    bug: Bug
    effort: Effort
    adapter: str | None = None
    seconds: float = 120.0


Attempt = Callable[[Order], Trajectory | str]
"""The trajectory, or the reason why there is none."""


def attempt_here(runner: Runner, sampler: Sampler, python: Path | None = None) -> Attempt:
    """Attempts in this process. Environments of one project are looked at once. For several threads."""
    benches: dict[str, Bench] = {}

    def attempt(order: Order) -> Trajectory | str:
        planted = from_bug(runner, order.bug)
        project = planted.project
        with tempfile.TemporaryDirectory(prefix="ledex-rollout-") as folder:
            opened = open_planted(planted, runner, Path(folder) / "bug", python=python, bench=benches.get(project))
            if isinstance(opened, str):
                return opened
            benches.setdefault(project, opened.bench)
            try:
                return attempt_failure(opened, sampler, order.effort, order.seconds, order.adapter)
            except ModelError as error:
                return f"the model did not answer: {error}"

    return attempt


def make_celery(settings: TrainingSettings, attempt: Attempt | None = None) -> Celery:
    """The application; only workers need ``attempt``. Raises DataError where no broker is set."""
    broker = settings.broker_url.get_secret_value() if settings.broker_url is not None else ""
    if not broker.startswith(("redis://", "rediss://")):
        raise DataError("rollout workers need a broker: set LEDEX_TRAINING_BROKER_URL, for example to redis://localhost/1")
    app = Celery("ledex-training", broker=broker, set_as_current=False)
    app.conf.update(
        task_ignore_result=True, task_acks_late=True, task_reject_on_worker_lost=True, task_default_queue=QUEUE, task_serializer="json",
        accept_content=["json"], worker_prefetch_multiplier=1, worker_hijack_root_logger=False, worker_redirect_stdouts=False,
        worker_enable_remote_control=False, broker_connection_retry_on_startup=True, enable_utc=True,
        # After the first a message that nobody has answered goes to another worker (and an order that takes longer is done twice);
        # without the last two a killed worker's comes back only after minutes, whatever the time-out says.
        broker_transport_options={
            "visibility_timeout": settings.rollout_seconds, "unacked_restore_interval": 2, "unacked_restore_throttle": 1})  # fmt: skip

    @app.task(name=TASK, shared=False)  # type: ignore[untyped-decorator]
    def attempt_task(order: dict[str, Any]) -> None:
        if attempt is None:
            raise TrainingError("this process sends orders and does none")
        try:
            done = attempt(read_order(order))
        except Exception as error:  # one order's: told to whoever asked, and the worker goes on
            log.exception("an order failed")
            done = f"the worker failed: {type(error).__name__}"
        _write(settings, name_of(order), done)

    return app


def roll_out(
    settings: TrainingSettings, orders: Sequence[Order], wait_seconds: float = 3600.0
) -> Iterator[tuple[int, Trajectory | str]]:  # fmt: skip
    """Send all orders; each one's place and answer in the order that they were sent in, or why there is none. What an earlier run of the
    same trainer asked for is answered already, and not sent again. Raises DataError where no broker is set."""
    app = make_celery(settings)
    bodies = [order_json(order) for order in orders]
    with app.connection_for_write() as connection:
        for body in bodies:
            if not _file(settings, name_of(body)).exists():
                app.tasks[TASK].apply_async((body,), connection=connection)
    until = time.monotonic() + wait_seconds
    for place, body in enumerate(bodies):
        file = _file(settings, name_of(body))
        while not file.exists() and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        yield place, _read(file) if file.exists() else f"no worker answered in {wait_seconds:.0f} s"


def name_of(body: Mapping[str, Any]) -> str:
    """The same for the same order."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _file(settings: TrainingSettings, name: str) -> Path:
    return settings.work / ANSWERS / f"{name}.json"


def _write(settings: TrainingSettings, name: str, answer: Trajectory | str) -> None:
    """Whole or not at all; of two workers that did the same order either one's is right."""
    file = _file(settings, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {"reason": answer} if isinstance(answer, str) else {"trajectory": trajectory_json(answer)}
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".", delete=False, encoding="utf-8") as scratch:
        scratch.write(json.dumps(told))
    os.replace(scratch.name, file)


def _read(file: Path) -> Trajectory | str:
    data = json.loads(file.read_text(encoding="utf-8"))
    return str(data["reason"]) if "reason" in data else parse_trajectory(data["trajectory"], file.name)


def work(settings: TrainingSettings, attempt: Attempt, concurrency: int) -> None:
    """Do orders until the process ends, by whatever signal: an order that it had begun is done by another."""
    from celery.worker import WorkController

    app = make_celery(settings, attempt)
    app.set_default()  # the threads of the pool look the task up in the default application
    WorkController(
        app=app, pool="threads", concurrency=concurrency, queues=[QUEUE], loglevel=logging.WARNING, use_eventloop=False,
        without_gossip=True, without_mingle=True, without_heartbeat=True).start()  # fmt: skip


def order_json(order: Order) -> dict[str, Any]:
    return asdict(order)


def read_order(data: Mapping[str, Any]) -> Order:
    bug = data["bug"]
    task = Task(bug["task"]["id"], bug["task"]["program"], tuple(bug["task"]["asserts"]))
    oracle = Oracle(bug["oracle"]["hidden"], tuple(bug["oracle"]["calls"]), tuple(bug["oracle"]["expected"]))
    return Order(Bug(bug["id"], task, Mutant(**bug["mutant"]), oracle), Effort(**data["effort"]), data["adapter"], data["seconds"])
