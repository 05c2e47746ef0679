"""The least of HTTP/1.1 that a mirrored conversation needs: heads, and one short answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """One connection after the other, until the listener is closed."""

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionResetError):  # the client's to do
                answer(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def answer_each(connection: socket.socket) -> None:
    """An answer for each request head, until the client ends."""
    held = b""
    while octets := connection.recv(65536):
        held += octets
        while b"\r\n\r\n" in held:
            held = held.split(b"\r\n\r\n", 1)[1]
            connection.sendall(ANSWER)


def ask(connection: socket.socket, path: str) -> None:
    connection.sendall(request(path))
    got = b""
    while len(got) < len(ANSWER):
        octets = connection.recv(len(ANSWER) - len(got))
        assert octets
        got += octets
