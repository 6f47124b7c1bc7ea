"""The output of ``go test`` -> sessions, one for each run of packages. Pure; takes lines without colours and time stamps.

Ids: ``example.com/shop/stats::TestMean/two_values``; a package that does not build is ``example.com/shop/cart::[build]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.failure_text import Session, relative_path, unique
from sandbox.frameworks.go import COMPILER, build_output, own_words, told
from sandbox.report import Failure, Frame

_PACKAGE = re.compile(r"^(?P<word>ok  |FAIL|\?   |---)\t(?P<package>\S+)(?:\t| \[)")
_RESULT = re.compile(r"^\s*--- (?P<word>FAIL|PASS|SKIP): (?P<name>\S+) \(")
_RUN = re.compile(r"^=== (?:RUN|CONT|NAME|PAUSE)\s+(?P<name>\S*)$")
_COMPILING = re.compile(r"^# \S+(?: \[\S+\])?$")
_HOST = re.compile(r"^(?:github\.com|gitlab\.com|bitbucket\.org|codeberg\.org)/[^/]+/[^/]+/?|^[\w-]+(?:\.[\w-]+)+/[^/]+/?")


def sessions(lines: Sequence[str]) -> Iterator[Session]:
    start: int | None = None
    end = 0
    failures: list[Failure] = []
    printed: dict[str, list[str]] = {}
    failed: list[str] = []
    current = ""
    for at, line in enumerate(lines):
        package, result, run = _PACKAGE.match(line), _RESULT.match(line), _RUN.match(line)
        compiling = _COMPILING.match(line) and at + 1 < len(lines) and COMPILER.match(lines[at + 1].removeprefix("vet: "))
        if not (package or result or run or compiling or start is not None):
            continue
        start = at if start is None else start
        if package:
            failures += _of_package(package["package"], failed, printed, line)
            printed, failed, current, end = {}, [], "", at + 1
        elif result:
            current = result["name"]
            failed += [current] if result["word"] == "FAIL" else []
        elif run:
            current = run["name"]
        elif line in ("FAIL", "PASS") or line.startswith("exit status "):
            end = at + 1 if failed or not printed else end
        else:
            printed.setdefault(current, []).append(line)
    if start is None or not end and not failed:
        return
    complete = end > 0 and not failed
    failures += _of_package("", failed, printed, "")
    failures += _builds(lines[start:end] if complete else lines[start:])
    yield Session("go", start, end if complete else len(lines), complete, unique(failures))


def _of_package(package: str, failed: Sequence[str], printed: dict[str, list[str]], line: str) -> Iterator[Failure]:
    parents = {"/".join(name.split("/")[:n]) for name in failed for n in range(1, name.count("/") + 1)}
    for name in failed:
        text = "\n".join(printed.get(name, ()))
        if name in parents and not own_words(text):
            continue
        yield _failure(package, name, text)
    if not failed and line.startswith("FAIL") and "[" not in line:  # the program died outside a test
        yield _failure(package, "[build]", "\n".join(text for block in printed.values() for text in block))


def _failure(package: str, name: str, text: str) -> Failure:
    exception, message, frames, body = told(text, name)
    return Failure(f"{package}::{name}" if package else name, exception, message, tuple(_placed(f, package) for f in frames), body)


def _placed(frame: Frame, package: str) -> Frame:
    path = relative_path(frame.path)
    return Frame(path if "/" in path else f"{_folder(package)}{path}", frame.line, frame.function)


def _folder(package: str) -> str:
    """The folder of a package in its repository, as far as its import path tells."""
    below = _HOST.sub("", package)
    return f"{below}/" if below and below != package else ""


def _builds(lines: Sequence[str]) -> Iterator[Failure]:
    for package, said in build_output("\n".join(lines)).items():
        text = "".join(said)
        found = list(COMPILER.finditer(text))
        if found:
            frames = tuple(Frame(relative_path(m["path"]), int(m["line"]), "") for m in reversed(found[:5]))
            yield Failure(f"{package}::[build]", "build failed", "\n".join(m["message"] for m in found), frames, text)
