"""Images and services that a policy names: decisions, the command lines for the engine, and a real engine where one is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sandbox import EnvironmentFailed, IsolationUnavailable
from sandbox.container import ContainerRunner, arguments, holder_arguments, service_arguments
from sandbox.images import Image, expired, hosts_file, offered, read_inspection, reference, service_name, services_of, waiting
from sandbox.limits import Limits
from sandbox.runner import Command

POSTGRES = Image("docker.io/library/postgres:16", "sha256:1", {}, (5432,))
REDIS = Image("docker.io/library/redis:7", "sha256:2", {}, (6379,))


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python:3.12", "docker.io/library/python:3.12"),
        ("python", "docker.io/library/python:latest"),
        ("team/image:1", "docker.io/team/image:1"),
        ("ghcr.io/team/image", "ghcr.io/team/image:latest"),
        ("localhost/image:1", "localhost/image:1"),
        ("registry:5000/image:1", "registry:5000/image:1"),
        (f"python@sha256:{'a' * 64}", f"docker.io/library/python@sha256:{'a' * 64}"),
    ],
)
def test_a_name_of_an_image_is_read_as_docker_reads_it(text: str, full: str) -> None:
    assert reference(text) == full


@pytest.mark.parametrize("text", ["", "--privileged", "-v", "a b", "python:3 --privileged", "Python", "../x", "python:", "x\n", "a" * 400])
def test_what_is_no_name_of_an_image_is_refused(text: str) -> None:
    with pytest.raises(EnvironmentFailed, match="is no image: write for example"):
        reference(text)


def test_an_inspection_tells_identity_variables_and_ports() -> None:
    said = [{"Id": "sha256:1", "Config": {"Env": ["PATH=/opt/bin", "A=b=c"], "ExposedPorts": {"6379/tcp": {}, "53/udp": {}, "80": {}}}}]
    assert read_inspection("x", json.dumps(said).encode()) == Image("x", "sha256:1", {"PATH": "/opt/bin", "A": "b=c"}, (80, 6379))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"[1]", b'[{"Config": {}}]'])
def test_an_inspection_that_is_none_is_one_sentence(text: bytes) -> None:
    with pytest.raises(EnvironmentFailed, match="cannot be read"):
        read_inspection("x", text)


def test_services_are_named_by_their_images_and_tell_the_tests_where_they_are() -> None:
    services = services_of([POSTGRES, REDIS])
    assert [service.name for service in services] == ["postgres", "redis"]
    assert service_name("ghcr.io/team/postgis:16-3.4") == "postgis"
    assert services[0].settings == {"POSTGRES_PASSWORD": "postgres"}
    assert offered(services)["PGPASSWORD"] == "postgres"
    assert offered(services)["REDIS_URL"] == "redis://localhost:6379/0"
    assert hosts_file(services) == "127.0.0.1 localhost\n127.0.0.1 postgres\n127.0.0.1 redis\n::1 localhost\n"


def test_services_that_cannot_share_a_network_are_refused() -> None:
    other = Image("docker.io/library/valkey:8", "sha256:3", {}, (6379,))
    with pytest.raises(EnvironmentFailed, match="redis and valkey both listen on port 6379"):
        services_of([REDIS, other])
    with pytest.raises(EnvironmentFailed, match="two services are named redis"):
        services_of([REDIS, Image("docker.io/library/redis:6", "sha256:4")])


def test_waiting_looks_for_each_port_in_the_kernels_table() -> None:
    script = waiting(services_of([POSTGRES, REDIS]))
    assert [word for word in (":1538 ", ":18EB ") if word in script] == [":1538 ", ":18EB "]
    assert waiting(()) == ":"


def test_containers_of_killed_processes_are_told_from_those_in_use() -> None:
    assert expired("ledex-1 100\nledex-2 300\n\nother \nodd x\n", 200.0) == ["ledex-1"]


def values(argv: list[str], name: str) -> list[str]:
    return [argv[n + 1] for n, word in enumerate(argv) if word == name]


def test_services_and_tests_share_a_network_that_leads_nowhere() -> None:
    [redis] = services_of([REDIS])
    holder = holder_arguments("docker", "python:3", "ledex-1-network", 60, 1000)
    service = service_arguments("docker", redis, "ledex-1-redis", "ledex-1-network", Limits(), 1000)
    tests = arguments("docker", "python:3", "ledex-1", Command(("x",)), Path("/empty"), "container:ledex-1-network", 1000)
    assert values(holder, "--network") == ["none"]
    assert values(service, "--network") == values(tests, "--network") == ["container:ledex-1-network"]
    assert "--hostname" not in [*service, *tests], "Docker refuses it in another container's network"


def test_a_service_has_nothing_of_this_machine() -> None:
    [postgres] = services_of([POSTGRES])
    argv = service_arguments("podman", postgres, "n", "h", Limits(memory_bytes=1000, processes=9), 1000)
    assert not {"--mount", "--volume", "-v", "--publish", "-p", "--privileged", "--device"} & set(argv)
    assert (values(argv, "--cap-drop"), values(argv, "--memory"), values(argv, "--pids-limit")) == (["ALL"], ["1000"], ["9"])
    assert values(argv, "--env") == ["POSTGRES_PASSWORD=postgres"]
    assert argv[-1] == "docker.io/library/postgres:16", "what follows the image would be a command"


# With a real engine


@pytest.fixture
def engine() -> ContainerRunner:
    """LEDEX_TEST_IMAGE names an image that is here and has Python, LEDEX_TEST_SERVICE one that listens on a port."""
    image = os.environ.get("LEDEX_TEST_IMAGE")
    if not image:
        pytest.skip("LEDEX_TEST_IMAGE names no image with Python")
    try:
        return ContainerRunner(image=image)
    except IsolationUnavailable as error:
        pytest.skip(str(error))


def test_a_real_container_reports_collects_and_says_its_own(engine: ContainerRunner) -> None:
    told = engine.run(Command(("/bin/sh", "-c", "echo seen; echo r >&$0; exit 3"), report=True))
    assert (told.exit_code, told.report, told.stderr) == (3, b"r\n", b"seen\n")
    kept = engine.run(Command(("/bin/sh", "-c", "echo x > /tmp/r.xml"), cwd="/tmp", collect=("r.xml",)))
    assert dict(kept.collected) == {"r.xml": b"x\n"}
    assert engine.run(Command(("/bin/sh", "-c", "echo out"))).stdout == b"out\n"


def test_a_real_container_has_a_channel_both_ways(engine: ContainerRunner) -> None:
    answer = "import socket, sys; c = socket.socket(fileno=int(sys.argv[1])); c.sendall(b'got ' + c.recv(10))"
    session = engine.open(Command(("python3", "-c", answer), report=True))
    session.channel.sendall(b"it")
    assert session.channel.recv(100) == b"got it"
    assert session.kill().reason in ("exited", "signal")


def test_a_real_service_is_reached_and_nothing_else_is(engine: ContainerRunner) -> None:
    name = os.environ.get("LEDEX_TEST_SERVICE")
    if not name:
        pytest.skip("LEDEX_TEST_SERVICE names no image")
    [service] = services_of([engine.image_of(reference(name))])
    port = service.image.ports[0]
    script = (
        f"import socket; socket.create_connection(('{service.name}', {port}), 5); print('reached')\n"
        "try:\n    socket.create_connection(('1.1.1.1', 53), 2)\nexcept OSError: print('closed')"
    )
    assert engine.inside(engine.image, [service]).run(Command(("python3", "-c", script))).stdout == b"reached\nclosed\n"
