"""The bot in a process of its own: ``python -m tests.faults.bot_process serve|worker``. Its repairs are real ones in the sandbox.

Only the environment is not built for each of hundreds of repositories: the interpreter that runs this has pytest, and is lent to all.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path

from bot.serving import serve, work
from bot.setting_up import open_bot, timers
from bot.settings import load_settings
from inference.outcome import Outcome
from inference.repair import RepairRequest, repair_checkout


def repair(request: RepairRequest) -> Outcome:
    """Reproduces, searches and verifies with this interpreter."""
    return repair_checkout(replace(request, python=Path(sys.executable)))


def main(role: str) -> None:
    if os.environ.get("LOG_EVERYTHING"):
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    context = replace(open_bot(load_settings()), extra={"repair": repair})
    if role == "serve":
        serve(context, "127.0.0.1", int(os.environ["PORT"]), timers(context))
    else:
        work(context, extras=timers(context))


if __name__ == "__main__":
    main(sys.argv[1])
