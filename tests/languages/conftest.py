"""Sample projects of each language as repositories, each reproduced once; a language without its toolchain is skipped and says why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.frameworks import TestPlan
from sandbox.frameworks.languages import project_plans
from sandbox.limits import MIB, Limits
from sandbox.project_environment import build_project_environment
from sandbox.refusal import Scope
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Runner
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.verification import Verdict, verify
from sandbox.workspace import Workspace, snapshot
from tests.git_repository import GitRepository
from tests.languages.samples import SAMPLES, Sample
from tests.sandbox.conftest import diff

LIMITS = Limits(wall_seconds=300, tree_bytes=256 * MIB, temporary_bytes=1024 * MIB)
INSTALL = "run `make test-languages`, which installs it"
LONG = {
    "maven": "a virtual machine for each run takes more than a minute", "gradle": "a virtual machine for each run takes minutes",
    "vitest": "it comes from the npm registry", "jest": "it comes from the npm registry",
}  # fmt: skip
"""What `make test-languages` runs and `make test` does not, with the reason."""
REPOSITORY = "samples"
"""Builds are shared within a repository's name: the packages of a sample are downloaded once."""


def needs(sample: Sample) -> None:
    """Skip where this machine lacks what the sample's tests run on, or where they would take too long."""
    if sample.framework in LONG and not os.environ.get("LEDEX_TEST_LANGUAGES"):
        pytest.skip(f"{sample.framework}: {LONG[sample.framework]}; run `make test-languages`")
    path = f"{os.environ.get('PATH', '')}:{Path.home()}/.cargo/bin"
    missing = [p for p in sample.programs if shutil.which(p, path=path) is None] + [p for p in sample.paths if not Path(p).exists()]
    if missing:
        pytest.skip(f"{sample.framework}: {', '.join(missing)} is not here: {INSTALL}")


@dataclass
class Project:
    """A sample in a repository of its own, and what its unpatched tree does."""

    sample: Sample
    repository: GitRepository
    folder: Path
    head: Workspace
    bench: Bench
    _count: int = 0
    _reproduction: Reproduction | None = None

    def space(self) -> Path:
        self._count += 1
        path = self.folder / str(self._count)
        path.mkdir()
        return path

    @property
    def reproduction(self) -> Reproduction:
        if self._reproduction is None:
            self._reproduction = reproduce(self.bench, self.head)
        return self._reproduction

    def verify(self, path: str, old: str, new: str) -> Verdict:
        before = self.head.read(path).decode()
        assert old in before
        patch = diff(path, before, before.replace(old, new))
        return verify(self.bench, self.head, self.reproduction, patch, Scope(), self.space(), repeats=2)


Open = Callable[..., Project]


def open_project(sample: Sample, folder: Path, runner: Runner, settings: SandboxSettings, plan: TestPlan | None = None) -> Project:
    """A sample's repository below ``folder``, with its environment built."""
    (folder / "shop").mkdir(parents=True)
    folder.chmod(0o755)
    repository = GitRepository(folder / "shop").files(dict(sample.files)).commit()
    head = snapshot(repository.folder, folder / "head")
    plan = plan or next(p for p in project_plans(head) if p.framework == sample.framework)
    environment = build_project_environment(head, plan, runner, settings=settings, repository=REPOSITORY)
    return Project(sample, repository, folder, head, Bench(runner, environment, replace(plan), LIMITS))


@pytest.fixture(scope="session")
def runner() -> BubblewrapRunner:
    return BubblewrapRunner()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SandboxSettings:
    return SandboxSettings(cache_folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module", params=sorted(SAMPLES))
def project(
    request: pytest.FixtureRequest, runner: BubblewrapRunner, settings: SandboxSettings, tmp_path_factory: pytest.TempPathFactory
) -> Project:  # fmt: skip
    sample = SAMPLES[request.param]
    needs(sample)
    return open_project(sample, tmp_path_factory.mktemp(sample.framework) / "work", runner, settings)
