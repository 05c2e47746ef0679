"""What clients send to a pod arrives in the app, whole or not at all: every protocol, two sessions for all of them.

One only records; the other has a mapped and an ignored port, listens on loopback, reads nothing, crashes and comes
back.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import Run

from .scene import PORTS, Images, Scene, wait_left

TARGET = "cart"
BEHAVIOURS = {"echo": 7001, "digest": 7003}
MIB = 1 << 20
RATE = 15_000_000
"""Octets a second: below the 25 MB/s that an agent sends of copies, on a machine that plays all parts."""

RECORDS = ("8080", "7001", "7003", "8443", "8765", "6379", "udp/7001")

ODD = """
python3 /programs/record.py --slow 3600 7777 &
python3 /programs/record.py --http 9999 6379 &
while read start; do
    python3 /programs/record.py --http --host 127.0.0.1 8080 & P=$!
    read crash; kill -9 $P; wait $P; echo crashed
done
"""
ODD_OPTIONS = ("--map-port", "9999:8090", "--map-port", "7777:7003", "--ignore-port", "6379")

GET = "GET / HTTP/1.1\\r\\nHost: target\\r\\n\\r\\n"

# Sends the pieces it is told, and prints the digests of both ways.
RAW = """
import hashlib, socket, sys
host, port, *pieces = sys.argv[1:]
s = socket.create_connection((host, int(port)))
sent = [p.encode().decode("unicode_escape").encode("latin-1") for p in pieces]
for p in sent: s.sendall(p)
s.shutdown(socket.SHUT_WR)
got = b""
while more := s.recv(65536): got += more
whole = b"".join(sent)
print(len(whole), hashlib.sha256(whole).hexdigest(), got.count(b"HTTP/1.1 200"))
"""

# One connection; each line of stdin is a path that is asked for on it.
KEPT = """
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], 8080)
for line in sys.stdin:
    c.request("GET", line.strip()); a = c.getresponse(); print(a.status, len(a.read()), flush=True)
"""


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images) -> Iterator[Scene]:
    """A target, a client, and both sessions ended at last, of which nothing is left."""
    name = f"mrt-mirror-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    scene = Scene(cluster, name, images)
    scene.deployment(TARGET, ports=PORTS | BEHAVIOURS)
    scene.client()
    scene.wait_inside(
        "client", "sh", "-c", f"nc -z {TARGET} 8765 && nc -z {TARGET} 8443 && nc -z {TARGET} 7003"
    )
    yield scene
    scene.close_runs()
    assert not wait_left(scene)
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


def options(scene: Scene) -> tuple[str, ...]:
    return ("--agent", "job", "--agent-image", scene.images.agent)


@pytest.fixture(scope="module")
def recorder(stage: Scene) -> Run:
    run = stage.start(f"deploy/{TARGET}", "python3", "/programs/record.py", *RECORDS, options=options(stage))
    mirrors(run, *(port for port in RECORDS if port.isdigit()), "7001/udp")
    return run


@pytest.fixture(scope="module")
def odd(stage: Scene) -> Run:
    """Started; the part of it that crashes listens when it is told to."""
    words = (*options(stage), *ODD_OPTIONS)
    run = stage.start(f"deploy/{TARGET}", "sh", "-c", ODD, options=words, stdin=subprocess.PIPE)
    mirrors(run, "7003", "8090")
    return run


def mirrors(run: Run, *ports: str) -> None:
    """Waits until it is said that all of these ports of the target are mirrored."""
    words = re.compile(r": mirroring .* of deploy/")

    def said(line: str) -> bool:
        return bool(words.search(line)) and all(port in re.split(r"[ ,]+", line) for port in ports)

    run.err.wait(said, f"mirroring {', '.join(ports)}")


def tell(run: Run) -> None:
    assert run.process.stdin is not None
    run.process.stdin.write("\n")
    run.process.stdin.flush()


def raw(scene: Scene, *pieces: str) -> tuple[int, str, int]:
    octets, digest, answers = scene.inside("client", "python3", "-c", RAW, TARGET, "8080", *pieces).split()
    return int(octets), digest, int(answers)


def ask(scene: Scene, path: str, port: int = 8080, host: str = TARGET) -> str:
    return scene.inside("client", "curl", "-sS", "-m", "10", f"http://{host}:{port}{path}")


# --- what protocols make of it --------------------------------------------------------------------------------------


def test_only_what_a_filter_chooses(stage: Scene) -> None:
    """Of a kept connection; and of a session of its own beside the others'."""
    words = (*options(stage), "--http-path", "^/mine")
    run = stage.start(f"deploy/{TARGET}", "python3", "/programs/record.py", "--http", "8080", options=words)
    mirrors(run, "8080")
    paths = ("mine/1", "theirs/1", "mine/2", "theirs/2")
    stage.inside("client", "curl", "-sS", "-m", "10", *(f"http://{TARGET}:8080/{path}" for path in paths))
    assert [run.event(request=None)["request"] for _ in range(2)] == [
        "GET /mine/1 HTTP/1.1", "GET /mine/2 HTTP/1.1",
    ]  # fmt: skip
    assert run.event(end=None)["end"] == "eof"
    run.end()
    said = "\n".join(run.err.seen)
    assert ": requests where the path matches ^/mine" in said
    assert re.search(
        r"2 of \d+ requests to 8080 matched, and were copied", said
    )  # its probes are requests too


def test_pipelined_requests(stage: Scene, recorder: Run) -> None:
    octets, digest, answers = raw(stage, GET * 20)
    told = recorder.event(port=8080, end="eof")
    assert (told["octets"], told["sha256"], answers) == (octets, digest, 20)


def test_chunked(stage: Scene, recorder: Run) -> None:
    head = "POST /upload HTTP/1.1\\r\\nHost: target\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    octets, digest, answers = raw(stage, head, "5\\r\\nhello\\r\\n", "6\\r\\n world\\r\\n", "0\\r\\n\\r\\n")
    told = recorder.event(port=8080, end="eof")
    assert (told["octets"], told["sha256"], answers) == (octets, digest, 1)


def test_http2(stage: Scene, recorder: Run) -> None:
    urls = [f"http://{TARGET}:8443/index.html?{number}" for number in range(10)]
    assert stage.inside("client", "nghttp", "-ns", *urls).count(" 200 ") == 10
    assert recorder.event(port=8443, end=None)["head"].startswith("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def test_websocket(stage: Scene, recorder: Run) -> None:
    words = ("python3", "/programs/websocket_echo.py", f"ws://{TARGET}:8765/", "200")
    assert stage.inside("client", *words).strip() == "ok"
    assert recorder.event(port=8765, end=None)["octets"] > 200 * len("message 1")


def test_redis(stage: Scene, recorder: Run) -> None:
    stage.inside("client", "redis-cli", "-h", TARGET, "set", "mirrored", "yes")
    assert "mirrored" in recorder.event(port=6379, end=None)["head"]
    assert stage.inside("client", "redis-cli", "-h", TARGET, "get", "mirrored").strip() == "yes"


def test_udp(stage: Scene, recorder: Run) -> None:
    pod = stage.address(stage.names(TARGET)[0])
    assert stage.probe_inside("client", "udp_connected", pod, "1200")[0] is True
    told = recorder.event(udp=7001)
    assert (told["octets"], told["peer"][0]) == (1200, stage.address("client"))


def test_200_connections_at_once(stage: Scene, recorder: Run) -> None:
    """Each has its own line, and each line arrives once."""
    assert stage.probe_inside("client", "many", TARGET, "200") == [200, 200]
    lines = [recorder.event(port=7001, end="eof")["head"] for _ in range(200)]
    assert sorted(lines) == sorted(f"connection {number}\n" for number in range(200))


def test_100_mebibytes(stage: Scene, recorder: Run, odd: Run) -> None:
    """Whole for the app that reads, lost for the one that does not, and for nobody else."""
    words = ("upload", TARGET, str(100 * MIB), str(RATE))
    assert stage.probe_inside("client", *words) == [100 * MIB, True]
    told = recorder.event(port=7003, end="eof")
    want = hashlib.sha256((bytes(range(251)) * (100 * MIB // 251 + 1))[: 100 * MIB])
    assert (told["octets"], told["sha256"]) == (100 * MIB, want.hexdigest())
    odd.said("1 mirrored connection ended: the app or this machine was slower")


# --- what options and the app make of it ----------------------------------------------------------------------------


def test_a_mapped_port(stage: Scene, odd: Run) -> None:
    """Kept alive: fifty requests on one connection."""
    urls = [f"http://{TARGET}:8090/?n={number}" for number in range(50)]
    stage.inside("client", "curl", "-sS", "-o", "/dev/null", *urls)
    for number in range(50):
        assert odd.event(request=f"GET /?n={number} HTTP/1.1")["port"] == 9999


def test_an_ignored_port(stage: Scene, odd: Run) -> None:
    stage.inside("client", "redis-cli", "-h", TARGET, "ping")
    ask(stage, "/after", 8090)
    odd.event(request="GET /after HTTP/1.1")
    assert not any('"open": 6379' in line for line in odd.out.seen)


def test_an_app_on_loopback_that_crashes_and_comes_back(stage: Scene, odd: Run) -> None:
    for path in ("/one", "/two"):
        tell(odd)
        odd.event(listening=["8080"])
        mirrors(odd, "8080")
        ask(stage, path, host=stage.address(stage.names(TARGET)[0]))
        assert odd.event(request=f"GET {path} HTTP/1.1")["peer"][0] == stage.address("client")
        tell(odd)
        odd.out.wait(lambda line: line == "crashed\n", "the app's crash")
        assert ask(stage, "/index.html") == "the target answers\n"


def test_joined_in_the_middle_of_a_connection(stage: Scene, odd: Run) -> None:
    """One that began before the app listened: it sees whole requests from some point on."""
    words = stage.kubectl.command(
        "-n", stage.namespace, "exec", "-i", "client", "--", "python3", "-c", KEPT, TARGET
    )
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=stage.kubectl.environment()
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def asks(path: str) -> str:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(path + "\n")
            client.stdin.flush()
            return client.stdout.readline().strip()

        assert asks("/before").startswith("404 ")
        tell(odd)
        odd.event(listening=["8080"])
        mirrors(odd, "8080")
        # The first exchange that is seen whole makes the boundary certain; the next request is the app's.
        for path in ("/boundary", "/seen-1", "/seen-2"):
            assert asks(path).startswith("404 ")
        for path in ("/seen-1", "/seen-2"):
            told = odd.event(request=f"GET {path} HTTP/1.1")
            assert told["peer"][0] == stage.address("client")
        client.stdin.close()
        assert client.wait(20) == 0
    assert not any(json.dumps("GET /before HTTP/1.1") in line for line in odd.out.seen)
