"""The bot in a process of its own, its repair a quick stand-in: ``python -m tests.faults.bot_process serve|worker``."""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import replace

from bot.serving import serve, work
from bot.setting_up import open_bot, timers
from bot.settings import load_settings
from inference.outcome import Outcome
from inference.repair import RepairRequest
from tests.bot.shop import FIXED


def repair(request: RepairRequest) -> Outcome:
    """The true fix of the planted bug, after a moment in which the process may be killed."""
    time.sleep(random.uniform(0.0, 0.3))
    return FIXED


def main(role: str) -> None:
    context = replace(open_bot(load_settings()), extra={"repair": repair})
    if role == "serve":
        serve(context, "127.0.0.1", int(os.environ["PORT"]), timers(context))
    else:
        work(context, extras=timers(context))


if __name__ == "__main__":
    main(sys.argv[1])
