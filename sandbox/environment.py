"""A tested project's Python environment: built once inside the sandbox and cached, or an existing one that is only looked at."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sandbox import EnvironmentFailed
from sandbox.build import Build, run_build
from sandbox.cache import EnvironmentCache, Lease, Slot, seal, seal_build
from sandbox.detection import Requirements, detect
from sandbox.indexes import Indexes, configured_indexes
from sandbox.interpreters import OLDEST, Interpreter, choose, discover, locate
from sandbox.limits import Limits
from sandbox.plan import ENV, PROJECT, TOOLS, Attempt, Step, build_plan
from sandbox.project_files import native_sources_hash, read_project_files
from sandbox.runner import Command, Mount, Runner, Tree
from sandbox.settings import SandboxSettings

FORMAT = 1
"""Part of every key: raise it when a build would come out differently."""
OVERLAY = "/ledex-overlay"
Progress = Callable[[str], None]
_ADD_ONE = "install a suitable one and name it in LEDEX_SANDBOX_INTERPRETERS"

_PROBE = (
    "import sys,json,sysconfig,importlib.util as u\n"
    "print(json.dumps({'version': list(sys.version_info[:2]), 'prefix': sys.prefix, 'purelib': sysconfig.get_paths()['purelib'],"
    " 'missing': [n for n in ('pytest', 'coverage') if u.find_spec(n) is None], 'path': sys.path}))"
)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Environment:
    """What a command needs to run the project's tests. While it is referred to, the cache does not evict its files.

    ``python`` is the executable's path inside, and ``version`` its version; in another language they are those of its toolchain's main
    program. ``variables`` is the complete environment. ``overlay`` is a folder inside, to be appended last to ``sys.path``: it has pytest
    and coverage where the interpreter lacks them. ``artifacts`` are files that the build left in the tree (compiled modules, version files,
    node_modules; never one that the tree had), to be laid over fresh copies. ``seconds`` is what getting it took now; ``cached`` whether an
    earlier build was used; ``notes`` are sentences for people.
    """

    python: str
    version: tuple[int, int]
    mounts: tuple[Mount, ...]
    variables: Mapping[str, str]
    overlay: str | None
    artifacts: Path | None
    key: str
    cached: bool
    seconds: float
    notes: tuple[str, ...] = ()
    leases: tuple[Lease, ...] = field(default=(), compare=False, repr=False)


def build_environment(
    tree: Tree,
    runner: Runner,
    *,
    settings: SandboxSettings,
    repository: str,
    trust: str = "local",
    setup: tuple[str, ...] = (),
    environment: Mapping[str, str] = _NOTHING,
    timeout: float = 600,
    progress: Progress | None = None,
    interpreter: Interpreter | None = None,
    python: str | None = None,
    network: bool = True,
) -> Environment:
    """The environment of a tree, from the cache or built now; with ``interpreter``, this machine's of the version ``python`` ("3.12"), or
    its best fit.

    ``repository`` and ``trust`` name whose build it is: no other repository or trust level is ever served it. ``setup`` are shell
    commands run in the tree after its dependencies, ``environment`` more variables for both. Without ``network`` the project's build
    reaches no package index; pytest and coverage, where it lacks them, are still fetched beside it. Raises EnvironmentFailed with one
    sentence.
    """
    started = time.monotonic()
    tell = progress or (lambda sentence: None)
    files = read_project_files(tree)
    requirements = detect(files)
    chosen = interpreter or _choose(requirements, settings, python)
    indexes = configured_indexes()
    key = _key(tree, files, requirements, chosen, indexes, setup, environment, network)
    cache = EnvironmentCache(settings.cache_folder, settings.cache_bytes)
    slot = cache.slot(repository, trust, key)

    def build(left: float) -> None:
        tell(f"building the environment: Python {chosen.version[0]}.{chosen.version[1]}, {requirements.source}")
        wanted = Build(tree, chosen, indexes, environment=environment, name=requirements.name, limits=build_limits(settings, left),
                       network=network)  # fmt: skip
        _build(cache, slot, wanted, requirements, setup, runner, settings, cache.downloads(repository, trust), tell)

    lease, description, cached = cache.finished(slot, build, started + timeout - time.monotonic())
    missing = tuple(description["missing"])
    overlay = _overlay(cache, chosen.version, missing, runner, settings, indexes, tell) if missing else None
    cache.evict()
    variables = _variables(f"{ENV}/bin", environment)
    if description["python_path"]:
        variables.setdefault("PYTHONPATH", _python_path(tree, requirements))
    return Environment(
        python=f"{ENV}/bin/python", version=chosen.version,
        mounts=(*chosen.mounts, Mount(slot.folder / "env", ENV), *(overlay[0] if overlay else ())),
        variables=MappingProxyType({"VIRTUAL_ENV": ENV, **variables}), overlay=OVERLAY if overlay else None,
        artifacts=slot.folder / "artifacts" if description["artifacts"] else None, key=key, cached=cached,
        seconds=time.monotonic() - started, notes=(requirements.source, *description["notes"]),
        leases=(lease, *(overlay[1] if overlay else ())))  # fmt: skip


def existing_environment(
    python: Path,
    runner: Runner,
    *,
    settings: SandboxSettings,
    tree: Tree | None = None,
    environment: Mapping[str, str] = _NOTHING,
    progress: Progress | None = None,
) -> Environment:
    """An interpreter or virtual environment as it is, never modified; pytest and coverage come from an overlay where it lacks them.

    With ``tree`` its source folder is put on PYTHONPATH, because an editable install points to a path that the sandbox does not have.
    Raises EnvironmentFailed with one sentence.
    """
    started = time.monotonic()
    interpreter = locate(python)
    variables = _variables(f"{os.path.dirname(interpreter.executable)}", environment)
    if tree is not None:
        variables.setdefault("PYTHONPATH", _python_path(tree, detect(read_project_files(tree))))
    facts = _probe(interpreter, runner)
    version = (int(facts["version"][0]), int(facts["version"][1]))
    if version < OLDEST:
        raise EnvironmentFailed(f"{python} is Python {version[0]}.{version[1]}: ledexbot runs tests with Python 3.8 or newer")
    targets = [m.target for m in interpreter.mounts]
    hidden = [p for p in facts["path"] if p.startswith("/") and not p.startswith("/usr") and not any(_below(p, t) for t in targets)]
    notes = [f"{p} is on this Python's path, but not visible in the sandbox" for p in hidden if Path(p).is_dir()]
    missing = tuple(str(name) for name in facts["missing"])
    overlay = None
    if missing:
        cache = EnvironmentCache(settings.cache_folder, settings.cache_bytes)
        overlay = _overlay(cache, version, missing, runner, settings, configured_indexes(), progress or (lambda sentence: None))
    identity = [FORMAT, interpreter.executable, version, facts["prefix"], missing, sorted(environment.items())]
    return Environment(
        python=interpreter.executable, version=version, mounts=(*interpreter.mounts, *(overlay[0] if overlay else ())),
        variables=MappingProxyType(variables), overlay=OVERLAY if overlay else None, artifacts=None,
        key=hashlib.sha256(json.dumps(identity).encode()).hexdigest(), cached=False, seconds=time.monotonic() - started,
        notes=tuple(notes), leases=overlay[1] if overlay else ())  # fmt: skip


def _choose(requirements: Requirements, settings: SandboxSettings, asked: str | None) -> Interpreter:
    found = {i.version: i for i in discover(settings.interpreters)}
    if asked is not None:
        for (major, minor), interpreter in found.items():
            if asked == f"{major}.{minor}":
                return interpreter
        raise EnvironmentFailed(f"Python {asked} is asked for (environment.python), and this machine has {_versions(found)}: {_ADD_ONE}")
    version = choose(found, requirements.python, requirements.pinned_python, requirements.newest_tested, sys.version_info[:2])
    if version is None:
        raise EnvironmentFailed(
            f"the project requires Python {requirements.python or requirements.pinned_python}, and this machine has {_versions(found)}: "
            f"{_ADD_ONE}, or give an environment with --python"
        )
    return found[version]


def _versions(found: Iterable[tuple[int, int]]) -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in sorted(found)) or "none"


def _key(
    tree: Tree, files: Mapping[str, str], requirements: Requirements, interpreter: Interpreter, indexes: Indexes,
    setup: tuple[str, ...], environment: Mapping[str, str], network: bool,
) -> str:  # fmt: skip
    """What a build depends on. Editable installs hold the tree's path inside and the names of its packages."""
    packages = sorted(path for path in files if path.endswith("/__init__.py"))
    content = [
        FORMAT, tree.inside, interpreter.executable, interpreter.version, [(p, files[p]) for p in requirements.files], asdict(requirements),
        packages, native_sources_hash(tree) if requirements.install_project else "", setup, sorted(environment.items()),
        indexes.index, indexes.extra, indexes.find_links, *(() if network else ("no network",)),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def build_limits(settings: SandboxSettings, seconds: float) -> Limits:
    """What one build may use."""
    return Limits(
        wall_seconds=max(seconds, 1.0), cpu_seconds=3600, memory_bytes=settings.build_memory_bytes, processes=512,
        file_bytes=min(settings.build_bytes, 4 * 1024**3), open_files=4096, temporary_bytes=2 * 1024**3)  # fmt: skip


def _build(
    cache: EnvironmentCache, slot: Slot, build: Build, requirements: Requirements, setup: tuple[str, ...], runner: Runner,
    settings: SandboxSettings, downloads: Slot, tell: Progress,
) -> None:  # fmt: skip
    """Build into a new folder, check and seal what came out, publish it."""
    steps = build_plan(requirements, build.interpreter.executable, build.interpreter.version, setup, uv=build.uv is not None)
    build = replace(build, steps=steps, packages=requirements.packages, development=requirements.development,
                    probe=(f"{ENV}/bin/python", "-I", "-c", _PROBE))  # fmt: skip
    with cache.building() as folder:
        result = run_build(build, folder, cache, downloads, runner, settings, tell)
        notes = [*result.notes, *seal_build(folder)]
        missing = _facts(result.probe).get("missing", ["pytest", "coverage"])
        installed = requirements.install_project and PROJECT not in result.failed
        cache.publish(folder, slot, {
            "format": FORMAT, "notes": notes, "missing": [n for n in ("pytest", "coverage") if n in missing],
            "artifacts": any((folder / "artifacts").iterdir()), "python_path": not installed,
        })  # fmt: skip


def _overlay(
    cache: EnvironmentCache, version: tuple[int, int], missing: tuple[str, ...], runner: Runner, settings: SandboxSettings,
    indexes: Indexes, tell: Progress,
) -> tuple[tuple[Mount, ...], tuple[Lease, ...]]:  # fmt: skip
    """pytest and/or coverage for a Python version, from wheels alone, with our own interpreter: nobody's code runs, so all may share it."""
    timeout = 300.0
    text = f"{version[0]}.{version[1]}"
    key = hashlib.sha256(json.dumps([FORMAT, text, missing, indexes.index, indexes.extra]).encode()).hexdigest()
    slot, downloads = cache.tools(key)

    def build(left: float) -> None:
        tell(f"getting {' and '.join(missing)} for Python {text}")
        ours = locate(Path(os.path.realpath(sys.executable)))
        wanted = Build(None, ours, indexes, limits=build_limits(settings, left))
        attempts = [
            Attempt(((ours.executable, "-m", "pip", "install", "--only-binary", ":all:", "--python-version", text, "--target", ENV,
                      *missing),))
        ]
        if wanted.uv is not None:
            attempts.insert(0, Attempt(((f"{TOOLS}/uv", "pip", "install", "--no-build", "--python", ours.executable, "--python-version",
                                         text, "--target", ENV, *missing),)))  # fmt: skip
        wanted = replace(wanted, steps=(Step(f"{' and '.join(missing)} for Python {text}", tuple(attempts)),))
        with cache.building() as folder:
            run_build(wanted, folder, cache, downloads, runner, settings, tell)
            seal(folder / "env")
            cache.publish(folder, slot, {"format": FORMAT})

    lease, _, _ = cache.finished(slot, build, timeout)
    return (Mount(slot.folder / "env", OVERLAY),), (lease,)


def _probe(interpreter: Interpreter, runner: Runner) -> dict[str, Any]:
    """Ask an interpreter about itself, isolated, inside the sandbox."""
    argv = (interpreter.executable, "-I", "-c", _PROBE)
    execution = runner.run(Command(argv, cwd="/tmp", environment=_variables("/usr/bin", {}), mounts=interpreter.mounts,
                                   limits=Limits(wall_seconds=60)))  # fmt: skip
    facts = _facts((execution.stdout.decode(errors="replace").strip().splitlines() or [""])[-1])
    if not execution.ok or "version" not in facts:
        lines = execution.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {execution.reason}"]
        raise EnvironmentFailed(
            f"{interpreter.executable} does not start in the sandbox ({lines[-1][:200]}): make a new virtual environment with "
            "`python3 -m venv`, or give another Python"
        )
    return facts


def _facts(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _variables(folder: str, more: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a test run: nothing of the caller's."""
    folders = dict.fromkeys((folder, "/usr/local/bin", "/usr/bin", "/bin"))
    return {
        "PATH": ":".join(folders), "HOME": "/tmp/home", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_OFFLINE": "1", **more,
    }  # fmt: skip


def _python_path(tree: Tree, requirements: Requirements) -> str:
    return f"{tree.inside}/src:{tree.inside}" if requirements.source_layout else tree.inside


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
