"""What the timer does where GitHub forgets: deliveries that never arrived are asked for, failed runs that nobody told of are found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.context import Context
from bot.demo.emulator import script, server
from bot.demo.emulator.auth import new_key_pair
from bot.demo.emulator.emulator import Emulator
from bot.models import JobRow
from bot.setting_up import find_missed_runs, open_bot, redeliver
from bot.settings import load_settings
from tests.bot.shop import BROKEN, FILES


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[Emulator, Context]]:
    """A GitHub whose webhooks reach nobody, and a bot that knows it."""
    with server.serve(tmp_path / "github") as emulator:
        app = emulator.state.app
        context = open_bot(load_settings(
            app_id=app.id, account_id=app.bot.id, private_key=app.private_key, api_url=emulator.at.api, web_url=emulator.at.web,
            data_dir=tmp_path / "bot"))  # fmt: skip
        yield emulator, context
        context.database.engine.dispose()


def jobs(context: Context) -> list[JobRow]:
    with context.database.reading() as session:
        return list(session.scalars(select(JobRow).order_by(JobRow.id)))


def test_a_failed_run_that_no_delivery_told_of_becomes_one_job(silent: tuple[Emulator, Context]) -> None:
    emulator, context = silent
    repository = script.add_repository(emulator, "octo/shop", FILES)
    pull = script.open_pull_request(emulator, repository, "cheap", {"shop.py": BROKEN})
    run = script.fail_run(emulator, pull)
    find_missed_runs(context)
    find_missed_runs(context)
    [job] = jobs(context)
    assert (job.kind, job.repository, job.head_sha, job.payload["run_id"]) == ("failed_run", "octo/shop", pull.head_sha, run.id)
    assert job.key == f"failed_run:{repository.id}:run:{run.id}:1", "that of the delivery, should it come after all"


def test_a_repository_that_is_left_out_is_not_looked_at(silent: tuple[Emulator, Context]) -> None:
    emulator, context = silent
    repository = script.add_repository(emulator, "octo/shop", FILES)
    script.fail_run(emulator, script.open_pull_request(emulator, repository, "cheap", {"shop.py": BROKEN}))
    context = replace(context, settings=context.settings.model_copy(update={"disabled_repositories": frozenset({"octo/shop"})}))
    find_missed_runs(context)
    assert jobs(context) == []


def test_deliveries_that_never_arrived_are_asked_for_again(silent: tuple[Emulator, Context]) -> None:
    emulator, context = silent
    repository = script.add_repository(emulator, "octo/shop", FILES)
    script.open_pull_request(emulator, repository, "cheap", {"shop.py": BROKEN})
    emulator.settle()
    lost = [one.guid for one in emulator.deliveries.kept]
    redeliver(context)
    emulator.settle()
    assert lost
    assert [one.guid for one in emulator.deliveries.kept if one.redelivery] == lost


def test_a_github_that_does_not_answer_ends_no_timer(silent: tuple[Emulator, Context], caplog: pytest.LogCaptureFixture) -> None:
    emulator, context = silent
    script.add_repository(emulator, "octo/shop", FILES)
    emulator.state.app = replace(emulator.state.app, public_key=new_key_pair()[1])  # whatever is signed with ours is refused
    find_missed_runs(context)
    redeliver(context)
    assert "missed runs could not be looked for" in caplog.text
    assert "lost deliveries could not be looked for" in caplog.text
