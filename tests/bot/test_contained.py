"""Policies that name an image or services: what is run where, what is said without an engine or an image, and a real repair in one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bot.contained import image_name, interpreter_of, needed, repair_contained, variables_in
from inference.policy import EnvironmentPolicy, Policy
from inference.repair import RepairRequest
from sandbox import EnvironmentFailed, IsolationUnavailable
from sandbox.container import ContainerRunner
from sandbox.images import Image
from sandbox.runner import Command, Execution
from tests.bot.shop import BROKEN, FILES, SHOP
from tests.git_repository import GitRepository


class Engine(ContainerRunner):
    """Has no image, and answers ``output`` to every command."""

    def __init__(self, output: bytes = b"") -> None:
        self.image, self.output = "docker.io/library/x:1", output

    def image_of(self, name: str) -> Image:
        raise EnvironmentFailed(f"the image {name} cannot be had: no such host")

    def run(self, command: Command) -> Execution:
        return Execution(0, None, "exited", self.output, b"", b"", {}, 0.1, 0)


def test_services_without_an_image_run_beside_pythons_own() -> None:
    assert image_name(EnvironmentPolicy(services=("redis:7",))) == "python:3"
    assert image_name(EnvironmentPolicy(services=("redis:7",), python="3.12")) == "python:3.12"
    assert image_name(EnvironmentPolicy(image="team/tests:1", python="3.12")) == "team/tests:1"


def test_what_cannot_be_had_is_named_as_the_policy_names_it() -> None:
    with pytest.raises(EnvironmentFailed, match=r"could not reproduce: needs postgres:16, and .* cannot be had: no such host"):
        needed(Engine(), "postgres:16")


def test_the_environment_comes_first_on_the_images_path_and_the_policy_has_the_last_word() -> None:
    found = variables_in(Image("x", "1", {"PATH": "/opt/bin", "A": "image", "HOME": "/root"}), {"A": "policy"})
    assert found == {"PATH": "/env/bin:/opt/bin", "A": "policy", "HOME": "/tmp/home"}


def test_the_images_python_is_asked_for_its_version() -> None:
    found = interpreter_of(Engine(b"/opt/bin/python3\n3 12\n"), {})
    assert (found.executable, found.version, found.mounts) == ("/opt/bin/python3", (3, 12), ())
    with pytest.raises(EnvironmentFailed, match="has no Python"):
        interpreter_of(Engine(b""), {})
    with pytest.raises(EnvironmentFailed, match=r"is 3\.6"):
        interpreter_of(Engine(b"/usr/bin/python3\n3 6\n"), {})


def test_a_real_repair_inside_an_image_with_a_service_beside_it(tmp_path: Path) -> None:
    """LEDEX_TEST_IMAGE has Python and reaches the package index, LEDEX_TEST_SERVICE listens on a port."""
    image, service = os.environ.get("LEDEX_TEST_IMAGE"), os.environ.get("LEDEX_TEST_SERVICE")
    if not image or not service:
        pytest.skip("LEDEX_TEST_IMAGE and LEDEX_TEST_SERVICE name no images")
    try:
        runner = ContainerRunner()
    except IsolationUnavailable as error:
        pytest.skip(str(error))
    port = runner.image_of(service).ports[0]
    serving = f"import socket\n\n\ndef test_service():\n    socket.create_connection(('localhost', {port}), 5).close()\n"
    files = {"shop.py": SHOP, "test_shop.py": str(FILES["test_shop.py"]), "test_service.py": serving}
    repository = GitRepository(tmp_path / "shop").files(files).commit()
    base = repository.git("rev-parse", "HEAD")
    head = repository.files({"shop.py": BROKEN}).commit().git("rev-parse", "HEAD")
    policy = Policy(environment=EnvironmentPolicy(image=image, services=(service,)))
    outcome = repair_contained(RepairRequest(repository.folder, head, "octo/shop", base=base, policy=policy), runner)
    assert (outcome.status, outcome.surroundings.isolation) == ("fixed", "container"), outcome.reason
    left = subprocess.run([runner.engine, "ps", "--all", "--quiet"], capture_output=True, check=True).stdout
    assert left == b""
