"""Operations on check runs, check suites, workflow runs, jobs and artifacts."""

from __future__ import annotations

from typing import Any

from bot.demo.emulator import events, repositories, shapes_ci, storage
from bot.demo.emulator.answers import Answer, Call, Refusal, Route, found, invalid, missing
from bot.demo.emulator.state import Annotation, CheckRun, CheckSuite, Job, Repository, Run, State

_HERE = "/repos/{owner}/{repo}"
_CHECKS, _WRITE, _ACTIONS = ("checks", "read"), ("checks", "write"), ("actions", "read")
_TEXT_LIMIT = 65_535


def own_suite(state: State, where: Repository, commit: str) -> CheckSuite:
    """The App's suite for a commit, made at the first check run."""
    for one in state.suites.values():
        if one.repository is where and one.head_sha == commit and one.app == "ours":
            return one
    branch = next((name for name, tip in repositories.branches(where.directory).items() if tip == commit), None)
    now = state.clock()
    made = CheckSuite(state.new_id(), where, commit, branch, "ours", now, now)
    state.suites[made.id] = made
    return made


def create_check_run(call: Call) -> Answer:
    commit = repositories.sha(call.repository.directory, call.body["head_sha"])
    if commit is None:
        raise invalid(f"No commit found for SHA: {call.body['head_sha']}", "CheckRun", "custom", "head_sha")
    made = CheckRun(call.state.new_id(), own_suite(call.state, call.repository, commit), call.body["name"], started=call.state.clock())
    _apply(call, made)
    call.state.check_runs[made.id] = made
    events.check_run(call.emulator, "created", made, call.actor)
    _completed(call, made, "queued")
    return Answer(201, shapes_ci.check_run(call.emulator.at, call.state, made))


def update_check_run(call: Call) -> Answer:
    one = _check_run(call)
    if one.suite.app != "ours":
        raise Refusal(403, "Invalid app_id `15368` - check run can only be modified by the GitHub App that created it.")
    before = one.status
    _apply(call, one)
    _completed(call, one, before)
    return Answer(200, shapes_ci.check_run(call.emulator.at, call.state, one))


def _completed(call: Call, one: CheckRun, before: str) -> None:
    if one.status == "completed" and before != "completed":
        one.suite.status, one.suite.conclusion = "completed", one.conclusion
        events.check_run(call.emulator, "completed", one, call.actor)


def _apply(call: Call, one: CheckRun) -> None:
    body, now = call.body or {}, call.state.clock()
    output = body.get("output", {})
    for key in ("summary", "text"):
        if len(output.get(key) or "") > _TEXT_LIMIT:
            raise invalid(f"{key} exceeds a maximum bytesize of {_TEXT_LIMIT}", "CheckRun", "custom", key)
    for key in ("name", "status", "external_id", "details_url"):
        if key in body:
            setattr(one, key, body[key])
    for key in ("title", "summary", "text"):
        if key in output:
            setattr(one, key, output[key])
    # Annotations are appended to those that are there.
    for entry in output.get("annotations", []):
        lines = (entry["path"], entry["start_line"], entry["end_line"], entry["annotation_level"], entry["message"])
        one.annotations.append(Annotation(*lines, entry.get("title"), entry.get("raw_details")))
    if "actions" in body:
        one.actions = list(body["actions"])
    if body.get("conclusion"):
        one.conclusion, one.status, one.completed = body["conclusion"], "completed", now
    elif one.status != "completed":
        one.conclusion = one.completed = None


def _check_run(call: Call) -> CheckRun:
    return call.of_repository(call.state.check_runs, "check_run_id", lambda one: one.suite.repository)


def get_check_run(call: Call) -> Answer:
    return Answer(200, shapes_ci.check_run(call.emulator.at, call.state, _check_run(call)))


def list_annotations(call: Call) -> Answer:
    one = _check_run(call)
    return call.paginate([shapes_ci.annotation(call.emulator.at, one, entry) for entry in one.annotations])


def _suite(call: Call) -> CheckSuite:
    return call.of_repository(call.state.suites, "check_suite_id", lambda one: one.repository)


def get_suite(call: Call) -> Answer:
    return Answer(200, shapes_ci.check_suite(call.emulator.at, call.state, _suite(call)))


def suite_check_runs(call: Call) -> Answer:
    one = _suite(call)
    return _check_runs(call, [run for run in call.state.check_runs.values() if run.suite is one])


def commit_check_runs(call: Call) -> Answer:
    commit = found(repositories.sha(call.repository.directory, call.path["ref"]))
    here = [one for one in call.state.check_runs.values() if one.suite.repository is call.repository and one.suite.head_sha == commit]
    return _check_runs(call, here)


def _check_runs(call: Call, chosen: list[CheckRun]) -> Answer:
    query = call.query
    if "check_name" in query:
        chosen = [one for one in chosen if one.name == query["check_name"]]
    if "status" in query:
        chosen = [one for one in chosen if one.status == query["status"]]
    if "app_id" in query:
        chosen = [one for one in chosen if query["app_id"] == shapes_ci.app_id(call.state, one.suite)]
    if query.get("filter", "latest") == "latest":
        # Of runs with one name in one suite only the newest counts.
        chosen = list({(one.suite.id, one.name): one for one in chosen}.values())
    return call.paginate([shapes_ci.check_run(call.emulator.at, call.state, one) for one in chosen], "check_runs")


def commit_suites(call: Call) -> Answer:
    commit = found(repositories.sha(call.repository.directory, call.path["ref"]))
    chosen = [one for one in call.state.suites.values() if one.repository is call.repository and one.head_sha == commit]
    if "app_id" in call.query:
        chosen = [one for one in chosen if call.query["app_id"] == shapes_ci.app_id(call.state, one)]
    return call.paginate([shapes_ci.check_suite(call.emulator.at, call.state, one) for one in chosen], "check_suites")


def list_runs(call: Call) -> Answer:
    query, chosen = call.query, [one for one in reversed(call.state.runs.values()) if one.repository is call.repository]
    wanted: dict[str, Any] = {
        "head_sha": lambda one: one.suite.head_sha, "branch": lambda one: one.suite.head_branch, "event": lambda one: one.event,
        "check_suite_id": lambda one: one.suite.id, "actor": lambda one: one.actor.login,
    }  # fmt: skip
    for name, read in wanted.items():
        if name in query:
            chosen = [one for one in chosen if read(one) == query[name]]
    if "status" in query:
        chosen = [one for one in chosen if query["status"] in (one.suite.status, one.suite.conclusion)]
    return call.paginate([shapes_ci.run(call.emulator.at, call.state, one) for one in chosen], "workflow_runs")


def _run(call: Call) -> Run:
    return call.of_repository(call.state.runs, "run_id", lambda one: one.repository)


def get_run(call: Call) -> Answer:
    return Answer(200, shapes_ci.run(call.emulator.at, call.state, _run(call)))


def list_jobs(call: Call) -> Answer:
    one = _run(call)
    return call.paginate([shapes_ci.job(call.emulator.at, job) for job in call.state.jobs.values() if job.run is one], "jobs")


def list_artifacts(call: Call) -> Answer:
    one = _run(call)
    chosen = [each for each in call.state.artifacts.values() if each.run is one]
    if "name" in call.query:
        chosen = [each for each in chosen if each.name == call.query["name"]]
    return call.paginate([shapes_ci.artifact(call.emulator.at, each) for each in chosen], "artifacts")


def _job(call: Call) -> Job:
    return call.of_repository(call.state.jobs, "job_id", lambda one: one.run.repository)


def get_job(call: Call) -> Answer:
    return Answer(200, shapes_ci.job(call.emulator.at, _job(call)))


def job_log(call: Call) -> Answer:
    """302 to storage; 410 once GitHub has thrown the log away."""
    one = _job(call)
    if one.log is None:
        raise Refusal(410, "Server Error: the logs of this job have expired")
    return Answer(302, None, {"Location": storage.link(call.emulator, one.log, "text/plain; charset=utf-8")})


def download_artifact(call: Call) -> Answer:
    one = call.of_repository(call.state.artifacts, "artifact_id", lambda one: one.run.repository)
    if call.path["archive_format"] != "zip":
        raise missing()
    if one.expired:
        raise Refusal(410, "Artifact has expired")
    return Answer(302, None, {"Location": storage.link(call.emulator, one.content, "application/zip")})


ROUTES = (
    Route("POST", f"{_HERE}/check-runs", create_check_run, _WRITE),
    Route("GET", f"{_HERE}/check-runs/{{check_run_id}}", get_check_run, _CHECKS),
    Route("PATCH", f"{_HERE}/check-runs/{{check_run_id}}", update_check_run, _WRITE),
    Route("GET", f"{_HERE}/check-runs/{{check_run_id}}/annotations", list_annotations, _CHECKS),
    Route("GET", f"{_HERE}/check-suites/{{check_suite_id}}", get_suite, _CHECKS),
    Route("GET", f"{_HERE}/check-suites/{{check_suite_id}}/check-runs", suite_check_runs, _CHECKS),
    Route("GET", f"{_HERE}/commits/{{ref}}/check-runs", commit_check_runs, _CHECKS),
    Route("GET", f"{_HERE}/commits/{{ref}}/check-suites", commit_suites, _CHECKS),
    Route("GET", f"{_HERE}/actions/runs", list_runs, _ACTIONS),
    Route("GET", f"{_HERE}/actions/runs/{{run_id}}", get_run, _ACTIONS),
    Route("GET", f"{_HERE}/actions/runs/{{run_id}}/jobs", list_jobs, _ACTIONS),
    Route("GET", f"{_HERE}/actions/runs/{{run_id}}/artifacts", list_artifacts, _ACTIONS),
    Route("GET", f"{_HERE}/actions/jobs/{{job_id}}", get_job, _ACTIONS),
    Route("GET", f"{_HERE}/actions/jobs/{{job_id}}/logs", job_log, _ACTIONS),
    Route("GET", f"{_HERE}/actions/artifacts/{{artifact_id}}/{{archive_format}}", download_artifact, _ACTIONS),
)
