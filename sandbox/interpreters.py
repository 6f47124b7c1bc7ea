"""Python interpreters of this machine: find them, choose one, and say which folders one needs. Looking never runs an interpreter."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet

from sandbox import EnvironmentFailed
from sandbox.runner import Mount

Version = tuple[int, int]
OLDEST: Version = (3, 8)


@dataclass(frozen=True)
class Interpreter:
    """An executable and the read-only binds that it needs, at their own paths. ``prefix`` is the virtual environment's, if it is one."""

    executable: str
    version: Version
    mounts: tuple[Mount, ...]
    prefix: Path


def locate(python: Path) -> Interpreter:
    """The interpreter behind a path: a base installation, a virtual environment, or a chain of links to one.

    Raises EnvironmentFailed with the reason where it cannot be used in a sandbox.
    """
    path = Path(os.path.abspath(python))
    chain = list(_links(path))
    real = chain[-1]
    try:
        with real.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise EnvironmentFailed(f"{python} cannot be read ({error.strerror}): give the path of a Python executable") from error
    if start[:2] == b"#!":
        raise EnvironmentFailed(f"{python} is a script, not an interpreter: give what it starts (with pyenv: `pyenv which python`)")
    if start != b"\x7fELF":
        raise EnvironmentFailed(f"{python} is no program: give the path of a Python executable")
    # Python looks for pyvenv.cfg beside the path it was started by; a link to an environment's python means that environment.
    environment = next((p.parent.parent for p in chain if (p.parent.parent / "pyvenv.cfg").is_file()), None)
    executable = next((p for p in chain if environment is not None and p.parent.parent == environment), real)
    base = real.parent.parent
    version = _version(base, real.name)
    if version is None and any(base.glob("lib/python2.*")):
        raise EnvironmentFailed(f"{python} is Python 2: ledexbot runs tests with Python 3.8 or newer")
    if version is None:
        raise EnvironmentFailed(f"{python} belongs to no Python 3 installation with a standard library under {base}: give another one")
    if version < OLDEST:
        raise EnvironmentFailed(f"{python} is Python {version[0]}.{version[1]}: ledexbot runs tests with Python 3.8 or newer")
    folders: dict[Path, Path] = {base: base}
    for link in chain:
        prefix = link.parent.parent
        if prefix not in folders and _version(prefix, real.name) is not None:
            folders[prefix] = Path(os.path.realpath(prefix))
    if environment is not None:
        folders[environment] = environment
        home = _venv_home(environment)
        if home is not None and _version(home.parent, real.name) is not None:
            folders.setdefault(home.parent, Path(os.path.realpath(home.parent)))
    mounts = [mount for target, source in folders.items() for mount in _mounts(source, target)]
    prefix = environment or base
    _check_readable(executable, real, prefix)
    return Interpreter(str(executable), version, tuple(dict.fromkeys(mounts)), prefix)


def discover(first: Iterable[str] = ()) -> tuple[Interpreter, ...]:
    """Base interpreters of this machine that a sandbox can use, best first, one for each version."""
    home = Path.home()
    candidates = [*map(Path, first), Path(os.path.realpath(sys.executable))]
    folders = [Path(p) for p in os.environ.get("PATH", "").split(":") if p.startswith("/")]
    folders += [Path("/usr/bin"), Path("/usr/local/bin")]
    folders += sorted(home.glob(".pyenv/versions/*/bin"), reverse=True)
    folders += sorted(home.glob(".local/share/uv/python/*/bin"), reverse=True)
    for folder in folders:
        candidates += [p for p in sorted(folder.glob("python3*"), reverse=True) if re.fullmatch(r"python3(\.\d+)?", p.name)]
    found: dict[Version, Interpreter] = {}
    for candidate in candidates:
        try:
            interpreter = locate(Path(os.path.realpath(candidate)))
        except (EnvironmentFailed, OSError):
            continue
        found.setdefault(interpreter.version, interpreter)
    return tuple(found.values())


def choose(versions: Iterable[Version], python: str, pinned: str, newest_tested: int | None, running: Version) -> Version | None:
    """The version to build with: the pinned one; else one that the project allows and was tested with, ours before newer ones.

    ``python`` is a specifier as text. None when no version suits.
    """
    specifier = SpecifierSet(python)
    suiting = sorted(v for v in versions if specifier.contains(f"{v[0]}.{v[1]}.99", prereleases=True) or f"{v[0]}.{v[1]}" == pinned)
    if not suiting:
        return None
    for version in suiting:
        if f"{version[0]}.{version[1]}" == pinned:
            return version
    limit = (3, newest_tested) if newest_tested is not None else running
    tested = [v for v in suiting if v <= limit]
    if running in tested or (running in suiting and not tested):
        return running
    return tested[-1] if tested else suiting[0]


def _links(path: Path) -> Iterator[Path]:
    """The path and what each link leads to. Folders that are links stay as they are named but in the last."""
    for _ in range(20):
        yield path
        if not path.is_symlink():
            break
        path = Path(os.path.normpath(path.parent / os.readlink(path)))
    yield Path(os.path.realpath(path))


def _version(prefix: Path, name: str) -> Version | None:
    """The version of the standard library under a prefix; the executable's name decides where there are several."""
    found = []
    for folder in (*prefix.glob("lib/python3.*/os.py"), *prefix.glob("lib64/python3.*/os.py")):
        match = re.fullmatch(r"python3\.(\d+)", folder.parent.name)
        if match:
            found.append((3, int(match[1])))
    named = re.fullmatch(r"python3\.(\d+)", name)
    if named:
        return (3, int(named[1])) if (3, int(named[1])) in found else None
    return max(found, default=None)


def _venv_home(environment: Path) -> Path | None:
    try:
        text = (environment / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^home\s*=\s*(/.*?)\s*$", text, re.MULTILINE)
    return Path(match[1]) if match else None


def _mounts(source: Path, target: Path) -> Iterator[Mount]:
    """Binds of a prefix: none below /usr (always there), only Python's parts where the prefix holds other things as well."""
    if str(target) == "/usr" or str(target).startswith("/usr/"):
        return
    if str(source).startswith("/nix/store/"):
        yield Mount(Path("/nix/store"), "/nix/store")
        return
    home = Path.home()
    crowded = len(target.parts) < 3 or home == target or home.is_relative_to(target) or (target / ".git").exists()
    if not crowded:
        yield Mount(source, str(target))
        return
    for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg"):
        if name in ("bin", "lib") and home == target:
            raise EnvironmentFailed(f"{target} is a home folder, which is never shown to a sandbox: give a Python installed elsewhere")
        if (source / name).exists():
            yield Mount(Path(os.path.realpath(source / name)), str(target / name))


def _check_readable(executable: Path, real: Path, prefix: Path) -> None:
    """As root the sandbox runs as another uid: what only root may read would fail there with an obscure message."""
    if os.geteuid() != 0:
        return
    packages = next(iter(sorted(prefix.glob("lib/python3.*"))), prefix)
    for path in (real, prefix, executable.parent, packages):
        needed = 0o5 if path.is_dir() or path == real else 0o4
        if path.stat().st_mode & needed != needed:
            raise EnvironmentFailed(f"{path} is closed to other users, and the sandbox runs as one: run `chmod -R o+rX {prefix}`")
