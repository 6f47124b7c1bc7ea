"""Git work of the benchmarks: repositories of one commit, trees composed from two commits, patches, and where a patch changes code."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

Place = tuple[str, str]
"""Path of a file and qualified name of the function (``<module>`` outside any)."""
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
_CONFIG = {"safe.directory": "*", "core.autocrlf": "false", "core.hooksPath": os.devnull}


def run_git(arguments: list[str], folder: Path, data: bytes | None = None, index: Path | None = None) -> bytes:
    """git's standard output, independent of the user's settings. Raises subprocess.CalledProcessError."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {
            f"GIT_{role}_NAME": "benchmark",
            f"GIT_{role}_EMAIL": "benchmark@localhost",
            f"GIT_{role}_DATE": "2020-01-01T00:00:00Z",
        }
    environment |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(_CONFIG)),
    }
    for number, (key, value) in enumerate(_CONFIG.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, input=data, env=environment).stdout


def commit_all(folder: Path) -> None:
    """Makes ``folder`` a repository with one commit that holds everything in it."""
    run_git(["init", "-q", "-b", "main"], folder)
    run_git(["add", "-A", "-f", "."], folder)
    run_git(["commit", "-q", "--no-verify", "-m", "base"], folder)


def compose(git_dir: Path, base: str, fix: str, from_fix: tuple[str, ...], folder: Path) -> None:
    """Writes the tree of ``base`` with the paths ``from_fix`` as ``fix`` has them (absent ones taken away) into ``folder`` (made).

    The mirror is only read: an index of its own is composed first and checked out once.
    """
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        index, git = Path(scratch, "index"), ["--git-dir", str(git_dir), "--work-tree", str(folder)]
        run_git([*git, "read-tree", base], folder, index=index)
        entries = []
        for path in from_fix:
            listed = run_git([*git, "ls-tree", "-z", fix, "--", path], folder).rstrip(b"\0")
            # "0" as the mode removes the path from the index.
            mode, _, blob = listed.split(b"\t")[0].split() if listed else (b"0", b"", b"0" * 40)
            entries.append(mode + b" " + blob + b"\t" + path.encode() + b"\0")
        if entries:
            run_git([*git, "update-index", "-z", "--index-info"], folder, b"".join(entries), index=index)
        run_git([*git, "checkout-index", "-a", "-f", "-q"], folder, index=index)


def apply_patch(folder: Path, patch: str) -> bool:
    """Applies a unified diff to the files in ``folder``; False where it does not apply."""
    try:
        run_git(["apply", "--whitespace=nowarn", "-"], folder, patch.encode("utf-8", "surrogateescape"))
    except subprocess.CalledProcessError:
        return False
    return True


def changed_places(patch: str, sources: Mapping[str, str]) -> set[Place]:
    """The functions that a unified diff changes, by the old text of its files (``sources``); files not given are left out."""
    lines: dict[str, set[int]] = {}
    path, at = "", 0
    for line in patch.splitlines():
        hunk = _HUNK.match(line)
        if line.startswith("--- "):
            path = re.sub(r"^a/", "", line[4:].split("\t")[0])
        elif line.startswith(("+++ ", "diff ", "index ", "\\")):
            continue
        elif hunk:
            # A hunk of no old lines names the line before it.
            at = int(hunk[1]) + (hunk[2] == "0")
        elif line.startswith("-"):
            lines.setdefault(path, set()).add(at)
            at += 1
        elif line.startswith("+"):
            if not line[1:].strip():
                continue
            lines.setdefault(path, set()).add(max(1, at - 1))
        else:
            at += 1
    return {(path, function_at(sources[path], line)) for path, changed in lines.items() if path in sources for line in changed}


def function_at(text: str, line: int) -> str:
    """Qualified name of the innermost function around a line (1-based)."""
    best, depth = "<module>", -1
    stack: list[tuple[ast.AST, str, int]] = [(ast.parse(text), "", 0)]
    while stack:
        node, prefix, level = stack.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}.{child.name}" if prefix else child.name
                inside = child.lineno <= line <= (child.end_lineno or child.lineno)
                if inside and not isinstance(child, ast.ClassDef) and level > depth:
                    best, depth = name, level
            stack.append((child, name, level + 1))
    return best
