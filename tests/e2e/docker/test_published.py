"""A port published with -p answers on this machine, while everything else still leaves through the target."""

from __future__ import annotations

import http.client
import socket

from docker.models.containers import Container

from .scene import LABEL, Scene

APP = """
import http.server, urllib.request
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = urllib.request.urlopen("http://peer:8080/").read().strip()
        self.send_response(200)
        self.send_header("Content-Length", str(len(seen)))
        self.end_headers()
        self.wfile.write(seen)
server = http.server.ThreadingHTTPServer(("", 8000), Answer)
print("up", flush=True)
server.serve_forever()
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_published_port(scene: Scene, target: Container) -> None:
    """What it answers with is what the peer saw it as: the target's address."""
    port = free_port()
    run = scene.start(target, "python3", "-c", APP, options=("-p", f"127.0.0.1:{port}:8000"))
    run.out.wait(lambda line: "up" in line, "the app's first line")
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        asked.request("GET", "/")
        assert asked.getresponse().read().decode() in scene.addresses(target)
    finally:
        asked.close()


def test_another_network_reaches_the_app(scene: Scene, target: Container, peer: Container) -> None:
    """--network attaches one of the engine's: its members reach the app there, and its answers go back that way."""
    other = scene.client.networks.create(f"{scene.name}-other", driver="bridge", labels={LABEL: scene.name})
    neighbour = scene.client.containers.create(scene.image, ["sleep", "infinity"], init=True)
    try:
        scene.client.networks.get("bridge").disconnect(neighbour)
        other.connect(neighbour)
        neighbour.start()
        run = scene.start(target, "python3", "-c", APP, options=("--network", str(other.name)))
        run.out.wait(lambda line: "up" in line, "the app's first line")
        other.reload()
        (address,) = [
            member["IPv4Address"].split("/")[0]
            for member in other.attrs["Containers"].values()
            if member["Name"] != neighbour.name
        ]
        assert scene.inside(neighbour, "curl", "-sS", f"http://{address}:8000/") in scene.addresses(target)
        run.end()
    finally:
        neighbour.remove(force=True, v=True)
        other.remove()
