"""The webhook over real HTTP: what is refused, what is written, and when it is acknowledged."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import select

from bot.app import create_app
from bot.context import Context
from bot.models import DeliveryRow, InstallationRow, JobRow, PullHeadRow
from bot.settings import load_settings
from tests.bot import payloads
from tests.bot.payloads import headers, octokit

MIB = 1024 * 1024


@dataclass
class Server:
    """A running webhook; ``sent`` are the ids of jobs handed on."""

    context: Context
    url: str
    client: httpx.Client
    sent: list[int]

    def post(self, event: str, payload: Any, guid: str = "guid-1", secret: str = payloads.SECRET) -> httpx.Response:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.client.post("/webhook", content=body, headers=headers(event, body, guid, secret))

    def deliveries(self) -> Sequence[DeliveryRow]:
        with self.context.database.reading() as session:
            return session.scalars(select(DeliveryRow).order_by(DeliveryRow.id)).all()

    def jobs(self) -> Sequence[JobRow]:
        with self.context.database.reading() as session:
            return session.scalars(select(JobRow).order_by(JobRow.id)).all()


@contextmanager
def serving(context: Context) -> Iterator[Server]:
    sent: list[int] = []
    config = uvicorn.Config(create_app(context, sent.extend), log_config=None, access_log=False, lifespan="on")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=30) as client:
                yield Server(context, url, client, sent)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def server(context: Context) -> Iterator[Server]:
    with serving(context) as running:
        yield running


# Acknowledged


def test_a_signed_delivery_is_on_the_disk_with_its_job_when_it_is_acknowledged(server: Server) -> None:
    answer = server.post("workflow_run", payloads.failed_run())
    assert answer.status_code == 202
    with sqlite3.connect(str(server.context.database.engine.url.database)) as other:  # another connection sees only what was committed
        assert other.execute("SELECT guid, event, action, state FROM deliveries").fetchall() == [
            ("guid-1", "workflow_run", "completed", "accepted")
        ]
        assert other.execute("SELECT kind, state, installation_id FROM jobs").fetchall() == [("failed_run", "queued", 7)]
    other.close()
    assert server.sent == [job.id for job in server.jobs()]


def test_the_raw_body_can_be_had_again(server: Server) -> None:
    payload = payloads.failed_run()
    server.post("workflow_run", payload)
    assert json.loads(zlib.decompress(server.deliveries()[0].body or b"")) == payload


def test_an_event_that_is_not_handled_is_acknowledged_and_dropped(server: Server) -> None:
    answer = server.post("star", {"action": "created"})
    assert (answer.status_code, answer.json()["status"]) == (202, "dropped")
    assert server.jobs() == []


def test_a_ping_is_acknowledged(server: Server) -> None:
    assert server.post("ping", octokit("ping")[0]).status_code == 202


def test_a_delivery_that_github_signed_and_nobody_understands_is_kept(server: Server) -> None:
    answer = server.post("workflow_run", {"action": "completed"})
    assert (answer.status_code, answer.json()["status"]) == (202, "unreadable")
    assert zlib.decompress(server.deliveries()[0].body or b"") == b'{"action": "completed"}'


def test_a_delivery_that_comes_again_is_acknowledged_and_not_acted_on(server: Server) -> None:
    server.post("issue_comment", payloads.comment("/ledex fix"))
    again = server.post("issue_comment", payloads.comment("/ledex fix", comment__id=2))
    assert (again.status_code, again.json()["status"]) == (202, "duplicate")
    assert (len(server.deliveries()), len(server.jobs()), len(server.sent)) == (1, 1, 1)


def test_one_delivery_sent_twenty_times_at_once_is_one_job(server: Server) -> None:
    payload = payloads.failed_run()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.post("workflow_run", payload), range(20)))
    assert {a.status_code for a in answers} == {202}
    assert [a.json()["status"] for a in answers].count("accepted") == 1
    assert (len(server.deliveries()), len(server.jobs()), len(server.sent)) == (1, 1, 1)


def test_sixty_different_deliveries_at_once_are_all_recorded(server: Server) -> None:
    def send(number: int) -> int:
        return server.post("workflow_run", payloads.failed_run(workflow_run__id=number), guid=f"g-{number}").status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(send, range(1, 61))) == {202}
    assert len(server.jobs()) == len(server.deliveries()) == len(set(server.sent)) == 60


def test_a_run_told_by_two_deliveries_is_one_job(server: Server) -> None:
    server.post("workflow_run", payloads.failed_run(), guid="a")
    server.post("workflow_run", payloads.failed_run(), guid="b")
    assert (len(server.deliveries()), len(server.jobs())) == (2, 1)


def test_the_previous_secret_is_accepted_while_secrets_are_changed(context: Context) -> None:
    settings = load_settings(webhook_secret="new", webhook_secret_previous="old", data_dir=context.settings.data_dir)
    with serving(replace(context, settings=settings)) as server:
        answers = [server.post("ping", {}, guid=secret, secret=secret).status_code for secret in ("new", "old", "older")]
    assert answers == [202, 202, 401]


def test_heads_and_installations_are_noted_with_the_delivery(server: Server) -> None:
    server.post("pull_request", payloads.pull_request("opened"), guid="a")
    server.post("installation", octokit("installation")[0], guid="b")
    with server.context.database.reading() as session:
        assert [row.number for row in session.scalars(select(PullHeadRow))] == [2]
        assert len(session.scalars(select(InstallationRow)).all()) == 1


# Refused


def refused_request(case: str) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(payloads.failed_run()).encode()
    good = headers("workflow_run", body)
    sha1 = {"X-Hub-Signature": "sha1=" + hmac.new(payloads.SECRET.encode(), body, hashlib.sha1).hexdigest()}
    without = {name: value for name, value in good.items() if name != "X-Hub-Signature-256"}
    return {
        "no signature": (body, without),
        "only the old kind of signature": (body, without | sha1),
        "an empty signature": (body, good | {"X-Hub-Signature-256": "sha256="}),
        "the signature without its name": (body, good | {"X-Hub-Signature-256": good["X-Hub-Signature-256"][7:]}),
        "another secret's signature": (body, headers("workflow_run", body, secret="wrong")),
        "an empty secret's signature": (body, headers("workflow_run", body, secret="")),
        "a changed byte": (body.replace(b"failure", b"success"), good),
        "a signature that is not ASCII": (body, good | {"X-Hub-Signature-256": "sha256=\u00e9"}),
    }[case]


@pytest.mark.parametrize(
    "case",
    ["no signature", "only the old kind of signature", "an empty signature", "the signature without its name",
     "another secret's signature", "an empty secret's signature", "a changed byte", "a signature that is not ASCII"],
)  # fmt: skip
def test_a_request_without_the_right_signature_is_401_and_its_id_stays_free(server: Server, case: str) -> None:
    body, given = refused_request(case)
    raw = {name.encode(): value.encode() for name, value in given.items()}
    assert server.client.post("/webhook", content=body, headers=raw).status_code == 401
    assert server.deliveries() == []
    assert server.post("workflow_run", payloads.failed_run()).json()["status"] == "accepted"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b'{"a": NaN}', b"payload=%7B%7D", b"\xff\xfe", b"[" * 200_000, b'{"id": %s}' % (b"9" * 10_000)],
    ids=["empty", "cut", "list", "null", "text", "nan", "form", "no-utf8", "deep", "huge-number"],
)
def test_a_signed_body_that_is_no_json_object_is_400_and_its_id_stays_free(server: Server, body: bytes) -> None:
    assert server.post("workflow_run", body).status_code == 400
    assert server.deliveries() == []
    assert server.post("workflow_run", payloads.failed_run()).json()["status"] == "accepted"


@pytest.mark.parametrize("name", ["X-GitHub-Delivery", "X-GitHub-Event"])
@pytest.mark.parametrize("value", [None, "", "a b", "x" * 101])
def test_a_signed_request_without_a_usable_id_or_name_is_400(server: Server, name: str, value: str | None) -> None:
    body = b"{}"
    given = {key: text for key, text in (headers("ping", body) | {name: value}).items() if text is not None}
    assert server.client.post("/webhook", content=body, headers=given).status_code == 400
    assert server.deliveries() == []


def test_without_a_secret_everything_is_503_and_nothing_is_written(context: Context) -> None:
    with serving(replace(context, settings=load_settings(data_dir=context.settings.data_dir))) as server:
        for secret in ("", payloads.SECRET):
            assert server.post("workflow_run", payloads.failed_run(), secret=secret).status_code == 503
        assert server.deliveries() == []
        assert server.client.get("/healthz").json()["webhook_secret"] == "not set"


def test_a_body_of_25_mb_is_taken_and_one_byte_more_is_413(server: Server) -> None:
    frame = b'{"zen": ""}'
    body = frame[:-2] + b"x" * (25 * MIB - len(frame)) + frame[-2:]
    assert len(body) == 25 * MIB
    assert server.post("ping", body).status_code == 202
    assert server.post("ping", body + b" ", guid="other").status_code == 413
    assert len(server.deliveries()) == 1


def test_a_body_whose_size_is_not_announced_is_refused_while_it_is_read(server: Server) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 1000 * MIB:
            sent += MIB
            yield b" " * MIB

    try:
        status = server.client.post("/webhook", content=endless(), headers=headers("ping", b"")).status_code
    except httpx.WriteError:  # the server closed the connection while the body was still being sent
        status = 413
    assert status == 413
    assert sent < 200 * MIB
    assert server.deliveries() == []


def test_a_body_that_says_to_be_larger_is_refused_without_being_read(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as connection:
        connection.sendall(
            f"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=0\r\nContent-Length: {30 * MIB}\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_signature_is_made_over_the_bytes_as_they_were_sent(server: Server) -> None:
    body = gzip.compress(b"{}")  # GitHub does not compress; nothing here may unpack before it has verified
    answer = server.client.post("/webhook", content=body, headers=headers("ping", body) | {"Content-Encoding": "gzip"})
    assert answer.status_code == 400


def test_when_the_database_cannot_be_written_the_delivery_is_not_acknowledged(context: Context) -> None:
    with context.database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE deliveries RENAME TO gone")
    with serving(context) as server:
        assert server.post("ping", {}).status_code == 503
        with context.database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE gone RENAME TO deliveries")
        assert server.post("ping", {}).status_code == 202


def test_a_database_that_is_locked_for_a_second_delays_the_answer_and_loses_nothing(server: Server) -> None:
    holder = sqlite3.connect(str(server.context.database.engine.url.database), isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(1.0, holder.rollback)
    release.start()
    started = time.monotonic()
    assert server.post("workflow_run", payloads.failed_run()).status_code == 202
    assert time.monotonic() - started > 0.9
    release.join()
    holder.close()
    assert len(server.jobs()) == 1


# Health


def test_health_says_that_github_is_not_configured(server: Server) -> None:
    answer = server.client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json()["github"] == "not configured"


def test_health_says_that_github_is_configured(context: Context, tmp_path: Path) -> None:
    settings = load_settings(webhook_secret="s", app_id=1, private_key="k", data_dir=tmp_path)
    with serving(replace(context, settings=settings)) as server:
        assert server.client.get("/healthz").json()["github"] == "configured"


def test_no_secret_is_in_any_answer(server: Server) -> None:
    answers = [server.client.get("/healthz"), server.post("ping", {}), server.post("ping", {}, secret="x"), server.post("ping", b"{")]
    assert payloads.SECRET not in "".join(a.text + str(a.headers) for a in answers)
