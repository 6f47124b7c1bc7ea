"""The environment of a project in another language: toolchain + what its build left, from the cache or built now, as for Python."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from sandbox import EnvironmentFailed
from sandbox.build import Build, run_build
from sandbox.cache import EnvironmentCache, seal_build
from sandbox.environment import Environment, build_limits
from sandbox.frameworks import TestPlan
from sandbox.frameworks.adapter import text_of
from sandbox.interpreters import locate
from sandbox.limits import Limits
from sandbox.plan import ENV
from sandbox.project_setup import DEBIAN_REPOSITORY, LANGUAGES, manifest_files, run_variables, setup_steps
from sandbox.registries import configured_registries
from sandbox.runner import Command, Mount, Runner
from sandbox.settings import SandboxSettings
from sandbox.toolchains import Toolchain, find_toolchain, version_of, with_program
from sandbox.workspace import Workspace

FORMAT = 1
"""Part of every key: raise it when a build would come out differently."""
_ARTIFACT_BYTES = 768 * 1024**2
"""node_modules are copied into every run's tree."""
_NOTHING: Mapping[str, str] = MappingProxyType({})
_WAY_OUT = "mend it, or add setup commands to .github/ledex.toml"


def build_project_environment(
    workspace: Workspace,
    plan: TestPlan,
    runner: Runner,
    *,
    settings: SandboxSettings,
    repository: str,
    trust: str = "local",
    setup: tuple[str, ...] = (),
    environment: Mapping[str, str] = _NOTHING,
    timeout: float = 600,
    progress: Callable[[str], None] | None = None,
    network: bool = True,
) -> Environment:
    """What the tests of a plan need, from the cache or built now; only this project of a monorepo is built.

    The parameters are those of ``build_environment``. Raises EnvironmentFailed with one sentence.
    """
    started = time.monotonic()
    tell = progress or (lambda sentence: None)
    toolchain = toolchain_of(plan)
    steps = setup_steps(plan, workspace, setup, Path(DEBIAN_REPOSITORY).is_dir())
    version = version_of(_version_text(toolchain, runner))
    identity = [FORMAT, plan.framework, plan.folder, toolchain.identity, version, *(() if network else ("no network",))]
    if not steps:
        return _environment(plan, toolchain, version, (), None, _key(identity), environment, started, cached=False)
    names = manifest_files(workspace, toolchain.language)
    texts = [(name, text_of(workspace, name)) for name in names]
    key = _key([*identity, texts, [(s.name, [a.commands for a in s.attempts]) for s in steps], sorted(environment.items())])
    cache = EnvironmentCache(settings.cache_folder, settings.cache_bytes)
    slot = cache.slot(repository, trust, key)

    def build(left: float) -> None:
        tell(f"building the environment: {plan.describe()}")
        ours = locate(Path(os.path.realpath(sys.executable)))
        wanted = Build(
            workspace.tree(), replace(ours, mounts=(*ours.mounts, *toolchain.mounts)), configured_registries(toolchain.language),
            _limits(settings, left), steps, environment={**_variables(toolchain, _NOTHING), **environment}, uv=None, way_out=_WAY_OUT,
            artifact_bytes=_ARTIFACT_BYTES, network=network)  # fmt: skip
        with cache.building() as folder:
            result = run_build(wanted, folder, cache, cache.downloads(repository, trust), runner, settings, tell)
            notes = [*result.notes, *seal_build(folder)]
            cache.publish(folder, slot, {"format": FORMAT, "notes": notes, "artifacts": any((folder / "artifacts").iterdir())})

    lease, description, cached = cache.finished(slot, build, started + timeout - time.monotonic())
    cache.evict()
    artifacts = slot.folder / "artifacts" if description["artifacts"] else None
    found = _environment(
        plan, toolchain, version, (Mount(slot.folder / "env", ENV),), artifacts, key, environment, started, cached=cached)  # fmt: skip
    return replace(found, notes=tuple(description["notes"]), leases=(lease,))


def toolchain_of(plan: TestPlan) -> Toolchain:
    """The toolchain that a plan needs, found on this machine. Raises EnvironmentFailed with what to install."""
    toolchain = find_toolchain(LANGUAGES[plan.framework])
    if plan.framework == "maven":
        return with_program(toolchain, "mvn", "maven")
    if plan.framework == "gradle" and not plan.shell:
        return with_program(toolchain, "gradle", "gradle")
    return toolchain


def _limits(settings: SandboxSettings, seconds: float) -> Limits:
    # Compilers and package managers keep their intermediate files in /tmp.
    return replace(build_limits(settings, seconds), temporary_bytes=4 * 1024**3)


def _environment(
    plan: TestPlan, toolchain: Toolchain, version: tuple[int, int], mounts: tuple[Mount, ...], artifacts: Path | None, key: str,
    environment: Mapping[str, str], started: float, *, cached: bool,
) -> Environment:  # fmt: skip
    variables = {**_variables(toolchain, _NOTHING), **run_variables(plan, version), **environment}
    return Environment(
        python=toolchain.executable, version=version, mounts=(*toolchain.mounts, *mounts), variables=MappingProxyType(variables),
        overlay=None, artifacts=artifacts, key=key, cached=cached, seconds=time.monotonic() - started)  # fmt: skip


def _variables(toolchain: Toolchain, more: Mapping[str, str]) -> dict[str, str]:
    folders = dict.fromkeys((*toolchain.folders, "/usr/local/bin", "/usr/bin", "/bin"))
    return {"PATH": ":".join(folders), "HOME": "/tmp/home", "LANG": "C.UTF-8", "TZ": "UTC", **toolchain.variables, **more}


def _version_text(toolchain: Toolchain, runner: Runner) -> str:
    """What the toolchain says of itself, inside the sandbox."""
    execution = runner.run(Command(toolchain.version, cwd="/tmp", environment=_variables(toolchain, _NOTHING), mounts=toolchain.mounts,
                                   limits=Limits(wall_seconds=60)))  # fmt: skip
    text = (execution.stdout + execution.stderr).decode("utf-8", "replace")
    if not execution.ok:
        last = (text.strip().splitlines() or [f"it ended with {execution.reason}"])[-1][:200]
        raise EnvironmentFailed(
            f"{toolchain.executable} does not start in the sandbox ({last}): install another {toolchain.language} toolchain"
        )
    return text


def _key(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
