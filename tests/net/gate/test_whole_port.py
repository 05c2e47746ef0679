"""A port stolen whole: the app answers, and what it does not take is the target's, which sees the real client."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, Lab, Rule
from tests.net.mirror.lab import run

pytestmark = pytest.mark.net

FAMILIES = [(TARGET4, CLIENT4), (TARGET6, CLIENT6)]


@pytest.mark.parametrize(("target", "client"), FAMILIES)
def test_the_app_answers_and_knows_who_asked(lab: Lab, gate: Start, target: str, client: str) -> None:
    made = gate()
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, app_port=9000, target=3))
        with lab.connect(target, port) as caller:
            offer = made.offered()
            assert (offer.session, offer.target, offer.app_port) == (1, 3, 9000)
            assert (offer.client, offer.own) == (caller.getsockname()[:2], target)
            assert offer.client[0] == client
            caller.sendall(b"question")
            with offer.accept() as app:
                assert app.recv(100) == b"question"
                app.sendall(b"answer")
                assert caller.recv(100) == b"answer"
                caller.shutdown(socket.SHUT_WR)
                assert app.recv(100) == b""
                app.sendall(b"more")
                assert caller.recv(100) == b"more"
                app.shutdown(socket.SHUT_WR)
                assert caller.recv(100) == b""


@pytest.mark.parametrize(("target", "client"), FAMILIES)
def test_what_the_app_refuses_the_target_gets(lab: Lab, gate: Start, target: str, client: str) -> None:
    made = gate()
    with lab.listen(target) as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(target, port) as caller:
            caller.sendall(b"question")
            made.offered().refuse()
            with listener.accept()[0] as server:
                assert server.getpeername()[:2] == caller.getsockname()[:2]
                assert server.getpeername()[0] == client
                assert server.getsockname()[:2] == (target, port)
                assert server.recv(100) == b"question"
                server.sendall(b"answer")
                server.close()
            assert caller.recv(100) == b"answer"
            assert caller.recv(100) == b""


def test_nothing_is_stolen_before_and_after(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        for rules in ((), (Rule(port=port),), ()):
            made.want(*rules)
            with lab.connect(TARGET4, port) as caller:
                if rules:
                    with made.offered().accept() as app:
                        app.sendall(b"app")
                        assert caller.recv(3) == b"app"
                else:
                    with listener.accept()[0] as server:
                        assert server.getpeername() == caller.getsockname()


@pytest.mark.parametrize("ports", ["1024 65535", "10000 65000"])
def test_where_the_kernel_gives_out_nearly_every_port(lab: Lab, gate: Start, ports: str) -> None:
    key = "net.ipv4.ip_local_port_range"
    run("ip", "netns", "exec", lab.target, "sysctl", "-qw", f"{key}={ports}")
    try:
        made = gate()
        with lab.listen() as listener:
            port = listener.getsockname()[1]
            made.want(Rule(port=port))
            with lab.connect(TARGET4, port) as caller:
                assert made.offered().client == caller.getsockname()[:2]
    finally:
        run("ip", "netns", "exec", lab.target, "sysctl", "-qw", f"{key}=32768 60999")


@pytest.mark.parametrize("whose", ["app", "target"])
def test_many_octets_both_ways_at_once(lab: Lab, gate: Start, whose: str) -> None:
    """Whole buffers and odd pieces, with takers that pause: each octet once and in order."""
    made = gate()
    with lab.listen() as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        caller = stack.enter_context(lab.connect(TARGET4, port))
        offer = made.offered()
        if whose == "app":
            other = offer.accept()
        else:
            offer.refuse()
            other = stack.enter_context(listener.accept()[0])
        octets = os.urandom(1 << 20) * 24
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(send, sock, octets) for sock in (caller, other)]
            got = [pool.submit(receive, sock, pause) for sock, pause in ((other, 0.01), (caller, 0.0))]
            for job in sent:
                job.result()
            for taken in got:
                assert taken.result() == hashlib.sha256(octets).digest()


def test_a_near_client_that_fills_buffers_has_no_more_under_way_than_caches_hold(lab: Lab, gate: Start) -> None:
    """Who says little is the kernel's to size, and so is who is far away."""
    made = gate()
    with lab.listen() as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as caller:
            made.offered().refuse()
            with listener.accept()[0] as server:
                caller.sendall(b"little")
                assert server.recv(100) == b"little"
                assert room(lab, made.door(port)) != 2 * NEAR
                octets = bytes(8 << 20)
                sent = pool.submit(send, caller, octets)
                assert receive(server, 0.0) == hashlib.sha256(octets).digest()
                sent.result()
                assert room(lab, made.door(port)) == 2 * NEAR


NEAR = 1 << 20  # splice.c; the kernel keeps as much again for itself, socket(7)


def room(lab: Lab, door: int) -> int:
    """For what the gate has not read of its one client, octets."""
    words = ["ip", "netns", "exec", lab.target, "ss", "-Htnm", f"sport = :{door}"]
    found = re.search(r"rb(\d+)", run(*words))
    assert found
    return int(found[1])


def send(sock: socket.socket, octets: bytes) -> None:
    view, sizes = memoryview(octets), itertools.cycle([1, 700, 65536, 300_000, 1_000_000])
    while view:
        n = next(sizes)
        sock.sendall(view[:n])
        view = view[n:]
    sock.shutdown(socket.SHUT_WR)


def receive(sock: socket.socket, pause: float) -> bytes:
    digest, n = hashlib.sha256(), 0
    while octets := sock.recv(1 << 18):
        digest.update(octets)
        n += len(octets)
        if pause and n > 1 << 21:  # a taker that is slow now and then
            time.sleep(pause)
            n = 0
    return digest.digest()
