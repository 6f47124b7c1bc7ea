"""What the server's own settings leave out. In a file of its own, since one process holds one bot at a time."""

from __future__ import annotations

from pathlib import Path

from bot.demo.emulator import script
from bot.demo.stage import stage
from tests.bot.shop import FILES
from tests.bot.staged import Case, StandIn


def test_a_repository_that_the_server_leaves_out_is_left_alone(tmp_path: Path) -> None:
    repair = StandIn()
    with stage(tmp_path, extra={"repair": repair}, disabled_repositories=["octo/private"]) as running:
        case = Case(running, repair, script.add_repository(running.emulator, "octo/private", FILES, writers=("maintainer",)))
        pull = case.pull()
        case.fail(pull)
        case.say(pull, "/ledex fix")
        assert repair.asked == []
        assert [c.author.login for c in case.comments(pull)] == ["maintainer"]
        assert script.check_runs_of(running.emulator, pull) == []
