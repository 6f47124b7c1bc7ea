"""Reads the files in which a Python project says what it depends on: one reader for each, all adding to one ``Found``. Pure.

The files come from the project, so a reader takes what it understands and leaves the rest; a file that cannot be parsed says nothing.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TEST_NAMES = ("test", "tests", "testing", "dev")
"""Names of extras, dependency groups and requirement files that hold what tests need, best first."""

_CLASSIFIER = re.compile(r"Programming Language :: Python :: 3\.(\d+)")


@dataclass
class Found:
    """Collected while the files are read one after the other."""

    packages: list[str] = field(default_factory=list)
    development: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    python: str = ""
    newest: list[int] = field(default_factory=list)
    install: bool = False
    dynamic: bool = False
    name: str = ""
    read: list[str] = field(default_factory=list)


def read_pyproject(files: Mapping[str, str], found: Found) -> None:
    try:
        data = tomllib.loads(files.get("pyproject.toml", ""))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    project, tool = _table(data, "project"), _table(data, "tool")
    build = _table(data, "build-system")
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


def _poetry(poetry: Mapping[str, Any], found: Found) -> None:
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


def read_setup_cfg(files: Mapping[str, str], found: Found) -> None:
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


def read_setup_py(files: Mapping[str, str], found: Found) -> None:
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


def read_tox(files: Mapping[str, str], found: Found) -> None:
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


def read_pipfile(files: Mapping[str, str], found: Found) -> None:
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
