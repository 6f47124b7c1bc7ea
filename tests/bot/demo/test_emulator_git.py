"""git over HTTP, by the git command itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bot.demo.emulator.faults import Fault

from .conftest import Hub


def git(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    return subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def address(hub: Hub, full_name: str, token: str | None) -> str:
    web = hub.emulator.at.web
    return f"{web}/{full_name}.git" if token is None else f"{web.replace('//', f'//x-access-token:{token}@')}/{full_name}.git"


def test_the_head_of_a_fork_is_fetched_with_a_token_from_the_base(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repository()
    pull = hub.pull(repository, from_fork="gitter")
    git("init", "-q", ".", cwd=tmp_path)
    url = address(hub, repository.full_name, hub.token(repository, {"contents": "read"}))
    assert git("fetch", "-q", "--depth=1", url, f"refs/pull/{pull.number}/head", cwd=tmp_path).returncode == 0
    assert git("rev-parse", "FETCH_HEAD", cwd=tmp_path).stdout.strip() == pull.head_sha


def test_nobody_fetches_a_private_repository(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repository()
    done = git("ls-remote", address(hub, repository.full_name, None), cwd=tmp_path)
    assert done.returncode != 0
    with hub.http() as client:
        answer = client.get(f"{hub.emulator.at.web}/{repository.full_name}.git/info/refs?service=git-upload-pack")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="GitHub"')


def test_a_token_of_another_repository_sees_nothing(hub: Hub, tmp_path: Path) -> None:
    mine, other = hub.repository(), hub.repository()
    assert git("ls-remote", address(hub, other.full_name, hub.token(mine)), cwd=tmp_path).returncode != 0


def test_a_push_needs_contents_write_and_moves_the_pull_request(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    writing, reading = (address(hub, repository.full_name, hub.token(repository, {"contents": level})) for level in ("write", "read"))
    assert git("clone", "-q", "-b", "fix", writing, "work", cwd=tmp_path).returncode == 0
    work = tmp_path / "work"
    (work / "new.txt").write_text("new\n")
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "New", cwd=work)
    assert git("push", "-q", reading, "HEAD:fix", cwd=work).returncode != 0
    assert git("push", "-q", writing, "HEAD:fix", cwd=work).returncode == 0
    assert pull.head_sha == git("rev-parse", "HEAD", cwd=work).stdout.strip()
    hub.emulator.settle()
    assert sorted(headers["X-GitHub-Event"] for _, headers in hub.inbox.got) == ["pull_request", "pull_request", "push"]


def test_a_push_is_in_the_log_with_what_it_moved(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repository()
    url = address(hub, repository.full_name, hub.token(repository))
    assert git("clone", "-q", url, "work", cwd=tmp_path).returncode == 0
    tip = git("rev-parse", "HEAD", cwd=tmp_path / "work").stdout.strip()
    assert git("push", "-q", url, "HEAD:refs/heads/ledex/1", cwd=tmp_path / "work").returncode == 0
    moved = [one.body for one in hub.emulator.log if one.path.endswith("/git-receive-pack") and one.body]
    assert moved == [{"ledex/1": tip}]


def test_a_fetch_can_fail_on_order(hub: Hub, tmp_path: Path) -> None:
    repository = hub.repository()
    url = address(hub, repository.full_name, hub.token(repository))
    for kind in ("503", "drop"):
        hub.emulator.faults.once("GIT", "info/refs", Fault(kind))
        assert git("ls-remote", url, cwd=tmp_path).returncode != 0
    assert git("ls-remote", url, cwd=tmp_path).returncode == 0
