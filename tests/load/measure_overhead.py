"""What the bot itself adds between a failed run and its comment: ``python -m tests.load.measure_overhead`` prints it.

Everything is real (a signed webhook, the job table, the emulated GitHub, a fetch of the commits, the log, triage, check run, comment, proof
bundle) but the repair, whose time is that of tests, environment and search: a stand-in answers at once. One pull request at a time, so that
nothing waits for anything but the bot, and with a pause after each, so that GitHub's limit of 80 writes a minute, which the bot keeps to by
itself, is never reached. The emulated GitHub answers in the same process; its own time is in the figure.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from bot.demo.emulator import script
from bot.demo.stage import stage
from tests.bot.shop import BROKEN, FILES, LOG
from tests.bot.staged import StandIn
from tests.load.measure_webhook import percentile


def measure(runs: int, pause: float, folder: Path) -> dict[str, object]:
    seconds: list[float] = []
    calls: list[int] = []
    with stage(folder, extra={"repair": StandIn()}) as running:
        repository = script.add_repository(running.emulator, "octo/shop", FILES, writers=("maintainer",))
        for number in range(runs + 1):
            files = {"shop.py": BROKEN, "number.txt": f"{number}\n"}
            pull = script.open_pull_request(running.emulator, repository, f"cheap-{number}", files)
            running.settle()
            time.sleep(pause)
            before, started = len(running.emulator.log), time.time()
            script.fail_run(running.emulator, pull, [script.CiJob("test", LOG)])
            while not (found := script.comments_of(running.emulator, pull)):
                if time.time() > started + 30:
                    raise TimeoutError(f"no comment on pull request {pull.number} after 30 s")
                time.sleep(0.002)
            running.settle()
            if number:  # the first warms
                posted = next(e.at for e in running.emulator.log[before:] if e.method == "POST" and e.path.endswith("/comments"))
                seconds.append(posted - started)
                calls.append(sum(e.at <= posted for e in running.emulator.log[before:]))
            assert "**Fix ready**" in found[0].body
    return {
        "failed_runs": runs, "p50_seconds": round(percentile(seconds, 0.5), 3), "p99_seconds": round(percentile(seconds, 0.99), 3),
        "worst_seconds": round(max(seconds), 3), "calls_to_github_before_the_comment": max(calls)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds after each failed run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledex-overhead-", dir="/var/tmp") as name:
        print(json.dumps(measure(options.runs, options.pause, Path(name)), indent=1))


if __name__ == "__main__":
    main()
