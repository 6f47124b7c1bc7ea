"""Reports as the tools wrote them inside the sandbox (``python -m tests.languages.record reports``), read without any toolchain here."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.frameworks.languages import ADAPTERS, project_plans
from sandbox.runner import Execution
from sandbox.workspace import snapshot
from tests.git_repository import GitRepository
from tests.languages.samples import SAMPLES

REPORTS = Path(__file__).parents[1] / "fixtures" / "reports"


def execution(collected: dict[str, bytes]) -> Execution:
    return Execution(1, None, "exited", b"", b"", b"", collected, 1.0, 0)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_recorded_report_tells_every_test_with_message_and_frames(tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]
    folder = tmp_path / "shop"
    folder.mkdir()
    head = snapshot(GitRepository(folder).files(dict(sample.files)).commit().folder, tmp_path / "head")
    plan = next(p for p in project_plans(head) if p.framework == name)
    files = {str(p.relative_to(REPORTS / name)): p.read_bytes() for p in sorted((REPORTS / name).rglob("*")) if p.is_file()}
    report = ADAPTERS[name].read(plan, head, execution(files))
    assert report.complete
    assert report.failed == sample.failing
    assert len(report.passed) == sample.passing
    failure = report.failures[0]
    assert sample.message in failure.message
    assert sample.frame in [(f.path, f.line) for f in failure.frames]


HOSTILE = (b"", b"\x00\xff", b"{}", b"[]", b'{"testResults": 3}', b"<x>", b'{"kind":"result"}', b"test a ... ok\n")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_hostile_or_empty_report_is_a_value_and_tells_of_no_test_that_passed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    head = snapshot(GitRepository(folder).files(dict(SAMPLES[name].files)).commit().folder, tmp_path / "head")
    plan = next(p for p in project_plans(head) if p.framework == name)
    for content in HOSTILE:
        report = ADAPTERS[name].read(plan, head, execution({"tmp/ledex-report": content, "tmp/ledex-report/TEST-x.xml": content}))
        assert not report.passed, content
