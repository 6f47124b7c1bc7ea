"""What is kept of a fix for training, and what `ledex export` writes of it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from bot import cli
from bot.demo.emulator import script
from bot.demo.emulator.state import Pull
from bot.erasure import enforce_retention, trees_folder
from bot.export import Exported, ExportFailed, export, follow
from bot.models import FixRow, TrajectoryRow
from bot.recording import archive
from inference import trajectory as format_module
from inference.trajectory import Trajectory, read_trajectories
from sandbox.workspace import Workspace
from tests.bot.shop import BROKEN, FIXED
from tests.bot.staged import Case

SCHEMA = json.loads(Path(format_module.__file__).with_name("trajectory.schema.json").read_text(encoding="utf-8"))
LEARNING = {".github/ledex.toml": "[learning]\nuse_feedback = true\n"}
SHARING = {".github/ledex.toml": "[learning]\nuse_feedback = true\nshare_code = true\nretention_days = 5\n"}


def posted(case: Case) -> Pull:
    pull = case.pull()
    case.fail(pull)
    return pull


def exported(case: Case, out: Path, later: float = 0.0) -> list[Trajectory]:
    """What is exported of this case's repository, ``later`` seconds from now; every line fits the schema."""
    context = case.stage.context
    context = replace(context, clock=lambda: case.stage.context.clock() + later)
    export(context, out, io.StringIO())
    for line in out.read_text(encoding="utf-8").splitlines():
        jsonschema.validate(json.loads(line), SCHEMA)
    return [one for one in read_trajectories(out) if one.problem.repository == case.repository.full_name]


def test_without_opting_in_nothing_is_kept_nor_exported(case: Case, tmp_path: Path) -> None:
    posted(case)
    assert exported(case, tmp_path / "out.jsonl") == []
    with case.stage.context.database.reading() as session:
        assert session.scalar(select(TrajectoryRow.id).where(TrajectoryRow.repository_id == case.repository.id)) is None


@pytest.mark.parametrize("case", [LEARNING], indirect=True)
def test_a_fix_is_exported_with_what_was_seen_tried_and_verified_and_who_allowed_it(case: Case, tmp_path: Path) -> None:
    pull = posted(case)
    [one] = exported(case, tmp_path / "out.jsonl")
    assert one.problem.head_sha == pull.head_sha
    assert [failure.test for failure in one.problem.failures] == ["test_shop.py::test_cheapest"]
    assert one.chosen == 0
    [shown] = one.rounds
    best = FIXED.best
    assert best is not None
    assert (shown.origin, shown.patch, shown.completion) == ("templates", best.patch.decode(), best.explanation)
    assert (shown.verdict or {})["level"] == "V4"
    assert one.consent is not None
    assert ".github/ledex.toml" in one.consent["source"]


@pytest.mark.parametrize("case", [LEARNING], indirect=True)
def test_what_people_did_is_exported_without_their_names(case: Case, tmp_path: Path) -> None:
    pull = posted(case)
    case.say(pull, "/ledex reject wrong secret words")
    another = {"shop.py": BROKEN.replace("max(prices)", "sorted(prices)[0]")}
    script.push(case.stage.emulator, case.repository, "cheap", another, by="maintainer")
    case.stage.settle(60)
    script.close(case.stage.emulator, pull, by="maintainer", merge=True)
    case.stage.settle(60)
    [one] = exported(case, tmp_path / "out.jsonl")
    assert [(f.kind, f.reason) for f in one.feedback] == [("rejected", "wrong"), ("superseded", None)]
    assert "+    return sorted(prices)[0]" in (one.feedback[1].human_patch or "")
    assert len({f.actor_hash for f in one.feedback}) == 1
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert "maintainer" not in text
    assert "secret words" not in text


@pytest.mark.parametrize(("case", "shared"), [(LEARNING, False), (SHARING, True)], indirect=["case"])
def test_the_source_lies_beside_the_file_only_where_that_is_allowed_too(case: Case, shared: bool, tmp_path: Path) -> None:
    posted(case)
    [one] = exported(case, tmp_path / "out.jsonl")
    assert (one.problem.tree is not None) is shared
    if one.problem.tree is not None:
        content = (tmp_path / one.problem.tree).read_bytes()
        assert one.problem.tree == f"trees/{hashlib.sha256(content).hexdigest()}.tar.gz"
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            member = tar.extractfile("shop.py")
            assert member is not None
            assert member.read().decode() == BROKEN


@pytest.mark.parametrize("case", [SHARING], indirect=True)
def test_a_stream_has_nothing_beside_it(case: Case) -> None:
    posted(case)
    stream = io.StringIO()
    export(case.stage.context, None, stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["problem"]["tree"] for line in lines if line["problem"]["repository"] == case.repository.full_name] == [None]


@pytest.mark.parametrize("case", [LEARNING], indirect=True)
def test_only_fixes_since_the_moment_asked_for_are_exported(case: Case, tmp_path: Path) -> None:
    posted(case)
    export(case.stage.context, tmp_path / "out.jsonl", io.StringIO(), since=case.stage.context.clock() + 1)
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("case", [SHARING], indirect=True)
def test_when_the_time_is_over_the_trajectory_and_its_source_are_gone(case: Case, tmp_path: Path) -> None:
    posted(case)
    context = case.stage.context
    with context.database.reading() as session:
        row = session.scalars(select(TrajectoryRow).where(TrajectoryRow.repository_id == case.repository.id)).one()
    assert row.tree is not None
    source = trees_folder(context.settings.data_dir, row.installation_id) / row.tree
    assert source.is_file()
    assert exported(case, tmp_path / "out.jsonl", later=5.1 * 86400) == []
    enforce_retention(context)
    assert len(exported(case, tmp_path / "out.jsonl")) == 1
    old = replace(context, clock=lambda: case.stage.context.clock() + 5.1 * 86400)
    enforce_retention(old)
    assert source.is_file(), "it is young, and its row might be about to be written"
    os.utime(source, (0, 0))
    enforce_retention(old)
    assert not source.exists()
    assert exported(case, tmp_path / "out.jsonl") == []


@pytest.mark.parametrize("case", [SHARING], indirect=True)
def test_a_repository_that_no_longer_allows_it_takes_back_what_it_gave(case: Case, tmp_path: Path) -> None:
    posted(case)
    script.push(case.stage.emulator, case.repository, "main", {".github/ledex.toml": "[learning]\nuse_feedback = false\n"})
    other = script.open_pull_request(case.stage.emulator, case.repository, "again", {"shop.py": BROKEN + "# again\n"})
    case.fail(other)
    assert exported(case, tmp_path / "out.jsonl") == []
    with case.stage.context.database.reading() as session:
        assert len(list(session.scalars(select(FixRow.id).where(FixRow.repository_id == case.repository.id)))) == 2


def test_a_file_that_cannot_be_written_is_one_sentence(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="cannot be written"):
        export(case.stage.context, tmp_path / "none" / "out.jsonl", io.StringIO())


def test_the_same_tree_gives_the_same_archive(tmp_path: Path) -> None:
    made = []
    for name, time in (("one", 1), ("two", 2_000_000_000)):
        (tmp_path / name / "folder").mkdir(parents=True)
        (tmp_path / name / "folder" / "a.py").write_text("x = 1\n")
        (tmp_path / name / "b").symlink_to("folder/a.py")
        os.utime(tmp_path / name / "folder" / "a.py", (time, time))
        made.append(archive(Workspace(tmp_path / name, name, ("b", "folder/a.py"))))
    assert made[0] == made[1]


def test_the_command_writes_lines_and_says_beside_them_how_many(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.app, ["export", "--since", "2026-11-01"], env={"LEDEX_BOT_DATA_DIR": str(tmp_path)})
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "ledex: 0 trajectories, 0 sources\n")


class Ended(Exception):
    """Somebody stops the command."""


@pytest.mark.parametrize("case", [LEARNING], indirect=True)
def test_followed_the_file_grows_with_what_is_posted_and_a_full_disk_ends_nothing(case: Case, tmp_path: Path) -> None:
    out, counts, slept = tmp_path / "there" / "out.jsonl", list[int](), list[float]()

    def meanwhile(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            out.parent.mkdir()  # until now nothing could be written
        if len(slept) == 2:
            posted(case)
        if len(slept) == 3:
            raise Ended

    def report(written: Exported) -> None:
        counts.append(sum(one.problem.repository == case.repository.full_name for one in read_trajectories(out)))

    with pytest.raises(Ended):
        follow(case.stage.context, out, 0.0, 9.0, report, meanwhile)
    assert (counts, slept) == ([0, 1], [9.0, 9.0, 9.0])


def test_what_is_followed_needs_a_file() -> None:
    done = CliRunner().invoke(cli.app, ["export", "--follow", "5"])
    assert (done.exit_code, "--out FILE" in done.output) == (2, True)
