"""The App with its repairs in another process's hands: what is run of a pull request is run by a service that has no secret."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bot.demo.emulator import script
from bot.demo.stage import stage
from bot.markdown import visible
from tests.end_to_end.test_app import BROKEN, LOG, SHOP, TESTS


def test_a_fix_found_by_the_sandbox_service_is_posted(tmp_path: Path) -> None:
    socket = tmp_path / "sandbox.sock"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEDEX_BOT_")}
    argv = [sys.executable, "-m", "bot.cli", "sandbox", "--socket", str(socket), "--repositories", str(tmp_path / "bot" / "repositories")]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True) as service:
        try:
            deadline = time.monotonic() + 60
            while not socket.exists():
                assert service.poll() is None, service.stderr.read() if service.stderr else ""
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with stage(tmp_path, repair_seconds=30.0, sandbox_socket=socket) as running:
                files = {"shop.py": SHOP, "test_shop.py": TESTS}
                repository = script.add_repository(running.emulator, "octo/shop", files, writers=("octocat",))
                pull = script.open_pull_request(running.emulator, repository, "cheap", {"shop.py": BROKEN})
                script.fail_run(running.emulator, pull, [script.CiJob("test", LOG)])
                running.settle()
                [comment] = script.comments_of(running.emulator, pull)
                assert "**Fix ready**" in comment.body, visible(comment.body)
        finally:
            service.terminate()


def test_a_sandbox_service_with_a_secret_in_its_environment_does_not_start(tmp_path: Path) -> None:
    environment = {**os.environ, "LEDEX_BOT_WEBHOOK_SECRET": "canary"}
    argv = [sys.executable, "-m", "bot.cli", "sandbox", "--socket", str(tmp_path / "s"), "--repositories", str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "must have no secret: unset LEDEX_BOT_WEBHOOK_SECRET" in done.stderr) == (2, True)
    assert "canary" not in done.stderr
