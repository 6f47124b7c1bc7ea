"""The proof bundle of a posted fix: what was run, on what, and what came of it, so that anybody can run it again. Never a token in it.

Every text passes through ``scrub``. Only ``tree.bundle``, which a repository must allow, holds its commits as they are.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot import attestation, bundle
from bot.bundled_code import bundle_of, patched_tree
from bot.github.scrubbing import scrub
from bot.junit import write_junit
from bot.policy import RepositoryPolicy
from bot.runs import FailedRun, PullRequest
from inference.outcome import Outcome, ledexbot_version
from inference.proposer import Proposal
from sandbox import WorkspaceError
from sandbox.limits import MIB
from sandbox.report import TestReport

log = logging.getLogger(__name__)
PROOFS = "proofs"
"""The folder of the bundles below the server's ``data_dir``; a bundle's name is its run's number."""
MAX_TREE = 64 * MIB
MAX_LOGS = 20
_HALF_LOG = 128 * 1024
_EMPTY = TestReport({}, complete=False)
_POLICY = {"version", "environment", "verify", "limits", "scope"}
"""The tables that a repair reads; the rest of a policy is about people."""


@dataclass(frozen=True)
class Facts:
    """What a bundle is written from. ``repository`` is where its commits lie here, ``web_url`` where people find it."""

    run_id: int
    run: FailedRun
    pull: PullRequest
    base_sha: str
    outcome: Outcome
    best: Proposal
    policy: RepositoryPolicy
    made_at: float
    repository: Path | None = None
    web_url: str = "https://github.com"


@dataclass(frozen=True)
class Code:
    """What the repository adds: the git tree that was tested, and the bundle of base and head, or one sentence on why there is none."""

    patched_tree: str | None = None
    bundle: bytes | None = None
    reason: str = ""


def write_bundle(facts: Facts, file: Path, key_file: Path | None = None) -> Code:
    """Write the bundle; returns what it holds of the code. With ``key_file`` its statement is signed. Raises OSError, and SigningFailed."""
    code = read_code(facts)
    files = proof_files(facts, code)
    if key_file is not None:
        files[bundle.ENVELOPE] = attestation.sign(files[bundle.STATEMENT], key_file)
    data = bundle.pack(files)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            target.write(data)
        unfinished.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
    return code


def read_code(facts: Facts) -> Code:
    """Ask git. What it cannot say is left out of the bundle, with the reason."""
    if facts.repository is None:
        return Code(reason="the repository is not on this machine")
    code = Code()
    try:
        code = replace(code, patched_tree=patched_tree(facts.repository, facts.pull.head_sha, facts.best.patch))
        if not facts.policy.learning.share_code:
            return replace(code, reason="the repository's policy does not share code (learning.share_code)")
        data = bundle_of(facts.repository, facts.pull.head_sha, facts.base_sha)
    except (WorkspaceError, OSError) as error:
        log.warning("no code in the proof of run %d: %s", facts.run_id, error)
        return replace(code, reason="git could not read the commits")
    if len(data) > MAX_TREE:
        return replace(code, reason=f"the code is larger than {MAX_TREE // MIB} MB")
    return replace(code, bundle=data)


def proof_files(facts: Facts, code: Code) -> dict[str, bytes]:
    """Every file of the bundle but the signature. Pure."""
    outcome, best = facts.outcome, facts.best
    verdict, reproduction = best.verdict, outcome.reproduction
    assert verdict is not None, "only what was verified has a proof"
    before = reproduction.report if reproduction is not None else None
    patch = scrub(best.patch.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    files = {
        "patch.diff": patch,
        "before.xml": write_junit(before or _EMPTY, "before", scrub),
        "after.xml": write_junit(verdict.report or _EMPTY, "after", scrub),
    }
    logs = []
    for name, job, text in _logs(facts):
        clean = scrub(text).encode("utf-8", "replace")
        kept = clean if len(clean) <= 2 * _HALF_LOG else clean[:_HALF_LOG] + b"\n[... cut here ...]\n" + clean[-_HALF_LOG:]
        files[name] = kept
        logs.append({"name": name, "job": job, "bytes": len(clean), "sha256": bundle.sha256(clean), "truncated": kept != clean})
    if code.bundle is not None:
        files[bundle.TREE] = code.bundle
    policy = facts.policy
    proof = {
        "format": bundle.FORMAT,
        "made_at": datetime.fromtimestamp(facts.made_at, UTC).isoformat(timespec="seconds"),
        "run": facts.run_id,
        "repository": facts.pull.repository,
        "pull_request": facts.pull.number,
        "head_sha": facts.pull.head_sha,
        "base_sha": facts.base_sha,
        "ci": {"run": facts.run.id, "attempt": facts.run.attempt, "workflow": facts.run.workflow},
        "versions": {
            "ledexbot": ledexbot_version(), "host_python": platform.python_version(),
            "python": outcome.surroundings.python or None, "pytest": outcome.surroundings.pytest or None,
        },
        "environment": {
            "python": outcome.python or None, "lock_hash": outcome.surroundings.environment or None,
            "isolation": outcome.surroundings.isolation or None,
        },
        "commands": {
            "setup": [*policy.environment.setup, *outcome.tool_setup], "test": outcome.test_command, "check": outcome.check_command or None,
        },
        "policy": policy.model_dump(mode="json", include=_POLICY),
        "limits": vars(policy.run_limits()),
        "repeats": verdict.repeats,
        "failing": list(reproduction.failing) if reproduction is not None else [],
        "patch": {
            "sha256": bundle.sha256(best.patch), "complete": patch == best.patch, "origin": best.origin, "model": None,
            "template": best.template or None, "explanation": best.explanation,
        },
        "verdict": verdict.to_json(),
        "timings": {name: round(value, 3) for name, value in vars(outcome.timings).items() if value is not None},
        "logs": logs,
        "code": {"included": code.bundle is not None, "reason": code.reason, "patched_tree": code.patched_tree},
    }  # fmt: skip
    files[bundle.PROOF] = _json({**_scrubbed(proof), "files": bundle.listing(files)})
    address = f"{facts.web_url}/{facts.pull.repository}"
    statement = attestation.statement(
        verdict.report or _EMPTY, files[bundle.PROOF], best.patch, code.patched_tree,
        {"head": (address, facts.pull.head_sha), "base": (address, facts.base_sha)})  # fmt: skip
    files[bundle.STATEMENT] = _json(_scrubbed(statement))
    return files


def _logs(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """(name in the bundle, whose it is, text): what our two runs wrote, then the failed jobs of CI."""
    reproduction, verdict = facts.outcome.reproduction, facts.best.verdict
    yield "logs/before.txt", "", reproduction.output if reproduction is not None else ""
    yield "logs/after.txt", "", verdict.output if verdict is not None else ""
    for number, job in enumerate(facts.run.jobs[: MAX_LOGS - 2], 1):
        yield f"logs/ci-{number}.txt", job.name, job.log


def _scrubbed(value: Any) -> Any:
    """Text by text: a credential in one cannot reach into the next."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrub(key): _scrubbed(below) for key, below in value.items()}
    return [_scrubbed(below) for below in value] if isinstance(value, list | tuple) else value


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
