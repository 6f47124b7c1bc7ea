"""The output of JavaScript's test runners -> sessions: node's own (TAP and spec), Vitest, Jest. Pure; takes lines without colours and time
stamps.

Ids: ``test/cart.test.js::total > adds every line``; a file that cannot be loaded is ``test/broken.test.js::[load]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.failure_text import Session, relative_path, unique
from sandbox.frameworks.junit import frames_of
from sandbox.report import Failure, Frame

_NODE_END = re.compile(r"^(?:# |ℹ )duration_ms [\d.]+$")
_NODE_START = re.compile(r"^TAP version 1[34]$|^(?:▶ |✔ |✖ |# Subtest: )")
_TAP = re.compile(r"^(?P<indent> *)not ok \d+ - (?P<name>.*)$")
_TAP_BEGUN = re.compile(r"^(?P<indent> *)# Subtest: (?P<name>.*)$")
_SPEC = re.compile(r"^(?P<indent> *)(?P<mark>[▶✖✔﹣]) (?P<name>.*?)(?P<time> \([\d.]+ms\))?(?: #.*)?$")
_SPEC_AT = re.compile(r"^test at (?P<path>.+?):(?P<line>\d+):\d+$")
_VITEST_START = re.compile(r"^ (?:RUN|DEV)  v\d")
_VITEST_FAIL = re.compile(r"^ FAIL  (?:\|?[\w./@-]+\|? )?(?P<path>\S+?\.\w+)(?: > (?P<name>.+?)| \[ .* \])?$")
_VITEST_FRAME = re.compile(r"^ ❯ (?:(?P<function>\S.*?) )?(?P<path>\S+?):(?P<line>\d+):\d+$")
_VITEST_END = re.compile(r"^ +Duration  ")
_RULE = re.compile(r"^⎯{6,}")
_JEST_FILE = re.compile(r"^ ?(?:FAIL|PASS) (?: ?[\w-]+ )?(?: ?)(?P<path>\S+\.\w+)(?: \([\d.]+ m?s\))?$")
_JEST_CASE = re.compile(r"^  ● (?P<name>.+)$")
_JEST_END = re.compile(r"^Ran all test suites|^Time: +[\d.]+ m?s")
_NAMED = re.compile(r"^(?P<name>(?:[A-Z]\w*)?(?:Error|Exception))(?: \[\w+\])?: ?(?P<message>.*)$", re.S)
_TAP_FIELD = re.compile(r"^(?P<indent> +)(?P<key>error|name|location|failureType|stack): (?P<value>.*)$")


def sessions(lines: Sequence[str]) -> Iterator[Session]:
    yield from _vitest(lines)
    yield from _jest(lines)
    yield from _node(lines)


# node --test


def _node(lines: Sequence[str]) -> Iterator[Session]:
    starts = [n for n, line in enumerate(lines) if _NODE_START.match(line)]
    ends = [n for n, line in enumerate(lines) if _NODE_END.match(line)]
    if not starts or not ends:
        return
    tap = any(line.startswith("TAP version") for line in lines)
    failing = next((n for n, line in enumerate(lines) if line == "✖ failing tests:"), None)
    until = len(lines) if failing is None else next((n for n in range(failing, len(lines)) if lines[n].startswith("##[")), len(lines))
    failures = list(_tap(lines[starts[0] :]) if tap else _spec(lines[: failing or 0], lines[failing or 0 : until]))
    yield Session("node", starts[0], max(ends[-1] + 1, until if failing is not None else 0), True, unique(failures))


def _tap(lines: Sequence[str]) -> Iterator[Failure]:
    names: list[str] = []
    for at, line in enumerate(lines):
        begun, failed = _TAP_BEGUN.match(line), _TAP.match(line)
        if begun:
            depth = len(begun["indent"]) // 4
            names = [*names[:depth], begun["name"]]
        if not failed:
            continue
        depth = len(failed["indent"]) // 4
        end = next((n for n in range(at, len(lines)) if lines[n].strip() == "..."), len(lines))
        fields = _fields(lines[at + 1 : end])
        if fields.get("failureType", "").strip("'") == "subtestsFailed":
            continue
        path = re.sub(r":\d+:\d+$", "", fields.get("location", "").strip("'"))
        name = failed["name"]
        if name == path:
            yield _loaded(path, [x.removeprefix("# ") for x in lines[:at] if x.startswith("# ")])
            continue
        test_id = f"{relative_path(path)}::{' > '.join([*names[:depth], name])}"
        stack = "\n".join(f"    at {x.strip()}" for x in fields.get("stack", "").splitlines())
        message = fields.get("error", "").strip().strip("\"'")
        text = f"{fields.get('name', '')}: {message}\n{stack}".strip(": ")
        frames = tuple(Frame(relative_path(f.path), f.line, f.function) for f in frames_of(text))
        yield Failure(test_id, fields.get("name", "").strip("'"), message, frames, text)


def _fields(block: Sequence[str]) -> dict[str, str]:
    """The fields of a YAML block that matter; a block scalar is put together."""
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        field = _TAP_FIELD.match(block[at])
        at += 1
        if not field:
            continue
        value = field["value"]
        if value in ("|-", "|", ">-"):
            indent = len(field["indent"]) + 2
            inner = []
            while at < len(block) and (not block[at].strip() or len(block[at]) - len(block[at].lstrip()) >= indent):
                inner.append(block[at][indent:])
                at += 1
            value = "\n".join(inner).strip("\n")
        found.setdefault(field["key"], value)
    return found


def _spec(tree: Sequence[str], section: Sequence[str]) -> Iterator[Failure]:
    """The list of failing tests at the end; what is around each is told by the tree before it, with the same time."""
    whole: dict[str, str] = {}
    names: list[str] = []
    for line in tree:
        shown = _SPEC.match(line)
        if shown:
            depth = len(shown["indent"]) // 2
            names = [*names[:depth], shown["name"]]
            if shown["mark"] == "✖" and shown["time"]:
                whole.setdefault(shown["name"] + shown["time"], " > ".join(names))
    starts = [n for n, line in enumerate(section) if _SPEC_AT.match(line)]
    for start, end in zip(starts, [*starts[1:], len(section)], strict=False):
        place, shown = _SPEC_AT.match(section[start]), _SPEC.match(section[start + 1]) if start + 1 < len(section) else None
        if place is None or shown is None:
            continue
        path = relative_path(place["path"])
        if relative_path(shown["name"]) == path:
            yield _loaded(path, tree)
            continue
        name = whole.get(shown["name"] + (shown["time"] or ""), shown["name"])
        yield _told(f"{path}::{name}", [line[2:] for line in section[start + 2 : end]])


def _loaded(path: str, printed: Sequence[str]) -> Failure:
    """A file whose process failed before a test of it ran: what it printed stands far from it, if anywhere."""
    path = relative_path(path)
    named = next((m for line in reversed(printed) if (m := _NAMED.match(line)) and path.rpartition("/")[2] in line), None) or next(
        (m for line in printed if (m := _NAMED.match(line))), None)  # fmt: skip
    message = named["message"] if named else "the file could not be loaded"
    return Failure(f"{path}::[load]", named["name"] if named else "", message[:2000], (Frame(path, 1, ""),), "\n".join(printed)[:6000])


def _told(test_id: str, block: Sequence[str]) -> Failure:
    text = "\n".join(block).strip("\n")
    stack = re.search(r"^\s*(?:at |❯ )", text, re.M)
    said = (text[: stack.start()] if stack else text).strip()
    named = _NAMED.match(said)
    frames = tuple(Frame(relative_path(f.path), f.line, f.function) for f in frames_of(text))
    return Failure(test_id, named["name"] if named else "", (named["message"] if named else said).strip()[:2000], frames, text[:6000])


# Vitest


def _vitest(lines: Sequence[str]) -> Iterator[Session]:
    start = next((n for n, line in enumerate(lines) if _VITEST_START.match(line)), None)
    if start is None:
        return
    end = next((n + 1 for n in range(len(lines) - 1, start, -1) if _VITEST_END.match(lines[n])), None)
    failures: list[Failure] = []
    at = start
    while at < (end or len(lines)):
        found = _VITEST_FAIL.match(lines[at])
        if not found:
            at += 1
            continue
        heads = [found]  # the same error of several tests is told once
        while at + 1 < len(lines) and (more := _VITEST_FAIL.match(lines[at + 1])):
            heads.append(more)
            at += 1
        stop = (n for n in range(at + 1, len(lines)) if _RULE.match(lines[n]) and "[" in lines[n] or _VITEST_FAIL.match(lines[n]))
        until = next(stop, len(lines))
        failures += [_vitest_failure(head, lines[at + 1 : until]) for head in heads]
        at = until
    yield Session("vitest", start, end or len(lines), end is not None, unique(failures))


def _vitest_failure(head: re.Match[str], block: Sequence[str]) -> Failure:
    path = relative_path(head["path"])
    text = "\n".join(block).strip("\n")
    first = next((line for line in block if line.strip()), "")
    named = _NAMED.match(first)
    found = [m for line in block if (m := _VITEST_FRAME.match(line)) and "node_modules/" not in m["path"]]
    frames = tuple(Frame(relative_path(m["path"]), int(m["line"]), m["function"] or "") for m in reversed(found))
    message = named["message"] if named else first
    return Failure(f"{path}::{head['name'] or '[load]'}", named["name"] if named else "", message[:2000], frames, text[:6000])


# Jest


def _jest(lines: Sequence[str]) -> Iterator[Session]:
    start = next((n for n, line in enumerate(lines) if _JEST_FILE.match(line)), None)
    ends = [n for n, line in enumerate(lines) if _JEST_END.match(line)]
    if start is None or not any(line.startswith(("Test Suites: ", "Tests: ")) for line in lines):
        return
    summary = next((n for n, line in enumerate(lines) if line.startswith("Summary of all failing tests")), len(lines))
    failures: list[Failure] = []
    path = ""
    for at in range(start, min(summary, len(lines))):
        file, case = _JEST_FILE.match(lines[at]), _JEST_CASE.match(lines[at])
        path = relative_path(file["path"]) if file else path
        if case:
            stop = (n for n in range(at + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("   "))
            failures.append(_jest_failure(path, case["name"], lines[at + 1 : next(stop, len(lines))]))
    yield Session("jest", start, ends[-1] + 1 if ends else len(lines), bool(ends), unique(failures))


def _jest_failure(path: str, name: str, block: Sequence[str]) -> Failure:
    failure = _told(f"{path}::{name.replace(' › ', ' > ')}", [line[4:] for line in block])
    test_id = f"{path}::[load]" if name == "Test suite failed to run" else failure.test_id
    message = re.split(r"\n\s*(?:> *)?\d+ \|", failure.message)[0].strip()
    exception = failure.exception or ("AssertionError" if message.startswith("expect(") else "")
    return Failure(test_id, exception, message, failure.frames, failure.text)
