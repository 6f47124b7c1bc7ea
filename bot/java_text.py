"""The output of Maven Surefire and of Gradle -> sessions. Pure; takes lines without colours and time stamps.

Ids: ``shop.core.CartTest::addsPrices``, as JUnit XML names tests without their files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.failure_text import Session, relative_path, unique
from sandbox.frameworks.junit import frames_of
from sandbox.frameworks.jvm import JAVAC_ERROR, MAVEN_ERROR
from sandbox.report import Failure, Frame

_STARTS = re.compile(
    r"^\[INFO\] (?: T E S T S|Running [\w.$]+)$|^(?:> Task )?:[\w:-]*[tT]est(?: FAILED|WARNING.*)?$"
    r"|^(?:> Task )?:[\w:-]*compile\w*(?: FAILED)$|^\[ERROR\] COMPILATION ERROR"
)
_ENDS = re.compile(
    r"^\[(?:ERROR|INFO|WARNING)\] (?:Tests run: \d+, Failures: \d+|BUILD (?:SUCCESS|FAILURE))"
    r"|^BUILD (?:SUCCESSFUL|FAILED) in |^\d+ tests? completed"
)
_CASE = re.compile(r"^\[ERROR\] (?!Tests run: )(?P<name>.+?)  ?(?:-- )?Time elapsed: [\d.,]+ s\s+<<< (?P<word>FAILURE|ERROR)!")
_OLD_NAME = re.compile(r"^(?P<method>.+)\((?P<type>[\w.$]+)\)$")
_GRADLE = re.compile(r"^(?P<type>[\w.$]+)(?P<inner>(?: > [^>]+?)*) > (?P<method>.+?) FAILED$")
_EXCEPTION = re.compile(r"^(?P<name>[\w.$]+(?:Error|Exception|Failure|Failed|Throwable))(?:: (?P<message>.*))?$", re.S)
_LINE = re.compile(r"^\[(?:INFO|ERROR|WARNING)\]|^##\[")


def sessions(lines: Sequence[str]) -> Iterator[Session]:
    starts = [n for n, line in enumerate(lines) if _STARTS.match(line)]
    if not starts:
        return
    failures: list[Failure] = []
    end = 0
    for at in range(starts[0], len(lines)):
        line = lines[at]
        case, gradle = _CASE.match(line), _GRADLE.match(line)
        if _ENDS.match(line):
            end = at + 1
        if case:
            until = next((n for n in range(at + 1, len(lines)) if not lines[n].strip() or _LINE.match(lines[n])), len(lines))
            failures.append(_failure(_id(case["name"]), lines[at + 1 : until]))
        elif gradle:
            until = next((n for n in range(at + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("    ")), len(lines))
            failures.append(_failure(f"{gradle['type']}::{gradle['method']}", [x[4:] for x in lines[at + 1 : until]]))
    failures += _build("\n".join(lines[starts[0] :]))
    framework = "gradle" if any(line.startswith(("> Task ", ":")) for line in lines[starts[0] : end]) else "maven"
    yield Session(framework, starts[0], end or len(lines), end > 0, unique(failures))


def _id(name: str) -> str:
    """``adds(shop.CartTest)`` of Surefire 2 and ``shop.CartTest.adds`` of Surefire 3."""
    old = _OLD_NAME.match(name)
    if old and not old["method"].count("."):
        return f"{old['type']}::{old['method']}"
    head = re.match(r"^[\w.$]+", name)
    type_, _, method = head[0].rpartition(".") if head else ("", "", name)
    return f"{type_}::{method}{name[head.end() :] if head else ''}" if type_ else name


def _failure(test_id: str, block: Sequence[str]) -> Failure:
    text = "\n".join(block).strip("\n")
    stack = re.search(r"^\s*(?:at |Caused by: )|\sat \w+\.\w+:\d+$", text, re.M)
    said = text[: stack.start()].strip() if stack else text.strip()
    named = _EXCEPTION.match(said)
    place = re.search(r"(?:^|\s)at (?P<file>\w+\.(?:java|kt|groovy)):(?P<line>\d+)$", text, re.M)  # Gradle's short form
    package = test_id.split("::")[0].split(".")[:-1]
    frames = frames_of(text) if not place else (Frame("/".join([*package, place["file"]]), int(place["line"]), ""),)
    return Failure(test_id, named["name"] if named else "", ((named["message"] or "") if named else said)[:2000], frames, text[:6000])


def _build(text: str) -> Iterator[Failure]:
    found = list(MAVEN_ERROR.finditer(text)) or list(JAVAC_ERROR.finditer(text))
    if found:
        places = dict.fromkeys((relative_path(m["path"]), int(m["line"])) for m in found[:10])
        told = dict.fromkeys(m["message"] for m in found)
        frames = tuple(Frame(path, line, "") for path, line in reversed([*places][:5]))
        yield Failure("[build]", "build failed", "\n".join(told)[:2000], frames, "\n".join(dict.fromkeys(m[0] for m in found))[:6000])
