"""What a project needs to run its tests, read from its files. Pure: a mapping of relative paths to text in, Requirements out."""

from __future__ import annotations

import ast
import configparser
import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

TEST_NAMES = ("test", "tests", "testing", "dev")
"""Names of extras, dependency groups and requirement files that hold what tests need, best first."""

_REQUIREMENT_FILE = re.compile(r"(?:requirements/)?[\w.-]*\.(?:txt|in|pip)")
_TEST_FILE = re.compile(r"(?:^|[-_./])(?:tests?|testing)(?:[-_.]|$)")
_DEV_FILE = re.compile(r"(?:^|[-_./])(?:dev|develop|development|ci|local)(?:[-_.]|$)")
_PLAIN_FILE = re.compile(r"(?:requirements/)?(?:requirements|base|common|main|core|install|default|prod|production)\.txt")
_REFERENCE = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*([^\s#]+)", re.MULTILINE)
_CLASSIFIER = re.compile(r"Programming Language :: Python :: 3\.(\d+)")


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
    build_backend: str = ""
    name: str = ""
    source_layout: bool = False
    files: tuple[str, ...] = ()
    source: str = "no dependency file: pytest only"


@dataclass
class _Found:
    """Collected while the files are read one after the other."""

    packages: list[str] = field(default_factory=list)
    development: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    python: str = ""
    newest: list[int] = field(default_factory=list)
    install: bool = False
    dynamic: bool = False
    backend: str = ""
    name: str = ""
    read: list[str] = field(default_factory=list)


def detect(files: Mapping[str, str]) -> Requirements:
    """Requirements of a tree. ``files`` holds the text of its dependency files (see ``wanted``); other entries only count as present."""
    found = _Found()
    _pyproject(files, found)
    _setup_cfg(files, found)
    _setup_py(files, found)
    plain, test, development = requirement_files(files)
    if not found.install:
        _pipfile(files, found)
    if not (found.extras or found.groups or test or development):
        _tox(files, found)
    listed = [*test, *plain, *development]
    read = [*dict.fromkeys([*found.read, *listed])]
    return Requirements(
        install_project=found.install, dynamic=found.dynamic, extras=tuple(found.extras), groups=tuple(found.groups),
        requirement_files=(*test, *plain), development_files=development,
        packages=_valid(found.packages), development=_valid(found.development),
        python=_specifier(found.python), pinned_python=_pinned(files.get(".python-version", "")),
        newest_tested=max(found.newest, default=None), build_backend=found.backend, name=found.name,
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


def _pyproject(files: Mapping[str, str], found: _Found) -> None:
    try:
        data = tomllib.loads(files.get("pyproject.toml", ""))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    project, tool = _table(data, "project"), _table(data, "tool")
    build = _table(data, "build-system")
    found.backend = str(build.get("build-backend") or " ".join(_strings(build.get("requires"))))
    groups = _table(data, "dependency-groups")
    for name in TEST_NAMES:
        if name in groups:
            found.groups.append(name)
            (found.development if name == "dev" else found.packages).extend(_group(groups, name, ()))
    if project or groups:
        found.read.append("pyproject.toml")
    if project:
        found.install = bool(build) or "setup.py" in files or "setup.cfg" in files
        found.name = str(project.get("name", ""))
        found.packages += _strings(project.get("dependencies"))
        dynamic = _strings(project.get("dynamic"))
        found.dynamic = "dependencies" in dynamic or "optional-dependencies" in dynamic
        optional = _table(project, "optional-dependencies")
        for name in TEST_NAMES:
            if name in optional:
                found.extras.append(name)
                (found.development if name == "dev" else found.packages).extend(_expanded(_strings(optional[name]), optional, found.name))
        found.python = str(project.get("requires-python") or "")
        found.newest += _classified("\n".join(_strings(project.get("classifiers"))))
    poetry = _table(tool, "poetry")
    if poetry and not project:
        _poetry(poetry, found)
        found.install = bool(build)
    flit = _table(_table(tool, "flit"), "metadata")
    if flit and not project:
        found.read.append("pyproject.toml")
        found.install, found.packages = True, [*found.packages, *_strings(flit.get("requires"))]
        for name in TEST_NAMES:
            found.packages += _strings(_table(flit, "requires-extra").get(name))
        found.python = str(flit.get("requires-python") or "")
    found.development += _strings(_table(tool, "uv").get("dev-dependencies"))


def _group(groups: Mapping[str, Any], name: str, seen: tuple[str, ...]) -> list[str]:
    """A PEP 735 group with its included groups; a circle ends."""
    packages: list[str] = []
    entries = groups.get(name)
    for entry in entries if isinstance(entries, list) and name not in seen else []:
        if isinstance(entry, str):
            packages.append(entry)
        elif isinstance(entry, dict):
            packages += _group(groups, str(entry.get("include-group", "")), (*seen, name))
    return packages


def _expanded(packages: list[str], optional: Mapping[str, Any], name: str, depth: int = 0) -> list[str]:
    """Replaces a project's reference to its own extras (``pkg[test]``) by what they hold."""
    own = re.compile(rf"\s*{re.escape(name)}\s*\[([^\]]*)\]\s*", re.IGNORECASE)
    result: list[str] = []
    for package in packages:
        match = own.fullmatch(package) if name else None
        if match is None:
            result.append(package)
        elif depth < 5:
            for extra in match[1].split(","):
                result += _expanded(_strings(optional.get(extra.strip())), optional, name, depth + 1)
    return result


def _poetry(poetry: Mapping[str, Any], found: _Found) -> None:
    found.read.append("pyproject.toml")
    found.name = str(poetry.get("name", ""))
    dependencies = _table(poetry, "dependencies")
    found.python = _caret(str(dependencies.get("python", "")))
    found.packages += _poetry_packages(dependencies)
    groups = _table(poetry, "group")
    tables = [("dev", _table(poetry, "dev-dependencies"))]
    tables += [(name, _table(_table(groups, name), "dependencies")) for name in TEST_NAMES]
    for name, table in tables:
        packages = _poetry_packages(table)
        if packages:
            found.groups.append(name)
            (found.development if name == "dev" else found.packages).extend(packages)
    found.newest += _classified("\n".join(_strings(poetry.get("classifiers"))))


def _poetry_packages(table: Mapping[str, Any]) -> list[str]:
    packages = []
    for name, value in table.items():
        if name.lower() == "python":
            continue
        entry = value[0] if isinstance(value, list) and value else value
        version, extras, markers = entry, "", ""
        if isinstance(entry, dict):
            if entry.get("optional") or any(key in entry for key in ("path", "git", "url")):
                continue
            version = entry.get("version", "*")
            extras = f"[{','.join(_strings(entry.get('extras')))}]" if entry.get("extras") else ""
            markers = f" ; {entry['markers']}" if entry.get("markers") else ""
        packages.append(f"{name}{extras}{_caret(str(version))}{markers}")
    return packages


def _caret(text: str) -> str:
    """Poetry's and Pipenv's version notation as a PEP 440 specifier; what is not understood becomes no constraint."""
    parts = []
    for part in text.split("||", maxsplit=1)[0].split(","):
        word = part.strip().replace(" ", "")
        match = re.fullmatch(r"([\^~])(\d+(?:\.\d+)*)\S*", word)
        if word in ("", "*"):
            continue
        if match:
            numbers = [int(n) for n in match[2].split(".")]
            first = next((i + 1 for i, n in enumerate(numbers) if n), len(numbers))
            keep = min(len(numbers), 2) if match[1] == "~" else first
            upper = [*numbers[: keep - 1], numbers[keep - 1] + 1]
            parts += [f">={match[2]}", f"<{'.'.join(map(str, upper))}"]
        elif re.fullmatch(r"\d+(\.\d+)*(\.\*)?\S*", word):
            parts.append(f"=={word}")
        else:
            parts.append(word)
    return ",".join(parts)


def _setup_cfg(files: Mapping[str, str], found: _Found) -> None:
    parser = _ini(files.get("setup.cfg", ""))
    if parser is None or not (parser.has_section("options") or parser.has_section("metadata")) or "pyproject.toml" in found.read:
        return
    found.read.append("setup.cfg")
    found.install = True
    found.name = parser.get("metadata", "name", fallback="") or found.name
    found.packages += _lines(parser.get("options", "install_requires", fallback=""))
    found.packages += _lines(parser.get("options", "tests_require", fallback=""))
    found.python = found.python or parser.get("options", "python_requires", fallback="")
    found.newest += _classified(parser.get("metadata", "classifiers", fallback="") + parser.get("metadata", "classifier", fallback=""))
    found.dynamic = found.dynamic or parser.has_option("metadata", "requires-dist")
    if parser.has_section("options.extras_require"):
        for name in TEST_NAMES:
            if parser.has_option("options.extras_require", name):
                found.extras.append(name)
                lines = _lines(parser.get("options.extras_require", name))
                (found.development if name == "dev" else found.packages).extend(lines)


def _setup_py(files: Mapping[str, str], found: _Found) -> None:
    """setup.py is a program: its literals help (extras, python_requires), but only running it tells the dependencies."""
    if "setup.py" not in files:
        return
    found.install = True
    found.newest += _classified(files["setup.py"])
    try:
        nodes = list(ast.walk(ast.parse(files["setup.py"])))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    call = next((n for n in nodes if isinstance(n, ast.Call) and _called(n) == "setup"), None)
    keywords = {k.arg: k.value for k in call.keywords if k.arg} if call is not None else {}
    if "pyproject.toml" not in found.read and "setup.cfg" not in found.read:
        found.read.append("setup.py")
    if not found.packages or "install_requires" in keywords:
        found.dynamic = True
    found.name = found.name or _literal_text(keywords.get("name"))
    found.python = found.python or _literal_text(keywords.get("python_requires"))
    found.packages += _literal_list(keywords.get("tests_require"))
    extras = keywords.get("extras_require")
    if isinstance(extras, ast.Dict):
        for key, value in zip(extras.keys, extras.values, strict=True):
            name = _literal_text(key)
            if name in TEST_NAMES and name not in found.extras:
                found.extras.append(name)
                (found.development if name == "dev" else found.packages).extend(_literal_list(value))


def _tox(files: Mapping[str, str], found: _Found) -> None:
    parser = _ini(files.get("tox.ini", ""))
    if parser is None or not parser.has_section("testenv"):
        return
    packages = []
    for line in _lines(parser.get("testenv", "deps", fallback="")):
        # "py27,py38: package" and "{posargs}" are tox's own; conditional lines are for one environment only, so they are left out.
        if re.match(r"[\w,{}!.-]+:\s", line) or line.startswith("-") or "{" in line:
            continue
        packages.append(line)
    if packages:
        found.read.append("tox.ini")
        found.development += packages
    found.newest += [int(minor) for minor in re.findall(r"\bpy3(\d{1,2})\b", parser.get("tox", "envlist", fallback=""))]


def _pipfile(files: Mapping[str, str], found: _Found) -> None:
    try:
        data = tomllib.loads(files.get("Pipfile", ""))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    if data:
        found.read.append("Pipfile")
        found.packages += _poetry_packages(_table(data, "packages"))
        found.development += _poetry_packages(_table(data, "dev-packages"))
        version = str(_table(data, "requires").get("python_version", ""))
        found.python = found.python or (f"=={version}.*" if version else "")


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


def _sentence(read: list[str], found: _Found) -> str:
    if not read:
        return "no dependency file: pytest only"
    more = f" with extras {', '.join(found.extras)}" if found.extras else ""
    more += f" and groups {', '.join(found.groups)}" if found.groups else ""
    return f"dependencies from {', '.join(read)}{more}"


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _strings(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _lines(text: str) -> list[str]:
    lines = (line.split(" #", maxsplit=1)[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _ini(text: str) -> configparser.RawConfigParser | None:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return parser if text.strip() else None


def _classified(text: str) -> list[int]:
    return [int(minor) for minor in _CLASSIFIER.findall(text)]


def _called(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def _literal_text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _literal_list(node: ast.expr | None) -> list[str]:
    return [t for t in map(_literal_text, node.elts) if t] if isinstance(node, (ast.List, ast.Tuple)) else []


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
