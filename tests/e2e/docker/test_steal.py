"""Stealing from a container: the app answers the target's clients, nobody notices more, each end gives all back."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any, Self

import pytest
from docker.models.containers import Container

from .scene import Run, Scene
from .test_bystanders import part

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

# Fresh connections, one after the other, until stdin says stop: who answered, and what failed.
LOAD = """
import http.client, json, sys, threading
stop = threading.Event(); counts = {"app": 0, "target": 0}; failed = []
lock = threading.Lock()
def fresh():
    while not stop.is_set():
        c = http.client.HTTPConnection("target", 8080, timeout=10)
        try:
            c.request("GET", "/", headers={"Connection": "close"}); a = c.getresponse(); body = a.read()
            who = "app" if b'"by": "app"' in body else "target" if body == b"the target answers\\n" else None
            with lock:
                if a.status == 200 and who: counts[who] += 1
                else: failed.append(f"{a.status} {body[:60]}")
        except (OSError, http.client.HTTPException) as e:
            with lock: failed.append(repr(e))
        finally: c.close()
threads = [threading.Thread(target=fresh) for _ in range(3)]
[t.start() for t in threads]
sys.stdin.readline(); stop.set(); [t.join() for t in threads]
print(json.dumps({**counts, "failed": failed}))
"""


class Load:
    """A bystander's, for as long as the block lasts; then ``app``, ``target`` and ``failed``."""

    def __init__(self, client: Container) -> None:
        self.counts: dict[str, Any] = {}
        self._process = subprocess.Popen(
            ["docker", "exec", "-i", str(client.id), "python3", "-c", LOAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        out, err = self._process.communicate("\n", timeout=60)
        assert out or error[0], err
        self.counts = json.loads(out) if out else {}


def stolen(scene: Scene, target: Container, *options: str, name: str = "ada") -> Run:
    """An app that answers in the target's place by now."""
    run = scene.start(target, "python3", "-c", APP, name, options=("--steal", *options), stdin=subprocess.PIPE)
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


def rules(scene: Scene, target: Container) -> str:
    """What of packet rules there is in the target's network."""
    target.reload()
    pid = target.attrs["State"]["Pid"]
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", "nft", "list", "ruleset"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture
def ruled(scene: Scene, target: Container) -> Any:
    """Before and after the test the target's rules are the same."""
    before = rules(scene, target)
    yield
    scene.close_runs()
    deadline = time.monotonic() + 12
    while (after := rules(scene, target)) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert after == before


pytestmark = pytest.mark.usefixtures("ruled")


def test_a_port_stolen_whole(scene: Scene, target: Container, bystander: Container) -> None:
    """And the target's own checks go on as before."""
    assert ask(scene, bystander)["by"] == "target"
    run = stolen(scene, target)
    for family in (4, 6):
        own = scene.address(target, family)
        answer = ask(scene, bystander, own if family == 4 else f"[{own}]")
        peer = answer["peer"][0].removeprefix("::ffff:")
        assert (answer["by"], peer) == ("app", scene.address(bystander, family))
        assert answer["own"].removeprefix("::ffff:") == own
    assert ask(scene, target, "127.0.0.1")["by"] == "target"
    assert run.end() == 143
    assert ask(scene, bystander)["by"] == "target"
    assert any("stolen" in line for line in run.err.seen[-8:]), run.err.seen[-8:]


def test_begins_and_ends_under_load(scene: Scene, target: Container, bystander: Container) -> None:
    with Load(bystander) as load:
        run = stolen(scene, target)
        until(scene, bystander, "app")
        run.end()
        until(scene, bystander, "target")
    assert load.counts["failed"] == []
    assert load.counts["app"] > 5
    assert load.counts["target"] > 5


def test_an_app_that_stops_listening_and_begins_again(
    scene: Scene, target: Container, bystander: Container
) -> None:
    run = stolen(scene, target)
    until(scene, bystander, "app")
    tell(run, "close")
    run.said("no longer stealing")
    until(scene, bystander, "target")
    tell(run, "open")
    run.said("stealing 8080")
    until(scene, bystander, "app")


@pytest.mark.parametrize("role", ["runner", "agent", "bridge", "app"])
def test_kill_9_of_each_part(scene: Scene, target: Container, bystander: Container, role: str) -> None:
    run = stolen(scene, target)
    until(scene, bystander, "app")
    with Load(bystander) as load:
        if role == "runner":
            run.process.kill()
        else:
            part(scene, role).kill(signal="SIGKILL")
        until(scene, bystander, "target", 15)
    # Those in flight through what was killed may fail, each at once; nobody hangs, nobody is refused.
    assert len(load.counts["failed"]) <= 6, load.counts
    assert not [one for one in load.counts["failed"] if "timed out" in one or "refused" in one], load.counts
    run.wait() if role != "agent" else run.end()


def test_two_sessions_and_one_port(scene: Scene, target: Container, bystander: Container) -> None:
    """The second is told who holds it, and has it when the first lets go."""
    first = stolen(scene, target)
    second = scene.start(target, "python3", "-c", APP, "ben", options=("--steal",), stdin=subprocess.PIPE)
    line = second.said("is stolen whole by")
    assert "since" in line
    assert "--http-header" in line
    first.end()
    second.said("stealing 8080")
    until(scene, bystander, "app")


def matched(scene: Scene, client: Container, user: str) -> dict[str, Any]:
    return ask(scene, client, "target", "-H", f"x-user: {user}")


def test_by_filter_request_by_request(scene: Scene, target: Container, bystander: Container) -> None:
    """Matches and others alternate on one kept connection; the others' answers are the target's own."""
    run = stolen(scene, target, "--http-header", "^X-User: ada$", "--http-path", "^/", "--http-method", "get")
    assert matched(scene, bystander, "ada")["by"] == "app"
    words: list[str] = []
    for user in ("ada", "ben", "ada", "eve", "ada"):
        words += ["-H", f"x-user: {user}", "http://target:8080/", "--next"]
    said = scene.inside(bystander, "curl", "-sS", "--max-time", "10", *words[:-1]).splitlines()
    assert ["target" if line == "the target answers" else "app" for line in said] == [
        "app", "target", "app", "target", "app",
    ]  # fmt: skip
    words = ["-H", "x-user: ada", "-d", "x", "-o", "/dev/null", "-w", "%{http_code}", "http://target:8080/"]
    assert scene.inside(bystander, "curl", "-sS", *words) == "405"  # nginx's; the app would say 501
    run.end()
    assert [line for line in run.err.seen if "4 of 7 requests to 8080 matched" in line], run.err.seen[-6:]


def test_a_filter_that_matches_nothing_says_so(scene: Scene, target: Container, bystander: Container) -> None:
    run = stolen(scene, target, "--http-header", "^x-nobody: .")
    for _ in range(3):
        assert ask(scene, bystander)["by"] == "target"
    run.end()
    said = "none of 3 requests to 8080 matched; the last was GET / HTTP/1.1"
    assert [line for line in run.err.seen if said in line], run.err.seen[-6:]


def test_filters_of_two_sessions(scene: Scene, target: Container, bystander: Container) -> None:
    """Asked in order of age."""
    first = stolen(scene, target, "--http-header", "^x-user: ada$")
    stolen(scene, target, "--http-header", "^x-user: (ada|ben)$", name="ben")
    assert matched(scene, bystander, "ada")["name"] == "ada"
    assert matched(scene, bystander, "ben")["name"] == "ben"
    assert matched(scene, bystander, "eve")["by"] == "target"
    first.end()
    assert matched(scene, bystander, "ada")["name"] == "ben"


def test_what_cannot_be_a_filter_is_refused_before_anything_starts(scene: Scene, target: Container) -> None:
    run = scene.start(target, "true", options=("--steal", "--http-path", "/a(?=b)"))
    assert run.wait() == 125
    assert "looks around" in "".join(run.err.seen)


def test_a_mirror_beside_a_filter(scene: Scene, target: Container, bystander: Container) -> None:
    """It sees what still reaches the target, each request once."""
    stolen(scene, target, "--http-header", "^x-user: ada$")
    copies = scene.record(target, "8080", flags=("--http",))
    for number, user in enumerate(("ada", "ben", "ada", "eve", "ben")):
        words = ("-H", f"x-user: {user}", f"http://target:8080/?n={number}")
        scene.inside(bystander, "curl", "-sS", "--max-time", "10", *words)
    for number in (1, 3, 4):
        seen = copies.event(request=f"GET /?n={number} HTTP/1.1")
        assert seen["peer"][0] in scene.addresses(bystander)
    copies.end()
    lines = [line for line in copies.out.seen if '"request"' in line]
    assert len(lines) == 3, lines
