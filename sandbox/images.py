"""Container images as a repository's policy names them, and the services beside its tests: every decision about them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox import EnvironmentFailed

_REFERENCE = re.compile(
    r"(?:(?P<host>localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d{1,5})?|[A-Za-z0-9-]+:\d{1,5})/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?"
)
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "postgres": {"POSTGRES_PASSWORD": "postgres"},
    "postgis": {"POSTGRES_PASSWORD": "postgres"},
    "mysql": {"MYSQL_ALLOW_EMPTY_PASSWORD": "yes"},
    "mariadb": {"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "yes"},
    "elasticsearch": {"discovery.type": "single-node", "xpack.security.enabled": "false"},
}
"""What these images do not start without. The data is the tests' own, and nobody else reaches it."""
_OFFERED: Mapping[str, Mapping[str, str]] = {
    "postgres": {"PGHOST": "localhost", "PGPORT": "5432", "PGUSER": "postgres", "PGPASSWORD": "postgres"},
    "postgis": {"PGHOST": "localhost", "PGPORT": "5432", "PGUSER": "postgres", "PGPASSWORD": "postgres"},
    "redis": {"REDIS_URL": "redis://localhost:6379/0"},
}
"""Variables that the tests find, in the names that clients read by themselves; the policy's own come over them."""


@dataclass(frozen=True)
class Image:
    """An image that is here. ``id`` changes with its content; ``ports`` are the TCP ports that it says it listens on."""

    name: str
    id: str
    variables: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Service:
    """A container beside the tests, in their network: reached as ``localhost``, and by its ``name``."""

    name: str
    image: Image
    settings: Mapping[str, str]


def reference(text: str) -> str:
    """The full name of an image: of Docker Hub where no registry is named, the tag ``latest`` where none is.

    Raises EnvironmentFailed for what is no name of an image, among it everything that an engine could take for an option.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None or len(text) > 300:
        raise EnvironmentFailed(f"{text[:100]!r} is no image: write for example python:3.12 or registry.example.org/team/image:1")
    host, path = found["host"], found["path"]
    if host is None:
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    tag = found["tag"] or ("" if found["digest"] else ":latest")
    return f"{host}/{path}{tag}{found['digest'] or ''}"


def service_name(image: str) -> str:
    """How tests reach a service by name: the last part of its image's, as GitHub's examples do (``postgres``, ``redis``)."""
    return reference(image).rpartition("/")[2].partition("@")[0].partition(":")[0]


def read_inspection(name: str, text: bytes) -> Image:
    """What ``image inspect`` says. Raises EnvironmentFailed where it is no such answer."""
    try:
        said: Any = json.loads(text)
        one = said[0]
        config = one.get("Config") or {}
        variables = dict(v.partition("=")[::2] for v in config.get("Env") or ())
        ports = [int(p.partition("/")[0]) for p in config.get("ExposedPorts") or () if p.partition("/")[2] in ("", "tcp")]
        return Image(name, str(one["Id"]), variables, tuple(sorted(ports)))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise EnvironmentFailed(f"the image {name} cannot be read: look at it with the engine's `image inspect`") from None


def services_of(images: Iterable[Image]) -> tuple[Service, ...]:
    """The services that start beside the tests. Raises EnvironmentFailed where two of them cannot share one network."""
    found: list[Service] = []
    taken: dict[int, str] = {}
    for image in images:
        name = service_name(image.name)
        if any(s.name == name for s in found):
            raise EnvironmentFailed(f"two services are named {name}: keep one of them")
        for port in image.ports:
            if port in taken:
                raise EnvironmentFailed(f"the services {taken[port]} and {name} both listen on port {port}: keep one of them")
            taken[port] = name
        found.append(Service(name, image, _SETTINGS.get(name, {})))
    return tuple(found)


def offered(services: Iterable[Service]) -> dict[str, str]:
    """Variables that tell the tests where the services are."""
    return {key: value for service in services for key, value in _OFFERED.get(service.name, {}).items()}


def hosts_file(services: Iterable[Service]) -> str:
    """The tests' ``/etc/hosts``: services are reached by name as well, on the loopback that all share."""
    return "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *(service.name for service in services))) + "::1 localhost\n"


def waiting(services: Sequence[Service]) -> str:
    """Shell that ends once every port of the services is listened on. It reads the kernel's own table: an image need not have any client,
    and databases that are still being made listen on no port."""
    ports = sorted({port for service in services for port in service.image.ports})
    each = (f"until grep -qE ':{port:04X} [0-9A-F]+:0000 0A' /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done" for port in ports)
    return "; ".join(each) or ":"


def expired(listing: str, now: float) -> list[str]:
    """Names of containers whose time is over, from lines ``NAME UNTIL`` (seconds since 1970): their process was killed before it could
    remove them."""
    found = []
    for line in listing.splitlines():
        name, _, until = line.strip().partition(" ")
        if name and until.isdigit() and int(until) < now:
            found.append(name)
    return found
