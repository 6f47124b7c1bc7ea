"""Who is let in: the App's JWT, tokens of both forms, permissions by token and repository, rate limits."""

from __future__ import annotations

import base64
import io
import zipfile

import httpx
import jwt
import pytest

from bot.demo.emulator import auth, script

from .conftest import Hub


def test_a_fresh_jwt_of_the_app_is_let_in(hub: Hub) -> None:
    with hub.http(hub.app_jwt()) as client:
        assert client.get("/app").json()["id"] == hub.emulator.state.app.id


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"issued": 300}, "'Issued at'"),
        ({"expires": -10}, "'Expiration time'"),
        ({"expires": 1200}, "too far in the future"),
        ({"iss": "1"}, "'Issuer' claim"),
    ],
)
def test_a_jwt_out_of_bounds_is_refused(hub: Hub, change: dict[str, float], reason: str) -> None:
    with hub.http(hub.app_jwt(**change)) as client:
        answer = client.get("/app")
    assert answer.status_code == 401
    assert reason in answer.json()["message"]


def test_a_jwt_of_another_key_is_refused(hub: Hub) -> None:
    private, _ = auth.new_key_pair()
    now = int(hub.clock())
    with hub.http(
        jwt.encode({"iat": now - 60, "exp": now + 500, "iss": str(hub.emulator.state.app.id)}, private, algorithm="RS256")
    ) as client:
        assert client.get("/app").status_code == 401


def test_a_token_of_either_form_works_until_its_hour_is_over(hub: Hub) -> None:
    repository = hub.repository()
    short = hub.token(repository)
    hub.emulator.long_tokens = True
    long = hub.token(repository)
    hub.emulator.long_tokens = False
    assert short.startswith("ghs_")
    assert len(short) == 40
    assert long.startswith(f"ghs_{hub.emulator.state.app.id}_ey")
    for token in (short, long):
        with hub.http(token) as client:
            assert client.get(f"/repos/{repository.full_name}").status_code == 200
    hub.clock.ahead = 3601
    for token in (short, long):
        with hub.http(token) as client:
            assert client.get(f"/repos/{repository.full_name}").status_code == 401


def test_a_token_reaches_no_repository_but_its_own(hub: Hub) -> None:
    mine, other = hub.repository(), hub.repository()
    with hub.http(hub.token(mine)) as client:
        assert client.get(f"/repos/{mine.full_name}").status_code == 200
        assert client.get(f"/repos/{other.full_name}").status_code == 404


def test_a_token_cannot_ask_for_more_than_the_installation_has(hub: Hub) -> None:
    repository = hub.repository()
    installation = script.install(hub.emulator, repository, {"metadata": "read", "contents": "read"})
    with hub.http(hub.app_jwt()) as client:
        answer = client.post(f"/app/installations/{installation.id}/access_tokens", json={"permissions": {"contents": "write"}})
    assert answer.status_code == 422


def test_a_comment_on_a_pull_request_needs_pull_requests_write_and_not_issues(hub: Hub) -> None:
    repository = hub.repository()
    script.install(hub.emulator, repository, {"metadata": "read", "issues": "write", "pull_requests": "read"})
    pull = hub.pull(repository)
    with hub.http(hub.token(repository)) as client:
        answer = client.post(f"/repos/{repository.full_name}/issues/{pull.number}/comments", json={"body": "hello"})
    assert answer.status_code == 403
    assert answer.json()["message"] == "Resource not accessible by integration"
    assert answer.headers["x-accepted-github-permissions"] == "pull_requests=write"
    assert script.comments_of(hub.emulator, pull) == []


def test_nobody_and_nonsense_are_refused(hub: Hub) -> None:
    repository = hub.repository()
    for token in (None, "ghs_" + "x" * 36):
        with hub.http(token) as client:
            assert client.get(f"/repos/{repository.full_name}/pulls").status_code == 401


def test_a_manifest_code_gives_the_credentials_once(hub: Hub) -> None:
    hub.emulator.state.manifest_codes.add("abc")
    with hub.http() as client:
        first, second = (client.post("/app-manifests/abc/conversions") for _ in range(2))
    assert first.status_code == 201
    assert first.json()["pem"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert second.status_code == 404


def test_the_rate_limit_counts_down_and_then_refuses(hub: Hub) -> None:
    repository = hub.repository()
    token = hub.token(repository)
    hub.emulator.rate_limit = 2
    with hub.http(token) as client:
        answers = [client.get(f"/repos/{repository.full_name}") for _ in range(3)]
    hub.emulator.rate_limit = 5000
    assert [one.status_code for one in answers] == [200, 200, 403]
    assert [one.headers["x-ratelimit-remaining"] for one in answers] == ["1", "0", "0"]


def test_a_log_lies_on_another_host_that_refuses_credentials_and_lasts_a_minute(hub: Hub) -> None:
    repository = hub.repository()
    run = script.fail_run(hub.emulator, hub.pull(repository), [script.CiJob(log="E   assert 7 == 6\n")])
    (job,) = [one for one in hub.emulator.state.jobs.values() if one.run is run]
    token = hub.token(repository, {"actions": "read"})
    with hub.http(token) as client:
        answer = client.get(f"/repos/{repository.full_name}/actions/jobs/{job.id}/logs")
        assert answer.status_code == 302
        there = answer.headers["location"]
        assert client.get(there).status_code == 400
    assert not there.startswith(hub.emulator.at.web)
    with httpx.Client(trust_env=False, verify=False) as bare:
        assert bare.get(there).text == "E   assert 7 == 6\n"
        hub.clock.ahead = 61
        assert bare.get(there).status_code == 403


def test_pygithub_reads_where_a_log_lies(hub: Hub) -> None:
    repository = hub.repository()
    run = script.fail_run(hub.emulator, hub.pull(repository), [script.CiJob(log="the log")])
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    (job,) = there.get_workflow_run(run.id).jobs()
    assert job.logs_url().startswith(hub.emulator.storage)


def test_an_artifact_is_a_zip_until_it_expires(hub: Hub) -> None:
    repository = hub.repository()
    artifacts = [script.CiArtifact("fresh", {"junit.xml": b"<x/>"}), script.CiArtifact("old", expired=True)]
    run = script.fail_run(hub.emulator, hub.pull(repository), artifacts=artifacts)
    with hub.http(hub.token(repository)) as client:
        listed = client.get(f"/repos/{repository.full_name}/actions/runs/{run.id}/artifacts").json()["artifacts"]
        fresh, old = (client.get(one["archive_download_url"]) for one in listed)
    assert (fresh.status_code, old.status_code) == (302, 410)
    with (
        httpx.Client(trust_env=False, verify=False) as bare,
        zipfile.ZipFile(io.BytesIO(bare.get(fresh.headers["location"]).content)) as archive,
    ):
        assert archive.read("junit.xml") == b"<x/>"


def test_contents_are_base64_with_line_breaks_as_github_sends_them(hub: Hub) -> None:
    repository = hub.repository()
    script.commit(hub.emulator, repository, "main", {"long.txt": "x" * 300})
    with hub.http(hub.token(repository)) as client:
        content = client.get(f"/repos/{repository.full_name}/contents/long.txt").json()["content"]
    assert "\n" in content.strip()
    assert base64.b64decode(content) == b"x" * 300
