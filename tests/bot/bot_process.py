"""A bot in a process of its own, for tests that kill it: ``python -m tests.bot.bot_process serve|worker SECONDS``.

Its one handler writes a line to the file ``ran`` when a job begins, waits, and writes another when it ends.
"""

from __future__ import annotations

import os
import sys
import time

from bot import BotConfigurationError
from bot.context import Context, Result
from bot.serving import open_context, serve, with_handlers, work
from bot.settings import load_settings
from bot.store import Claim


def main(role: str, seconds: float) -> None:
    def note(line: str) -> None:
        with (context.settings.data_dir / "ran").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def handle(_context: Context, claim: Claim) -> Result:
        note(f"begin {claim.key}")
        time.sleep(seconds)
        note(f"end {claim.key}")
        return Result("ran")

    try:
        settings = load_settings()
        context = with_handlers(open_context(settings), {"failed_run": handle, "command": handle})
        if role == "serve":
            serve(context, "127.0.0.1", int(os.environ["PORT"]))
        else:
            work(context)
    except BotConfigurationError as error:
        sys.exit(f"ledex: {error}")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
