"""Each language's sample project, really run: the failure is reproduced, the right patch climbs to the top, wrong ones are refused where
they must be."""

from __future__ import annotations

from sandbox.testing import run_tests
from tests.languages.conftest import Project


def test_the_failure_is_reproduced_with_its_message_and_frame(project: Project) -> None:
    found, sample = project.reproduction, project.sample
    assert (found.status, found.failing) == ("failing", sample.failing), found.reason
    assert len(found.passing) == sample.passing
    failure = found.failures[0]
    assert sample.message in failure.message
    assert sample.frame in [(f.path, f.line) for f in failure.frames]
    assert all(project.head.exists(f.path) for f in failure.frames)


def test_a_failing_test_is_run_alone(project: Project) -> None:
    target = project.sample.failing[0]
    run = run_tests(project.bench, project.head, only=(target,))
    assert run.trustworthy
    assert run.outcome(target) == "failed"
    assert run.report.passed == () or len(run.report.passed) < project.sample.passing


def test_the_right_patch_climbs_to_the_top(project: Project) -> None:
    sample = project.sample
    verdict = project.verify(sample.path, sample.bug, sample.fix)
    assert (verdict.level, verdict.refused_by, verdict.accepted) == (sample.level, None, True), verdict.checks
    assert verdict.after is not None
    assert (verdict.after.failed, verdict.after.passed) == (0, sample.passing + len(sample.failing))


def test_wrong_patches_are_refused_where_they_must_be(project: Project) -> None:
    found = {}
    for name, (path, old, new, check) in project.sample.wrong.items():
        verdict = project.verify(path, old, new)
        found[name] = (verdict.refused_by, verdict.accepted)
        assert (name, *found[name]) == (name, check, False), verdict.checks
