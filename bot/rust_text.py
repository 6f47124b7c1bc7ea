"""The output of ``cargo test`` -> a session. Pure; takes lines without colours and time stamps.

Ids: ``crates/core/src/lib.rs::tests::adds`` where the output tells the whole path, else from the package's folder on: ``src/lib.rs::...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bot.failure_text import Session, relative_path, unique
from sandbox.frameworks.cargo import COMPILER, DOC_TESTS, RUNNING, STARTED, SUMMARY, Binary, example_ids, read_binaries, told
from sandbox.report import Failure, Frame

_COMPILING = re.compile(r"^\s*(?:Compiling|Checking|Fresh) \S+ v\d")
_FAILED = re.compile(r"^error: could not compile ")


def sessions(lines: Sequence[str]) -> Iterator[Session]:
    start = next((n for n, line in enumerate(lines) if RUNNING.match(line) or DOC_TESTS.match(line)), None)
    broken = any(_FAILED.match(line) for line in lines)
    if broken and start is None:
        start = next((n for n, line in enumerate(lines) if _COMPILING.match(line)), 0)
    if start is None:
        return
    text = "\n".join(lines[start:])
    binaries = [b for b in read_binaries(text) if b.outcomes or any(STARTED.match(line) for line in lines)]
    failures = [f for binary in binaries for f in _failures(binary)]
    failures += _build(text) if broken else ()
    last = max((n for n, line in enumerate(lines) if SUMMARY.match(line)), default=len(lines) - 1)
    complete = broken or bool(binaries) and all(b.ended for b in binaries)
    yield Session("cargo", start, last + 1 if complete and not broken else len(lines), complete, unique(failures))


def _failures(binary: Binary) -> Iterator[Failure]:
    path = binary.path.partition("\0")[0]
    ids = example_ids(binary, ".") if binary.doc else {}
    for name, outcome in binary.outcomes.items():
        if outcome == "failed":
            exception, message, frames, body = told("\n".join(binary.printed.get(name, ())), name)
            frames = tuple(replace(f, path=relative_path(f.path)) for f in frames)
            yield Failure(ids.get(name) or f"{_file(path, name, frames)}::{name}", exception, message, frames, body)


def _file(path: str, name: str, frames: Sequence[Frame]) -> str:
    """The program's file as the panic's place completes it; a module's tests lie in the module's file."""
    module = name.split("::")[0] if "::" in name else ""
    folder = path.rpartition("/")[0]
    for frame in reversed(frames):
        ends = (path, f"{folder}/{module}.rs", f"{folder}/{module}/mod.rs")
        found = next((end for end in ends if frame.path == end or frame.path.endswith(f"/{end}")), None)
        if found is not None:
            return frame.path
    return path


def _build(text: str) -> Iterator[Failure]:
    found = list(COMPILER.finditer(text))
    if found:
        frames = tuple(Frame(relative_path(m["path"]), int(m["line"]), "") for m in reversed(found[:5]))
        message = "\n".join(dict.fromkeys(m["message"] for m in found))
        yield Failure("[build]", "build failed", message, frames, text[found[0].start() :][:6000])
