"""Runs a command whose HTTP proxy is a unix socket: ``_ledex_forward.py SOCKET COMMAND...`` (inside the build's network namespace).

Listens on a free port of 127.0.0.1, relays each connection to the socket, exits with the command's status. Standard library, 3.8+.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from typing import NoReturn


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    finally:
        # Half-closing tells the other side that no more comes; the other direction's thread does the same.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def _serve(client: socket.socket, path: str) -> None:
    with client:
        upstream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with upstream:
            try:
                upstream.connect(path)
            except OSError:
                return
            back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
            back.start()
            _copy(client, upstream)
            back.join()


def _accept(listener: socket.socket, path: str) -> NoReturn:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_serve, args=(client, path), daemon=True).start()


def main(arguments: list[str]) -> NoReturn:
    path, command = arguments[0], arguments[1:]
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = dict(os.environ)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        environment[name] = environment[name.upper()] = url
    # close_fds=False passes on the descriptors that this process was itself given (the report); Python's own are not inheritable.
    status = subprocess.call(command, env=environment, close_fds=False)
    sys.stdout.flush()
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main(sys.argv[1:])
