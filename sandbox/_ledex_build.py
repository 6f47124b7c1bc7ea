"""Carries out a build plan inside the sandbox: ``_ledex_build.py PLAN.json DESCRIPTOR``.

The plan is ``{"steps": [{"name", "attempts": [[argv, ...], ...], "optional", "environment"}], "tree", "artifacts", "artifact_bytes",
"probe"}``. An attempt succeeds when all its commands do; a step when one attempt does. What happens is told line by line, as JSON, on
the descriptor. New files of the tree are copied to ``artifacts``; ``probe`` is a command whose last output line is told at the end.
Standard library, Python 3.8+.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

SKIPPED = {".git", ".hg", "__pycache__", "build", "dist", ".eggs", ".tox", ".nox", ".venv", ".pytest_cache", ".mypy_cache"}


def listing(tree: str) -> set[str]:
    found: set[str] = set()
    for folder, folders, files in os.walk(tree):
        # What a package manager put beside the code is whole as it stands: packages ship their dist and build folders.
        installed = "node_modules" in os.path.relpath(folder, tree).split(os.sep)
        folders[:] = [name for name in folders if installed or name not in SKIPPED]
        for name in files + [n for n in folders if os.path.islink(os.path.join(folder, n))]:
            found.add(os.path.relpath(os.path.join(folder, name), tree))
    return found


def copy_new(tree: str, before: set[str], target: str, limit: int) -> int:
    copied, size = 0, 0
    for path in sorted(listing(tree) - before):
        source, destination = os.path.join(tree, path), os.path.join(target, path)
        status = os.lstat(source)
        size += status.st_size
        if path.endswith((".pyc", ".o")) or size > limit:
            continue
        os.makedirs(os.path.dirname(destination), exist_ok=True)
        if os.path.islink(source):
            os.symlink(os.readlink(source), destination)
        elif os.path.isfile(source):
            shutil.copyfile(source, destination)
            os.chmod(destination, status.st_mode & 0o755)
        copied += 1
    return copied


def run(argv: list[str], cwd: str, environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and the end of the output, which is also passed on."""
    try:
        variables = dict(os.environ, **environment)
        process = subprocess.Popen(argv, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as error:
        return 127, f"{argv[0]}: {error.strerror}"
    assert process.stdout is not None
    tail = b""
    while True:
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        tail = (tail + data)[-65536:]
    return process.wait(), tail.decode("utf-8", "replace")


def main(plan_path: str, descriptor: int) -> int:
    with open(plan_path, encoding="utf-8") as file:
        plan = json.load(file)
    tree = plan["tree"]

    def tell(**message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(descriptor, data) :]

    before = listing(tree)
    ok = True
    for step in plan["steps"]:
        tell(event="step", name=step["name"])
        started, outputs, done = time.monotonic(), [], -1
        for number, attempt in enumerate(step["attempts"]):
            for argv in attempt:
                status, tail = run(argv, tree, step["environment"])
                if status != 0:
                    outputs.append(tail[-16384:])
                    break
            else:
                done = number
                break
        seconds = time.monotonic() - started
        tell(event="done", name=step["name"], attempt=done, seconds=seconds, outputs=outputs if done < 0 else [])
        if done < 0 and not step["optional"]:
            ok = False
            break
    if ok:
        copied = copy_new(tree, before, plan["artifacts"], plan["artifact_bytes"])
        _, tail = run(plan["probe"], tree, {}) if plan["probe"] else (0, "")
        tell(event="finished", artifacts=copied, probe=(tail.strip().splitlines() or [""])[-1])
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
