"""An engine that gives less: the real one behind a Unix socket of ours, which changes words of what it is asked."""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import docker.utils


@contextmanager
def engine(folder: Path, instead: Mapping[bytes, bytes]) -> Iterator[str]:
    """DOCKER_HOST for it. In a request to make a bridge each word is replaced by one that is as long."""
    assert all(len(one) == len(other) for one, other in instead.items())
    real = docker.utils.parse_host(os.environ.get("DOCKER_HOST")).removeprefix("http+unix://")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(real)
                back = threading.Thread(target=_pour, args=(there, self.request, {}), daemon=True)
                back.start()
                _pour(self.request, there, instead)
                back.join()

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = folder / "engine.sock"
    with Server(str(path), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()


def _pour(source: socket.socket, sink: socket.socket, instead: Mapping[bytes, bytes]) -> None:
    try:
        while octets := source.recv(1 << 16):
            if b'"/dev/net/tun"' in octets:
                for one, other in instead.items():
                    octets = octets.replace(one, other)
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either side is gone, and so is the other soon
