"""Webhooks of the emulated GitHub: signed, sent once, kept, and sent again only when asked."""

from __future__ import annotations

import hashlib
import hmac
import json

from bot.demo.emulator import events, script, server
from bot.payloads import parse

from .conftest import Hub


def test_a_failed_run_sends_signed_webhooks(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    script.fail_run(hub.emulator, pull)
    hub.emulator.settle()
    secret = hub.emulator.state.app.webhook_secret.encode()
    assert {headers["X-GitHub-Event"] for _, headers in hub.inbox.got} == {"pull_request", "check_run", "check_suite", "workflow_run"}
    for body, headers in hub.inbox.got:
        assert headers["X-Hub-Signature-256"] == "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    (run,) = [json.loads(body) for body, headers in hub.inbox.got if headers["X-GitHub-Event"] == "workflow_run"]
    assert run["action"] == "completed"
    assert [one["number"] for one in run["workflow_run"]["pull_requests"]] == [pull.number]
    assert run["repository"]["full_name"] == repository.full_name


def test_the_run_of_a_fork_names_no_pull_request(hub: Hub) -> None:
    repository = hub.repository()
    script.fail_run(hub.emulator, hub.pull(repository, from_fork="outsider"))
    hub.emulator.settle()
    (run,) = [json.loads(body) for body, headers in hub.inbox.got if headers["X-GitHub-Event"] == "workflow_run"]
    assert run["workflow_run"]["pull_requests"] == []
    assert run["workflow_run"]["head_repository"]["full_name"] == "outsider/shop"


def test_a_comment_of_a_person_is_told_with_its_pull_request(hub: Hub) -> None:
    repository = hub.repository()
    script.comment(hub.emulator, hub.pull(repository), "/ledex fix", by="ada")
    hub.emulator.settle()
    (told,) = [json.loads(body) for body, headers in hub.inbox.got if headers["X-GitHub-Event"] == "issue_comment"]
    assert (told["comment"]["body"], told["sender"]["login"]) == ("/ledex fix", "ada")
    assert told["issue"]["pull_request"]["url"].endswith("/pulls/1")


def test_a_failed_delivery_is_listed_and_sent_again_only_on_request(hub: Hub) -> None:
    repository = hub.repository()
    hub.inbox.status = 500
    pull = hub.pull(repository)
    hub.emulator.settle()
    assert len(hub.inbox.got) == 1
    hub.inbox.status = 202
    with hub.http(hub.app_jwt()) as client:
        newest = client.get("/app/hook/deliveries").json()[0]
        assert (newest["status_code"], newest["event"], newest["redelivery"]) == (500, "pull_request", False)
        assert client.get(f"/app/hook/deliveries/{newest['id']}").json()["request"]["payload"]["number"] == pull.number
        assert client.post(f"/app/hook/deliveries/{newest['id']}/attempts").status_code == 202
        hub.emulator.settle()
        again = client.get("/app/hook/deliveries?per_page=1").json()[0]
    assert (again["guid"], again["status"], again["redelivery"]) == (newest["guid"], "OK", True)
    assert again["id"] != newest["id"]
    assert [headers["X-GitHub-Delivery"] for _, headers in hub.inbox.got] == [newest["guid"]] * 2


def test_deliveries_come_in_pages_by_cursor(hub: Hub) -> None:
    for _ in range(3):
        events.ping(hub.emulator)
    hub.emulator.settle()
    with hub.http(hub.app_jwt()) as client:
        first = client.get("/app/hook/deliveries?per_page=2")
        second = client.get(first.links["next"]["url"])
    numbers = [one["id"] for one in (*first.json(), *second.json())]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4


def test_a_merge_tells_of_the_closing_and_of_the_push(hub: Hub) -> None:
    repository = hub.repository()
    pull = hub.pull(repository)
    hub.emulator.settle()
    hub.inbox.got.clear()
    script.close(hub.emulator, pull, merge=True)
    hub.emulator.settle()
    told = {headers["X-GitHub-Event"]: json.loads(body) for body, headers in hub.inbox.got}
    assert told["pull_request"]["pull_request"]["merged"] is True
    assert (told["push"]["ref"], told["push"]["after"]) == ("refs/heads/main", pull.merge_sha)


def test_a_repository_without_the_app_tells_nothing(hub: Hub) -> None:
    script.comment(hub.emulator, hub.pull(hub.repository(installed=False)), "anybody?")
    hub.emulator.settle()
    assert hub.inbox.got == []


def test_an_uninstalled_app_is_told_and_its_tokens_die(hub: Hub) -> None:
    repository = hub.repository()
    token = hub.token(repository)
    script.uninstall(hub.emulator, repository)
    hub.emulator.settle()
    assert [(json.loads(body)["action"], headers["X-GitHub-Event"]) for body, headers in hub.inbox.got] == [("deleted", "installation")]
    with hub.http(token) as client:
        assert client.get(f"/repos/{repository.full_name}").status_code == 401


def test_a_ci_that_is_not_actions_tells_of_its_suite_and_of_no_run(hub: Hub) -> None:
    repository = hub.repository()
    suite = script.fail_suite(hub.emulator, hub.pull(repository))
    hub.emulator.settle()
    assert sorted(headers["X-GitHub-Event"] for _, headers in hub.inbox.got) == ["check_run", "check_suite", "pull_request"]
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    assert there.get_check_suite(suite.id).app.slug == "other-ci"
    assert there.get_workflow_runs(head_sha=suite.head_sha).totalCount == 0


def test_the_bot_reads_every_webhook_that_is_sent(hub: Hub) -> None:
    repository = hub.repository(organization=True, writers=["ada"])
    pull, forked = hub.pull(repository), hub.pull(repository, from_fork="passer-by", draft=True)
    for one in (pull, forked):
        script.fail_run(hub.emulator, one)
        script.comment(hub.emulator, one, "/ledex fix")
    script.fail_suite(hub.emulator, pull)
    script.edit_comment(hub.emulator, script.comments_of(hub.emulator, pull)[0], "/ledex explain")
    script.review_comment(hub.emulator, pull, "why?", "shop.py", 2)
    script.set_label(hub.emulator, pull, "no-ledex")
    script.set_draft(hub.emulator, forked, False)
    there = hub.github(hub.token(repository)).get_repo(repository.full_name)
    button = {"label": "Apply fix", "description": "Commit it", "identifier": "apply"}
    check = hub.emulator.state.check_runs[there.create_check_run("ledex", pull.head_sha, conclusion="neutral", actions=[button]).id]
    script.press_button(hub.emulator, check, "apply")
    script.rerequest(hub.emulator, check)
    script.push(hub.emulator, repository, "fix", {"more.py": "pass\n"})
    script.close(hub.emulator, forked)
    script.reopen(hub.emulator, forked)
    script.close(hub.emulator, pull, merge=True)
    installation = hub.emulator.state.installation_of(repository)
    assert installation is not None
    events.installation(hub.emulator, "created", installation, repository.owner)
    events.installation_repositories(hub.emulator, installation, [repository], [], repository.owner)
    events.ping(hub.emulator)
    hub.emulator.settle()
    told = {headers["X-GitHub-Event"] for _, headers in hub.inbox.got}
    assert told == {*server.EVENTS, "installation", "installation_repositories", "ping"}
    read = [parse(headers["X-GitHub-Event"], json.loads(body)) for body, headers in hub.inbox.got]
    assert None not in read
