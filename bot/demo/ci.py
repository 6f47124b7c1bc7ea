"""What CI would say of the sample: its tests, run once in the sandbox, and the log as GitHub Actions writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sandbox.environment import build_environment
from sandbox.limits import Limits
from sandbox.runner import Command
from sandbox.selection import select_runner
from sandbox.settings import SandboxSettings
from sandbox.workspace import at_revision

_LIMITS = Limits(wall_seconds=60)


def run_ci(checkout: Path, folder: Path, repository: str, tell: Callable[[str], None]) -> tuple[bool, str]:
    """Whether pytest passes on the checkout's HEAD, and the log of the job. ``repository`` shares its environment with the bot's repair.

    Raises SandboxError where no sandbox or no environment can be had.
    """
    runner, settings = select_runner(), SandboxSettings()
    head = at_revision(checkout, "HEAD", folder)
    environment = build_environment(head.tree(), runner, settings=settings, repository=repository, progress=tell)
    variables = dict(environment.variables)
    if environment.overlay is not None:
        variables["PYTHONPATH"] = ":".join(filter(None, (variables.get("PYTHONPATH"), environment.overlay)))
    argv = (environment.python, "-m", "pytest", "-p", "no:cacheprovider")
    tree = replace(head.tree(), artifacts=environment.artifacts)
    execution = runner.run(Command(argv, tree=tree, environment=variables, mounts=environment.mounts, limits=_LIMITS))
    output = (execution.stdout + execution.stderr).decode("utf-8", "replace")
    lines = ["##[group]Run python -m pytest", "python -m pytest", "##[endgroup]", *output.splitlines()]
    if not execution.ok:
        lines.append(f"##[error]Process completed with exit code {execution.exit_code}.")
    return execution.ok, "".join(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z {line}\n" for line in lines)
