"""A linter's or formatter's own fixer as a way of repair: what CI's check refuses, its fixer rewrites in the sandbox. No search, no model.

The check that failed in CI is reproduced like a test, on the base too; the patch is what the fixer changed; ``sandbox.tool_verification``
judges it, the project's whole test suite included.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from inference.outcome import Outcome, Timings
from inference.patch import unified_diff
from inference.policy import Policy
from inference.proposer import Progress, Proposal, Report, Search
from sandbox import WorkspaceError
from sandbox.frameworks import TestPlan
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Command, Execution
from sandbox.testing import Bench
from sandbox.tool_verification import verify_tool
from sandbox.workspace import Workspace

ORIGIN = "fixer"
_CHANGED = "/tmp/ledex-changed"
_VERSION = r"(\d+(?:\.\d+){1,3})(?![\w.])"
# What the fixer wrote to is newer than the mark; its words follow as arguments, so that no shell reads them.
_FIX = f"""
mark=$(mktemp) && sleep 0.05 && mkdir {_CHANGED} || exit 125
"$@" >&2
find . -type f -newer "$mark" -size -2048k -print | head -n 5000 | while IFS= read -r file; do cp --parents -- "$file" {_CHANGED}; done
""".strip()
_HOOKS = {
    "ruff": "astral-sh/ruff-pre-commit", "black": "psf/black(?:-pre-commit-mirror)?", "isort": "pycqa/isort",
    "autopep8": "hhatto/autopep8|pre-commit/mirrors-autopep8",
}  # fmt: skip


@dataclass(frozen=True)
class Fixer:
    """A tool that repairs what it found by itself. ``command`` are the words that repair in place, ``check`` those that fail while there is
    something to repair, both without a shell. ``package`` is what has them on the package index, in CI's ``version`` where it is known;
    without one the tool is only named, never run."""

    name: str
    command: tuple[str, ...]
    check: tuple[str, ...] = ()
    package: str = ""
    version: str = ""

    @property
    def runs_here(self) -> bool:
        return bool(self.check and self.package)


def with_tool(policy: Policy, fixer: Fixer, tree: Workspace) -> tuple[Policy, str]:
    """The policy whose environment has the tool too, and where its version comes from, for people: CI's log, the pre-commit configuration,
    or nowhere, and then the project's own or else the newest is used."""
    version, source = fixer.version, "as in the log of CI"
    if not version:
        version, source = pinned_version(tree, fixer.package), "as .pre-commit-config.yaml says"
    wanted = shlex.quote(f"{fixer.package}=={version}" if version else fixer.package)
    install = f"{{ python -m pip --version || python -m ensurepip --default-pip; }} && python -m pip install --only-binary :all: {wanted}"
    line = install if version else f"command -v {shlex.quote(fixer.check[0])} || {{ {install}; }}"
    environment = policy.environment.model_copy(update={"setup": (*policy.environment.setup, line)})
    return policy.model_copy(update={"environment": environment}), source if version else ""


def pinned_version(tree: Workspace, package: str) -> str:
    """The version that ``.pre-commit-config.yaml`` names for the tool, "" where it names none."""
    hook = _HOOKS.get(package)
    name = ".pre-commit-config.yaml"
    if hook is None or not tree.exists(name):
        return ""
    try:
        text = tree.read(name)[:100_000].decode("utf-8", "replace")
    except WorkspaceError:
        return ""
    found = re.search(rf"(?i)repo: *\S*/(?:{hook})(?:\.git)?/?\s+rev: *[\"']?v?{_VERSION}", text)
    return found.group(1) if found else ""


def installed_version(log: str, package: str) -> str:
    """The version that the log of a CI job says was installed (pip: ``ruff-0.6.9``; uv: ``+ ruff==0.6.9``), "" where it says none."""
    name = re.escape(package)
    found = re.search(rf"(?m)(?:Successfully installed (?:\S+ )*?{name}-|^.*\+ {name}==|{name}==){_VERSION}", log)
    return found.group(1) if found else ""


def repair_by_tool(
    head: Workspace,
    base: Workspace | None,
    bench: Bench,
    fixer: Fixer,
    policy: Policy,
    folder: Path,
    report: Report,
    version_from: str = "",
) -> Outcome:
    """Repair what a check refuses. ``bench`` runs the project's tests in an environment that has the tool; see ``with_tool``."""
    check = replace(bench, plan=TestPlan("command", shell=shlex.join(fixer.check)))
    reproduction = _named(reproduce(check, head, base, lambda text: report(Progress("reproduce", _about(text, fixer)))), fixer)
    timings = Timings(reproduction=reproduction.seconds)
    if reproduction.status != "failing":
        return Outcome(reproduction.status, _about(reproduction.reason, fixer), reproduction, timings=timings)
    started = time.monotonic()
    search = Search(generated=1, exhausted=True)
    report(Progress("propose", shlex.join(fixer.command)))
    execution = _run(bench, head, (*fixer.command,))
    patch = unified_diff(changes_of(head, execution))
    timings = replace(timings, search=time.monotonic() - started)
    if not patch:
        lines = (execution.stderr or execution.stdout).decode("utf-8", "replace").strip().splitlines()
        said = f" ({lines[-1][:160]})" if lines else ""
        return Outcome("unfixed", f"{fixer.name} has no fix for what it found{said}", reproduction, search=search, timings=timings)
    version = _version(bench, head, fixer)
    proposal = Proposal(patch, explain(fixer, reproduction, version, version_from), ORIGIN, 0.0, template=fixer.name)
    verdict = verify_tool(
        bench, check, head, patch, policy.patch_scope(), folder, policy.verify.repeats,
        lambda text: report(Progress("verify", text)))  # fmt: skip
    proposal = replace(proposal, verdict=verdict)
    timings = replace(timings, chosen=time.monotonic() - started if verdict.accepted else None)
    if verdict.accepted:
        return Outcome("fixed", f"verified V{verdict.level}", reproduction, (proposal,), search=search, timings=timings)
    refused = next((c.detail for c in verdict.checks if c.status == "failed"), "") or verdict.checks[-1].detail
    reason = f"the patch of {fixer.name} is not shown: {refused}"
    return Outcome("unfixed", reason, reproduction, (proposal,), search=search, timings=timings)


def changes_of(head: Workspace, execution: Execution) -> Mapping[str, tuple[bytes | None, bytes | None]]:
    """Files of the tree that a fixer left with other contents; what it added beside them (a cache) is no change."""
    found: dict[str, tuple[bytes | None, bytes | None]] = {}
    for name, content in execution.collected.items():
        path = name.removeprefix("/").removeprefix(_CHANGED.removeprefix("/")).removeprefix("/").removeprefix("./")
        if head.exists(path) and not head.path(path).is_symlink() and (before := head.read(path)) != content:
            found[path] = (before, content)
    return found


def explain(fixer: Fixer, reproduction: Reproduction, version: str, version_from: str) -> str:
    """What people read: which check, which words repaired it, with which version."""
    ran = f"`{shlex.join(fixer.check)}` fails on this commit"
    base = ", and passes on the base" if reproduction.passes_on_base else ""
    which = f" {version}" if version else ""
    source = f", {version_from}" if version_from else ", which may be another than CI's"
    changes = f"The patch is what `{shlex.join(fixer.command)}` changes, by {fixer.package}{which}{source}"
    return f"{ran}{base}. {changes}; no model had a part in it."


def _run(bench: Bench, head: Workspace, words: tuple[str, ...]) -> Execution:
    environment = bench.environment
    return bench.runner.run(
        Command(
            argv=("/bin/sh", "-c", _FIX, "sh", *words),
            tree=replace(head.tree(), artifacts=environment.artifacts),
            environment={**environment.variables, **dict(bench.variables)},
            mounts=environment.mounts,
            limits=bench.limits,
            collect=(_CHANGED,),
        )
    )


def _version(bench: Bench, head: Workspace, fixer: Fixer) -> str:
    source = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    environment = bench.environment
    command = Command(
        (environment.python, "-I", "-c", source, fixer.package), tree=head.tree(), environment=environment.variables,
        mounts=environment.mounts, limits=bench.limits)  # fmt: skip
    found = re.match(_VERSION, bench.runner.run(command).stdout.decode("utf-8", "replace"))
    return found.group(1) if found else ""


def _named(reproduction: Reproduction, fixer: Fixer) -> Reproduction:
    """With the check's own words in the place of the id that stands for a whole command."""
    name = shlex.join(fixer.check)

    def named(tests: tuple[str, ...]) -> tuple[str, ...]:
        return (name,) * len(tests)

    found = reproduction
    return replace(
        found, failures=tuple(replace(f, test_id=name) for f in found.failures), failing=named(found.failing), passing=named(found.passing),
        flaky=named(found.flaky), expected=named(found.expected))  # fmt: skip


def _about(text: str, fixer: Fixer) -> str:
    """A sentence of ``reproduce`` about a command that is no test."""
    check = shlex.join(fixer.check)
    told = {
        "all 1 tests pass": f"`{check}` passes here", "1 of 1 tests fail": f"`{check}` fails",
        "command fails on the base too": f"`{check}` fails on the base too",
    }  # fmt: skip
    return told.get(text, text.replace("the tests", f"`{check}`"))
