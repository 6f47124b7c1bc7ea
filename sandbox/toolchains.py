"""Toolchains of this machine for other languages than Python: found by looking, without running one, and which folders one needs.

A toolchain below ``/usr`` is visible in every sandbox. One below a home folder (rustup, nvm, sdkman) is bound alone, read-only, at
``/ledex-toolchain/<name>``, so that nothing else of the home is ever shown.
"""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox import EnvironmentFailed
from sandbox.frameworks.adapter import Language
from sandbox.runner import Mount

INSIDE = "/ledex-toolchain"


@dataclass(frozen=True)
class Toolchain:
    """``executable`` is its main program inside; ``folders`` go in front of PATH; ``version`` is a command that prints one;
    ``identity`` changes when the toolchain does."""

    language: Language
    executable: str
    folders: tuple[str, ...]
    mounts: tuple[Mount, ...]
    version: tuple[str, ...]
    identity: str
    variables: Mapping[str, str] = field(default_factory=dict)


def find_toolchain(language: Language, environ: Mapping[str, str] | None = None) -> Toolchain:
    """The toolchain that PATH names. Raises EnvironmentFailed with what to install."""
    environ = os.environ if environ is None else environ
    if language == "javascript":
        return _placed("javascript", _program("node", environ, "the project needs Node.js", "nodejs"), "node", ("--version",))
    if language == "go":
        go = _program("go", environ, "the project needs Go", "golang-go")
        toolchain = _placed("go", go, "go", ("version",))
        return _with(toolchain, GOROOT=str(Path(toolchain.executable).parent.parent))
    if language == "rust":
        return _rust(environ)
    return _java(environ)


def _program(name: str, environ: Mapping[str, str], why: str, package: str) -> Path:
    found = shutil.which(name, path=environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise EnvironmentFailed(f"{why}, and {name} is not on PATH: install it on this machine (on Debian: apt-get install {package})")
    return Path(os.path.realpath(found))


def _placed(language: Language, real: Path, name: str, version: tuple[str, ...], more: Mapping[str, str] | None = None) -> Toolchain:
    """A toolchain whose prefix is the folder above its ``bin``."""
    prefix = real.parent.parent
    mounts: tuple[Mount, ...] = ()
    inside = str(prefix)
    if not inside.startswith("/usr"):
        _check(prefix, real)
        inside = f"{INSIDE}/{name}"
        mounts = (Mount(prefix, inside),)
    executable = f"{inside}/{real.parent.name}/{real.name}"
    status = real.stat()
    identity = f"{real}:{status.st_size}:{status.st_mtime_ns}"
    return Toolchain(language, executable, (f"{inside}/{real.parent.name}",), mounts, (executable, *version), identity, dict(more or {}))


def _with(toolchain: Toolchain, **variables: str) -> Toolchain:
    from dataclasses import replace

    return replace(toolchain, variables={**toolchain.variables, **variables})


def _check(prefix: Path, real: Path) -> None:
    home = Path.home()
    if len(prefix.parts) < 3 or home == prefix or home.is_relative_to(prefix):
        raise EnvironmentFailed(f"{real} lies in {prefix}, which would show a home folder to the sandbox: install it elsewhere")
    if os.geteuid() == 0:
        for path in (prefix, real.parent, real):
            if path.stat().st_mode & 0o005 != 0o005:
                raise EnvironmentFailed(f"{path} is closed to other users, and the sandbox runs as one: run `chmod -R o+rX {prefix}`")


def _rust(environ: Mapping[str, str]) -> Toolchain:
    """The toolchain behind rustup's proxy, or cargo itself; with the C compiler that links."""
    cargo = _program("cargo", environ, "the project needs Rust", "cargo")
    if cargo.name == "rustup" or _is_proxy(cargo):
        cargo = _rustup_toolchain(environ) / "bin" / "cargo"
    if shutil.which("cc", path="/usr/bin:/usr/local/bin") is None:
        raise EnvironmentFailed("Rust needs a C compiler to link, and /usr/bin/cc is missing: apt-get install gcc libc6-dev")
    return _placed("rust", cargo, "rust", ("--version",))


def _is_proxy(cargo: Path) -> bool:
    """rustup's proxies are links to it, or one file under many names."""
    sibling = cargo.parent / "rustup"
    return sibling.exists() and os.path.samefile(sibling, cargo)


def _rustup_toolchain(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("RUSTUP_HOME") or Path(environ.get("HOME") or Path.home()) / ".rustup")
    name = environ.get("RUSTUP_TOOLCHAIN", "")
    if not name:
        try:
            settings = tomllib.loads((home / "settings.toml").read_text(encoding="utf-8"))
            name = str(settings.get("default_toolchain", ""))
        except (OSError, tomllib.TOMLDecodeError):
            name = "stable"
    folders = sorted((home / "toolchains").glob("*")) if (home / "toolchains").is_dir() else []
    found = next((f for f in folders if f.name == name), None) or next((f for f in folders if f.name.startswith(f"{name}-")), None)
    if found is None or not (found / "bin" / "cargo").is_file():
        raise EnvironmentFailed(f"rustup's toolchain {name or 'default'} has no cargo below {home}/toolchains: run `rustup default stable`")
    return Path(os.path.realpath(found))


def _java(environ: Mapping[str, str]) -> Toolchain:
    home = environ.get("JAVA_HOME", "")
    java = Path(os.path.realpath(f"{home}/bin/java")) if home and Path(home, "bin/java").exists() else _program(
        "java", environ, "the project needs a JDK", "default-jdk-headless")  # fmt: skip
    if not (java.parent / "javac").exists():
        raise EnvironmentFailed(f"{java} belongs to a runtime without a compiler: install a JDK (on Debian: default-jdk-headless)")
    toolchain = _placed("java", java, "jdk", ("-version",))
    return _with(toolchain, JAVA_HOME=str(Path(toolchain.executable).parent.parent))


def with_program(toolchain: Toolchain, name: str, package: str, environ: Mapping[str, str] | None = None) -> Toolchain:
    """The toolchain with one more program, such as Maven beside a JDK. Raises EnvironmentFailed where it is not on PATH."""
    from dataclasses import replace

    environ = os.environ if environ is None else environ
    real = _program(name, environ, f"the project is built by {name}", package)
    other = _placed(toolchain.language, real, name, ())
    return replace(
        toolchain, folders=(*toolchain.folders, *other.folders), mounts=(*toolchain.mounts, *other.mounts),
        identity=f"{toolchain.identity} {other.identity}")  # fmt: skip


def version_of(text: str) -> tuple[int, int]:
    """The first ``N.M`` in what a version command printed; (0, 0) without one."""
    found = re.search(r"(\d+)\.(\d+)", text) or re.search(r"(\d+)()", text)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
