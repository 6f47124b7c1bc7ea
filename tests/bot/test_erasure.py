"""`ledex forget`: nothing of an installation is left, and everything of the others."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import event, func, select, text
from typer.testing import CliRunner

from bot import cli
from bot.database import Database, migrate, open_database
from bot.demo.emulator import script
from bot.demo.emulator.state import Repository
from bot.demo.stage import Stage
from bot.erasure import Erased, forget_installation
from bot.export import found
from bot.models import AuditRow, FeedbackRow, FixRow, InstallationRow, JobRow, Model, TrajectoryRow
from inference.trajectory import RecordedEnvironment, RecordedProblem, Trajectory, trajectory_json
from sandbox.cache import EnvironmentCache, seal
from tests.bot.shop import FILES, LOG, SHOP
from tests.bot.staged import Case, StandIn

SHARING = "[learning]\nuse_feedback = true\nshare_code = true\n"
MARK = "quaint_name"
"""In the code of the repository that is forgotten, and in no other."""


def lived_in(whole: tuple[Stage, StandIn], owner: str, mark: str = "") -> Case:
    """A repository of another account, with a fix, a rejection, a switch, and a pull request that was only opened."""
    running, repair = whole
    files = {**FILES, ".github/ledex.toml": SHARING, f"{mark or 'other'}.py": f"{mark or 'other'} = 1\n"}
    repository = script.add_repository(running.emulator, f"{owner}/shop", files, writers=("maintainer",))
    case = Case(running, repair, repository)
    pull = case.pull()
    case.fail(pull, LOG)
    case.say(pull, f"/ledex reject wrong {mark}")
    case.say(pull, "/ledex off")
    script.open_pull_request(running.emulator, repository, "only-opened", {"shop.py": SHOP + f"# {mark}\n"})
    running.settle(60)
    return case


def installation_of(case: Case) -> int:
    found = case.stage.emulator.state.installation_of(case.repository)
    assert found is not None
    return found.id


def forget(case: Case, environments: EnvironmentCache | None = None) -> Erased:
    context = case.stage.context
    return forget_installation(context.database, context.settings.data_dir, installation_of(case), context.clock(), environments)


def rows_of(database: Database, installation: int, repository: Repository) -> dict[str, int]:
    """Rows by table that name the installation or the repository."""
    found = {}
    with database.reading() as session:
        for name, table in Model.metadata.tables.items():
            named = [table.c[c] == n for c, n in (("installation_id", installation), ("repository_id", repository.id)) if c in table.c]
            named += [table.c.id == installation] if name == "installations" else []
            named += [table.c.name.like(f"%:{repository.id}:%")] if name == "locks" else []
            found[name] = sum(session.scalar(select(func.count()).select_from(table).where(one)) or 0 for one in named)
    return found


def files_with(folder: Path, mark: str) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and mark.encode() in p.read_bytes()]


def test_forgetting_leaves_no_row_and_no_file_but_the_note_that_it_was_done(whole: tuple[Stage, StandIn]) -> None:
    case, other = lived_in(whole, "gone", MARK), lived_in(whole, "stays")
    context = case.stage.context
    data, installation = context.settings.data_dir, installation_of(case)
    before = rows_of(context.database, installation, case.repository)
    for table in ("deliveries", "jobs", "runs", "fixes", "audit", "pull_heads", "repository_settings", "trajectories"):
        assert before[table], table
    assert list((data / "trees" / str(installation)).iterdir())
    assert list((data / "repositories" / str(case.repository.id)).rglob("*"))
    assert any(file.name.startswith("ledex.sqlite") for file in files_with(data, MARK))
    kept = rows_of(context.database, installation_of(other), other.repository)
    proofs = len(list((data / "proofs").glob("*")))

    erased = forget(case)

    after = rows_of(context.database, installation, case.repository)
    assert {name: count for name, count in after.items() if count} == {"audit": 1}
    with context.database.reading() as session:
        note = session.scalars(select(AuditRow).where(AuditRow.installation_id == installation)).one()
        assert session.execute(text("SELECT count(*) FROM feedback")).scalar() == 1, "that of the other installation"
    assert (note.kind, note.detail) == ("installation_forgotten", {"rows": erased.rows, "files": erased.files})
    assert not (data / "trees" / str(installation)).exists()
    assert not (data / "repositories" / str(case.repository.id)).exists()
    assert len(list((data / "proofs").glob("*"))) == proofs - 1
    assert files_with(data, MARK) == [], "not even in pages of the database that are free"
    assert rows_of(context.database, installation_of(other), other.repository) == kept
    assert list((data / "trees" / str(installation_of(other))).iterdir())


def test_every_table_that_could_hold_something_of_an_installation_is_reached() -> None:
    """A table that is added later must say whose its rows are, or hang on one that does."""
    free = {"locks", "installations"}  # by their own names and numbers
    for name, table in Model.metadata.tables.items():
        owners = {"installation_id"} & set(table.c.keys())
        hangs = any(key.ondelete == "CASCADE" for key in table.foreign_keys)
        assert owners or hangs or name in free, name


def test_the_environments_that_were_built_for_it_go_too(whole: tuple[Stage, StandIn], tmp_path: Path) -> None:
    case = lived_in(whole, "built")
    cache = EnvironmentCache(tmp_path / "cache", 10**9)
    slots = [cache.slot(name, "local", "k") for name in ("built/shop", "built/shop#fork", "stays/shop")]
    for slot in slots:
        with cache.building() as folder:
            (folder / "env").mkdir()
            seal(folder / "env")
            cache.publish(folder, slot, {})
    forget(case, cache)
    assert [slot.read() is not None for slot in slots] == [False, False, True]


def test_what_may_make_new_rows_is_told(whole: tuple[Stage, StandIn]) -> None:
    case = lived_in(whole, "busy")
    with case.stage.context.database.writing() as session:
        job = session.scalars(select(JobRow).where(JobRow.repository_id == case.repository.id)).first()
        assert job is not None
        job.state, job.lease_until = "running", case.stage.context.clock() + 60
    erased = forget(case)
    assert erased.running == 1
    assert forget(case).running == 0


def test_a_proof_that_the_database_puts_elsewhere_is_not_followed(whole: tuple[Stage, StandIn], tmp_path: Path) -> None:
    case = lived_in(whole, "sly")
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with case.stage.context.database.writing() as session:
        fix = session.scalars(select(FixRow).where(FixRow.repository_id == case.repository.id)).one()
        fix.proof_path = str(precious)
    forget(case)
    assert precious.read_text() == "mine"


def fill(database: Database, installation: int, explanation: str = "") -> None:
    """One fix with feedback and a trajectory."""
    body = trajectory_json(Trajectory("1", RecordedProblem("a/b", None, "c", RecordedEnvironment(""), "pytest")))
    with database.writing() as session:
        session.add(InstallationRow(id=installation, account="a", account_id=1, state="active", updated_at=0.0))
        fix = FixRow(
            repository_id=installation * 10, repository="a/b", installation_id=installation, pr_number=1, head_sha="c", patch=b"",
            explanation=explanation, level="V4", state="posted", posted_at=5.0, updated_at=5.0)  # fmt: skip
        session.add(fix)
        session.flush()
        session.add(FeedbackRow(fix_id=fix.id, kind="applied", at=6.0, edit_distance=0.0))
        session.add(TrajectoryRow(
            fix_id=fix.id, installation_id=installation, repository_id=installation * 10, body=body, expires_at=100.0))  # fmt: skip


def test_sqlite_and_postgresql_give_out_and_forget_alike(database: Database, tmp_path: Path) -> None:
    fill(database, 1)
    fill(database, 2)
    with database.reading() as session:
        assert [[f.kind for f in one.feedback] for one, _ in found(session, 0.0, 10.0)] == [["applied"], ["applied"]]
        assert list(found(session, 6.0, 10.0)) == list(found(session, 0.0, 100.0)) == []
    assert forget_installation(database, tmp_path, 1, 10.0) == Erased(2, 0, 0, True)
    with database.reading() as session:
        assert [session.scalar(select(func.count()).select_from(t)) for t in (FixRow, FeedbackRow, TrajectoryRow)] == [1, 1, 1]


def test_the_command_asks_first_and_says_what_it_did(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledex.sqlite")
    migrate(database)
    fill(database, 7)
    variables = {"LEDEX_BOT_DATA_DIR": str(tmp_path), "LEDEX_SANDBOX_CACHE_FOLDER": str(tmp_path / "cache")}
    runner = CliRunner()
    assert runner.invoke(cli.app, ["forget", "7"], input="n\n", env=variables).exit_code == 1
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(FixRow)) == 1
    done = runner.invoke(cli.app, ["forget", "7", "--yes"], env=variables)
    assert (done.exit_code, "2 rows and 0 files erased" in done.stderr, "still installed" in done.stderr) == (0, True, True)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(FixRow)) == 0
    database.engine.dispose()


def test_nothing_of_it_is_left_in_the_files_of_a_sqlite_that_only_marks_pages_as_free(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/ledex.sqlite")
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA secure_delete = OFF"))
    migrate(database)
    fill(database, 7, MARK)
    forget_installation(database, tmp_path, 7, 10.0)
    assert files_with(tmp_path, MARK) == []
    database.engine.dispose()
