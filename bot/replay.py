"""Does a proof still hold? The bundle's patch is reproduced and verified again, with the recorded commands, in a sandbox of this machine.

A bundle may come from anybody: its commands run in the sandbox only, as those of any repository do, and share no built environment.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from bot import BotError, bundle
from bot.attestation import SigningFailed, signed_payload
from bot.bundle import Bundle, DamagedBundle
from bot.bundled_code import unbundle
from inference.policy import Policy
from inference.projects import joined_verdict
from inference.proposer import Progress, Report
from inference.repair import RepairRequest, open_bench
from sandbox import EnvironmentFailed, WorkspaceError
from sandbox.frameworks import TestPlan
from sandbox.frameworks.languages import plans_described
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Runner
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.tool_verification import verify_tool
from sandbox.verification import Verdict, verify
from sandbox.workspace import Workspace, at_revision


class CannotReplay(BotError):
    """The bundle is sound, but what it takes to run it again is not here; one sentence with the way out."""


@dataclass(frozen=True)
class Replay:
    """``reason`` is one sentence; ``verdict`` is of the new run, None where it did not come to one."""

    holds: bool
    reason: str
    verdict: Verdict | None = None


def check_signature(found: Bundle, key_file: Path) -> None:
    """Raises SigningFailed unless the bundle's statement was signed with the key of this file (public, PEM)."""
    if bundle.ENVELOPE not in found.files:
        raise SigningFailed("the bundle is not signed")
    if signed_payload(found.files[bundle.ENVELOPE], key_file) != found.files[bundle.STATEMENT]:
        raise SigningFailed("the signed statement is not the one in the bundle")


def replay(
    found: Bundle,
    runner: Runner,
    repository: Path | None = None,
    python: Path | None = None,
    setup_timeout: float = 600.0,
    report: Report = lambda _: None,
) -> Replay:
    """Run a proof again: the same tests must fail on the head, and the patch must reach the recorded rung.

    The code comes from ``repository`` where it is given, else from the bundle. ``python`` is used instead of building an environment.
    Raises CannotReplay, DamagedBundle, and WorkspaceError for a checkout that lacks the commits.
    """
    proof = found.proof
    if not proof["patch"]["complete"]:
        raise CannotReplay("a credential was taken out of the patch, so it cannot be run again: take the patch from the pull request")
    if repository is None and bundle.TREE not in found.files:
        raise CannotReplay(f"the bundle holds no code: name a checkout of {proof['repository']} that has its commits with --repository")
    try:
        policy = Policy.model_validate(proof["policy"])
    except ValidationError as error:
        raise DamagedBundle(f"the bundle is damaged: policy in proof.json is wrong ({error.errors()[0]['msg']})") from None
    head_sha, base_sha = proof["head_sha"], proof["base_sha"]
    with tempfile.TemporaryDirectory(prefix="ledex-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        report(Progress("snapshot", f"{proof['repository']} at {head_sha[:12]}"))
        if repository is None:
            repository = folder / "code" / _folder_name(proof["repository"])
            try:
                unbundle(found.files[bundle.TREE], repository, head_sha, base_sha)
            except WorkspaceError as error:
                raise DamagedBundle(f"the bundle is damaged: git cannot read tree.bundle ({error})") from None
        try:
            head = at_revision(repository, head_sha, folder / "head")
            base = at_revision(repository, base_sha, folder / "base") if base_sha != head_sha else None
        except WorkspaceError as error:
            where = f"git fetch origin pull/{proof['pull_request']}/head {base_sha}"
            raise CannotReplay(f"the commits are not in {repository} ({error}); bring them: {where}") from None
        commands = proof["commands"]
        test = None if policy.environment.test else commands["test"] or None  # the policy's own words, where it has some
        check = commands.get("check")
        if check:  # the tool came into the environment after the policy's own set-up
            environment = policy.environment.model_copy(update={"setup": tuple(commands["setup"])})
            policy = policy.model_copy(update={"environment": environment})
        request = RepairRequest(
            path=repository, head=head_sha, test=test, python=python, policy=policy, setup_timeout=setup_timeout,
            repository=f"replay:{found.sha256}")  # fmt: skip
        # A fix that spans projects of one tree has the commands of all, and each project has an environment of its own.
        plans = () if policy.environment.test or check else plans_described(head, commands["test"])
        try:
            if not plans:
                bench, _ = open_bench(request, runner, SandboxSettings(), head, report)
                if check:
                    return _checked(bench, head, check, found, policy, folder, report)
                return _proven([bench], head, base, found, policy, folder, report)
            benches = [open_bench(request, runner, SandboxSettings(), head, report, plan)[0] for plan in plans]
            return _proven(benches, head, base, found, policy, folder, report)
        except (EnvironmentFailed, WorkspaceError) as error:
            return Replay(False, f"the tests cannot be run here: {error}")


def _proven(
    benches: Sequence[Bench], head: Workspace, base: Workspace | None, found: Bundle, policy: Policy, folder: Path, report: Report
) -> Replay:
    """The same tests fail on the head, whichever project they are of, and the patch is verified by the tests of each."""
    failing = found.proof["failing"]
    reproductions = [reproduce(bench, head, base, lambda text: report(Progress("reproduce", text))) for bench in benches]
    fitting = _as_recorded(reproductions, failing)
    if isinstance(fitting, str):
        return Replay(False, fitting)
    verdicts = []
    for bench, reproduction in zip(benches, fitting, strict=True):
        verdict = verify(
            bench, head, reproduction, found.files["patch.diff"], policy.patch_scope(), folder, found.proof["repeats"],
            lambda text: report(Progress("verify", text)))  # fmt: skip
        if not verdict.accepted:
            return _judged(verdict, 0)
        verdicts.append(verdict)
    whole = verdicts[0] if len(verdicts) == 1 else joined_verdict([bench.plan for bench in benches], verdicts)
    return _judged(whole, int(found.proof["verdict"]["level"][1:]))


def _checked(bench: Bench, head: Workspace, check: str, found: Bundle, policy: Policy, folder: Path, report: Report) -> Replay:
    """The proof of a tool's own fixer: a check failed there, not a test."""
    failing = replace(bench, plan=TestPlan("command", shell=check))
    verdict = verify_tool(
        bench, failing, head, found.files["patch.diff"], policy.patch_scope(), folder, found.proof["repeats"],
        lambda text: report(Progress("verify", text)))  # fmt: skip
    return _judged(verdict, int(found.proof["verdict"]["level"][1:]))


def _as_recorded(reproductions: Sequence[Reproduction], failing: Sequence[str]) -> list[Reproduction] | str:
    """The reproductions with the recorded failing tests as their targets, or one sentence on why it is another failure."""
    for reproduction in reproductions:
        if reproduction.status != "failing":
            return f"the failure is not there any more: {reproduction.reason}"
    if not failing:
        return "the proof names no test that failed"
    there = {test for reproduction in reproductions for test in reproduction.failing}
    gone = [test for test in failing if test not in there]
    if gone:
        return f"{gone[0]} does not fail without the patch any more"
    wanted = frozenset(failing)
    return [
        replace(
            reproduction, failing=tuple(t for t in reproduction.failing if t in wanted),
            failures=tuple(f for f in reproduction.failures if f.test_id in wanted))
        for reproduction in reproductions
    ]  # fmt: skip


def _judged(verdict: Verdict, recorded: int) -> Replay:
    if not verdict.accepted:
        check = next((c for c in verdict.checks if c.status == "failed"), None)
        return Replay(False, f"verification refuses the patch: {check.detail}" if check else "the patch does not reach V3", verdict)
    if verdict.level < recorded:
        return Replay(False, f"the patch reaches V{verdict.level} only, and V{recorded} was recorded", verdict)
    return Replay(True, f"verified V{verdict.level} again", verdict)


def _folder_name(repository: str) -> str:
    """The name that the tests' folder had: some tests can tell."""
    name = repository.rpartition("/")[2]
    return name if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) else "repository"
