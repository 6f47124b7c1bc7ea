"""JUnit XML -> TestReport: the report of every framework without an adapter of its own. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from sandbox.report import Failure, Frame, Outcome, TestReport

_JVM_FRAME = re.compile(
    r"^\s*at (?:[\w.@-]{1,200}/)?(?P<function>[\w$.<>]{1,400})\((?P<file>[\w$.-]{1,200}\.\w{1,10}):(?P<line>\d{1,7})\)$", re.M
)
_JAVA_LIBRARIES = ("java.", "javax.", "jdk.", "sun.", "org.junit.", "junit.", "org.apache.maven.", "org.gradle.", "org.hamcrest.",
                   "org.assertj.", "org.opentest4j.", "org.testng.", "org.mockito.")  # fmt: skip
_V8_FRAME = re.compile(
    r"^\s*(?:at|❯) (?:(?:async )?(?P<function>[^()\n]{1,200}?) )?\(?(?P<path>(?:file://)?[^\s():]{1,400}):(?P<line>\d{1,7}):\d+\)?$", re.M
)
_FRAME = re.compile(r'(?:File "([^"\n]+)", line (\d+)(?:, in (\S+))?|^\s*(?:at )?([\w./\\-]+\.\w+):(\d+))', re.M)


def read_junit(data: bytes, seconds: float = 0.0) -> TestReport:
    """Read a JUnit XML file. A file that is no XML, or declares entities, gives an incomplete report without outcomes."""
    if b"\0" in data:  # UTF-16, in which the search below would find nothing
        try:
            text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
            data = re.sub(r"^\s*<\?xml[^>]*\?>", "", text).encode()
        except UnicodeError:
            return TestReport({}, complete=False, seconds=seconds)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:  # entity expansion is the only way this parser can be made to explode
        return TestReport({}, complete=False, seconds=seconds)
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return TestReport({}, complete=False, seconds=seconds)
    outcomes: dict[str, Outcome] = {}
    failures: list[Failure] = []
    for case in root.iter("testcase"):
        test_id = "::".join(p for p in (case.get("file") or case.get("classname"), case.get("name")) if p) or "?"
        outcome, element = _outcome(case)
        if outcomes.get(test_id) in ("failed", "error"):
            continue
        outcomes[test_id] = outcome
        if element is not None and outcome in ("failed", "error"):
            text = (element.text or "")[:6000]
            failures.append(Failure(test_id, element.get("type") or "", (element.get("message") or text)[:2000], frames_of(text), text))
    return TestReport(outcomes, tuple(failures), seconds=seconds)


def _outcome(case: ElementTree.Element) -> tuple[Outcome, ElementTree.Element | None]:
    for tag, outcome in (("failure", "failed"), ("error", "error")):
        element = case.find(tag)
        if element is not None:
            return outcome, element  # type: ignore[return-value]  # the two literals above are Outcomes
    return ("skipped" if case.find("skipped") is not None else "passed"), None


def frames_of(text: str) -> tuple[Frame, ...]:
    """Frames of a stack as text, outermost first: of Java's those of the innermost cause, which stands last, without the libraries around
    a test; of V8's without node's own."""
    causes = [m.start() for m in re.finditer(r"^\s*Caused by:", text, re.M)]
    cause = text[causes[-1] if causes else 0 :]
    java = [Frame(_java_path(m["function"], m["file"]), int(m["line"]), m["function"]) for m in _JVM_FRAME.finditer(cause)]
    java = [f for f in java if not f.function.startswith(_JAVA_LIBRARIES)] or java
    if java:
        return tuple(reversed(java))
    script = [
        Frame(m["path"].removeprefix("file://"), int(m["line"]), m["function"] or "")
        for m in _V8_FRAME.finditer(text)
        if not m["path"].startswith("node:") and "node_modules/" not in m["path"]
    ]
    if script:
        return tuple(reversed(script))
    return tuple(Frame(m.group(1) or m.group(4), int(m.group(2) or m.group(5)), m.group(3) or "") for m in _FRAME.finditer(text))


def _java_path(function: str, file: str) -> str:
    """``shop.Cart.add`` in Cart.java lies in shop/Cart.java, below some source folder."""
    package = [part for part in function.split(".")[:-2] if part[:1].islower()]
    return "/".join([*package, file])
