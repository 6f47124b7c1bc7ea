"""``npm test`` and its like are the scripts that they run: read from ``package.json``, so that single tests and reports work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.bubblewrap import BubblewrapRunner
from sandbox.frameworks import TestPlan
from sandbox.frameworks.javascript import invocation
from sandbox.frameworks.languages import plan_of, plans_described, project_plans
from sandbox.frameworks.scripts import script_text
from sandbox.project_environment import build_project_environment
from sandbox.project_setup import setup_steps
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench, run_tests
from sandbox.workspace import Workspace, snapshot
from tests.git_repository import GitRepository
from tests.languages.conftest import LIMITS, needs, open_project
from tests.languages.samples import GO, NODE

SCRIPTS = {
    "test": "npm run test:unit -- --reporter=dot", "test:unit": "vitest run", "pretest:unit": "tsc", "node": "node --test test/",
    "jest": "jest", "mocha": "mocha test", "loop": "npm run loop", "build": "tsc",
}  # fmt: skip


def tree(folder: Path, **packages: object) -> Workspace:
    files = {f"{place.replace('_', '/')}/package.json".removeprefix("top/"): json.dumps(manifest) for place, manifest in packages.items()}
    (folder / "shop").mkdir()
    return snapshot(GitRepository(folder / "shop").files({"a.txt": "", **files}).commit().folder, folder / "head")


@pytest.mark.parametrize(("command", "plan"), [
    ("npm test", TestPlan("vitest", shell="tsc && vitest run --reporter=dot")),
    ("npm t -- -t total", TestPlan("vitest", ("-t", "total"), shell="tsc && vitest run --reporter=dot")),
    ("CI=1 npm run --silent node", TestPlan("node", shell="node --test test/", variables=(("CI", "1"),))),
    ("yarn jest --ci", TestPlan("jest", ("--ci",), shell="jest")), ("pnpm run jest", TestPlan("jest", shell="jest")),
    ("cd web && npm test", TestPlan("jest", shell="jest", folder="web")),
    ("npm --prefix=web test", TestPlan("jest", shell="jest", folder="web")),
    ("npm test --workspace @acme/web", TestPlan("jest", shell="jest", folder="web")),
    ("yarn workspace @acme/web test", TestPlan("jest", shell="jest", folder="web")),
    ("pnpm --filter @acme/web test", TestPlan("jest", shell="jest", folder="web")),
    ("yarn --cwd web vitest run", TestPlan("vitest", shell="vitest run", folder="web")),
])  # fmt: skip
def test_a_script_of_a_runner_that_is_known_becomes_its_plan(tmp_path: Path, command: str, plan: TestPlan) -> None:
    assert plan_of(command, tree(tmp_path, top={"scripts": SCRIPTS}, web={"name": "@acme/web", "scripts": {"test": "jest"}})) == plan


@pytest.mark.parametrize("command", [
    "npm run mocha", "npm run loop", "npm run build", "npm run gone", "npm test --workspaces", "npm test && echo done", "npm install",
    "npm run", "npm --prefix ../x test", "npm --prefix /x test", "cd gone && npm test", "npm test -w gone",
    "yarn", "pnpm -r test", "npm test | cat",
])  # fmt: skip
def test_any_other_stays_the_command_that_it_is(tmp_path: Path, command: str) -> None:
    assert plan_of(command, tree(tmp_path, top={"scripts": SCRIPTS})) == TestPlan("command", shell=command)


def test_a_report_that_was_named_is_read(tmp_path: Path) -> None:
    plan = plan_of("npm test", tree(tmp_path, top={"scripts": SCRIPTS}), "out/r.xml")
    assert plan == TestPlan("command", shell="npm test", junit="out/r.xml")


@pytest.mark.parametrize("manifest", [{}, {"scripts": 3}, {"scripts": {"test": None}}, {"scripts": {"test": {}}}])
def test_a_manifest_without_scripts_has_none(manifest: dict[str, object]) -> None:
    assert script_text(manifest, "test") == ""


def test_a_package_whose_test_script_calls_another_is_found(tmp_path: Path) -> None:
    assert project_plans(tree(tmp_path, top={"scripts": SCRIPTS})) == (TestPlan("vitest", shell="tsc && vitest run --reporter=dot"),)


def test_what_is_handed_to_the_script_comes_last(tmp_path: Path) -> None:
    plan = plan_of("npm test -- --bail 1", tree(tmp_path, top={"scripts": {"test": "vitest"}}))
    assert invocation(plan, ()).shell.splitlines()[-1].endswith("vitest run --reporter=json --outputFile=/tmp/ledex-report --no-color "
                                                                "--watch=false --bail 1")  # fmt: skip


def test_npm_test_runs_a_single_test_and_tells_all(tmp_path: Path, runner: BubblewrapRunner, settings: SandboxSettings) -> None:
    needs(NODE)
    project = open_project(NODE, tmp_path / "work", runner, settings)
    plan = plan_of("npm test", project.head)
    bench = Bench(runner, build_project_environment(project.head, plan, runner, settings=settings, repository="shop"), plan, LIMITS)
    alone = run_tests(bench, project.head, only=NODE.failing)
    assert alone.trustworthy
    assert alone.report.failed == NODE.failing
    # Node 20 runs what stands beside it in its suite too, and names the rest as skipped.
    assert "test/cart.test.js::finds the cheapest" not in alone.report.passed


def test_the_commands_of_an_outcome_are_the_plans_again(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    places = (("api", GO), ("web", NODE), ("web2", NODE))
    files = {f"{place}/{path}": text for place, sample in places for path, text in sample.files.items()}
    head = snapshot(GitRepository(tmp_path / "many").files(files).commit().folder, tmp_path / "head")
    api, web, web2 = project_plans(head)
    for plans in ((api,), (web,), (api, web), (api, web, web2), (web2,)):
        assert plans_described(head, "; ".join(p.describe() for p in plans)) == plans
    for text in ("", "go test ./...", "cd api && go test ./... -v", f"{web.describe()}; {api.describe()}", f"{api.describe()}; true"):
        assert plans_described(head, text) == ()


@pytest.mark.parametrize(("lock", "commands"), [
    (None, ["npm install --no-save --prefer-offline", "npm install --no-save"]),
    ("package-lock.json", ["npm ci --prefer-offline", "npm install --no-save --prefer-offline", "npm install --no-save"]),
    ("yarn.lock", ["yarn install --frozen-lockfile --non-interactive --cache-folder /ledex-downloads/yarn",
                   "npm install --no-save --prefer-offline", "npm install --no-save"]),
])  # fmt: skip
def test_packages_come_from_the_lock_file_first_and_from_earlier_downloads_before_the_registry(
    tmp_path: Path, lock: str | None, commands: list[str]
) -> None:  # fmt: skip
    (tmp_path / "shop").mkdir()
    manifest = json.dumps({"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}})
    files = {"web/package.json": manifest, **({f"web/{lock}": "{}"} if lock else {})}
    head = snapshot(GitRepository(tmp_path / "shop").files(files).commit().folder, tmp_path / "head")
    [step] = setup_steps(TestPlan("jest", folder="web"), head, (), debian=False)
    scripts = [attempt.commands[0][-1].splitlines() for attempt in step.attempts]
    assert [lines[-1] for lines in scripts] == commands
    assert all(lines[0] == "cd web || exit 1" and "npm_config_cache=/ledex-downloads/npm" in lines[1] for lines in scripts)
