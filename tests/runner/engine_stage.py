"""A server that plays a container engine, octet by octet, for what a real one cannot be made to do."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

Play = Callable[["Asked"], None]


@dataclass
class Asked:
    """One request, and the connection on which it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int
    sock: socket.socket

    def say(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def answer(self, body: bytes = b"", status: str = "200 OK") -> None:
        self.say(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


@dataclass
class Stage:
    """``asked``: every request so far. ``play`` answers."""

    play: Play
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def serve(self, sock: socket.socket) -> None:
        """Until the other side, or the play, hangs up."""
        self.connections += 1
        number = self.connections
        with sock, suppress(OSError), sock.makefile("rb") as file:
            while line := file.readline():
                headers = {}
                while (text := file.readline().decode().strip()) != "":
                    name, _, value = text.partition(": ")
                    headers[name.lower()] = value
                body = file.read(int(headers.get("content-length", "0")))
                self.asked.append(Asked(line.decode().strip(), headers, body, number, sock))
                self.play(self.asked[-1])

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()


@pytest.fixture
def sdks_sockets() -> Iterator[None]:
    """The SDK leaves sockets that could not connect, or whose answer broke off, to whoever collects them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@contextmanager
def on_unix(path: Path, play: Play) -> Iterator[Stage]:
    """Listens there inside the block."""
    stage = Stage(play)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=stage.accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield stage
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)
