"""The forward proxy of environment builds: a unix socket whose only way out are the configured package indexes.

A build has a network namespace of its own; this socket is bound into it. A name is resolved once, every address is checked after
resolving, and the connection goes to exactly the address that was checked, so that a name which changes its mind (DNS rebinding)
gains nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import selectors
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Iterable[str]]
"""Addresses (as text) of a host name; raises OSError when there are none."""

_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/32", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
# Documentation networks (TEST-NET) are left out on purpose: a closed site may keep its mirror there.
_EMBEDDING_NETWORKS = tuple(
    (ipaddress.IPv6Network(text), shift)
    for text, shift in (("::ffff:0:0/96", 0), ("::ffff:0:0:0/96", 0), ("::/96", 0), ("64:ff9b::/96", 0), ("2002::/16", 80))
)
"""IPv6 forms that lead to an IPv4 address, with the position of its lowest bit."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (\S{1,4096}) HTTP/1\.[01]\r\n")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})")
_HOP_HEADERS = {b"host", b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive", b"te", b"upgrade"}
_CHUNK = 1 << 16


@dataclass(frozen=True)
class ProxyLimits:
    """Bounds of one proxy. Sizes in bytes, times in seconds."""

    header_bytes: int = 16 * 1024
    connections: int = 128
    total_bytes: int = 16 * 1024**3
    """Both directions, all connections together."""
    idle_seconds: float = 120.0
    connect_seconds: float = 15.0


class _Refused(Exception):
    """The answer is ``status`` with one sentence."""

    def __init__(self, sentence: str, status: str = "403 Forbidden") -> None:
        super().__init__(sentence)
        self.status = status


def forbidden(address: Address, allow_private: frozenset[str] = frozenset()) -> bool:
    """Whether an address is loopback, private, link-local, unspecified, multicast or reserved, in plain or as an IPv6 form of one."""
    if str(address) in allow_private:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _EMBEDDING_NETWORKS:
            if address in network and int(address) > 1:
                return forbidden(ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF), allow_private)
    return any(address in network for network in _REFUSED_NETWORKS if network.version == address.version)


def resolve(host: str, port: int) -> Iterator[str]:
    """The addresses of a host, by the system's resolver."""
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if family in (socket.AF_INET, socket.AF_INET6):
            yield str(address[0]).split("%")[0]


class IndexProxy:
    """A running proxy: ``socket_path`` to connect to, ``refused`` the sentences of what it refused, first hundred."""

    def __init__(self, allowed: frozenset[tuple[str, int]], allow_private: frozenset[str], limits: ProxyLimits, resolver: Resolver) -> None:
        self.allowed = frozenset((host.lower().rstrip("."), port) for host, port in allowed)
        self.allow_private = frozenset(str(ipaddress.ip_address(text)) for text in allow_private)
        self.limits = limits
        self.refused: list[str] = []
        self._resolve = resolver
        self._lock = threading.Lock()
        self._bytes_left = limits.total_bytes
        self._open: set[socket.socket] = set()
        self._slots = threading.BoundedSemaphore(limits.connections)
        self._closing = False
        # A unix socket's path must be short, and TMPDIR may be long. The folder is closed to others; the socket is not, because the
        # sandbox reaches it through a bind mount as another uid.
        self._folder = Path(tempfile.mkdtemp(prefix="ledex-proxy-", dir="/tmp" if len(tempfile.gettempdir()) > 60 else None))
        self.socket_path = self._folder / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.socket_path))
        os.chmod(self.socket_path, 0o666)
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, name="index-proxy", daemon=True)

    def __enter__(self) -> IndexProxy:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._closing = True
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                with contextlib.suppress(OSError), client:
                    client.settimeout(1)
                    client.sendall(_answer("503 Service Unavailable", "too many connections at one time"))
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, self._tracked(client):
                client.settimeout(self.limits.idle_seconds)
                try:
                    self._handle(client)
                except _Refused as refusal:
                    with self._lock:
                        if len(self.refused) < 100:
                            self.refused.append(str(refusal))
                    client.sendall(_answer(refusal.status, str(refusal)))
        except OSError:
            pass  # the other side went away, or an idle time-out: nobody is left to be told
        finally:
            self._slots.release()

    @contextlib.contextmanager
    def _tracked(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closing:
                raise OSError("closing")
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def _handle(self, client: socket.socket) -> None:
        head, rest = self._read_head(client)
        method, host, port, forwarded = parse_request(head)
        upstream = self._connect(host, port)
        with upstream, self._tracked(upstream):
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                upstream.sendall(rest)
                self._relay(client, upstream, both=True)
            else:
                upstream.sendall(forwarded)
                self._relay(client, upstream, both=False)

    def _read_head(self, client: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        deadline = time.monotonic() + self.limits.idle_seconds
        while b"\r\n\r\n" not in data:
            if len(data) > self.limits.header_bytes:
                raise _Refused("the request header is too long", "431 Request Header Fields Too Large")
            more = client.recv(4096)
            if not more or time.monotonic() > deadline:
                raise OSError("no request")
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return head + b"\r\n", rest

    def _connect(self, host: str, port: int) -> socket.socket:
        if (host, port) not in self.allowed:
            raise _Refused(f"{host}:{port} is not a configured package index")
        try:
            addresses = list(dict.fromkeys(self._resolve(host, port)))
        except OSError as error:
            raise _Refused(f"{host} could not be resolved ({error.strerror or error})", "502 Bad Gateway") from error
        checked = [a for a in addresses if not forbidden(ipaddress.ip_address(a), self.allow_private)]
        if not checked:
            raise _Refused(f"{host}:{port} leads to {', '.join(addresses) or 'no address'}, which is a private or local address")
        problem: OSError | None = None
        for address in checked:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            upstream = socket.socket(family, socket.SOCK_STREAM)
            upstream.settimeout(self.limits.connect_seconds)
            try:
                upstream.connect((address, port))
            except OSError as error:
                upstream.close()
                problem = error
                continue
            upstream.settimeout(self.limits.idle_seconds)
            return upstream
        raise _Refused(f"{host}:{port} did not answer ({problem})", "502 Bad Gateway")

    def _relay(self, client: socket.socket, upstream: socket.socket, *, both: bool) -> None:
        """Copy bytes until an end or the idle time-out. Without ``both`` only the answer is copied: a client gets one request."""
        with selectors.DefaultSelector() as selector:
            selector.register(upstream, selectors.EVENT_READ, client)
            if both:
                selector.register(client, selectors.EVENT_READ, upstream)
            while upstream in selector.get_map():
                ready = selector.select(self.limits.idle_seconds)
                if not ready:
                    return
                for key, _ in ready:
                    source, sink = key.fileobj, key.data
                    assert isinstance(source, socket.socket)
                    data = source.recv(_CHUNK)
                    with self._lock:
                        self._bytes_left -= len(data)
                        spent = self._bytes_left < 0
                    if spent:
                        return
                    if data:
                        sink.sendall(data)
                    else:
                        selector.unregister(source)
                        with contextlib.suppress(OSError):
                            sink.shutdown(socket.SHUT_WR)


def parse_request(head: bytes) -> tuple[str, str, int, bytes]:
    """(method, host in lower case, port, bytes to forward) of a request head that ends with one CRLF; bytes are empty for CONNECT."""
    match = _REQUEST_LINE.match(head)
    if match is None:
        raise _Refused("this is no HTTP proxy request", "400 Bad Request")
    method, target = match[1].decode("ascii"), match[2].decode("latin-1")
    if method == "CONNECT":
        authority = _AUTHORITY.fullmatch(target)
        if authority is None:
            raise _Refused("CONNECT needs host:port", "400 Bad Request")
        return method, (authority[1] or authority[2]).lower().rstrip("."), int(authority[3]), b""
    if method not in ("GET", "HEAD"):
        raise _Refused(f"{method} is not needed to read a package index")
    try:
        url = urlsplit(target)
        host, port = (url.hostname or "").lower().rstrip("."), url.port or 80
    except ValueError as error:
        raise _Refused("the URL cannot be read", "400 Bad Request") from error
    if url.scheme != "http" or not host or url.username is not None or not target.isascii():
        raise _Refused("only plain http:// URLs without a user can be asked for; use CONNECT for https")
    lines = [line for line in head[match.end() :].split(b"\r\n") if line]
    names = [line.partition(b":")[0].strip().lower() for line in lines]
    folded = any(b"\n" in line or b"\r" in line or line[:1] in b" \t" for line in lines)
    if folded or {b"content-length", b"transfer-encoding"} & set(names):
        raise _Refused("the request's header cannot be forwarded", "400 Bad Request")
    kept = [line for line, name in zip(lines, names, strict=True) if name not in _HOP_HEADERS]
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    shown = f"[{host}]" if ":" in host else host
    first = f"{method} {path} HTTP/1.1\r\nHost: {shown}{'' if port == 80 else f':{port}'}\r\nConnection: close\r\n".encode("ascii")
    return method, host, port, first + b"".join(line + b"\r\n" for line in kept) + b"\r\n"


def _answer(status: str, sentence: str) -> bytes:
    body = (sentence + "\n").encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + body


def index_proxy(
    allowed: frozenset[tuple[str, int]],
    allow_private: frozenset[str] = frozenset(),
    *,
    limits: ProxyLimits = ProxyLimits(),
    resolver: Resolver = resolve,
) -> IndexProxy:
    """A proxy to use as a context manager; its ``socket_path`` is what the sandbox gets.

    ``allowed`` are (host, port) pairs; ``allow_private`` are addresses that may be reached although they are private or local.
    """
    return IndexProxy(allowed, allow_private, limits, resolver)
