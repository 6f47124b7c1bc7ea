"""Repositories, forks, commits and installations on the emulated GitHub, made without anybody being told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bot.demo.emulator import repositories
from bot.demo.emulator.emulator import Emulator
from bot.demo.emulator.state import ALL_PERMISSIONS, Installation, Repository

Files = Mapping[str, str | bytes | None]  # path -> content; None removes


def add_repository(
    emulator: Emulator,
    full_name: str,
    source: Path | Files,
    *,
    default_branch: str = "main",
    private: bool = True,
    installed: bool = True,
    writers: Sequence[str] = (),
    organization: bool = False,
) -> Repository:
    """A repository out of a git checkout or of files; the App is installed on it unless told otherwise. Nothing is sent."""
    state = emulator.state
    with state.lock:
        owner_name, _, name = full_name.partition("/")
        owner = state.user(owner_name, "Organization" if organization else "User")
        number = state.new_id()
        directory = emulator.directory / f"{number}.git"
        if isinstance(source, Path):
            repositories.copy(source, directory)
        else:
            repositories.create(directory, default_branch)
            repositories.commit_files(directory, default_branch, None, source, "First commit")
        made = Repository(number, owner, name, directory, default_branch, private, created=state.clock())
        for login in writers:
            made.roles[state.user(login).login.lower()] = "write"
        state.repositories[number] = made
        if installed:
            install(emulator, made)
        return made


def install(emulator: Emulator, repository: Repository, permissions: Mapping[str, str] | None = None) -> Installation:
    """Give the App ``repository``, in the installation of its owner. With ``permissions`` the installation's are replaced."""
    state = emulator.state
    with state.lock:
        found = next((one for one in state.installations.values() if one.account is repository.owner), None)
        if found is None:
            found = Installation(state.new_id(), repository.owner, dict(ALL_PERMISSIONS), state.clock())
            state.installations[found.id] = found
        if permissions is not None:
            found.permissions = dict(permissions)
        found.repositories.add(repository.id)
        return found


def fork(emulator: Emulator, repository: Repository, owner: str) -> Repository:
    """``owner``'s fork, made at the first call. The App is not installed on it."""
    state = emulator.state
    with state.lock:
        made = state.repository(f"{owner}/{repository.name}")
        if made is None:
            made = add_repository(
                emulator, f"{owner}/{repository.name}", repository.directory, default_branch=repository.default_branch,
                private=repository.private, installed=False,
            )  # fmt: skip
            made.parent = repository
        return made


def commit(
    emulator: Emulator, repository: Repository, branch: str, files: Files, *, message: str = "Change", base: str | None = None
) -> str:
    """Put a commit on ``branch`` (made from ``base`` or the default branch) without telling anybody; its SHA."""
    directory = repository.directory
    with emulator.state.lock:
        branches = repositories.branches(directory)
        return repositories.commit_files(
            directory, branch, branches.get(branch) or branches[base or repository.default_branch], files, message
        )


def delete_fork(emulator: Emulator, repository: Repository) -> None:
    """The fork is gone: the heads of its pull requests have no repository any more."""
    with emulator.state.lock:
        del emulator.state.repositories[repository.id]
        for pull in emulator.state.pulls:
            if pull.head_repository is repository:
                pull.head_repository = None
