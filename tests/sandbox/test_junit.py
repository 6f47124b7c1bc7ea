"""JUnit XML of many writers, hostile ones too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.frameworks.junit import read_junit


def test_every_outcome_is_read() -> None:
    report = read_junit(b"""<?xml version="1.0"?><testsuites><testsuite>
        <testcase classname="c" name="passes"/><testcase classname="c" name="skips"><skipped/></testcase>
        <testcase classname="c" name="fails"><failure type="AssertionError" message="1 != 2">File "a.py", line 7, in f</failure></testcase>
        <testcase classname="c" name="breaks"><error message="boom"/></testcase></testsuite></testsuites>""")
    assert report.outcomes == {"c::passes": "passed", "c::skips": "skipped", "c::fails": "failed", "c::breaks": "error"}
    failure = report.failures[0]
    assert (failure.test_id, failure.exception, failure.message) == ("c::fails", "AssertionError", "1 != 2")
    assert [(f.path, f.line, f.function) for f in failure.frames] == [("a.py", 7, "f")]


def test_frames_of_other_languages_are_read() -> None:
    report = read_junit(b"<testsuite><testcase name='t'><failure>  at src/app.js:12:5\n</failure></testcase></testsuite>")
    assert [(f.path, f.line) for f in report.failures[0].frames] == [("src/app.js", 12)]


def test_a_failure_cannot_be_taken_back_by_a_second_case() -> None:
    report = read_junit(b"<s><testcase name='t'><failure/></testcase><testcase name='t'/></s>")
    assert report.outcomes == {"t": "failed"}


def test_the_file_names_a_test_before_its_class_does() -> None:
    assert list(read_junit(b"<s><testcase file='a_test.rb' classname='A' name='t'/></s>").outcomes) == ["a_test.rb::t"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_reports_in_wide_encodings_are_read(encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding[:6]}"?><s><testcase name="t"/></s>'
    assert read_junit(text.encode(encoding)).outcomes == {"t": "passed"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no xml",
        b"<testsuite>",
        b"\xff\xfe\x00",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><s><testcase name="&b;"/></s>',
        b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd"><s/>',
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><s><testcase name="&a;"/></s>'.encode("utf-16"),
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "aaaa">]><s/>'.encode("utf-16-le"),
    ],
)
def test_what_is_no_plain_report_is_incomplete_and_empty(data: bytes) -> None:
    report = read_junit(data)
    assert (report.outcomes, report.complete) == ({}, False)


@given(st.binary(max_size=200))
def test_any_bytes_get_a_report(data: bytes) -> None:
    assert read_junit(b"<s><testcase name='t'>" + data).complete is False


@given(st.text(alphabet='File "a.py", line 0123456789²٣ in f\n/:at ', max_size=200))
def test_any_traceback_text_is_read(text: str) -> None:
    from xml.sax.saxutils import escape

    assert read_junit(f"<s><testcase name='t'><failure>{escape(text)}</failure></testcase></s>".encode()).failed == ("t",)
