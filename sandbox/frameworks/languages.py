"""The frameworks of other languages than Python by name, and which projects of a tree are tested, all or those that a failure lies in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sandbox import WorkspaceError
from sandbox.frameworks import TestPlan, cargo, go, javascript, jvm, node
from sandbox.frameworks.adapter import Adapter
from sandbox.frameworks.detection import is_test_file, plan_for, plan_from_command
from sandbox.workspace import Workspace

ADAPTERS: Mapping[str, Adapter] = {
    "node": node.ADAPTER, "vitest": javascript.VITEST, "jest": javascript.JEST, "go": go.ADAPTER, "cargo": cargo.ADAPTER,
    "maven": jvm.MAVEN, "gradle": jvm.GRADLE,
}  # fmt: skip
MOST_PLANS = 8
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "javascript": (".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx", ".vue", ".svelte", ".json"), "go": (".go",),
    "rust": (".rs",), "java": (".java", ".kt", ".groovy", ".scala"),
}  # fmt: skip


def project_plans(workspace: Workspace) -> tuple[TestPlan, ...]:
    """A plan for each project of another language than Python, nearest to the top first."""
    found = [plan for adapter in ADAPTERS.values() for plan in adapter.detect(workspace)]
    return tuple(sorted(found, key=lambda p: (p.folder != ".", p.folder.count("/"), p.folder)))


def plans_for(workspace: Workspace) -> tuple[TestPlan, ...]:
    """The plans of a tree, Python's first. Raises WorkspaceError where no tests are found."""
    projects = project_plans(workspace)
    tests_python = any(f.endswith(".py") and is_test_file(f) for f in workspace.files)
    try:
        python = (plan_for(workspace),) if tests_python or not projects else ()
    except WorkspaceError:
        if not projects:
            raise
        python = ()
    return (*python, *projects)[:MOST_PLANS]


def plan_of(command: str, workspace: Workspace, junit: str | None = None) -> TestPlan:
    """The plan of a typed or configured command; ``npm test`` and its like are the package's script that they run, unless the report that
    they write (``junit``) was named. Raises WorkspaceError for a command that cannot be read."""
    return (javascript.script_plan(command, workspace) if junit is None else None) or plan_from_command(command, junit)


def plans_described(workspace: Workspace, text: str) -> tuple[TestPlan, ...]:
    """The tree's plans whose descriptions, with "; " between them, are this text; none where they are not."""
    found: list[TestPlan] = []
    try:
        plans = plans_for(workspace)
    except WorkspaceError:
        return ()
    for plan in plans:
        rest = text.removeprefix(plan.describe())
        if rest != text and (not rest or rest.startswith("; ")):
            found.append(plan)
            text = rest.removeprefix("; ")
    return () if text else tuple(found)


def plans_near(workspace: Workspace, plans: Sequence[TestPlan], near: Sequence[str]) -> tuple[TestPlan, ...]:
    """Those of the plans whose projects hold one of these paths (of failing tests, frames, changed files), as a log may write them."""
    paths = [path for raw in near if (path := _resolved(raw, workspace)) is not None]
    chosen = {plan for path in paths if (plan := _around(path, plans)) is not None}
    return tuple(p for p in plans if p in chosen)


def _resolved(raw: str, workspace: Workspace) -> str | None:
    """A file of the tree that a path out of a log means: itself, or the only one that ends so."""
    path = raw.replace("\\", "/").removeprefix("./")
    if workspace.exists(path):
        return path
    parts = [p for p in path.split("/") if p]
    for start in range(1, len(parts)):
        tail = "/".join(parts[start:])
        if workspace.exists(tail):
            return tail
    ends = [f for f in workspace.files if f.endswith(f"/{path}")]
    return ends[0] if len(ends) == 1 else None


def _around(path: str, plans: Iterable[TestPlan]) -> TestPlan | None:
    """The innermost project of the path's language around it."""
    holding = [p for p in plans if _speaks(p, path) and (p.folder == "." or path.startswith(f"{p.folder}/"))]
    return max(holding, key=lambda p: len(p.folder) if p.folder != "." else 0, default=None)


def _speaks(plan: TestPlan, path: str) -> bool:
    adapter = ADAPTERS.get(plan.framework)
    return path.endswith(_SUFFIXES[adapter.language]) if adapter is not None else path.endswith((".py", ".pyi"))
