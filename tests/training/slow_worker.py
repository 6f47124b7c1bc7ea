"""A rollout worker of its own process, without a model: ``python -m tests.training.slow_worker FOLDER SECONDS``.

What it answers depends on the order's seed. Each order takes ``SECONDS``, so that a kill can hit it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from inference.trajectory import Trajectory
from tests.training.trajectories import trajectory
from training.settings import load_settings
from training.tasks import Order, work


def main(folder: Path, seconds: float) -> None:
    def answer(order: Order) -> Trajectory | str:
        (folder / f"begun-{order.effort.seed}").touch()
        time.sleep(seconds)
        match order.effort.seed % 10:
            case 3:
                return "cannot be opened: no such thing"
            case 4:
                raise ValueError("a worker's own fault")
        return trajectory(f"seed {order.effort.seed}")

    work(load_settings(), answer, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
