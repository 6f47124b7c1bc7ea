"""The output of pytest and unittest, as text -> test sessions with their failures. Pure; takes lines without colours and time stamps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sandbox.frameworks.detection import is_test_file
from sandbox.report import Failure, Frame

_HEADING = re.compile(r"^=+ (.+?) =+$")
_TITLE = re.compile(r"^_+ (.+?) _+$")
_SEPARATOR = re.compile(r"^(_ ){3,}_?$")
_COUNTS = r"(?:\d+ (?:failed|passed|skipped|deselected|xfailed|xpassed|errors?|warnings?|rerun|subtests passed|subtests failed)(?:, )?)+"
_PYTEST_END = re.compile(rf"^(?:=+ )?(?:{_COUNTS}|no tests ran|no tests collected) in [\d.]+s?(?: seconds)?(?: \([^)]*\))?(?: =+)?$")
_PROGRESS = re.compile(r"^(?:\S+\.py )?[.FEsxXpPRr,]+ +\[ *\d+%\]$")
_VERBOSE = re.compile(
    r"^(?:(?P<id>\S+\.py::.+?) (?:FAILED|ERROR)(?: +\[ *\d+%\])?|\[gw\d+\] \[ *\d+%\] (?:FAILED|ERROR) (?P<id2>\S+\.py::.+?)) *$"
)
_SUMMARY = re.compile(r"^(FAILED|ERROR) (\S.*)$")
_LOCATION = re.compile(
    r"^(?P<path>(?:[A-Za-z]:)?[^\s:][^:]*\.\w+):(?P<line>\d+):(?: in (?P<function>\S+)| (?P<exception>[A-Za-z_][\w.]*))?(?: .*)?$"
)
_FILE = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_DEFINITION = re.compile(r"^>? *(?:async +)?def +(\w+)")
_NAMED = re.compile(r"^(?P<name>[A-Za-z_][\w.]*)(?:: ?(?P<message>.*))?$")
_EXCEPTION = re.compile(
    r"(?:Error|Exception|Exit|Interrupt|Warning|Failed|Failure|Timeout|Iteration|Fault|Refused|Skipped|NotFound|Invalid)$"
)
_CAPTURED = re.compile(r"^-+ (?:Captured |coverage: |generated \w+ file)")
_UNITTEST_BLOCK = re.compile(r"^(FAIL|ERROR): (\S.*)$")
_UNITTEST_CASE = re.compile(r"^(?P<name>\S+) \((?P<place>[\w.<>]+)\)")
_UNITTEST_VERBOSE = re.compile(r"^\w+ \([\w.]+\).*\.\.\. ")
_RAN = re.compile(r"^Ran \d+ tests? in ")
_UNITTEST_END = re.compile(r"^(?:OK|FAILED|NO TESTS RAN)(?: \([^)]*\))?$")
_ROOT = re.compile(
    r"^(?:/home/runner/work/[^/]+/[^/]+|/__w/[^/]+/[^/]+|/github/workspace|/Users/runner/work/[^/]+/[^/]+|[A-Za-z]:/a/[^/]+/[^/]+"
    r"|/builds/[^/]+/[^/]+|/home/circleci/project|/root/project|/app|/workspace)/"
)  # fmt: skip
_TEXT = 6000
_MESSAGE = 2000
_SAME_NAME = 200


@dataclass(frozen=True)
class Session:
    """One run of a test framework: lines ``start`` to ``end`` (exclusive) of what was read. ``complete`` when it said how it ended."""

    framework: str
    start: int
    end: int
    complete: bool
    failures: tuple[Failure, ...]


def read_sessions(lines: Sequence[str]) -> tuple[Session, ...]:
    """Every pytest and unittest session in the order of the lines."""
    sessions = [*_pytest_sessions(lines)]
    taken = [(s.start, s.end) for s in sessions]
    sessions += [s for s in _unittest_sessions(lines) if not any(a <= s.end - 1 < b for a, b in taken)]
    return tuple(sorted(sessions, key=lambda s: s.start))


def relative_path(path: str, root: str = "") -> str:
    """A path as the repository knows it, where it lies below ``root`` or a known CI system's checkout."""
    path = path.replace("\\", "/")
    if root and path.startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")) + 1 :]
    return re.sub(r"^\./", "", _ROOT.sub("", path))


# pytest


def _pytest_sessions(lines: Sequence[str]) -> Iterable[Session]:
    start: int | None = None
    for at, line in enumerate(lines):
        heading = _HEADING.match(line)
        name = heading.group(1) if heading else ""
        if name == "test session starts":
            if start is not None:
                yield _pytest_session(lines, start, at, complete=False)
            start = at
        elif start is None and (name in ("FAILURES", "ERRORS", "short test summary info") or _PROGRESS.match(line) or _VERBOSE.match(line)):
            start = at
        if start is not None and _PYTEST_END.match(line):
            yield _pytest_session(lines, start, at + 1, complete=True)
            start = None
    if start is not None:
        yield _pytest_session(lines, start, len(lines), complete=False)


def _pytest_session(lines: Sequence[str], start: int, end: int, complete: bool) -> Session:
    root = next((m.group(1) for line in lines[start:end] if (m := re.match(r"^rootdir: ([^,]+)", line))), "").strip().replace("\\", "/")
    section, title, block = "", "", list[str]()
    blocks: list[tuple[str, Failure]] = []
    told: list[tuple[str, str]] = []  # test id and message of the short summary; without one, of the progress lines
    seen: list[tuple[str, str]] = []

    def close() -> None:
        if title:
            blocks.append((title, _pytest_failure(block, root)))

    for line in lines[start:end]:
        heading = _HEADING.match(line)
        named = _TITLE.match(line) if section in ("FAILURES", "ERRORS") and not _SEPARATOR.match(line) else None
        if heading and not line.startswith("= =") or _PYTEST_END.match(line):
            close()
            section, title, block = heading.group(1) if heading else "", "", []
        elif named:
            close()
            title, block = named.group(1), []
        elif title:
            block.append(line)
        elif section == "short test summary info" and (entry := _SUMMARY.match(line)):
            told.append(_split_summary(entry.group(2)))
        elif section in ("", "test session starts") and (verbose := _VERBOSE.match(line)):
            seen.append((verbose.group("id") or verbose.group("id2"), ""))
    close()
    return Session("pytest", start, end, complete, _joined(blocks, told or list(dict.fromkeys(seen))))


def _split_summary(text: str) -> tuple[str, str]:
    """``id - message``; a parameter in brackets may itself hold `` - ``."""
    text = text.strip()
    bracket, dash = text.find("["), text.find(" - ")
    if 0 <= bracket < dash or (bracket >= 0 and dash < 0):
        close = text.find("] - ", bracket)
        if close >= 0:
            return text[: close + 1], text[close + 4 :]
        if text.endswith("]"):
            return text, ""
    return (text[:dash], text[dash + 3 :]) if dash >= 0 else (text, "")


def _pytest_failure(block: Sequence[str], root: str) -> Failure:
    """A block below FAILURES or ERRORS; its test id is not known yet."""
    frames: list[Frame] = []
    errors: list[str] = []
    exception, function, after_error, native = "", "", False, list[str]()
    for line in block:
        if _CAPTURED.match(line):
            break
        if line == "E" or line.startswith("E "):
            if not after_error:
                errors = []
            errors.append(line[1:].strip())
            after_error = True
            if inner := _FILE.match(line[1:]):
                frames.append(Frame(relative_path(inner.group("path"), root), int(inner.group("line")), "<module>"))
            continue
        after_error = after_error and line.startswith(" ") and line.strip().startswith("+")
        if file := _FILE.match(line):
            frames.append(Frame(relative_path(file.group("path"), root), int(file.group("line")), file.group("function") or ""))
        elif location := _LOCATION.match(line):
            name, inside = location.group("exception") or "", location.group("function") or function
            frames.append(Frame(relative_path(location.group("path"), root), int(location.group("line")), inside))
            exception, function = (name if _EXCEPTION.search(name) else exception), ""
        elif definition := _DEFINITION.match(line):
            function = function or definition.group(1)
        elif line and not line[0].isspace() and (named := _NAMED.match(line)) and _EXCEPTION.search(named.group("name")):
            native = [line]
    text = "\n".join(block).strip()
    return _told_apart("", exception, errors or native, tuple(frames), text)


def _told_apart(test_id: str, exception: str, errors: Sequence[str], frames: tuple[Frame, ...], text: str) -> Failure:
    """Exception and message out of the lines that tell them; of a syntax error the name stands last."""
    lines = [e for e in errors if e]
    for at in (0, len(lines) - 1):
        named = _NAMED.match(lines[at]) if lines else None
        if named and (_EXCEPTION.search(named.group("name")) or named.group("name") == exception):
            rest = lines[1:] if at == 0 else []
            message = "\n".join([named.group("message") or "", *rest]).strip()
            return Failure(test_id, exception or named.group("name"), message[:_MESSAGE], frames, text[-_TEXT:])
    if not exception and lines and lines[0].startswith("assert "):
        exception = "AssertionError"
    return Failure(test_id, exception, "\n".join(lines)[:_MESSAGE], frames, text[-_TEXT:])


def _joined(blocks: list[tuple[str, Failure]], told: list[tuple[str, str]]) -> tuple[Failure, ...]:
    """Blocks have the traceback, the summary has the ids: put together by name, and by file where two tests share one."""
    left = dict.fromkeys(told)
    by_name: dict[str, list[tuple[str, str]]] = {}
    for entry in left:
        for name in _names(entry[0]):
            by_name.setdefault(name, []).append(entry)
    found: list[Failure] = []
    for title, failure in blocks:
        name = re.sub(r"^ERROR (?:at (?:setup|teardown) of|collecting) |^\[doctest\] ", "", title)
        paths = {f.path for f in failure.frames}
        same = [entry for entry in by_name.get(name, ())[:_SAME_NAME] if entry in left]
        chosen = next((e for e in same if e[0].partition("::")[0] in paths), same[0] if same else None)
        if chosen is not None:
            del left[chosen]
        found.append(replace(failure, test_id=chosen[0] if chosen else _guessed_id(name, failure)))
    found += [_told_apart(test_id, "", [message] if message else [], (), message) for test_id, message in left]
    return unique(found)


def _names(test_id: str) -> set[str]:
    """What the title of a test's traceback may be."""
    path, _, rest = test_id.partition("::")
    return {rest.replace("::", "."), rest, path, test_id}


def _guessed_id(name: str, failure: Failure) -> str:
    path = next((f.path for f in failure.frames if is_test_file(f.path)), "")
    if not path or name.endswith(".py"):
        return name
    head, bracket, parameters = name.partition("[")
    return f"{path}::{head.replace('.', '::')}{bracket}{parameters}"


def unique(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    """One failure for each test id, the one that tells more; subtests and set-up plus tear-down share an id."""
    best: dict[str, Failure] = {}
    for failure in failures:
        known = best.get(failure.test_id)
        if known is None or (bool(failure.frames), bool(failure.message)) > (bool(known.frames), bool(known.message)):
            best[failure.test_id] = failure
    return tuple(best.values())


# unittest


def _unittest_sessions(lines: Sequence[str]) -> Iterable[Session]:
    start: int | None = None
    failures: list[Failure] = []
    ran = False
    at = 0
    while at < len(lines):
        line = lines[at]
        block = _UNITTEST_BLOCK.match(line)
        if start is None and _UNITTEST_VERBOSE.match(line):
            start = at
        if block and at and lines[at - 1] == "=" * 70:
            start = at - 1 if start is None else start
            end = next((i for i in range(at + 1, len(lines)) if lines[i] == "=" * 70 or _RAN.match(lines[i])), len(lines))
            failures.append(_unittest_failure(block.group(2), lines[at + 1 : end]))
            at = end
            continue
        if _RAN.match(line):
            start, ran = at if start is None else start, True
        elif ran and start is not None and _UNITTEST_END.match(line):
            yield Session("unittest", start, at + 1, True, unique(failures))
            start, failures, ran = None, [], False
        at += 1
    if start is not None:
        yield Session("unittest", start, len(lines), ran, unique(failures))


def _unittest_failure(description: str, block: Sequence[str]) -> Failure:
    case = _UNITTEST_CASE.match(description)
    test_id = description
    if case and not case.group("name").startswith(("setUp", "tearDown")):
        name, place = case.group("name"), case.group("place")
        test_id = name if "_FailedTest" in place else place if place.rsplit(".", 1)[-1] == name else f"{place}.{name}"
    body = list(block)
    while body and (not body[-1].strip() or set(body[-1]) == {"-"}):
        body.pop()
    starts = [i for i, line in enumerate(body) if line.startswith("Traceback (most recent call last)")]
    last = starts[-1] if starts else 0
    frames = tuple(
        Frame(relative_path(m.group("path")), int(m.group("line")), m.group("function") or "<module>")
        for line in body[last:]
        if (m := _FILE.match(line))
    )
    after = [i for i in range(last + 1, len(body)) if body[i] and not body[i][0].isspace()]
    errors = body[after[0] :] if starts and after else []
    return _told_apart(test_id, "", [e.strip() for e in errors], frames, "\n".join(body))
