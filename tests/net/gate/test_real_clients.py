"""gRPC and WebSocket libraries through the gate: target and app alike on the client's one connection."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websocket

from tests.net.gate.conftest import Start
from tests.net.gate.lab import TARGET4, Gate, Lab, Rule
from tests.net.gate.test_filters import MINE
from tests.net.gate.test_real_servers import pump

pytestmark = pytest.mark.net

ROOT = Path(__file__).resolve().parents[3]
PORT = 8090


def process(namespace: str, *words: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", *words]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def cart(namespace: str, name: str) -> Iterator[None]:
    with process(namespace, "tests.net.gate.cart", "serve", name, str(PORT)) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.terminate()


def as_app(lab: Lab, port: int) -> Callable[[socket.socket], None]:
    """Serves what is handed over from what listens in the client's namespace, where the app's stands in."""
    entering = threading.Lock()

    def serve(app: socket.socket) -> None:
        with entering:
            real = lab.connect("127.0.0.1", port, where=lab.client)
        with real:
            back = threading.Thread(target=pump, args=(real, app), daemon=True)
            back.start()
            pump(app, real)
            back.join(20)

    return serve


def test_grpc(lab: Lab, gate: Start) -> None:
    made: Gate = gate()
    made.want(Rule(port=PORT, filter=MINE))
    with cart(lab.target, "target"), cart(lab.client, "app"), made.app(as_app(lab, PORT)):
        with process(lab.client, "tests.net.gate.cart", "ask", TARGET4, str(PORT)) as client:
            said, _ = client.communicate(timeout=60)
        assert (client.returncode, said) == (0, "ok\n")
        assert len(made.offers) == 1  # one connection to the app for all its streams
        made.drain()
        assert made.drained() == 0


@contextmanager
def websocket(lab: Lab, namespace: str, name: str, port: int) -> Iterator[None]:
    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(f"{name} {len(message)}")

    with lab.inside(namespace):
        listener = socket.create_server(("0.0.0.0", port))
    with serve_websocket(echo, sock=listener, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(20)


def test_websocket(lab: Lab, gate: Start) -> None:
    made: Gate = gate()
    made.want(Rule(port=PORT, filter=MINE))
    with (
        websocket(lab, lab.target, "target", PORT),
        websocket(lab, lab.client, "app", PORT),
        made.app(as_app(lab, PORT)),
    ):
        for who, headers in (("target", {}), ("app", {"X-Mine": "1"})):
            sock = lab.connect(TARGET4, PORT)
            with connect(f"ws://{TARGET4}:{PORT}/", sock=sock, additional_headers=headers) as client:
                for size in (1, 200, 70_000, 3_000_000):
                    client.send("x" * size)
                    assert client.recv(20) == f"{who} {size}"
