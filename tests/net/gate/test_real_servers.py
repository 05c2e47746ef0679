"""curl through the gate to nginx, target and app alike: HTTP/1.1, and HTTP/2 with prior knowledge."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, Gate, Lab, Rule
from tests.net.gate.test_filters import MINE, PATH
from tests.net.mirror.lab import run

pytestmark = pytest.mark.net

NGINX = """
daemon off; user root; worker_processes 1; pid %(folder)s/%(name)s.pid; error_log %(folder)s/%(name)s.error;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 10000000;
  server {
    listen [::]:8088 ipv6only=off; listen [::]:8089 ipv6only=off http2;
    location / { add_header X-Who %(name)s; return 200 "%(name)s $remote_addr $connection_requests\\n"; }
    location /big { add_header X-Who %(name)s; root %(folder)s; }
  }
}
"""


@contextmanager
def nginx(lab: Lab, namespace: str, name: str, folder: Path) -> Iterator[None]:
    config = folder / f"{name}.conf"
    config.write_text(NGINX % {"folder": folder, "name": name})
    (folder / "big").mkdir(exist_ok=True)
    (folder / "big" / "file").write_bytes(bytes(range(256)) * 8192)
    words = ["nginx", "-e", str(folder / f"{name}.error"), "-c", str(config)]
    with subprocess.Popen(["ip", "netns", "exec", namespace, *words]) as process:
        try:
            while True:
                with suppress(ConnectionRefusedError), lab.connect("127.0.0.1", 8088, where=namespace):
                    break
            yield
        finally:
            process.terminate()


def pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while octets := one.recv(65536):
            other.sendall(octets)
        other.shutdown(socket.SHUT_WR)


def curl(lab: Lab, folder: Path, *words: str) -> str:
    """All on one connection."""
    done = subprocess.run(
        ["ip", "netns", "exec", lab.client, "curl", "-sS", "--max-time", "20", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def both(lab: Lab, made: Gate, port: int, folder: Path) -> Iterator[None]:
    """nginx as the target, and nginx as the app."""
    entering = threading.Lock()

    def serve(app: socket.socket) -> None:
        with entering, lab.inside(lab.client):
            real = socket.create_connection(("127.0.0.1", port), timeout=20)
        with real:
            back = threading.Thread(target=pump, args=(real, app), daemon=True)
            back.start()
            pump(app, real)
            back.join(20)

    with nginx(lab, lab.target, "target", folder), nginx(lab, lab.client, "app", folder), made.app(serve):
        yield


@pytest.mark.parametrize(("target", "client"), [(TARGET4, f"::ffff:{CLIENT4}"), (f"[{TARGET6}]", CLIENT6)])
def test_curl_alternates_on_one_connection(
    lab: Lab, gate: Start, tmp_path: Path, target: str, client: str
) -> None:
    made = gate()
    url, mine = f"http://{target}:8088", ["-H", "X-Mine: 1"]
    with both(lab, made, 8088, tmp_path):
        made.want(Rule(port=8088, filter=MINE))
        words = [f"{url}/1", "--next", *mine, f"{url}/2", "--next", f"{url}/3", "--next", *mine, f"{url}/4"]
        lines = [
            line.split()
            for line in curl(lab, tmp_path, *words, "--next", "-d", "body", f"{url}/5").splitlines()
        ]
        assert [line[0] for line in lines] == ["target", "app", "target", "app", "target"]
        assert lines[0][1] == client
        assert [line[2] for line in lines] == ["1", "1", "2", "2", "3"]  # one connection to each
        words = ["-o", "one", f"{url}/big/file", "--next", *mine, "-o", "other", f"{url}/big/file"]
        curl(lab, tmp_path, *words)
        for name in ("one", "other"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "big" / "file").read_bytes()
        made.drain()
        assert made.drained() == 0
        assert made.counts[1, 8088][:2] == [7, 3]


@pytest.mark.parametrize("target", [TARGET4, f"[{TARGET6}]"])
def test_streams_of_one_connection_go_two_ways(lab: Lab, gate: Start, tmp_path: Path, target: str) -> None:
    """HTTP/2 with prior knowledge: every other stream is the app's, ten at a time on each of four connections."""
    made = gate()
    urls = [f"http://{target}:8089/{path}" for path in ("one", "mine", "two", "mine-too")]
    with both(lab, made, 8089, tmp_path):
        made.want(Rule(port=8089, filter=[[[PATH, "^/mine"]]]))
        told = run("ip", "netns", "exec", lab.client, "h2load", "-n4000", "-c4", "-m10", *urls)
        assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in told
        made.drain()
        assert made.drained() == 0
        assert made.counts[1, 8089][:2] == [4000, 2000]
