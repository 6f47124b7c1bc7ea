"""Scripts of a ``package.json``: which one ``npm test`` and its like run, and what stands in it. Pure but for reading the workspace."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.frameworks.adapter import joined, manifests, text_of
from sandbox.workspace import Workspace

_MANAGERS = ("npm", "pnpm", "yarn")
_FOLDER_OPTIONS = ("--prefix", "-C", "--dir", "--cwd")
_PACKAGE_OPTIONS = ("-w", "--workspace", "--filter", "-F")
_EVERY_PACKAGE = ("--workspaces", "-ws", "-r", "--recursive", "workspaces")
_IN_FOLDER = re.compile(r"^\s*cd\s+(?P<folder>[\w./@+-]+)\s*&&\s*(?P<rest>.*)$", re.S)
_SHELL = re.compile(r"[|&;<>`$(){}*?\n]")
_DEPTH = 5


@dataclass(frozen=True)
class ScriptCall:
    """``npm test`` taken apart: the folder that it is said of, the package below it (a name or a folder; "" for the folder itself), the
    script, what is handed to the script, and the variables in front."""

    manager: str
    folder: str
    package: str
    script: str
    arguments: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


def script_call(command: str) -> ScriptCall | None:
    """A command that does nothing but run one script of one package, behind ``cd FOLDER &&`` too; None for any other."""
    inside = _IN_FOLDER.match(command)
    folder, text = (os.path.normpath(inside["folder"]), inside["rest"]) if inside else (".", command)
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    variables: list[tuple[str, str]] = []
    while words and re.match(r"^[A-Za-z_]\w*=", words[0]):
        name, value = words.pop(0).split("=", 1)
        variables.append((name, value))
    if not words or words[0] not in _MANAGERS or _SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", text)):
        return None
    manager, *rest = words
    own = rest[: rest.index("--")] if "--" in rest else rest
    after = rest[len(own) + 1 :]
    package, script, runs = "", "", False
    before: list[str] = []
    own = [*own]
    while own:
        word = own.pop(0)
        name, _, value = word.partition("=")
        if script and manager != "npm":  # npm alone reads its own options behind a script's name
            before.append(word)
        elif name in _FOLDER_OPTIONS or name in _PACKAGE_OPTIONS or word == "workspace" and manager == "yarn":
            value = value or (own.pop(0) if own else "")
            folder, package = (joined(folder, value), package) if name in _FOLDER_OPTIONS else (folder, value)
        elif word in _EVERY_PACKAGE:
            return None
        elif word in ("run", "run-script") and not script:
            runs = True
        elif not word.startswith("-"):
            script, before = (script, [*before, word]) if script else (word, before)
    if manager == "npm" and not runs:
        script = {"t": "test", "tst": "test"}.get(script, script)
        script = script if script == "test" else ""
    if not script or folder.startswith(("/", "..")):
        return None
    return ScriptCall(manager, folder, package, script, (*before, *after), tuple(variables))


def package_folder(call: ScriptCall, workspace: Workspace) -> str | None:
    """Where the package of a call lies: a folder, or the only package of that name below the call's folder."""
    if not call.package:
        return call.folder
    place = joined(call.folder, call.package)
    if workspace.exists(joined(place, "package.json")):
        return place
    named = [f for f in manifests(workspace, "package.json") if manifest_of(workspace, f).get("name") == call.package]
    return named[0] if len(named) == 1 else None


def manifest_of(workspace: Workspace, folder: str) -> dict[str, Any]:
    """A folder's ``package.json``; empty where there is none or it cannot be read."""
    try:
        manifest = json.loads(text_of(workspace, joined(folder, "package.json")) or "{}")
    except (ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def script_text(manifest: Mapping[str, Any], name: str) -> str:
    """What a script runs, its ``pre`` script in front as npm does; a script that only calls another of the same package is that one."""
    scripts = manifest.get("scripts")
    table = {k: v for k, v in scripts.items() if isinstance(v, str)} if isinstance(scripts, dict) else {}
    before: list[str] = []
    for _ in range(_DEPTH):
        before += [table[f"pre{name}"]] if table.get(f"pre{name}") else []
        text = table.get(name, "")
        call = script_call(text)
        if call is None or call.package or call.folder != "." or call.variables or call.script not in table:
            return " && ".join([*before, text]) if text else ""
        if call.arguments:
            table = {**table, call.script: f"{table[call.script]} {shlex.join(call.arguments)}"}
        name = call.script
    return ""
