"""An artifact is written by the pull request's own code: it may be anything."""

from __future__ import annotations

import io
import zipfile

import pytest

from bot.github.artifacts import Artifact, Caps, is_junit, read_reports, safe_name, worth_reading

JUNIT = b'<?xml version="1.0"?>\n<testsuites><testsuite name="a"/></testsuites>'
CAPS = Caps()


def archive(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files:
            opened.writestr(name, content)
    return packed.getvalue()


def names(packed: bytes, caps: Caps = CAPS) -> list[str]:
    return [report.name for report in read_reports(packed, "a", caps)]


def test_junit_files_are_taken_and_others_left() -> None:
    packed = archive(("out/junit.xml", JUNIT), ("coverage.xml", b"<coverage/>"), ("junit.txt", JUNIT))
    assert [(r.name, r.content) for r in read_reports(packed, "py3.12", CAPS)] == [("py3.12/out/junit.xml", JUNIT)]


def test_an_entry_that_unpacks_to_far_more_than_it_holds_is_refused() -> None:
    assert names(archive(("bomb.xml", JUNIT + b" " * 5_000_000), ("fine.xml", JUNIT))) == ["a/fine.xml"]


def test_an_entry_above_the_size_of_a_report_is_refused() -> None:
    assert names(archive(("large.xml", JUNIT + b" " * 50), ("fine.xml", JUNIT)), Caps(report_bytes=len(JUNIT))) == ["a/fine.xml"]


def test_unpacking_stops_at_the_total() -> None:
    packed = archive(*((f"{n}.xml", JUNIT) for n in range(10)))
    assert len(names(packed, Caps(total_bytes=3 * len(JUNIT)))) == 3


def test_an_archive_of_too_many_entries_is_refused_as_a_whole() -> None:
    packed = archive(*((f"{n}.xml", JUNIT) for n in range(11)))
    assert names(packed, Caps(entries=10)) == []


def test_a_header_that_lies_about_the_size_gives_nothing() -> None:
    packed = bytearray(archive(("lie.xml", JUNIT + b" " * 100_000)))
    size = (len(JUNIT) + 100_000).to_bytes(4, "little")
    assert packed.count(size) == 2
    assert names(bytes(packed.replace(size, (100).to_bytes(4, "little")))) == []


@pytest.mark.parametrize("broken", [b"", b"PK\x03\x04 not a zip", archive(("a.xml", JUNIT))[:-30]])
def test_a_broken_archive_gives_nothing(broken: bytes) -> None:
    assert names(broken) == []


def test_a_damaged_entry_is_left_out() -> None:
    packed = archive(("a.xml", JUNIT), ("b.xml", JUNIT))
    at = packed.index(b"a.xml") + 8
    damaged = packed[:at] + bytes(byte ^ 0xFF for byte in packed[at : at + 4]) + packed[at + 4 :]
    assert names(damaged) == ["a/b.xml"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/../../etc/passwd.xml", "a/etc/passwd.xml"),
        ("/etc/x.xml", "etc/x.xml"),
        ("..\\..\\x.xml", "x.xml"),
        ("a\n::error::<!-- @me -->.xml", "a___error____-- _me --_.xml"),
        ("../..", "report.xml"),
    ],
)
def test_names_are_plain_relative_paths(name: str, safe: str) -> None:
    made = safe_name(name)
    assert not made.startswith("/")
    assert ".." not in made.split("/")
    assert not set(made) & set("\n<>:\\")
    assert made == safe


def test_only_the_first_element_tells_a_report() -> None:
    assert is_junit(b"<?xml version='1.0'?><!-- x --><testsuite/>")
    assert not is_junit(b"<coverage><testsuite/></coverage>")
    assert not is_junit(b"")


def test_likely_and_small_artifacts_come_first_and_dead_or_huge_ones_never() -> None:
    listed = [Artifact(1, "dist", 10, False), Artifact(2, "test-results", 900, False), Artifact(3, "junit", 500, False)]
    listed += [Artifact(4, "junit-old", 5, True), Artifact(5, "junit-huge", 10**9, False), Artifact(6, "empty", 0, False)]
    assert [a.id for a in worth_reading(listed, CAPS)] == [3, 2, 1]
    assert [a.id for a in worth_reading(listed, Caps(artifacts=1))] == [3]
