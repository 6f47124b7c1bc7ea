"""The index proxy: what it lets through, and everything that it refuses."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sandbox.proxy
from sandbox.proxy import IndexProxy, ProxyLimits, forbidden, index_proxy, parse_request

FORWARDER = Path(sandbox.proxy.__file__).parent / "_ledex_forward.py"
LOOPBACK = frozenset({"127.0.0.1"})


class Origin:
    """An HTTP origin on loopback that answers every request with ``body`` and remembers what it was sent."""

    def __init__(self, body: bytes = b"simple index") -> None:
        self.body = body
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(2)
                self.requests.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(self.body) + self.body)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()


def ask(proxy: IndexProxy, request: bytes) -> bytes:
    """Everything that the proxy answers to the request."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(proxy.socket_path))
        with contextlib.suppress(BrokenPipeError):
            client.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(65536):
                answer += data
        return answer


def connect_request(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3",
     "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "::7f00:1", "::ffff:0:7f00:1", "fec0::1"],
)  # fmt: skip
def test_local_and_private_addresses_are_forbidden_in_every_form(text: str) -> None:
    assert forbidden(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["151.101.0.223", "203.0.113.9", "198.51.100.7", "192.0.2.1", "172.32.0.1", "100.128.0.1",
                                  "2a04:4e42::223", "2001:db8::1", "::ffff:151.101.0.223", "64:ff9b::9765:df"])  # fmt: skip
def test_public_and_documentation_addresses_are_allowed(text: str) -> None:
    assert not forbidden(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_ipv6_form_is_forbidden_exactly_when_its_ipv4_address_is(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    translated = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    assert forbidden(mapped) == forbidden(translated) == forbidden(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
)
def test_connect_to_a_local_address_is_refused_although_it_is_configured(origin: Origin, host: str) -> None:
    with index_proxy(frozenset({(host.strip("[]"), origin.port)})) as proxy:
        answer = ask(proxy, connect_request(f"{host}:{origin.port}"))
        assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 "))
        assert len(proxy.refused) == 1
    assert origin.requests == []


def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    def resolver(host: str, port: int) -> Iterable[str]:
        return ["10.0.0.1", "::ffff:192.168.0.1"]

    with index_proxy(frozenset({("pypi.org", 443)}), resolver=resolver) as proxy:
        assert ask(proxy, connect_request("pypi.org:443")).startswith(b"HTTP/1.1 403 ")
        assert "10.0.0.1" in proxy.refused[0]


def test_a_name_is_resolved_once_so_that_rebinding_gains_nothing(origin: Origin) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> Iterable[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with index_proxy(frozenset({("index.test", origin.port)}), LOOPBACK, resolver=resolver) as proxy:
        answer = ask(proxy, connect_request(f"index.test:{origin.port}") + b"hello")
    assert answer.endswith(b"simple index")
    assert origin.requests == [b"hello"]
    assert asked == ["index.test"]


def test_hosts_and_ports_that_are_no_index_are_refused_with_one_sentence(origin: Origin) -> None:
    with index_proxy(frozenset({("pypi.org", 443)})) as proxy:
        for target in ("example.com:443", "pypi.org:22", "pypi.org.evil.test:443", f"127.0.0.1:{origin.port}"):
            answer = ask(proxy, connect_request(target))
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert f"{target} is not a configured package index" in answer.decode()
        assert len(proxy.refused) == 4


def test_a_plain_http_index_is_read_with_the_host_that_was_checked(origin: Origin) -> None:
    with index_proxy(frozenset({("index.test", origin.port)}), LOOPBACK, resolver=lambda host, port: ["127.0.0.1"]) as proxy:
        request = f"GET http://index.test:{origin.port}/simple/six/?a=1 HTTP/1.1\r\nHost: other.test\r\nAccept: */*\r\n\r\n"
        assert ask(proxy, request.encode()).endswith(b"simple index")
    first, *headers = origin.requests[0].decode().split("\r\n")
    assert first == "GET /simple/six/?a=1 HTTP/1.1"
    assert [h for h in headers if h.lower().startswith("host:")] == [f"Host: index.test:{origin.port}"]
    assert "Accept: */*" in headers


@pytest.mark.parametrize("request_text", [
    "POST http://index.test/ HTTP/1.1\r\n\r\n",
    "GET http://index.test/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    "GET http://index.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET http://index.test/ HTTP/1.1\r\nA: b\n c: d\r\n\r\n",
    "GET http://user:word@index.test/ HTTP/1.1\r\n\r\n",
    "GET ftp://index.test/ HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: index.test\r\n\r\n",
    "CONNECT index.test HTTP/1.1\r\n\r\n",
    "CONNECT index.test:99999999 HTTP/1.1\r\n\r\n",
    "\x16\x03\x01 nonsense\r\n\r\n",
])  # fmt: skip
def test_a_request_that_is_no_plain_read_of_an_index_is_refused(request_text: str) -> None:
    with index_proxy(frozenset({("index.test", 80)}), resolver=lambda host, port: pytest.fail("was resolved")) as proxy:
        answer = ask(proxy, request_text.encode())
    assert answer.split(b" ")[1] in (b"400", b"403")


@given(st.binary(max_size=200))
def test_a_request_head_is_parsed_or_refused_and_nothing_else(head: bytes) -> None:
    try:
        method, host, port, _ = parse_request(head)
    except sandbox.proxy._Refused:
        return
    assert method in ("CONNECT", "GET", "HEAD")
    assert host
    assert port >= 0


def test_a_header_that_never_ends_is_cut_off() -> None:
    with index_proxy(frozenset(), limits=ProxyLimits(header_bytes=1024)) as proxy:
        assert ask(proxy, b"GET http://a/ HTTP/1.1\r\nA: " + b"a" * 8192).startswith(b"HTTP/1.1 431 ")


def test_a_silent_client_is_dropped_after_the_idle_time() -> None:
    with index_proxy(frozenset(), limits=ProxyLimits(idle_seconds=0.2)) as proxy:
        started = time.monotonic()
        assert ask(proxy, b"") == b""
        assert time.monotonic() - started < 5


def test_bytes_are_bounded_over_all_connections() -> None:
    server = Origin(b"x" * 500_000)
    with index_proxy(frozenset({("127.0.0.1", server.port)}), LOOPBACK, limits=ProxyLimits(total_bytes=600_000)) as proxy:
        request = f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n\r\n".encode()
        first, second = ask(proxy, request), ask(proxy, request)
    server.close()
    assert len(first) > 500_000
    assert len(second) < 200_000


def test_connections_at_one_time_are_bounded() -> None:
    with index_proxy(frozenset(), limits=ProxyLimits(connections=1)) as proxy, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(proxy.socket_path))
        first.sendall(b"CONNECT ")
        time.sleep(0.2)
        assert ask(proxy, connect_request("a:1")).startswith(b"HTTP/1.1 503 ")


def test_another_uid_may_connect_only_where_the_socket_is_bound_to() -> None:
    with index_proxy(frozenset()) as proxy:
        assert stat.S_IMODE(proxy.socket_path.stat().st_mode) & 0o666 == 0o666
        assert stat.S_IMODE(proxy.socket_path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_after_closing() -> None:
    before = threading.active_count()
    with index_proxy(frozenset()) as proxy, socket.socket(socket.AF_UNIX) as held:
        held.connect(str(proxy.socket_path))
    assert not proxy.socket_path.parent.exists()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_the_forwarder_gives_a_command_the_proxy_and_passes_on_its_status(origin: Origin) -> None:
    code = (
        f"import os,sys,urllib.request as u; assert os.environ['HTTPS_PROXY'] == os.environ['http_proxy'];"
        f"sys.exit(7 if u.urlopen('http://index.test:{origin.port}/simple/').read() == b'simple index' else 1)"
    )
    with index_proxy(frozenset({("index.test", origin.port)}), LOOPBACK, resolver=lambda host, port: ["127.0.0.1"]) as proxy:
        argv = [sys.executable, "-I", str(FORWARDER), str(proxy.socket_path), sys.executable, "-I", "-c", code]
        done = subprocess.run(argv, capture_output=True, timeout=30, check=False, env={})
    assert done.returncode == 7, done.stderr.decode()
