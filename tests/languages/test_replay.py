"""The proof of a fix that spans two projects of one tree is run again by the tests of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.bundle import read_bundle
from bot.policy import LearningPolicy, RepositoryPolicy
from bot.proof import Facts, write_bundle
from bot.replay import replay
from inference.patch import unified_diff
from inference.policy import VerifyPolicy
from sandbox.bubblewrap import BubblewrapRunner
from sandbox.settings import SandboxSettings
from sandbox.workspace import snapshot
from tests.bot.proofs import facts
from tests.languages.conftest import needs
from tests.languages.samples import NODE
from tests.languages.test_projects import checkout, joined

POLICY = RepositoryPolicy(verify=VerifyPolicy(repeats=2), learning=LearningPolicy(share_code=True))


def test_a_fix_of_two_projects_holds_and_half_of_it_does_not(tmp_path: Path, runner: BubblewrapRunner, settings: SandboxSettings) -> None:
    needs(NODE)
    places = {"api": NODE, "web": NODE}
    tmp_path.chmod(0o755)
    repository = checkout(tmp_path, places)
    sha = repository.git("rev-parse", "HEAD")
    outcome, _ = joined(snapshot(repository.folder, tmp_path / "head"), tmp_path, runner, settings, places, named=True)
    assert outcome.best is not None, outcome.reason
    plain = facts()
    whole = Facts(
        17, replace(plain.run, head_sha=sha), replace(plain.pull, head_sha=sha), sha, outcome, outcome.best, POLICY, plain.made_at,
        repository.folder)  # fmt: skip
    write_bundle(whole, tmp_path / "17.tar.gz")
    found = read_bundle(tmp_path / "17.tar.gz")
    assert found.proof["commands"]["test"] == "cd api && node --test test/; cd web && node --test test/"
    assert found.proof["failing"] == [f"{place}/{NODE.failing[0]}" for place in places]
    again = replay(found, runner)
    assert again.holds, again.reason
    assert again.verdict is not None
    assert again.verdict.before.failed == 2

    before = NODE.files[NODE.path].encode()
    half = unified_diff({f"api/{NODE.path}": (before, before.replace(NODE.bug.encode(), NODE.fix.encode()))})
    write_bundle(replace(whole, best=replace(outcome.best, patch=half)), tmp_path / "18.tar.gz")
    again = replay(read_bundle(tmp_path / "18.tar.gz"), runner)
    assert (again.holds, again.reason) == (False, f"verification refuses the patch: web/{NODE.failing[0]} still fails")
