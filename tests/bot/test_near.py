"""From the log of a CI run to the project of a monorepo that it is about, in every language."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.near import named_paths
from bot.policy import RepositoryPolicy
from bot.runs import FailedRun, Job
from bot.triage import triage
from sandbox.frameworks.languages import plans_near, project_plans
from sandbox.workspace import Workspace, snapshot
from tests.git_repository import GitRepository
from tests.languages.record import GO_SHOP, JEST_SHOP, MAVEN_SHOP, VITEST_SHOP
from tests.languages.samples import NODE, RUST

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
PLACES = {"api": GO_SHOP, "web": NODE.files, "site": VITEST_SHOP, "app": JEST_SHOP, "libs": RUST.files, "store": MAVEN_SHOP}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("many")
    files = {f"{place}/{path}": text for place, project in PLACES.items() for path, text in project.items()}
    (folder / "shop").mkdir()
    return snapshot(GitRepository(folder / "shop").files(files).commit().folder, folder / "head")


def run(*names: str) -> FailedRun:
    jobs = tuple(Job(n, name, "failure", log=(LOGS / f"{name}.log").read_text(encoding="utf-8")) for n, name in enumerate(names))
    return FailedRun("acme/shop", 1, 1, 1, 1, "CI", "pull_request", "a" * 40, "change", "failure", jobs=jobs)


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["go_test"], ["api"]),
        (["cargo_test"], ["libs"]),
        (["maven_test"], ["store"]),
        (["vitest"], ["site"]),
        (["go_test", "maven_build"], ["api", "store"]),
    ],
)
def test_the_log_tells_which_projects_of_a_tree_failed(head: Workspace, names: list[str], folders: list[str]) -> None:
    near = named_paths(triage(run(*names), RepositoryPolicy()))
    assert sorted(p.folder for p in plans_near(head, project_plans(head), near)) == folders


def test_paths_from_the_top_of_the_tree_are_told_apart(head: Workspace) -> None:
    """Three projects have a test/cart.test file; a log that names the folder names one of them."""
    assert [p.folder for p in plans_near(head, project_plans(head), ["app/test/cart.test.js"])] == ["app"]
    assert plans_near(head, project_plans(head), ["test/cart.test.js"]) == ()
