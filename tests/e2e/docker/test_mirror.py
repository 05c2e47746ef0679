"""What clients send to the target arrives in the app, whole or not at all, and what the app answers reaches nobody."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import pytest
from docker.models.containers import Container

from .scene import ROLE, Scene

# In the bystander's container: wrk until a line comes on stdin.
LOAD = "wrk -t1 -c8 -d3600 -s /programs/watch.lua http://target:8090/ & P=$!; read -r line; kill -INT $P; wait $P"


@pytest.fixture(scope="module", autouse=True)
def load(scene: Scene, target: Container, bystander: Container) -> Iterator[None]:
    """Somebody else uses the target all the while, and no answer of theirs fails or is another than before."""
    wrk = subprocess.Popen(
        ["docker", "exec", "-i", str(bystander.id), "sh", "-c", LOAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield
    told, _ = wrk.communicate("\n", timeout=60)
    watched = [line.split() for line in told.splitlines() if line.startswith("watched")]
    assert watched, told
    (_, requests, _, failed, _, altered) = watched[0]
    assert (failed, altered) == ("0", "0"), told
    assert int(requests) > 1000


# A client in the bystander's container: sends the pieces it is told, and prints the digests of both ways.
RAW = """
import hashlib, socket, sys, time
host, port, *pieces = sys.argv[1:]
s = socket.create_connection((host, int(port)))
sent = b"".join(p.encode().decode("unicode_escape").encode("latin-1") for p in pieces)
for p in pieces:
    s.sendall(p.encode().decode("unicode_escape").encode("latin-1"))
s.shutdown(socket.SHUT_WR)
got = b""
while more := s.recv(65536):
    got += more
print(len(sent), hashlib.sha256(sent).hexdigest(), hashlib.sha256(got).hexdigest(), got.count(b"HTTP/1.1 200"))
"""


def raw(scene: Scene, client: Container, *pieces: str, port: int = 8080) -> tuple[int, str, str, int]:
    octets, sent, got, answers = scene.inside(
        client, "python3", "-c", RAW, "target", str(port), *pieces
    ).split()
    return int(octets), sent, got, int(answers)


GET = "GET / HTTP/1.1\\r\\nHost: target\\r\\n\\r\\n"


def test_keep_alive(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8080", flags=("--http",))
    scene.inside(bystander, "curl", "-sS", *[f"http://target:8080/?n={n}" for n in range(50)])
    for number in range(50):
        run.event(request=f"GET /?n={number} HTTP/1.1")
    assert run.event(end=None)["end"] == "eof"


def test_pipelining(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8080")
    octets, sent, _, answers = raw(scene, bystander, GET * 20)
    told = run.event(end="eof")
    assert (told["octets"], told["sha256"], answers) == (octets, sent, 20)


def test_chunked(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8080")
    octets, sent, _, answers = raw(
        scene,
        bystander,
        "POST /upload HTTP/1.1\\r\\nHost: target\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n",
        "5\\r\\nhello\\r\\n",
        "6\\r\\n world\\r\\n",
        "0\\r\\n\\r\\n",
    )
    told = run.event(end="eof")
    assert (told["octets"], told["sha256"], answers) == (octets, sent, 1)


def test_100_mebibytes(scene: Scene, target: Container, bystander: Container) -> None:
    """At half a Gbit/s: what a machine of two cores that plays all parts can carry and digest four times over."""
    run = scene.record(target, "7003")
    upload = ("python3", "/programs/probe.py", "upload", "target", str(100 << 20), str(60_000_000))
    assert scene.inside(bystander, *upload).strip() == f"[{100 << 20}, true]"
    told = run.event(end="eof")
    period = bytes(range(251))
    want = hashlib.sha256((period * ((100 << 20) // 251 + 1))[: 100 << 20])
    assert (told["octets"], told["sha256"]) == (100 << 20, want.hexdigest())


def test_only_what_a_filter_chooses(scene: Scene, target: Container, bystander: Container) -> None:
    """Of one kept connection and of one of HTTP/2; what is no HTTP is left out, and all of it is said."""
    chooses = ("--http-header", "^x-user: ada$")
    run = scene.record(target, "8080", "8443", "6379", flags=("--http",), options=chooses)
    words: list[str] = []
    for number, user in enumerate(("ada", "ben", "ada", "eve")):
        words += ["-H", f"x-user: {user}", "-o", "/dev/null", f"http://target:8080/?n={number}", "--next"]
    scene.inside(bystander, "curl", "-sS", "--max-time", "10", *words[:-1])
    scene.inside(bystander, "redis-cli", "-h", "target", "ping")
    for user in ("ben", "ada"):
        urls = [f"http://target:8443/index.html?{n}" for n in range(2)]
        scene.inside(bystander, "nghttp", "-ns", "-H", f"x-user: {user}", *urls)
    requests = [run.event(request=None)["request"] for _ in range(2)]
    assert requests == ["GET /?n=0 HTTP/1.1", "GET /?n=2 HTTP/1.1"]
    assert run.event(end=None, port=8443)["head"].startswith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    run.said("clients of 6379")
    assert run.end() == 143
    said = "\n".join(run.err.seen)
    assert "requests where a header matches ^x-user: ada$" in said
    assert "2 of 4 requests to 8080 matched, and were copied" in said
    assert "2 of 4 requests to 8443 matched, and were copied" in said
    assert not [line for line in run.out.seen if '"port": 6379' in line]


def test_http2_prior_knowledge(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8443")
    text = scene.inside(
        bystander, "nghttp", "-ns", *[f"http://target:8443/index.html?{n}" for n in range(10)]
    )
    assert text.count(" 200 ") == 10
    told = run.event(end=None, port=8443)
    assert told["head"].startswith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def test_websocket(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8765")
    assert (
        scene.inside(bystander, "python3", "/programs/websocket_echo.py", "ws://target:8765/", "200").strip()
        == "ok"
    )
    told = run.event(end=None, port=8765)
    assert told["octets"] > 200 * len("message 1")
    assert "Upgrade" not in told["end"]


def test_redis(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "6379")
    scene.inside(bystander, "redis-cli", "-h", "target", "set", "mirrored", "yes")
    assert "mirrored" in run.event(end=None, port=6379)["head"]
    assert scene.inside(bystander, "redis-cli", "-h", "target", "get", "mirrored").strip() == "yes"


def test_udp(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "udp/7001")
    assert scene.probe_inside(bystander, "udp_connected", "target", "1200")[0] is True
    told = run.event(udp=7001)
    assert told["octets"] == 1200
    assert told["peer"][0] in scene.addresses(bystander)


def test_joined_in_the_middle_of_a_keep_alive_connection(
    scene: Scene, target: Container, bystander: Container
) -> None:
    """One connection that began before the session: the app sees whole requests from some point on."""
    script = """
import http.client, sys
c = http.client.HTTPConnection("target", 8080)
for line in sys.stdin:
    c.request("GET", line.strip()); a = c.getresponse(); print(a.status, len(a.read()), flush=True)
"""
    client = subprocess.Popen(
        ["docker", "exec", "-i", str(bystander.id), "python3", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None

    def ask(path: str) -> str:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(path + "\n")
        client.stdin.flush()
        return str(client.stdout.readline()).strip()

    assert ask("/before").startswith("404 ")
    run = scene.record(target, "8080", flags=("--http",))
    # The first exchange that is seen whole makes the boundary certain; the next request is the app's.
    ask("/boundary")
    ask("/seen-1")
    ask("/seen-2")
    assert run.event(request="GET /seen-1 HTTP/1.1")["peer"][0] in scene.addresses(bystander)
    run.event(request="GET /seen-2 HTTP/1.1")
    client.stdin.close()
    client.stdout.close()
    assert client.wait(20) == 0


def test_a_slow_app_loses_its_own_copy_and_nothing_else(
    scene: Scene, target: Container, bystander: Container
) -> None:
    run = scene.record(target, "7003", "8080", flags=("--slow", "3600"))
    upload = scene.inside(bystander, "python3", "/programs/probe.py", "upload", "target", str(100 << 20))
    assert upload.strip() == f"[{100 << 20}, true]"
    scene.inside(bystander, "curl", "-sS", "http://target:8080/")
    run.event(open=8080)
    run.said("1 mirrored connection ended: the app or this machine was slower")
    run.end()
    assert any("copy ended as too slow" in line for line in run.err.seen)


def test_app_crashes_and_comes_back(scene: Scene, target: Container, bystander: Container) -> None:
    script = (
        "python3 /programs/record.py --http 8080 & P=$!; read X; kill -9 $P; wait $P; echo crashed; read X; "
        "exec python3 /programs/record.py --http 8080"
    )
    run = scene.start(target, "sh", "-c", script, stdin=subprocess.PIPE)
    assert run.process.stdin is not None
    run.event(listening=None)
    run.said(": mirroring")
    scene.inside(bystander, "curl", "-sS", "http://target:8080/one")
    run.event(request="GET /one HTTP/1.1")
    run.process.stdin.write("\n")
    run.process.stdin.flush()
    run.out.wait(lambda line: "crashed" in line, "the app's crash")
    run.said("no longer mirroring")  # what comes and goes between two looks of the agent is not said
    assert "the target answers" in scene.inside(bystander, "curl", "-sS", "http://target:8080/")
    run.process.stdin.write("\n")
    run.process.stdin.flush()
    run.event(listening=None)
    run.said(": mirroring")
    scene.inside(bystander, "curl", "-sS", "http://target:8080/two")
    run.event(request="GET /two HTTP/1.1")


def test_app_on_another_port(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "9999", flags=("--http",), options=("--map-port", "9999:8080"))
    scene.inside(bystander, "curl", "-sS", "http://target:8080/mapped")
    assert run.event(request="GET /mapped HTTP/1.1")["port"] == 9999


def test_app_that_listens_on_loopback_only(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8080", flags=("--http", "--host", "127.0.0.1"))
    scene.inside(bystander, "curl", "-sS", f"http://{scene.address(target)}:8080/loopback")
    assert run.event(request="GET /loopback HTTP/1.1")["peer"][0] == scene.address(bystander)


def test_ignored_port(scene: Scene, target: Container, bystander: Container) -> None:
    run = scene.record(target, "8080", "7003", flags=("--http",), options=("--ignore-port", "7003"))
    scene.inside(bystander, "python3", "/programs/probe.py", "upload", "target", "10")
    scene.inside(bystander, "curl", "-sS", "http://target:8080/after")
    run.event(request="GET /after HTTP/1.1")
    assert not any('"open": 7003' in line for line in run.out.seen)


def test_three_sessions_on_one_target(scene: Scene, target: Container, bystander: Container) -> None:
    runs = [scene.record(target, "8080", flags=("--http",)) for _ in range(3)]
    agents = scene.client.containers.list(filters={"label": f"{ROLE}=agent"})
    assert len(agents) == len({str(found.attrs["Image"]) for found in agents}), (
        "one agent of each version at most"
    )
    for number in range(20):
        scene.inside(bystander, "curl", "-sS", f"http://target:8080/{number}")
    for run in runs:
        for number in range(20):
            run.event(request=f"GET /{number} HTTP/1.1")


@pytest.fixture
def second(scene: Scene, peer: Container) -> Iterator[Container]:
    made = scene.container("second", ["sh", "/programs/target.sh"], dns=[scene.address(peer)])
    scene.wait_inside(made, "sh", "-c", "nc -z 127.0.0.1 8080")
    yield made
    scene.remove(made)


def test_two_targets_at_once(
    scene: Scene, target: Container, second: Container, bystander: Container
) -> None:
    one, two = (
        scene.record(target, "8080", flags=("--http",)),
        scene.record(second, "8080", flags=("--http",)),
    )
    scene.inside(bystander, "curl", "-sS", "http://target:8080/first", "http://second:8080/second")
    one.event(request="GET /first HTTP/1.1")
    two.event(request="GET /second HTTP/1.1")
    assert not any("second" in line for line in one.out.seen)


def test_the_target_restarts_and_the_session_goes_on(
    scene: Scene, second: Container, bystander: Container
) -> None:
    run = scene.record(second, "8080", flags=("--http",))
    second.restart(timeout=1)
    scene.wait_inside(bystander, "curl", "-sfS", "http://second:8080/")
    run.said(": mirroring")
    scene.inside(bystander, "curl", "-sS", "http://second:8080/again")
    run.event(request="GET /again HTTP/1.1")
