"""The emulated GitHub as PyGithub sees it."""

from __future__ import annotations

import base64
from typing import Any

import github
import pytest

from bot.demo.emulator import prune, script, validation
from bot.demo.emulator.routes import ROUTES
from bot.demo.emulator.state import Annotation

from .conftest import FILES, Hub


def test_every_described_operation_is_served_and_no_other() -> None:
    assert {(one.method, one.path) for one in ROUTES} == set(prune.OPERATIONS)
    described = {(method.upper(), path) for path, methods in validation.description()["paths"].items() for method in methods}
    assert described == set(prune.OPERATIONS)


def test_a_pull_request_reads_with_its_files_and_its_sides(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository, title="Charge more", body="why not")
    read = hub.github(hub.token(repository)).get_repo(repository.full_name).get_pull(pull.number)
    assert (read.title, read.body, read.state, read.merged, read.changed_files, read.additions) == (
        "Charge more",
        "why not",
        "open",
        False,
        1,
        1,
    )
    assert (read.head.sha, read.head.repo.full_name, read.base.ref) == (pull.head_sha, repository.full_name, "main")
    assert [(one.filename, one.status) for one in read.get_files()] == [("shop.py", "modified")]
    assert [one.sha for one in read.get_commits()] == [pull.head_sha]


def test_a_comment_is_written_edited_reacted_to_and_listed(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    issue = hub.github(hub.token(repository, {"pull_requests": "write"})).get_repo(repository.full_name).get_pull(pull.number)
    written = issue.create_issue_comment("first")
    written.edit("second")
    assert written.create_reaction("eyes").content == "eyes"
    listed = list(issue.get_issue_comments())
    assert [(one.body, one.user.login, one.user.type) for one in listed] == [("second", "ledex[bot]", "Bot")]


def test_a_comment_beyond_the_limit_is_refused(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    issue = hub.github(hub.token(repository)).get_repo(repository.full_name).get_pull(pull.number)
    with pytest.raises(github.GithubException) as caught:
        issue.create_issue_comment("x" * 65_537)
    assert caught.value.status == 422


def test_a_check_run_goes_from_in_progress_to_buttons(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    there = hub.github(hub.token(repository, {"checks": "write"})).get_repo(repository.full_name)
    check = there.create_check_run("ledex", pull.head_sha, status="in_progress", external_id="job-1")
    note = {"path": "shop.py", "start_line": 2, "end_line": 2, "annotation_level": "warning", "message": "one too many"}
    button = {"label": "Apply fix", "description": "Commit the patch", "identifier": "apply"}
    check.edit(
        status="completed", conclusion="success", output={"title": "Fix", "summary": "A fix", "annotations": [note]}, actions=[button]
    )
    again = there.get_check_run(check.id)
    assert (again.status, again.conclusion, again.external_id, again.output.title) == ("completed", "success", "job-1", "Fix")
    assert [one.message for one in again.get_annotations()] == ["one too many"]
    (kept,) = script.check_runs_of(hub.emulator, pull)
    script.press_button(hub.emulator, kept, "apply")
    with pytest.raises(ValueError, match="no button 'reject'"):
        script.press_button(hub.emulator, kept, "reject")


def test_a_failed_run_reads_with_jobs_annotations_and_artifacts(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    jobs = [
        script.CiJob("test (3.11)", "E assert", annotations=(Annotation("shop.py", 2, 2, "failure", "boom"),)),
        script.CiJob("lint", conclusion="success"),
    ]
    run = script.fail_run(hub.emulator, pull, jobs, [script.CiArtifact("reports", {"junit.xml": b"<x/>"})])
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    read = there.get_workflow_run(run.id)
    assert (read.conclusion, read.head_sha, [one.number for one in read.pull_requests]) == ("failure", pull.head_sha, [pull.number])
    assert [(one.name, one.conclusion) for one in read.jobs()] == [("test (3.11)", "failure"), ("lint", "success")]
    assert [one.message for one in there.get_check_run(next(iter(read.jobs())).id).get_annotations()] == ["boom"]
    assert [one.name for one in read.get_artifacts()] == ["reports"]
    assert [one.id for one in there.get_workflow_runs(head_sha=pull.head_sha)] == [run.id]
    assert [one.name for one in there.get_check_suite(run.suite.id).get_check_runs()] == ["test (3.11)", "lint"]


def test_a_fork_is_found_by_head_but_not_by_commit_nor_in_the_run(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository, from_fork="stranger")
    run = script.fail_run(hub.emulator, pull)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    assert list(there.get_commit(pull.head_sha).get_pulls()) == []
    assert there.get_workflow_run(run.id).pull_requests == []
    assert there.get_workflow_run(run.id).head_repository.full_name == "stranger/shop"
    assert [one.number for one in there.get_pulls(state="open", head="stranger:fix")] == [pull.number]


def test_a_commit_of_the_same_repository_finds_its_pull_request(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    assert [one.number for one in there.get_commit(pull.head_sha).get_pulls()] == [pull.number]


def test_a_deleted_fork_leaves_a_head_without_a_repository(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository, from_fork="leaver")
    assert pull.head_repository is not None
    script.delete_fork(hub.emulator, pull.head_repository)
    read = hub.github(hub.token(repository)).get_repo(repository.full_name).get_pull(pull.number)
    assert read.raw_data["head"]["repo"] is None


def test_contents_come_from_the_ref_that_is_asked_for(hub: Hub) -> None:
    repository = hub.repository()
    script.commit(hub.emulator, repository, "other", {".github/ledex.toml": "version = 2\n"})
    there = hub.github(hub.token(repository, {"contents": "read"})).get_repo(repository.full_name)
    texts = [there.get_contents(".github/ledex.toml", ref=ref) for ref in ("main", "other")]
    assert [one.decoded_content.decode() for one in texts if not isinstance(one, list)] == [FILES[".github/ledex.toml"], "version = 2\n"]
    with pytest.raises(github.UnknownObjectException):
        there.get_contents("missing.toml", ref="main")


def test_a_commit_made_by_the_git_interface_moves_the_pull_request(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    old = pull.head_sha
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    parent = there.get_git_commit(old)
    blob = there.create_git_blob(base64.b64encode(b"fixed\n").decode(), "base64")
    tree = there.create_git_tree([github.InputGitTreeElement("shop.py", "100644", "blob", sha=blob.sha)], parent.tree)
    made = there.create_git_commit("Fix", tree, [parent])
    there.get_git_ref("heads/fix").edit(made.sha)
    assert pull.head_sha == made.sha
    with pytest.raises(github.GithubException, match="fast forward"):
        there.get_git_ref("heads/fix").edit(old)
    hub.emulator.settle()
    assert [one.action for one in hub.emulator.deliveries.kept if one.repository_id == repository.id][-1] == "synchronize"


def test_a_stacked_pull_request_is_opened_once(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    sha = script.commit(hub.emulator, repository, "spare", {"shop.py": "pass\n"}, base="fix")
    there.create_git_ref("refs/heads/ledex/1", sha)
    made = there.create_pull(base=pull.head_ref, head="ledex/1", title="Fix", body="stacked")
    assert (made.base.ref, made.head.sha, made.user.login) == ("fix", sha, "ledex[bot]")
    with pytest.raises(github.GithubException, match="already exists"):
        there.create_pull(base=pull.head_ref, head="ledex/1", title="Fix", body="stacked")


def test_a_review_takes_lines_of_the_diff_and_no_others(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    read, head = there.get_pull(pull.number), there.get_commit(pull.head_sha)
    entry: dict[str, Any] = {"path": "shop.py", "body": "```suggestion\n    return sum(prices)\n```", "line": 2, "side": "RIGHT"}
    review = read.create_review(commit=head, body="a fix", event="COMMENT", comments=[entry])  # type: ignore[list-item]  # its type lacks `line`
    assert review.state == "COMMENTED"
    assert [(one.path, one.user.login) for one in read.get_review_comments()] == [("shop.py", "ledex[bot]")]
    with pytest.raises(github.GithubException, match="part of the diff"):
        read.create_review(commit=head, body="x", event="COMMENT", comments=[entry | {"line": 60}])  # type: ignore[list-item]


def test_labels_permission_levels_and_accounts(hub: Hub) -> None:
    repository = hub.repository(writers=["ada"])
    pull = hub.pull(repository)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    read = there.get_pull(pull.number)
    read.add_to_labels("no-ledex")
    assert [one.name for one in read.get_labels()] == ["no-ledex"]
    read.remove_from_labels("no-ledex")
    assert there.get_collaborator_permission("ada") == "write"
    assert there.get_collaborator_permission("octocat") == "none"
    assert hub.github(hub.token(repository)).get_user("ledex[bot]").id == hub.emulator.state.app.bot.id


def test_lists_come_in_pages(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    for number in range(5):
        script.comment(hub.emulator, pull, f"number {number}")
    with hub.http(hub.token(repository)) as client:
        first = client.get(f"/repos/{repository.full_name}/issues/{pull.number}/comments?per_page=2")
        last = client.get(first.links["last"]["url"])
    assert [one["body"] for one in first.json()] == ["number 0", "number 1"]
    assert [one["body"] for one in last.json()] == ["number 4"]


def test_the_search_finds_a_pull_request_by_its_commit(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository, from_fork="searched")
    found = hub.github(hub.token(repository)).search_issues(f"repo:{repository.full_name} is:pr {pull.head_sha}")
    assert [one.number for one in found] == [pull.number]


def test_comparing_gives_the_merge_base(hub: Hub) -> None:
    repository = hub.repository()
    start = script.push(hub.emulator, repository, "main", {"a.txt": "a"})
    pull = hub.pull(repository)
    script.push(hub.emulator, repository, "main", {"b.txt": "b"})
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    compared = there.compare("main", pull.head_sha)
    assert (compared.merge_base_commit.sha, compared.status, compared.ahead_by) == (start, "diverged", 1)
