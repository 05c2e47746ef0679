"""What tests of stealing share: an app that says who it is, who answers a bystander, and what a network is like."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Self

from docker.models.containers import Container

from .scene import Run, Scene

# Answers with who it is, who asked, and under which address. Its stdin: close, open, exit.
APP = """
import http.server, json, socketserver, sys, threading
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    address_family = 10; daemon_threads = True; request_queue_size = 128
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"by": "app", "peer": self.client_address[:2], "own": self.connection.getsockname()[0],
                           "path": self.path, "user": self.headers.get("X-User"), "name": sys.argv[1]})
        body = body.encode() + b"\\n"
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
def serve():
    made = Server(("::", 8080), Handler)
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    print(json.dumps({"listening": 8080}), flush=True)
    return made
now = serve()
for line in sys.stdin:
    match line.strip():
        case "close": now.shutdown(); now.server_close(); print(json.dumps({"closed": 8080}), flush=True)
        case "open": now = serve()
        case "exit": break
"""


def stolen(scene: Scene, target: Container, *options: str, name: str = "ada") -> Run:
    """An app that answers in the target's place by now."""
    run = scene.start(
        target, "python3", "-c", APP, name, options=("--steal", *options), stdin=subprocess.PIPE
    )
    run.event(listening=8080)
    run.said("stealing 8080")
    return run


def tell(run: Run, word: str) -> None:
    assert run.process.stdin is not None
    run.process.stdin.write(word + "\n")
    run.process.stdin.flush()


def ask(scene: Scene, client: Container, host: str = "target", *words: str) -> dict[str, Any]:
    """Who answers, over a connection of its own; the target's answer as {"by": "target"}."""
    text = scene.inside(client, "curl", "-sS", "--max-time", "10", *words, f"http://{host}:8080/")
    if text == "the target answers\n":
        return {"by": "target"}
    found: dict[str, Any] = json.loads(text)
    return found


def until(scene: Scene, client: Container, who: str, patience: float = 10) -> None:
    """For what nobody tells this side of: asks until ``who`` answers."""
    deadline = time.monotonic() + patience
    while ask(scene, client)["by"] != who:
        assert time.monotonic() < deadline, f"{who} does not answer"


def matched(scene: Scene, client: Container, user: str) -> dict[str, Any]:
    return ask(scene, client, "target", "-H", f"x-user: {user}")


class Held:
    """A Python program in a client's container that answers each line with one, for as long as the block lasts."""

    def __init__(self, client: Container | Sequence[str], program: str) -> None:
        """``client``: where, or the words that run a command there and pass its stdin on."""
        into = ["docker", "exec", "-i", str(client.id)] if isinstance(client, Container) else client
        self._process = subprocess.Popen(
            [*into, "python3", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str = "") -> str:
        """What it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate("", timeout=30)


LOOKS = (
    "nft -s list ruleset",
    "ip rule",
    "ip -6 rule",
    "ip -4 route show table all",
    "ip -6 route show table all",
    "ss -HltunO",
    "ss -HtnO state established",
    "sysctl -a --pattern ^net.ipv[46].(conf|ip)",
)


def network(scene: Scene, target: Container) -> dict[str, list[str]]:
    """What a gate could leave in a target's network: rules, routes, sockets, settings."""
    target.reload()
    into = ["nsenter", "-t", str(target.attrs["State"]["Pid"]), "-n"]

    def look(words: str) -> list[str]:
        done = subprocess.run([*into, *words.split()], check=True, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        return sorted(filter(None, map(_sockets, lines)) if words.startswith("ss ") else lines)

    while look("ip -6 address show tentative"):  # of a container that has just begun: its routes come later
        time.sleep(0.1)
    return {words: look(words) for words in LOOKS}


def _sockets(line: str) -> str:
    """Without its queues, and without what is at work over the loopback: a health check, a server's own."""
    words = [word for word in line.split() if not word.isdigit()]
    return "" if "LISTEN" not in line and "UNCONN" not in line and "127.0.0.1" in line else " ".join(words)


def as_before(scene: Scene, target: Container, before: dict[str, list[str]], patience: float = 12) -> None:
    """Waits until the target's network is as it was: its end is told to nobody."""
    deadline = time.monotonic() + patience
    while (now := network(scene, target)) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    for words in LOOKS:
        gone, new = set(before[words]) - set(now[words]), set(now[words]) - set(before[words])
        assert now[words] == before[words], f"{words}: no longer {gone}, but {new}"
