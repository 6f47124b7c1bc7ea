"""Repairs of repositories whose policy names an image or services: by the container runner where there is one, else by a plain sentence."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from inference.engines import proposers
from inference.outcome import Outcome, Timings, surroundings_of
from inference.policy import EnvironmentPolicy
from inference.repair import RepairRequest, repair, repair_checkout
from inference.settings import load_settings
from sandbox import EnvironmentFailed, IsolationUnavailable, WorkspaceError
from sandbox.container import ContainerRunner
from sandbox.environment import build_environment
from sandbox.frameworks.detection import plan_from_command
from sandbox.frameworks.languages import ADAPTERS, plans_for
from sandbox.images import Image, offered, reference, services_of
from sandbox.interpreters import OLDEST, Interpreter
from sandbox.limits import Limits
from sandbox.plan import ENV
from sandbox.runner import Command
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.workspace import at_revision

_WHERE = "command -v python3 || command -v python"
_VERSION = "import sys; print(*sys.version_info[:2])"


def repair_anywhere(request: RepairRequest) -> Outcome:
    """``repair_checkout``, in a container where the policy asks for one. A deployment without an engine says what is needed."""
    environment = request.policy.environment
    if not (environment.image or environment.services) or request.fixer is not None:
        return repair_checkout(request)
    try:
        runner = ContainerRunner()
    except IsolationUnavailable:
        return repair_checkout(request)  # it says what the repository needs
    return repair_contained(request, runner)


def image_name(environment: EnvironmentPolicy) -> str:
    """The image that is the root of the run; tests with services and without an image run in Python's own."""
    return environment.image or f"python:{environment.python or '3'}"


def needed(runner: ContainerRunner, text: str) -> Image:
    """The image that a policy names. Raises EnvironmentFailed with what the repository needs."""
    try:
        return runner.image_of(reference(text))
    except EnvironmentFailed as error:
        raise EnvironmentFailed(f"could not reproduce: needs {text[:200]}, and {error}") from None


def repair_contained(request: RepairRequest, runner: ContainerRunner, settings: SandboxSettings | None = None) -> Outcome:
    """Repair a commit with the image's own Python. Everything about the project, its image and its services is a status."""
    assert request.head is not None
    started = time.monotonic()
    settings = settings or SandboxSettings()
    proposed_by = proposers("auto", request.repository, request.policy, load_settings()) if request.search else []
    with tempfile.TemporaryDirectory(prefix="ledex-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        head = at_revision(request.path, request.head, folder / "head")
        base = at_revision(request.path, request.base, folder / "base") if request.base is not None else None
        wanted = request.policy.environment
        try:
            runner.tidy()
            services = services_of([needed(runner, text) for text in wanted.services])
            image = needed(runner, image_name(wanted))
            runner = runner.inside(image.name)
            plan = plan_from_command(wanted.test, wanted.report) if wanted.test else plans_for(head)[0]
            if plan.framework in ADAPTERS:
                raise EnvironmentFailed(f"could not reproduce: {plan.framework} in a container is not supported yet, only Python is")
            variables = variables_in(image, {**offered(services), **wanted.variables, **request.environment})
            environment = build_environment(
                head.tree(), runner, settings=settings, repository=f"{request.repository}#{image.id}", setup=wanted.setup,
                environment=variables, timeout=request.setup_timeout, interpreter=interpreter_of(runner, variables),
                network=wanted.reaches_indexes)  # fmt: skip
            bench = Bench(runner.inside(image.name, services), environment, plan, request.policy.run_limits(), tuple(variables.items()))
            built = time.monotonic() - started
            outcome = repair(head, base, bench, proposed_by, request.policy, request.budget, folder, lambda _: None, request.jobs,
                             request.hint)
        except (EnvironmentFailed, WorkspaceError) as error:
            return Outcome("broken", str(error), timings=Timings(total=time.monotonic() - started))
        timings = replace(outcome.timings, environment=built, total=time.monotonic() - started)
        return replace(
            outcome, timings=timings, notes=environment.notes, python=environment.python, test_command=plan.describe(),
            surroundings=surroundings_of(bench))  # fmt: skip


def variables_in(image: Image, more: Mapping[str, str]) -> dict[str, str]:
    """What the tests find set: what the image sets, with the environment's folder first on its PATH, and ``more`` over it."""
    path = image.variables.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**image.variables, "HOME": "/tmp/home", "PATH": f"{ENV}/bin:{path}", **more}


def interpreter_of(runner: ContainerRunner, variables: dict[str, str]) -> Interpreter:
    """The image's Python. Raises EnvironmentFailed where it has none that is new enough."""
    script = f'p=$({_WHERE}) && echo "$p" && exec "$p" -I -c "{_VERSION}"'
    execution = runner.run(Command(("/bin/sh", "-c", script), cwd="/tmp", environment=variables, limits=Limits(wall_seconds=60)))
    lines = execution.stdout.decode(errors="replace").split()
    try:
        version = int(lines[1]), int(lines[2])
    except (ValueError, IndexError):
        raise EnvironmentFailed(f"the image {runner.image} has no Python on its PATH: name one that has, such as python:3.12") from None
    if version < OLDEST:
        raise EnvironmentFailed(f"the image's Python is {version[0]}.{version[1]}: ledexbot runs tests with Python 3.8 or newer")
    return Interpreter(lines[0], version, (), Path("/"))
