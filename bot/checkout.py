"""Brings the commits of a pull request onto this machine: objects only, no work tree, no hook, filter or submodule ever runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bot import BotError
from bot.github.protocol import GitAccess
from bot.github.scrubbing import scrub

DEPTH = 100
"""Commits fetched of each side at first; what lies between head and base is usually far less."""
_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.fsckObjects=true",
         "-c", "protocol.version=2", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")  # fmt: skip


class FetchFailed(BotError):
    """Git could not bring a commit; one sentence without any token."""


@dataclass(frozen=True)
class Commits:
    """A repository on this machine that holds both commits. ``base_sha`` is where the pull request branched off."""

    path: Path
    head_sha: str
    base_sha: str


def fetch(access: GitAccess, folder: Path, number: int, head_sha: str, base_sha: str, timeout: float = 300.0) -> Commits:
    """Fetch a pull request's head and base into the repository ``folder``, which is made where it does not exist.

    Raises FetchFailed, also when the pull request's head is no longer ``head_sha``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, None, 60, "init", "--quiet", "--template=", ".")  # also what a process that was killed has begun
    _unlock(folder / ".git", timeout)
    head = f"refs/ledex/{number}/head"
    wanted = (f"+refs/pull/{number}/head:{head}", f"{base_sha}:refs/ledex/{number}/base")
    fetching = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force")
    _git(folder, access, timeout, *fetching, f"--depth={DEPTH}", access.url, *wanted)
    found = _git(folder, None, 60, "rev-parse", head).strip()
    if found != head_sha:
        raise FetchFailed(f"the pull request's head is {found[:12]} now, no longer {head_sha[:12]}")
    try:
        merge_base = _git(folder, None, 60, "merge-base", head_sha, base_sha).strip()
    except FetchFailed:  # they parted further back, or were cut apart by the depth
        merge_base = base_sha
    return Commits(folder, head_sha, merge_base)


def _unlock(git: Path, seconds: float) -> None:
    """Remove the locks of a git that was killed: none of ours runs for longer than ``seconds``, so an older one has no holder."""
    before = time.time() - seconds
    for lock in (*git.glob("*.lock"), *git.glob("refs/**/*.lock")):
        with contextlib.suppress(FileNotFoundError):
            if lock.stat().st_mtime < before:
                lock.unlink()


def forget(folder: Path) -> None:
    """Remove a repository that was fetched."""
    shutil.rmtree(folder, ignore_errors=True)


def _git(folder: Path, access: GitAccess | None, timeout: float, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "LEDEX_"))}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
                    "GIT_ALLOW_PROTOCOL": "http:https", "GIT_LFS_SKIP_SMUDGE": "1"}  # fmt: skip
    environment |= dict(access.environment) if access is not None else {}
    try:
        done = subprocess.run(
            ["git", *_SAFE, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=timeout, check=False)  # fmt: skip
    except FileNotFoundError as error:
        raise FetchFailed("git is not installed: apt-get install git") from error
    except subprocess.TimeoutExpired:
        raise FetchFailed(f"git {arguments[0]} took longer than {timeout:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise FetchFailed(f"git {arguments[0]} failed: {scrub(last)}")
    return done.stdout
