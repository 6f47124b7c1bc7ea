"""TestReport -> JUnit XML, as the readers of CI systems know it. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

from sandbox.report import TestReport

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(report: TestReport, suite: str, clean: Callable[[str], str] = str) -> bytes:
    """One suite with a case for each test; ``sandbox.frameworks.junit.read_junit`` reads the same ids and failures back.

    ``clean`` gets every text of the report. Characters that XML cannot hold are written as ``\\uXXXX``. XML knows no expected failure: a
    test that failed as expected is written as skipped, with its word.
    """

    def text(value: str) -> str:
        return _ILLEGAL.sub(lambda found: f"\\u{ord(found.group()):04x}", clean(value))

    details = {failure.test_id: failure for failure in report.failures}
    words = list(report.outcomes.values())
    root = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(root, "testsuite", {
        "name": suite, "tests": str(len(words)), "failures": str(words.count("failed")), "errors": str(words.count("error")),
        "skipped": str(words.count("skipped") + words.count("xfailed")), "time": f"{report.seconds:.3f}"})  # fmt: skip
    for test_id, outcome in report.outcomes.items():
        file, separator, name = test_id.partition("::")
        case = ElementTree.SubElement(element, "testcase", {"name": text(name if separator else test_id)})
        if separator:
            case.set("classname", text(file.removesuffix(".py").replace("/", ".")))
            case.set("file", text(file))
        if outcome in ("failed", "error"):
            failure = details.get(test_id)
            below = ElementTree.SubElement(case, "failure" if outcome == "failed" else "error")
            below.set("type", text(failure.exception if failure else ""))
            below.set("message", text(failure.message if failure else ""))
            below.text = text(failure.text if failure else "")
        elif outcome in ("skipped", "xfailed"):
            ElementTree.SubElement(case, "skipped", {"message": "" if outcome == "skipped" else "failed as expected"})
    ElementTree.indent(root, " ")
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"
