"""The steps of an environment build as data, and what an installer's output says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.detection import Requirements

TOOLS = "/ledex-tools"
"""Where our files lie inside a build's sandbox."""
ENV = "/env"
PACKAGES, DEVELOPMENT, OLD_SETUPTOOLS = f"{TOOLS}/packages.txt", f"{TOOLS}/development.txt", f"{TOOLS}/old-setuptools.txt"
PROJECT = "the project itself"
PRETEND_VERSION = "99.0.0"
"""The version of a project that would ask git for it; high, so that minimum versions hold."""

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Attempt:
    """Commands that must all succeed. ``note`` is told when this attempt was the one that worked."""

    commands: tuple[Argv, ...]
    note: str = ""


@dataclass(frozen=True)
class Step:
    """Attempts, the first that works counts. ``note`` is told when an optional step failed."""

    name: str
    attempts: tuple[Attempt, ...]
    optional: bool = False
    note: str = ""


_PYTHON = f"{ENV}/bin/python"
_UV = (f"{TOOLS}/uv", "pip", "install", "--python", _PYTHON)
_PIP = (_PYTHON, "-m", "pip", "install")
_ENSURE_PIP = (_PYTHON, "-m", "ensurepip", "--default-pip")


def build_plan(
    requirements: Requirements, interpreter: str, version: tuple[int, int], setup: Iterable[str], *, uv: bool
) -> tuple[Step, ...]:
    """The steps from an empty folder to an environment that has what the tests need."""
    steps = [_environment(interpreter, uv)]
    main = [*(a for f in requirements.requirement_files for a in ("-r", f)), *(("-r", PACKAGES) if requirements.packages else ())]
    more = [*(a for f in requirements.development_files for a in ("-r", f)), *(("-r", DEVELOPMENT) if requirements.development else ())]
    if main or more:
        steps.append(_dependencies(tuple(main), tuple(more), uv))
    steps.append(_tools(version, uv))
    steps += [Step(f"setup command {line!r}", (Attempt((("/bin/sh", "-c", line),)),)) for line in setup]
    if requirements.install_project:
        steps.append(_project(requirements, uv))
    return tuple(steps)


def _environment(interpreter: str, uv: bool) -> Step:
    made_by_uv = (Attempt(((f"{TOOLS}/uv", "venv", "--allow-existing", "--python", interpreter, ENV),)),) if uv else ()
    return Step("virtual environment", (*made_by_uv, Attempt(((interpreter, "-m", "venv", ENV),))))


def _dependencies(main: Argv, more: Argv, uv: bool) -> Step:
    without = "the development requirements could not be installed and were left out" if more else ""
    attempts = []
    for arguments, note in (((*main, *more), ""), *(((main, without),) if more and main else ())):
        if uv:
            attempts += [
                Attempt(((*_UV, "--no-build", *arguments),), note),
                Attempt(((*_UV, *arguments),), note),
                Attempt(((*_UV, "-b", OLD_SETUPTOOLS, *arguments),), note),
            ]
        attempts.append(Attempt((_ENSURE_PIP, (*_PIP, "--prefer-binary", *arguments)), note))
    return Step("dependencies", tuple(attempts), optional=not main, note=without)


def _tools(version: tuple[int, int], uv: bool) -> Step:
    # Before 3.12 every new virtual environment had setuptools, and old test suites import pkg_resources, which 82 dropped.
    wanted: tuple[Argv, ...] = (("pytest", "coverage"),)
    if version < (3, 12):
        wanted = (("pytest", "coverage", "setuptools<81"), *wanted)
    attempts = [Attempt(((*_UV, "--no-build", *names),)) for names in wanted] if uv else []
    attempts += [Attempt((_ENSURE_PIP, (*_PIP, "--only-binary", ":all:", *names))) for names in wanted]
    return Step("pytest and coverage", tuple(attempts), optional=True)


def _project(requirements: Requirements, uv: bool) -> Step:
    extras = f".[{','.join(requirements.extras)}]" if requirements.extras and requirements.dynamic else "."
    bare = "only a build of the project knows its dependencies, and it could not be installed with them" if requirements.dynamic else ""
    variants: list[tuple[Argv, str]] = [(("-e", extras), "")] if requirements.dynamic else []
    variants += [(("--no-deps", "-e", "."), bare)]
    attempts = []
    for arguments, note in variants:
        if uv:
            attempts += [Attempt(((*_UV, *more, *arguments),), note) for more in ((), ("-b", OLD_SETUPTOOLS), ("--no-build-isolation",))]
        attempts.append(Attempt((_ENSURE_PIP, (*_PIP, *arguments)), note))
    return Step(PROJECT, tuple(attempts), optional=True, note="the project could not be installed; its folder is on PYTHONPATH")


def pretend_versions(name: str) -> dict[str, str]:
    """Variables that keep version plugins from asking git, for every step: they name the project, so dependencies are not touched."""
    normalized = re.sub(r"[-_.]+", "_", name).upper()
    if not re.fullmatch(r"[A-Z0-9_]+", normalized):
        return {}
    return {f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{normalized}": PRETEND_VERSION}


PROJECT_VARIABLES = {
    "SETUPTOOLS_SCM_PRETEND_VERSION": PRETEND_VERSION, "PBR_VERSION": PRETEND_VERSION, "PDM_BUILD_SCM_VERSION": PRETEND_VERSION,
    "POETRY_DYNAMIC_VERSIONING_BYPASS": PRETEND_VERSION, "UV_DYNAMIC_VERSIONING_BYPASS": PRETEND_VERSION,
}  # fmt: skip
"""The same for the step that builds the project: they name no project."""

_NOISE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[^\x20-\x7e\u00a0-\uffff]|[×╰─▶│├]|^\s*(?:cause|Caused by): ")
_CAUSES = tuple(
    re.compile(pattern)
    for pattern in (
        r"^Because .*", r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception)\b.*", r"(?i)^.*\bfatal error\b.*",
        r"^ERROR: (?:Could not find|No matching|Cannot install|ResolutionImpossible).*",
        r"(?i)^error: command .*", r"(?i)^(?:error|hint)?:?\s*(?:failed|could ?n.t|unable|no )\b.*", r"(?i)^error\b.*",
    )
)  # fmt: skip


def first_error(outputs: Iterable[str]) -> str:
    """The first line of the installers' outputs that names a cause, in the order given; at most 300 characters."""
    last = ""
    for output in outputs:
        lines = [line for raw in output.splitlines() if (line := _NOISE.sub("", raw).strip())]
        for cause in _CAUSES:
            for number, line in enumerate(lines):
                if cause.match(line):
                    text = " ".join(lines[number : number + 4]) if line.startswith("Because") else line
                    return text[:300]
        last = last or (lines[-1] if lines else "")
    return last[:300] or "no message"
