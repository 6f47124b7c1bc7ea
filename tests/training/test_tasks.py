"""Rollout orders over a real Redis: what workers answer, what a killed worker leaves, and what was answered already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.refinement import Effort
from inference.trajectory import Trajectory
from sandbox.runner import Runner
from tests.services import NotInstalled, Service, redis
from tests.training.scripted import Scripted, answer
from training import DataError
from training.benchmark.mbpp import Bug
from training.references import is_verified
from training.settings import TrainingSettings, load_settings
from training.tasks import Order, attempt_here, make_celery, order_json, read_order, roll_out

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def broker() -> Iterator[Service]:
    try:
        with redis() as service:
            yield service
    except NotInstalled as reason:
        pytest.skip(str(reason))


def settings(broker: Service, folder: Path) -> TrainingSettings:
    return load_settings(broker_url=broker.url, rollout_seconds=3, work=folder)


def orders(bug: Bug, count: int, seed: int) -> list[Order]:
    return [Order(bug, Effort(samples=1, rounds=0, seed=seed + n)) for n in range(count)]


def worker(broker: Service, folder: Path, seconds: float) -> subprocess.Popen[bytes]:
    environment = os.environ | {"LEDEX_TRAINING_BROKER_URL": broker.url, "LEDEX_TRAINING_ROLLOUT_SECONDS": "3",
                                "LEDEX_TRAINING_WORK": str(folder)}  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "tests.training.slow_worker", str(folder), str(seconds)], cwd=ROOT, env=environment)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def names(found: Iterable[tuple[int, Trajectory | str]]) -> list[str]:
    """Of the answers, which come in the order that they were asked in."""
    answers = list(found)
    assert [place for place, _ in answers] == list(range(len(answers)))
    return [one.id if isinstance(one, Trajectory) else one for _, one in answers]


def test_an_order_is_itself_again_after_the_wire(planted_bug: Bug) -> None:
    order = Order(planted_bug, Effort(samples=3), "rolling@" + "0" * 64, 5.0)
    assert read_order(order_json(order)) == order


@pytest.mark.training
def test_an_order_is_attempted_as_production_would(runner: Runner, planted_bug: Bug) -> None:
    done = attempt_here(runner, Scripted(answer("    return a + b\n")))(orders(planted_bug, 1, 0)[0])
    assert isinstance(done, Trajectory)
    assert is_verified(done.rounds[0])
    silent = attempt_here(runner, Scripted())(orders(planted_bug, 1, 0)[0])
    assert silent == "the model did not answer: nobody is there"


def test_what_a_killed_worker_leaves_another_does_and_faults_are_reasons(broker: Service, planted_bug: Bug, tmp_path: Path) -> None:
    mine = settings(broker, tmp_path)
    found: list[tuple[int, Trajectory | str]] = []
    asking = threading.Thread(target=lambda: found.extend(roll_out(mine, orders(planted_bug, 4, 1), 240)), daemon=True)
    first = worker(broker, tmp_path, 600)
    asking.start()
    limit = time.monotonic() + 120
    while not (tmp_path / "begun-1").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    kill(first)
    second = worker(broker, tmp_path, 0)
    asking.join(240)
    kill(second)
    assert names(found) == ["seed 1", "seed 2", "cannot be opened: no such thing", "the worker failed: ValueError"]
    # No worker is there now: what was answered is known, and only that.
    again = [*orders(planted_bug, 1, 1), *orders(planted_bug, 1, 90)]
    assert names(roll_out(mine, again, 0.2)) == ["seed 1", "no worker answered in 0 s"]


def test_workers_need_a_broker() -> None:
    for wrong in (None, "memory://", "amqp://host"):
        with pytest.raises(DataError, match="LEDEX_TRAINING_BROKER_URL"):
            make_celery(load_settings(broker_url=wrong))


def test_another_effort_is_another_order(planted_bug: Bug) -> None:
    one = orders(planted_bug, 1, 0)[0]
    assert order_json(one) != order_json(replace(one, effort=replace(one.effort, seed=1)))
