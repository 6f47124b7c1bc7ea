"""Trees with several projects: the one that fails is found and only it is built; failures in several languages become one outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.patch import unified_diff
from inference.policy import Policy
from inference.projects import repair_projects
from inference.proposer import Problem, Progress, Proposal, Report, Search
from inference.repair import RepairRequest, open_bench, repair
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.frameworks import TestPlan
from sandbox.frameworks.languages import plans_for, plans_near, project_plans
from sandbox.settings import SandboxSettings
from sandbox.workspace import Workspace, snapshot
from tests.git_repository import GitRepository
from tests.languages.conftest import needs
from tests.languages.samples import GO, NODE, RUST, Sample


class Known:
    """Proposes the samples' right patches, each where its file is in the tree."""

    origin = "model"

    def __init__(self, places: dict[str, Sample]) -> None:
        self.places = places

    def propose(self, problem: Problem, search: Search, report: Report) -> Iterator[Proposal]:
        for folder, sample in self.places.items():
            path = f"{folder}/{sample.path}"
            if problem.bench.plan.folder == folder:
                before = problem.workspace.read(path)
                after = before.replace(sample.bug.encode(), sample.fix.encode())
                yield Proposal(unified_diff({path: (before, after)}), f"{path} is wrong.", self.origin, 1.0, path=path)


def checkout(folder: Path, places: dict[str, Sample], **more: str) -> GitRepository:
    files = {f"{place}/{path}": text for place, sample in places.items() for path, text in sample.files.items()}
    (folder / "many").mkdir(parents=True)
    return GitRepository(folder / "many").files({**files, **more}).commit()


def tree(folder: Path, places: dict[str, Sample], **more: str) -> Workspace:
    return snapshot(checkout(folder, places, **more).folder, folder / "head")


PLACES = {"api": GO, "web": NODE, "libs/core": RUST}


def test_every_project_of_a_tree_is_found(tmp_path: Path) -> None:
    head = tree(tmp_path, PLACES, **{"tools/test_x.py": "def test_x(): pass\n", "web/node_modules/x/package.json": "{}"})
    assert [(p.framework, p.folder) for p in plans_for(head)] == [
        ("pytest", "."), ("go", "api"), ("node", "web"), ("cargo", "libs/core")]  # fmt: skip


@pytest.mark.parametrize(
    ("near", "folders"),
    [
        (["/home/runner/work/many/many/web/test/cart.test.js"], ["web"]),
        (["stats/mean_test.go", "api/stats/mean.go"], ["api"]),
        (["libs/core/crates/core/src/lib.rs", "web/src/cart.js"], ["web", "libs/core"]),
        (["nowhere.js"], []),
        (["web/README.md"], []),
    ],
)
def test_the_paths_of_a_failure_name_its_project(tmp_path: Path, near: list[str], folders: list[str]) -> None:
    head = tree(tmp_path, PLACES)
    assert [p.folder for p in plans_near(head, project_plans(head), near)] == folders


def joined(head: Workspace, folder: Path, runner: BubblewrapRunner, settings: SandboxSettings, places: dict[str, Sample], *, named: bool):  # type: ignore[no-untyped-def]
    built: list[str] = []
    request = RepairRequest(folder)
    told: list[Progress] = []
    (folder / "overlays").mkdir()

    def one(plan: TestPlan, seconds: float):  # type: ignore[no-untyped-def]
        built.append(plan.folder)
        bench, _ = open_bench(request, runner, settings, head, told.append, plan)
        return bench, repair(head, None, bench, [Known(places)], Policy(), 60.0, folder / "overlays", told.append)

    outcome = repair_projects(plans_for(head), one, head, Policy(), folder / "overlays", told.append, 120.0, named=named)
    return outcome, built


def test_failures_in_two_languages_become_one_patch_that_both_verify(
    tmp_path: Path, runner: BubblewrapRunner, settings: SandboxSettings
) -> None:  # fmt: skip
    needs(NODE)
    needs(GO)
    places = {"api": GO, "web": NODE}
    tmp_path.chmod(0o755)
    outcome, built = joined(tree(tmp_path, places), tmp_path, runner, settings, places, named=True)
    assert (outcome.status, built) == ("fixed", ["api", "web"]), outcome.reason
    assert outcome.best is not None
    assert b"a/api/stats/mean.go" in outcome.best.patch
    assert b"a/web/src/cart.js" in outcome.best.patch
    assert outcome.best.verdict is not None
    assert outcome.best.verdict.level == 4
    assert outcome.reproduction is not None
    assert len(outcome.reproduction.failing) == 3
    assert outcome.test_command == "cd api && go test ./...; cd web && node --test test/"


def test_without_a_hint_only_the_first_project_that_fails_is_built(
    tmp_path: Path, runner: BubblewrapRunner, settings: SandboxSettings
) -> None:  # fmt: skip
    needs(NODE)
    right = {path: text.replace(NODE.bug, NODE.fix) for path, text in NODE.files.items()}
    tmp_path.chmod(0o755)
    places = {"b": NODE, "c": NODE}
    head = tree(tmp_path, places, **{f"a/{path}": text for path, text in right.items()})
    outcome, built = joined(head, tmp_path, runner, settings, places, named=False)
    assert (outcome.status, built) == ("fixed", ["a", "b"])
    assert outcome.best is not None
    assert b"a/b/src/cart.js" in outcome.best.patch
