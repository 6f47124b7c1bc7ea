"""repair(): reproduce, localize, propose, verify, choose. The one function behind ``ledex fix``, the bot, the benchmark and training."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.attempt import Attempt, suspects_of
from inference.engines import Engine, proposers
from inference.fixers import Fixer, repair_by_tool, with_tool
from inference.outcome import Outcome, Status, Timings, outcome_json, surroundings_of
from inference.policy import Policy
from inference.projects import repair_projects
from inference.proposer import Progress, Proposal, Proposer, Report, Search
from inference.settings import InferenceSettings, load_settings
from inference.touched import touched_between
from sandbox import EnvironmentFailed, WorkspaceError
from sandbox.environment import build_environment, existing_environment
from sandbox.frameworks import TestPlan
from sandbox.frameworks.detection import is_test_file, plan_from_command
from sandbox.frameworks.languages import ADAPTERS, plan_of, plans_for, plans_near
from sandbox.project_environment import build_project_environment
from sandbox.reproduction import Reproduction, reproduce
from sandbox.runner import Runner
from sandbox.selection import select_runner
from sandbox.settings import SandboxSettings
from sandbox.testing import Bench
from sandbox.workspace import Workspace, at_revision, snapshot

__all__ = ["Engine", "Outcome", "RepairRequest", "Status", "Timings", "outcome_json", "repair", "repair_checkout"]


@dataclass(frozen=True)
class RepairRequest:
    """What ``ledex fix`` was asked. ``budget`` (seconds) runs from the reproduced failure to the chosen, cold-verified patch;
    ``setup_timeout`` bounds the environment's build. ``head`` is a commit to repair instead of the work tree; ``repository`` names what
    may share built environments (by default the path)."""

    path: Path
    head: str | None = None
    repository: str = ""
    test: str | None = None
    python: Path | None = None
    base: str | None = None
    budget: float = 120.0
    setup_timeout: float = 600.0
    jobs: int = 1
    engine: Engine = "auto"
    environment: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    unsafe: bool = False
    near: tuple[str, ...] = ()
    """Paths that the failure named, of a monorepo's log say: of several projects only those that hold one are built."""
    hint: str = ""
    """What a person who may write to the repository said of it; read by a model alone, as text that is not trusted."""
    search: bool = True
    """Without it the tests are only repeated: nothing is proposed."""
    fixer: Fixer | None = None
    """Instead of tests a tool's check failed, and its own fixer is the repair."""


def repair_checkout(
    request: RepairRequest, progress: Report | None = None, settings: SandboxSettings | None = None,
    inference: InferenceSettings | None = None,
) -> Outcome:  # fmt: skip
    """Repair a git checkout without touching it. The settings are this process's own by default.

    Raises WorkspaceError for a path that is no git checkout, ConfigurationError for options that cannot be used, IsolationUnavailable
    where no sandbox can be had; everything about the project itself is a status.
    """
    started = time.monotonic()
    report = progress or (lambda _: None)
    settings = settings or SandboxSettings()
    proposed_by = proposers(request.engine, request.repository or str(request.path.resolve()), request.policy,
                            inference or load_settings()) if request.search else []  # fmt: skip
    if request.test is not None:
        plan_from_command(request.test)  # what was typed wrong is wrong use; what the project's policy says is the project's
    runner = select_runner(allow_unsafe=request.unsafe)
    with tempfile.TemporaryDirectory(prefix="ledex-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        report(Progress("snapshot", str(request.path)))
        head = snapshot(request.path, folder / "head") if request.head is None else at_revision(request.path, request.head, folder / "head")
        base = at_revision(request.path, request.base, folder / "base") if request.base is not None else None
        version_from = ""
        if request.fixer is not None:
            policy, version_from = with_tool(request.policy, request.fixer, head)
            request = replace(request, policy=policy)
        try:
            plans = () if _command(request) else plans_for(head)
            named = plans_near(head, plans, request.near or _changed(head, base)) if len(plans) > 1 else ()
            plans = named or plans
            if len(plans) > 1 and request.fixer is None:

                def one(plan: TestPlan, seconds: float) -> tuple[Bench, Outcome]:
                    began = time.monotonic()
                    bench, notes = open_bench(request, runner, settings, head, report, plan)
                    built = time.monotonic() - began
                    outcome = repair(head, base, bench, proposed_by, request.policy, seconds, folder, report, request.jobs, request.hint)
                    return bench, _finished(outcome, bench, notes, built, time.monotonic() - began)

                return repair_projects(
                    plans, one, head, request.policy, folder, report, request.budget, named=bool(named))  # fmt: skip
            bench, notes = open_bench(request, runner, settings, head, report, plans[0] if plans else None)
            environment_seconds = time.monotonic() - started
            if request.fixer is not None:
                outcome = repair_by_tool(head, base, bench, request.fixer, request.policy, folder, report, version_from)
                outcome = replace(outcome, check_command=shlex.join(request.fixer.check), tool_setup=request.policy.environment.setup[-1:])
            else:
                outcome = repair(head, base, bench, proposed_by, request.policy, request.budget, folder, report, request.jobs,
                                 request.hint)
        except (EnvironmentFailed, WorkspaceError) as error:  # a tree above its limit is seen when it is first laid out
            return Outcome("broken", str(error), timings=Timings(total=time.monotonic() - started))
        return _finished(outcome, bench, notes, environment_seconds, time.monotonic() - started)


def _finished(outcome: Outcome, bench: Bench, notes: tuple[str, ...], environment_seconds: float, total: float) -> Outcome:
    """The outcome with what is known of its environment."""
    timings = replace(outcome.timings, environment=environment_seconds, total=total)
    return replace(
        outcome, timings=timings, notes=notes, python=bench.environment.python, test_command=bench.plan.describe(),
        surroundings=surroundings_of(bench))  # fmt: skip


def _command(request: RepairRequest) -> str | None:
    return request.test or request.policy.environment.test


def _changed(head: Workspace, base: Workspace | None) -> tuple[str, ...]:
    """Files whose text differs between base and head: without a log, they tell which project of a tree fails."""
    if base is None:
        return ()
    return tuple(f for f in head.files if not _same(head.path(f), base.path(f)))[:2000]


def _same(one: Path, other: Path) -> bool:
    """Whether two files hold the same; links count as the same, since they are followed nowhere."""
    if one.is_symlink() or other.is_symlink():
        return True
    return one.is_file() and other.is_file() and one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def repair(
    head: Workspace,
    base: Workspace | None,
    bench: Bench,
    proposed_by: Sequence[Proposer],
    policy: Policy,
    budget: float,
    folder: Path,
    report: Report,
    jobs: int = 1,
    hint: str = "",
) -> Outcome:
    """Repair a workspace whose environment stands. ``budget`` in seconds, from the reproduced failure on.

    Failures that have no function in common are repaired one by one and their patches joined; a failure that resists as a whole is split
    by test while the budget lasts.
    """
    reproduction = reproduce(bench, head, base, lambda text: report(Progress("reproduce", text)))
    timings = Timings(reproduction=reproduction.seconds)
    if reproduction.status != "failing":
        return Outcome(reproduction.status, reproduction.reason, reproduction, timings=timings)
    started = time.monotonic()
    touched = touched_between(base, head) if base is not None else {}
    suspects = suspects_of(head, reproduction, touched)
    report(Progress("localize", ", ".join(f"{s.function.path}:{s.function.qualname}" for s in suspects[:3]) or "no suspect"))
    search = Search()
    attempt = Attempt(head, bench, tuple(proposed_by), policy, folder, report, jobs, search, started, started + budget, touched, hint)
    groups = independent_failures(reproduction)
    accepted, refused = attempt.groups(reproduction, groups)
    if not accepted and len(groups) == 1 and len(reproduction.failing) > 1 and not any(p.withheld for p in refused):
        smaller = by_test_function(reproduction.failing)
        if len(smaller) > 1 and attempt.left() > 0.2 * budget:
            search.notes.append("no single change repairs all failing tests: trying them one by one")
            accepted, more = attempt.groups(reproduction, smaller[:6])
            refused += more
    spent = time.monotonic() - started
    if len(accepted) > 1:
        accepted = attempt.joined(reproduction, accepted)
    proposals = [p for _, p in accepted]
    repaired = set(accepted[0][0]) if accepted else set()  # by the patch that is shown, which is the first
    complete = bool(proposals) and repaired == set(reproduction.failing)
    timings = replace(
        timings, search=spent, first_plausible=attempt.first, chosen=time.monotonic() - started if proposals else None
    )
    reason = _reason(proposals, refused, search)
    if proposals and not complete:
        reason = f"repairs {len(repaired)} of {len(reproduction.failing)} failing tests; {reason}"
    status: Status = "fixed" if complete else "unfixed"
    return Outcome(status, reason, reproduction, (*proposals, *refused), tuple(suspects), search, timings)


def independent_failures(reproduction: Reproduction) -> list[tuple[str, ...]]:
    """Failing tests grouped so that tests which ran a line of the project in common are together; largest group first. Where no lines
    are known, as in other languages than Python, all are one group."""
    if not reproduction.coverage.lines:
        return [reproduction.failing]
    ran: dict[str, set[tuple[str, int]]] = {t: set() for t in reproduction.failing}
    for path, by_test in reproduction.coverage.lines.items():
        if not is_test_file(path):
            for test, numbers in by_test.items():
                if test in ran:
                    ran[test] |= {(path, number) for number in numbers}
    groups: list[tuple[list[str], set[tuple[str, int]]]] = []
    for test, lines in ran.items():
        touching = [g for g in groups if g[1] & lines]
        rest = [g for g in groups if not g[1] & lines]
        joined = ([t for tests, _ in touching for t in tests] + [test], lines.union(*(ran_by for _, ran_by in touching)))
        groups = [*rest, joined]
    ordered = sorted(groups, key=lambda g: (-len(g[0]), g[0]))
    return [tuple(t for t in reproduction.failing if t in set(tests)) for tests, _ in ordered]


def by_test_function(failing: Sequence[str]) -> list[tuple[str, ...]]:
    """Failing tests grouped by test function (the parameters of one function stay together), in their order."""
    groups: dict[str, list[str]] = {}
    for test in failing:
        groups.setdefault(test.split("[", 1)[0], []).append(test)
    return [tuple(tests) for tests in groups.values()]


def _reason(accepted: Sequence[Proposal], refused: Sequence[Proposal], search: Search) -> str:
    if accepted:
        verdict = accepted[0].verdict
        assert verdict is not None
        return f"verified V{verdict.level}"
    withheld = next((p for p in refused if p.withheld), None)
    if withheld is not None and withheld.verdict is not None:
        return f"a patch verified V{withheld.verdict.level} was withheld: {withheld.withheld}"
    if refused:
        verdict = refused[0].verdict
        detail = next((c.detail for c in verdict.checks if c.status == "failed"), "") if verdict else ""
        return f"{len(refused)} plausible patch{'es' if len(refused) > 1 else ''} refused by verification ({detail})"
    judged = sum(search.judged.values())
    ended = "every typed edit was tried" if search.exhausted else "the budget ended"
    if search.models and not judged:
        return f"none of {search.generated} answers of the model's held a patch that could be run"
    if not judged and search.notes:
        return search.notes[-1]
    return f"no edit of {judged} tried makes the failing tests pass ({ended})"


def open_bench(
    request: RepairRequest, runner: Runner, settings: SandboxSettings, head: Workspace, report: Report, plan: TestPlan | None = None
) -> tuple[Bench, tuple[str, ...]]:
    """What runs the request's tests (those of ``plan`` where one was chosen), and notes for people. Raises EnvironmentFailed;
    WorkspaceError for a command that cannot be read."""
    policy = request.policy
    if policy.environment.image or policy.environment.services:
        needs = policy.environment.image or ", ".join(policy.environment.services)
        raise EnvironmentFailed(f"could not reproduce: needs {needs}, and the container runner is not in use")
    command = _command(request)
    if plan is None:
        plan = plan_of(command, head, policy.environment.report) if command else plans_for(head)[0]
    variables = {**policy.environment.variables, **request.environment}
    report(Progress("environment", "building the environment"))
    if plan.framework in ADAPTERS:
        environment = build_project_environment(
            head, plan, runner, settings=settings, repository=request.repository or str(request.path.resolve()),
            setup=policy.environment.setup, environment=variables, timeout=request.setup_timeout,
            network=policy.environment.reaches_indexes, progress=lambda text: report(Progress("environment", text)))  # fmt: skip
    elif request.python is not None:
        environment = existing_environment(
            request.python, runner, settings=settings, tree=head.tree(), environment=variables,
            progress=lambda text: report(Progress("environment", text)))  # fmt: skip
    else:
        environment = build_environment(
            head.tree(), runner, settings=settings, repository=request.repository or str(request.path.resolve()),
            setup=policy.environment.setup, environment=variables, timeout=request.setup_timeout, python=policy.environment.python,
            network=policy.environment.reaches_indexes, progress=lambda text: report(Progress("environment", text)))  # fmt: skip
    return Bench(runner, environment, plan, policy.run_limits(), tuple(variables.items())), environment.notes
