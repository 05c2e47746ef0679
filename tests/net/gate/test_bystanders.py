"""Those who have no part in it: connected before, or over lo, or while a steal begins and ends."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import CLIENT4, TARGET4, TARGET6, Gate, Lab, Rule, Session
from tests.net.mirror.lab import run

pytestmark = pytest.mark.net

STEAL_LOCAL, STEAL_EXISTING = 2, 4
ISTIO = 1337
MINE = [[[0, "^x-mine: 1$"]]]


def counts(made: Gate, port: int) -> dict[str, int]:
    """What was counted; the gate ends."""
    made.drain()
    made.drained()
    return dict(zip(("seen", "matched", "stolen", "older", "tls"), made.counts[1, port], strict=False))


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_who_was_connected_before_stays(lab: Lab, gate: Start, target: str) -> None:
    made = gate()
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        with lab.connect(target, port) as older, listener.accept()[0] as server:
            made.want(Rule(port=port))
            older.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert older.recv(100) == b"answer"
            with lab.connect(target, port) as caller:
                offer = made.offered()
                assert offer.client == caller.getsockname()[:2]
                offer.refuse()
                listener.accept()[0].close()
            older.close()
            assert server.recv(1) == b""
        assert counts(made, port)["older"] == 1


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_who_was_connected_before_is_moved_if_that_is_asked_for(lab: Lab, gate: Start, wildcard: str) -> None:
    """But neither another port's, nor one over lo, nor what goes through the gate already."""
    made = gate()
    family = socket.AF_INET6 if ":" in wildcard else socket.AF_INET
    with lab.inside(lab.target):
        listener = socket.create_server((wildcard, 0), family=family, dualstack_ipv6=":" in wildcard)
    listener.settimeout(20)
    with listener, lab.listen() as other:
        port = listener.getsockname()[1]
        made.want(Rule(port=port), sessions=[Session(1)])
        with (
            lab.connect(TARGET4, port) as through,
            lab.connect("127.0.0.1" if ":" not in wildcard else "::1", port, where=lab.target) as inside,
            lab.connect(TARGET4, other.getsockname()[1]) as elsewhere,
        ):
            made.offered().refuse()
            made.want()
            with lab.connect(TARGET4, port) as older:
                servers = [listener.accept()[0] for _ in range(3)]
                by_peer = {server.getpeername()[1]: server for server in servers}
                made.want(Rule(port=port), sessions=[Session(1, flags=STEAL_EXISTING)])
                with pytest.raises(ConnectionResetError):
                    older.recv(1)
            for caller in (through, inside):
                caller.sendall(b"still")
                assert by_peer[caller.getsockname()[1]].recv(10) == b"still"
            with other.accept()[0] as server:
                elsewhere.sendall(b"still")
                assert server.recv(10) == b"still"
            for server in servers:
                server.close()


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    """Sockets made on this thread are that user's: what nft's `meta skuid` sees."""
    os.setresuid(-1, uid, -1)
    try:
        yield
    finally:
        os.setresuid(-1, 0, -1)


@pytest.mark.parametrize("target", [TARGET4, TARGET6])
def test_over_lo_only_a_meshs_proxy_is_stolen_from(lab: Lab, gate: Start, target: str) -> None:
    made = gate()
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(target, port, where=lab.target) as probe, listener.accept()[0] as server:
            assert server.getpeername() == probe.getsockname()
        for uid, meshes in ((ISTIO, ()), (4001, (4000, 4001)), (ISTIO, (4000, 4001))):
            made.want(Rule(port=port), meshes=meshes)
            with lab.inside(lab.target), as_user(uid):
                proxy = socket.create_connection((target, port), timeout=20)
            with proxy:
                offer = made.offered()
                assert (offer.client, offer.own) == (proxy.getsockname()[:2], target)
                offer.refuse()
                with listener.accept()[0] as server:
                    assert server.getpeername() == proxy.getsockname()
        made.want(Rule(port=port))
        with lab.inside(lab.target), as_user(4001):
            former = socket.create_connection((target, port), timeout=20)
        with former, listener.accept()[0] as server:
            assert server.getpeername() == former.getsockname()
        made.want(Rule(port=port), sessions=[Session(flags=STEAL_LOCAL)])
        with lab.connect(target, port, where=lab.target) as inside:
            assert made.offered().client == inside.getsockname()[:2]


MESH = """
table inet lab {
  chain prerouting { type nat hook prerouting priority dstnat; tcp dport %(port)d redirect to :15006; }
  chain output { type nat hook output priority -100; oifname lo meta skuid != 1337 return; }
}
"""
PROXY = """
import socket, os, sys, threading
listener = socket.create_server(("0.0.0.0", 15006)); print(flush=True)
os.setresuid(1337, 1337, 1337)
def pump(a, b):
    while octets := a.recv(65536): b.sendall(octets)
    b.shutdown(socket.SHUT_WR)
while True:
    client = listener.accept()[0]
    app = socket.socket(); app.bind(("127.0.0.6", 0)); app.connect((sys.argv[1], int(sys.argv[2])))
    for pair in ((client, app), (app, client)): threading.Thread(target=pump, args=pair, daemon=True).start()
"""


def test_behind_a_mesh_what_its_proxy_delivers_is_stolen(lab: Lab, gate: Start) -> None:
    """As Istio's documented chains do: the port is redirected to the sidecar, which connects over lo from 127.0.0.6."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        words = ["ip", "netns", "exec", lab.target, sys.executable, "-c", PROXY, TARGET4, str(port)]
        with lab.rules(MESH % {"port": port}), subprocess.Popen(words, stdout=subprocess.PIPE) as proxy:
            try:
                assert proxy.stdout is not None
                proxy.stdout.readline()
                made.want(Rule(port=port))
                with lab.connect(TARGET4, port) as caller:
                    caller.sendall(b"question")
                    offer = made.offered()
                    assert offer.client[0] == "127.0.0.6"
                    with offer.accept() as app:
                        assert app.recv(100) == b"question"
                        app.sendall(b"answer")
                        assert caller.recv(100) == b"answer"
                with lab.connect(TARGET4, port) as caller:
                    caller.sendall(b"question")
                    made.offered().refuse()
                    with listener.accept()[0] as server:
                        assert server.getpeername()[0] == "127.0.0.6"
                        assert server.recv(100) == b"question"
            finally:
                proxy.kill()


def test_a_link_local_client(lab: Lab, gate: Start) -> None:
    made = gate()
    for name in (lab.target, lab.client):
        while run("ip", "-n", name, "-6", "addr", "show", "tentative"):
            time.sleep(0.05)  # duplicate address detection, of the kernel's own
    listed = run("ip", "-n", lab.target, "-6", "addr", "show", "dev", "mir0", "scope", "link")
    found = re.search(r"inet6 (fe80:[0-9a-f:]+)", listed)
    assert found
    own = found.group(1)
    with lab.inside(lab.target):
        listener = socket.create_server(("::", 0), family=socket.AF_INET6)
    with listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.inside(lab.client), socket.socket(socket.AF_INET6) as caller:
            caller.settimeout(20)
            caller.connect((own, port, 0, socket.if_nametoindex("mir0")))
            offer = made.offered()
            assert offer.own == own
            assert offer.client[1] == caller.getsockname()[1]
            offer.refuse()
            with listener.accept()[0] as server:
                assert server.getpeername()[:2] == caller.getsockname()[:2]
                caller.sendall(b"question")
                assert server.recv(100) == b"question"
                server.sendall(b"answer")
                assert caller.recv(100) == b"answer"


NGINX = """
daemon off; worker_processes 1; pid %(folder)s/pid; error_log %(folder)s/error;
events { worker_connections 1024; }
http { access_log off; server { listen 8088 backlog=4096; location / { return 200 "ok"; } } }
"""


@contextmanager
def nginx(lab: Lab, folder: Path) -> Iterator[int]:
    config = folder / "nginx.conf"
    config.write_text(NGINX % {"folder": folder})
    words = ["ip", "netns", "exec", lab.target, "nginx", "-e", str(folder / "error"), "-c", str(config)]
    with subprocess.Popen(words) as process:
        try:
            while True:
                with suppress(ConnectionRefusedError), lab.connect(TARGET4, 8088):
                    break
            yield 8088
        finally:
            process.terminate()


@pytest.mark.parametrize("extra", [(), ("-H", "Connection: close")], ids=["kept", "closed"])
def test_nobody_fails_while_steals_begin_and_end(
    lab: Lab, fast_gate: Start, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    """Under load: by filter, whole with an app that answers, none, again; and the drain at the end."""
    made = fast_gate()
    with nginx(lab, tmp_path) as port, made.app(answers):
        made.want(Rule(port=port, filter=MINE))  # those that are kept open begin with it
        words = ["wrk", "-t1", "-c20", "-d3s", *extra, f"http://{TARGET4}:{port}/"]
        load = subprocess.Popen(
            ["ip", "netns", "exec", lab.client, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        paused = threading.Event()
        while not made.counts.get((1, port), (0,))[0]:
            made.heard(19)
        while load.poll() is None:
            for rules in ((Rule(port=port, filter=MINE),), (Rule(port=port),), ()):
                made.want(*rules)
                paused.wait(0.1)
        told = load.communicate()[0]
        assert "Socket errors" not in told, told
        assert "Non-2xx" not in told, told
        made.drain()
        made.drained()
        seen, _, stolen = made.counts[1, port][:3]
        assert seen > 0
        assert stolen > 0 or not extra


def answers(sock: socket.socket) -> None:
    """An app that keeps connections open, as nginx does, until it is asked not to."""
    while asked := sock.recv(65536):
        close = b"Connection: close" in asked
        words = ["HTTP/1.1 200 OK", "Content-Length: 3", *(["Connection: close"] if close else []), "", "app"]
        sock.sendall("\r\n".join(words).encode())
        if close:
            sock.shutdown(socket.SHUT_WR)


def test_what_mirrors_the_client_too(lab: Lab, gate: Start) -> None:
    """A client's port used for two of the target's at once keeps its name at both."""
    made = gate()
    with lab.listen() as one, lab.listen() as other:
        ports = [one.getsockname()[1], other.getsockname()[1]]
        made.want(*(Rule(port=port) for port in ports))
        made.link(up=False)
        callers = []
        for listener, port in zip((one, other), ports, strict=True):
            with lab.inside(lab.client):
                caller = socket.socket()
            callers.append(caller)
            caller.settimeout(20)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            caller.bind((CLIENT4, 45001))
            caller.connect((TARGET4, port))
            with suppress(TimeoutError):
                made.handed.settimeout(0.1)
                made.offered().refuse()  # its link's end may be heard later than the client
            with listener.accept()[0] as server:
                assert server.getpeername() == (CLIENT4, 45001)
        for caller in callers:
            caller.close()


def test_only_those_in_flight_fail_when_it_is_killed_under_load(
    lab: Lab, fast_gate: Start, tmp_path: Path
) -> None:
    """Each of wrk's connections is reset once; what it opens instead is answered, by the target."""
    made = fast_gate()
    with nginx(lab, tmp_path) as port:
        made.want(Rule(port=port, filter=MINE))
        words = ["wrk", "-t1", "-c20", "-d4s", f"http://{TARGET4}:{port}/"]
        load = subprocess.Popen(
            ["ip", "netns", "exec", lab.client, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        asked = ["ss", "-Htn", "state", "established", f"sport = :{port}"]
        while not run("ip", "netns", "exec", lab.target, *asked):
            assert load.poll() is None
        made.kill()
        told = load.communicate()[0]
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
        assert errors, told
        connect, read, write, late = map(int, errors.groups())
        assert (connect, late) == (0, 0), told
        assert 0 < read + write <= 40, told  # one that came while it died is reset too
        requests = re.search(r"(\d+) requests in", told)
        assert requests, told
        assert int(requests.group(1)) > 1000, told
