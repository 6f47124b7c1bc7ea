"""Repairs over a Unix socket: the same outcome as in the own process, and nothing that the asker could misuse."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from bot import BotConfigurationError, demo
from bot.sandbox_service import Answered, RemoteRepair, SandboxUnreachable, check_bare, create_service, told
from inference.outcome import Outcome
from inference.proposer import Proposal
from inference.repair import RepairRequest
from sandbox.frameworks.records import Coverage
from sandbox.report import Failure, Frame
from sandbox.reproduction import Reproduction
from sandbox.verification import Check, Counts, Verdict


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """The socket of a service whose repositories lie in ``tmp_path / "repositories"``."""
    socket = tmp_path / "sandbox.sock"
    web = uvicorn.Server(uvicorn.Config(create_service(tmp_path / "repositories"), uds=str(socket), log_config=None, lifespan="off"))
    thread = threading.Thread(target=web.run, daemon=True)
    thread.start()
    while not web.started:
        time.sleep(0.01)
    yield socket
    web.should_exit = True
    thread.join(10)


def test_an_outcome_survives_the_way_byte_for_byte() -> None:
    verdict = Verdict(4, None, (Check("target", 1, "passed", "all"),), 3, Counts(0, 1, 1), Counts(1, 0, 1), 1.0)
    failure = Failure("t.py::test", "E", "m", (Frame("t.py", 3, "test"),))
    reproduction = Reproduction("failing", "1 of 1 tests fail", (failure,), ("t.py::test",), expected=("t.py::test",), passes_on_base=True)
    proposal = Proposal(b"--- a/x\n\xff\xfe\n", "why", "templates", -math.inf, path="x", line=1, verdict=verdict)
    outcome = Outcome("fixed", "verified V4", reproduction, (proposal,), python="3.12")
    assert Answered.model_validate_json(Answered(outcome=outcome).model_dump_json()).outcome == outcome


def test_what_only_the_search_needed_is_not_sent() -> None:
    reproduction = Reproduction("failing", "", coverage=Coverage({"a.py": {"t": frozenset({1})}}))
    sent = told(Outcome("unfixed", "", reproduction)).reproduction
    assert sent is not None
    assert sent.coverage == Coverage()


def test_a_repair_over_the_socket_finds_the_fix(service: Path, tmp_path: Path) -> None:
    checkout = demo.lay_out(tmp_path / "repositories" / "corner-shop")
    (checkout / "shop" / "receipt.py").write_text(demo.sound_files()["shop/receipt.py"])
    (checkout / "shop" / "prices.py").write_text(demo.sound_files()["shop/prices.py"])
    outcome = RemoteRepair(service)(RepairRequest(path=checkout, budget=40))
    assert (outcome.status, outcome.best is not None) == ("fixed", True), outcome.reason


def test_a_repository_elsewhere_is_not_looked_at(service: Path, tmp_path: Path) -> None:
    (tmp_path / "repositories").mkdir()
    (tmp_path / "repositories" / "way").symlink_to("/")
    for path in (tmp_path / "elsewhere", tmp_path / "repositories" / "way" / "etc"):
        with pytest.raises(SandboxUnreachable, match="outside the folder of repositories"):
            RemoteRepair(service)(RepairRequest(path=path))


def test_the_asker_cannot_name_an_interpreter_of_the_container(service: Path, tmp_path: Path) -> None:
    checkout = demo.lay_out(tmp_path / "repositories" / "corner-shop")
    outcome = RemoteRepair(service)(RepairRequest(path=checkout, python=Path("/nowhere/python"), unsafe=True, budget=1, test="true"))
    assert outcome.status == "passing", outcome.reason
    assert outcome.surroundings.isolation not in ("", "unsafe")


def test_a_request_that_is_none_is_refused(service: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(service))) as client:
        assert client.post("http://sandbox/repair", content=b"{}").status_code == 400


def test_a_service_that_is_not_there_is_an_attempt_that_failed(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnreachable, match="is `ledex sandbox` running"):
        RemoteRepair(tmp_path / "absent.sock")(RepairRequest(path=tmp_path))


def test_the_service_is_healthy_without_any_setting(service: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(service))) as client:
        assert client.get("http://sandbox/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("name", ["WEBHOOK_SECRET", "PRIVATE_KEY", "PRIVATE_KEY_FILE", "DATABASE_URL", "BROKER_URL"])
def test_a_service_that_was_given_a_secret_does_not_start(name: str) -> None:
    with pytest.raises(BotConfigurationError, match=f"unset LEDEX_BOT_{name}$"):
        check_bare({f"LEDEX_BOT_{name}": "canary", "PATH": "/bin"})
    check_bare({"PATH": "/bin"})
