"""What kind of failure a run is: by its conclusion, its reports, its annotations and its logs, in this order of trust."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.failure_tables import TOOLS, fixer_of
from bot.policy import RepositoryPolicy
from bot.runs import Annotation, FailedRun, Job, Report, Step
from bot.triage import Triage, after_reproduction, triage
from inference.fixers import Fixer

LOGS = Path(__file__).parents[1] / "fixtures" / "logs"
POLICY = RepositoryPolicy()


def log(name: str) -> str:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


def job(text: str = "", name: str = "tests", conclusion: str = "failure", annotations: tuple[Annotation, ...] = ()) -> Job:
    return Job(1, name, conclusion, steps=(Step(3, "Run it", "failure"),), annotations=annotations, log=text)


def run(*jobs: Job, reports: tuple[Report, ...] = (), conclusion: str = "failure") -> FailedRun:
    return FailedRun("o/r", 1, 2, 3, 1, "CI", "pull_request", "a" * 40, "topic", conclusion, jobs=jobs, reports=reports)


def of(*jobs: Job, policy: RepositoryPolicy = POLICY, reports: tuple[Report, ...] = ()) -> Triage:
    return triage(run(*jobs, reports=reports), policy)


def step(*lines: str, command: str = "pytest", code: int = 1) -> str:
    return "\n".join(
        [
            f"##[group]Run {command}",
            command,
            "##[endgroup]",
            *lines,
            f"##[error]Process completed with exit code {code}.",
            "Post job cleanup.",
        ]
    )


SESSION = ("=== test session starts ===", "collected 1 item", "=== FAILURES ===", "___ test_a ___", "E   AssertionError: {0}",
           "a/test_a.py:3: AssertionError", "=== short test summary info ===", "FAILED a/test_a.py::test_a - AssertionError: {0}",
           "=== 1 failed in 0.1s ===")  # fmt: skip


def session(message: str = "1 != 2") -> tuple[str, ...]:
    return tuple(line.format(message) for line in SESSION)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pytest", "test"), ("unittest", "test"), ("tox", "test"), ("nox", "test"), ("pytest_cov", "test"), ("coverage_unittest", "test"),
        ("pytest_collect", "build"), ("pytest_usage", "config"), ("coverage_threshold", "config"), ("ruff_syntax", "build"),
        ("ruff_check", "lint"), ("ruff_concise", "lint"), ("ruff_format", "lint"), ("black", "lint"), ("isort", "lint"), ("flake8", "lint"),
        ("mypy", "type"),
    ],
)  # fmt: skip
def test_every_kind_of_log_gets_its_class(name: str, kind: str) -> None:
    assert of(job(log(name))).kind == kind


def test_a_test_failure_tells_its_tests_and_its_signature() -> None:
    found = of(job(log("pytest")))
    assert len(found.failures) == 4
    assert found.evidence[0] == "4 tests fail"
    assert (len(found.signature), found.source, found.started, found.repairable) == (16, "log", True, True)


def test_a_syntax_error_is_told_with_its_place() -> None:
    assert "tests/test_syntax.py:1" in of(job(log("pytest_collect"))).evidence[0]


INFRA = [
    ("##[error]The runner has received a shutdown signal. This can happen when the runner service is stopped.", "the runner was lost"),
    ("##[error]The hosted runner: GitHub Actions 7 lost communication with the server.", "the runner was lost"),
    ("OSError: [Errno 28] No space left on device", "the runner's disk is full"),
    ("##[error]The operation was canceled.", "the job was cancelled"),
    ("curl: (6) Could not resolve host: example.invalid", "the network or its name service did not answer"),
    ("npm ERR! code ECONNRESET", "the network or its name service did not answer"),
    ("fatal: unable to access 'https://github.com/o/r/': The requested URL returned error: 502", "a download broke off"),
    ("ERROR: HTTP error 503 while getting https://index.example.invalid/simple/x", "a registry or service answered with a server error"),
    ("error: 502 Bad Gateway", "a registry or service answered with a server error"),
    ("Error response from daemon: toomanyrequests: You have reached your pull rate limit.", "a service refused because of its rate limit"),
    ("##[error]API rate limit exceeded for installation ID 1.", "a service refused because of its rate limit"),
    ("##[error]Docker pull failed with exit code 1", "a container image or service container could not be had"),
    ("Error response from daemon: Get \"https://registry.example.invalid/v2/\": net/http: TLS handshake timeout",
     "a container image or service container could not be had"),
    ("E: Failed to fetch http://mirror.example.invalid/x.deb", "the system's package mirror failed"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), INFRA)
def test_an_infrastructure_failure_before_any_test_is_told_with_its_reason(line: str, reason: str) -> None:
    found = of(job(step(line, command="pip install .")))
    assert (found.kind, found.evidence[0]) == ("infra", reason)


@pytest.mark.parametrize("line", [line for line, _ in INFRA])
def test_a_test_that_asserts_on_such_a_line_stays_a_test_failure(line: str) -> None:
    assert of(job(step(*session(line)))).kind == "test"
    assert of(job(step(line, *session()[2:]))).kind == "test"  # printed by a test under -q, where no first line tells when tests began


def test_a_session_that_was_cut_off_by_a_lost_runner_is_infrastructure() -> None:
    text = "\n".join(["##[group]Run pytest", "##[endgroup]", *session()[:2], "##[error]The runner has received a shutdown signal."])
    assert of(job(text)).kind == "infra"


def test_what_a_test_printed_before_the_run_was_cut_off_is_no_infrastructure() -> None:
    assert of(job(step(*session()[:2], "No space left on device", code=139))).kind == "unknown"


def test_the_words_of_a_script_are_no_failure_of_it() -> None:
    assert of(job(step("something else", command="echo 'No space left on device' && exit 1"))).kind == "unknown"


def test_an_infrastructure_failure_of_a_step_that_passed_does_not_count() -> None:
    passed = "##[group]Run apt-get update\n##[endgroup]\nE: Failed to fetch http://x.invalid\n"
    assert of(job(passed + step(*session()))).kind == "test"


def test_a_lost_runner_is_read_from_githubs_own_annotation() -> None:
    lost = Annotation(".github", 1, 1, "failure", "The hosted runner lost communication with the server.")
    found = of(job("", annotations=(lost,)))
    assert (found.kind, found.source) == ("infra", "annotations")


@pytest.mark.parametrize(("conclusion", "kind"), [("timed_out", "timeout"), ("cancelled", "infra"), ("startup_failure", "config")])
def test_the_conclusion_of_a_job_without_a_log_counts(conclusion: str, kind: str) -> None:
    assert of(job("", conclusion=conclusion)).kind == kind


def test_a_job_that_ran_out_of_time_is_told_from_its_annotation() -> None:
    late = Annotation(".github", 1, 1, "failure", "The job running on runner X has exceeded the maximum execution time of 360 minutes.")
    assert of(job(step(*session()[:2]), annotations=(late,))).kind == "timeout"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("ERROR: No matching distribution found for shop==9", "dependency"),
        ("  × No solution found when resolving dependencies:", "dependency"),
        ("npm error code ERESOLVE", "dependency"),
        ("error: The lockfile at `uv.lock` needs to be updated, but `--locked` was provided.", "dependency"),
        ("/home/runner/work/_temp/x.sh: line 1: pytets: command not found", "config"),
        ("make: *** [Makefile:3: all] Error 2", "build"),
        ("  SyntaxError: invalid syntax", "build"),
        ("src/a.ts(3,5): error TS2322: Type 'string' is not assignable", "type"),
        ("src/a.py:3:5 - error: nothing", "type"),
        ("whatever else", "unknown"),
    ],
)
def test_a_job_without_tests_gets_its_class(line: str, kind: str) -> None:
    assert of(job(step(line, command="make check"))).kind == kind


def test_a_resolver_that_failed_for_want_of_a_network_is_infrastructure() -> None:
    lines = ("WARNING: Retrying after connection broken by 'NewConnectionError'", "ERROR: No matching distribution found for shop")
    assert of(job(step(*lines, command="pip install ."))).kind == "infra"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("ruff_check", ("ruff", "check", "--fix", "--", "shop", "tests/test_cart.py")), ("isort", ("isort", "--", "shop")),
        ("ruff_format", ("ruff", "format", "--", "shop", "tests")), ("black", ("black", "--", "shop", "tests")),
        ("flake8", None), ("mypy", None), ("ruff_syntax", None),
    ],
)  # fmt: skip
def test_a_linter_with_a_deterministic_fixer_names_its_command(name: str, command: tuple[str, ...] | None) -> None:
    fixer = of(job(log(name))).fixer
    assert (fixer.command if fixer else None) == command


@pytest.mark.parametrize(
    "script",
    [
        "ruff check $PATHS",
        "ruff check . && rm -rf /",
        "ruff check `id`",
        "ruff check --config evil.toml src",
        "ruff check 'un",
        "nothing of it",
    ],
)
def test_the_words_of_a_script_that_a_shell_would_read_are_not_taken(script: str) -> None:
    ruff = next(t for t in TOOLS if t.name == "ruff")
    fixer = fixer_of(ruff, (script,))
    assert fixer is not None
    assert (fixer.command, fixer.check) == (("ruff", "check", "--fix", "--", "."), ("ruff", "check", "--", "."))


def test_a_path_can_be_no_option_of_the_fixer() -> None:
    black = next(t for t in TOOLS if t.name == "black")
    fixer = fixer_of(black, ("black --check src",))
    assert fixer is not None
    assert fixer.command == ("black", "--", "src")


def test_a_pre_commit_hook_is_told_by_its_id() -> None:
    text = step("ruff.....................................Passed", "prettier.................................Failed", "- hook id: prettier",
                "- files were modified by this hook", command="pre-commit run --all-files")  # fmt: skip
    found = of(job(text))
    assert (found.kind, found.fixer) == ("lint", Fixer("prettier", ("prettier", "--write", "--", ".")))
    assert found.fixer is not None
    assert not found.fixer.runs_here  # it needs node


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("Successfully installed pluggy-1.5.0 ruff-0.6.9", "0.6.9"), (" + ruff==0.6.9", "0.6.9"), ("pip install ruff==0.6.9", "0.6.9"),
        ("Successfully installed ruff-lsp-0.0.62", ""), ("Requirement already satisfied: ruff", ""),
    ],
)  # fmt: skip
def test_the_version_of_a_fixer_is_the_one_that_ci_installed(line: str, version: str) -> None:
    text = step(line, command="pip install ruff", code=0) + "\n" + step("Would reformat: a.py", command="ruff format --check .")
    fixer = of(job(text)).fixer
    assert fixer is not None
    assert (fixer.name, fixer.package, fixer.version) == ("ruff format", "ruff", version)


# sources


JUNIT = Report("junit.xml", (LOGS / "junit.xml").read_bytes())


def test_a_report_goes_before_the_log_and_keeps_the_ids_that_can_be_selected() -> None:
    found = of(job(log("pytest_line")), reports=(JUNIT,))
    by_id = {f.test_id: f for f in found.failures}
    assert found.source == "junit"
    assert by_id["tests/test_cart.py::test_first_of_many[items1]"].message == "list index out of range"  # the log says "list inde..."


def test_a_report_is_enough_where_the_log_is_gone() -> None:
    found = of(job(""), reports=(JUNIT,))
    assert (found.kind, len(found.failures), found.source) == ("test", 4, "junit")


def test_a_green_report_does_not_hide_a_linter() -> None:
    green = Report("junit.xml", b"<testsuite><testcase classname='a' name='b'/></testsuite>")
    assert of(job(log("mypy")), reports=(green,)).kind == "type"


def test_a_report_of_another_job_does_not_make_a_linter_a_test_failure() -> None:
    assert of(job(log("black")), reports=(JUNIT,)).kind == "lint"


def test_a_broken_report_is_passed_over() -> None:
    assert of(job(log("pytest")), reports=(Report("x.xml", b"<no"),)).source == "log"


def test_annotations_on_test_files_are_failing_tests_where_nothing_else_is_left() -> None:
    note = Annotation("tests/test_a.py", 7, 7, "failure", "ValueError: boom", "test_x")
    found = of(job("", annotations=(note, Annotation(".github", 1, 1, "failure", "Process completed with exit code 1."))))
    assert [(f.test_id, f.exception, f.message, f.frames[0].line) for f in found.failures] == [
        ("tests/test_a.py::test_x", "ValueError", "boom", 7)
    ]
    assert found.source == "annotations"


# several jobs


def test_a_matrix_with_one_failure_is_one_cause() -> None:
    names = [f"tests ({v})" for v in ("3.10", "3.11", "3.12", "3.13", "windows", "macos")]
    found = of(
        *(
            job(log(log_name), name)
            for log_name, name in zip(["pytest", "tox", "nox", "pytest_xdist", "pytest_short", "pytest_cov"], names, strict=True)
        )
    )
    assert (found.jobs, found.others) == (tuple(names), ())


def test_different_causes_stay_apart_and_the_failing_tests_lead() -> None:
    found = of(job(log("black"), "lint"), job(log("pytest"), "tests"), job(step("curl: (6) Could not resolve host: x"), "docs"))
    assert (found.kind, [t.kind for t in found.others]) == ("test", ["lint", "infra"])


def test_jobs_that_passed_or_were_skipped_do_not_count() -> None:
    assert of(job(log("pytest")), job("", "other", conclusion="skipped")).others == ()


def test_a_run_without_jobs_or_reports_is_unknown() -> None:
    assert triage(run(), POLICY).kind == "unknown"


# the repository's word


def test_the_policy_can_call_a_folders_failures_flaky() -> None:
    policy = RepositoryPolicy.model_validate({"classify": {"a/**": "flaky"}})
    found = of(job(step(*session())), policy=policy)
    assert (found.kind, found.repairable) == ("flaky", False)
    assert found.evidence[0] == "[classify] of the policy says flaky"


def test_failures_outside_the_folder_stay_what_they_are() -> None:
    policy = RepositoryPolicy.model_validate({"classify": {"checks/**": "flaky", "a/**": "flaky"}})
    both = step(*session()[:3], *session()[3:6], "___ test_b ___", "E   KeyError: 1", "b/test_b.py:3: KeyError", *session()[6:8],
                "FAILED b/test_b.py::test_b - KeyError: 1", "=== 2 failed in 0.1s ===")  # fmt: skip
    found = of(job(both), policy=policy)
    assert (found.kind, [f.test_id for f in found.failures]) == ("test", ["b/test_b.py::test_b"])


@pytest.mark.parametrize("glob", ["tests*", "a/**", "*::test_a"])
def test_never_fix_names_jobs_files_and_tests(glob: str) -> None:
    policy = RepositoryPolicy.model_validate({"scope": {"never_fix": [glob]}})
    found = of(job(step(*session())), policy=policy)
    assert (found.kind, found.repairable) == ("unknown", False)
    assert "scope.never_fix" in found.evidence[0]


def test_repeating_decides_what_is_flaky_or_older() -> None:
    found = of(job(log("pytest")))
    assert after_reproduction(found, "flaky", "it passed the second time").kind == "flaky"
    assert after_reproduction(found, "pre_existing", "the base fails too").evidence[0] == "the base fails too"
    assert after_reproduction(found, "failing", "2 of 3 fail").kind == "test"


@given(st.text(max_size=300), st.sampled_from(["failure", "timed_out", "cancelled", "startup_failure", "weird"]))
def test_any_log_and_conclusion_get_an_answer(text: str, conclusion: str) -> None:
    one = job(step(text), conclusion=conclusion)
    found = triage(run(one, replace(one, name="b")), POLICY)
    assert found.evidence
