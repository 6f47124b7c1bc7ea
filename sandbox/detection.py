"""What a project needs to run its tests, read from its files. Pure: a mapping of relative paths to text in, Requirements out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from sandbox.dependency_files import Found, read_pipfile, read_pyproject, read_setup_cfg, read_setup_py, read_tox

_REQUIREMENT_FILE = re.compile(r"(?:requirements/)?[\w.-]*\.(?:txt|in|pip)")
_TEST_FILE = re.compile(r"(?:^|[-_./])(?:tests?|testing)(?:[-_.]|$)")
_DEV_FILE = re.compile(r"(?:^|[-_./])(?:dev|develop|development|ci|local)(?:[-_.]|$)")
_PLAIN_FILE = re.compile(r"(?:requirements/)?(?:requirements|base|common|main|core|install|default|prod|production)\.txt")
_REFERENCE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*([^\s#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Requirements:
    """What to install. ``python`` is a specifier as text, "" for any; ``newest_tested`` the newest 3.x that the project names.

    ``packages`` are PEP 508 strings; ``development`` are more of them, and ``development_files`` more files, whose failure to install
    does not fail the build. ``dynamic``: only a build of the project itself knows its dependencies. ``source`` says what was read.
    """

    install_project: bool = False
    dynamic: bool = False
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    requirement_files: tuple[str, ...] = ()
    development_files: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    python: str = ""
    pinned_python: str = ""
    newest_tested: int | None = None
    name: str = ""
    source_layout: bool = False
    files: tuple[str, ...] = ()
    source: str = "no dependency file: pytest only"


def detect(files: Mapping[str, str]) -> Requirements:
    """Requirements of a tree. ``files`` holds the text of its dependency files (see ``wanted``); other entries only count as present."""
    found = Found()
    read_pyproject(files, found)
    read_setup_cfg(files, found)
    read_setup_py(files, found)
    plain, test, development = requirement_files(files)
    if not found.install:
        read_pipfile(files, found)
    if not (found.extras or found.groups or test or development):
        read_tox(files, found)
    listed = [*test, *plain, *development]
    read = [*dict.fromkeys([*found.read, *listed])]
    return Requirements(
        install_project=found.install, dynamic=found.dynamic, extras=tuple(found.extras), groups=tuple(found.groups),
        requirement_files=(*test, *plain), development_files=development,
        packages=_valid(found.packages), development=_valid(found.development),
        python=_specifier(found.python), pinned_python=_pinned(files.get(".python-version", "")),
        newest_tested=max(found.newest, default=None), name=found.name,
        source_layout=any(path.startswith("src/") and path.endswith(".py") for path in files),
        files=_with_references(files, [*read, *(p for p in ("pyproject.toml", "setup.cfg", "setup.py") if p in files)]),
        source=_sentence(read, found),
    )  # fmt: skip


def wanted(path: str) -> bool:
    """Whether a file's text matters to ``detect`` (or is referred to by files that do)."""
    folder, name = posixpath.split(path)
    if folder not in ("", "requirements", "deps", "tests", "test", "ci"):
        return False
    known = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "Pipfile", ".python-version", "uv.toml")
    return (folder == "" and name in known) or name.endswith((".txt", ".in", ".pip"))


def requirement_files(files: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The requirement files to install: (plain, for tests, for development). Documentation, lint and constraint files are left out."""
    plain, test, development = [], [], []
    for path in sorted(files):
        folder, name = posixpath.split(path)
        if not _REQUIREMENT_FILE.fullmatch(path) and not (folder in ("tests", "test") and name == "requirements.txt"):
            continue
        if folder == "" and "require" not in name:
            continue
        if not name.endswith(".txt"):
            continue
        if folder in ("tests", "test") or _TEST_FILE.search(name):
            test.append(path)
        elif _DEV_FILE.search(name):
            development.append(path)
        elif _PLAIN_FILE.fullmatch(path):
            plain.append(path)
    return tuple(plain), tuple(test), tuple(development)


def _with_references(files: Mapping[str, str], start: list[str]) -> tuple[str, ...]:
    """The given files and those that requirement files refer to by ``-r`` and ``-c``, as far as they lie in the tree."""
    queue, seen = list(start), dict.fromkeys(start)
    while queue:
        path = queue.pop()
        for reference in _REFERENCE.findall(files.get(path, "")) if path.endswith((".txt", ".in", ".pip")) else []:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), reference))
            if target in files and target not in seen:
                seen[target] = None
                queue.append(target)
    return tuple(sorted(seen))


def _sentence(read: list[str], found: Found) -> str:
    if not read:
        return "no dependency file: pytest only"
    more = f" with extras {', '.join(found.extras)}" if found.extras else ""
    more += f" and groups {', '.join(found.groups)}" if found.groups else ""
    return f"dependencies from {', '.join(read)}{more}"


def _valid(packages: Iterable[str]) -> tuple[str, ...]:
    """What reads as PEP 508, once each: anything else (an option, a path) must not reach an installer's command line."""
    kept: dict[str, None] = {}
    for package in packages:
        try:
            kept[str(Requirement(package))] = None
        except InvalidRequirement:
            continue
    return tuple(kept)


def _specifier(text: str) -> str:
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier:
        return ""


def _pinned(text: str) -> str:
    match = re.match(r"\s*(?:cpython-)?(\d+\.\d+)", text)
    return match[1] if match else ""
