"""What an app has when its link, its session or its engine goes: it waits for so long, and then it is lost."""

from __future__ import annotations

import socket
import time

import pytest

from tests.net.gate.conftest import Start
from tests.net.gate.lab import TARGET4, Lab, Rule, Session
from tests.net.gate.test_filters import MINE, answer, exactly, request, talk

pytestmark = pytest.mark.net

ASKED = request("/", "X-Mine: 1")


def test_what_is_in_flight_waits_for_its_link_and_no_longer(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port), sessions=[Session(link_lost_after=300)])
        with lab.connect(TARGET4, port) as caller, made.offered().accept() as app:
            talk(caller, b"one", app, b"two", caller)
            made.link(up=False)
            made.link(up=True)
            talk(caller, b"three", app, b"four", caller)
            time.sleep(0.4)  # what would have ended it has had its time
            talk(caller, b"five", app, b"six", caller)
            began = time.monotonic()
            made.link(up=False)
            with pytest.raises(ConnectionResetError):
                caller.recv(1)
            assert 0.25 < time.monotonic() - began < 2
        with lab.connect(TARGET4, port) as caller, listener.accept()[0] as server:
            talk(caller, b"one", server, b"two", caller)


def test_what_was_only_offered_is_the_targets_at_once(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port))
        with lab.connect(TARGET4, port) as caller:
            offer = made.offered()
            made.link(up=False)
            with listener.accept()[0] as server:
                assert made.abort() == offer.conn
                offer.refuse()  # too late, and no harm
                talk(caller, b"one", server, b"two", caller)


def test_requests_by_filter_wait_and_are_then_lost(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE), sessions=[Session(on_app_gone=1, link_lost_after=300)])
        with lab.connect(TARGET4, port) as caller, listener.accept()[0]:
            caller.sendall(ASKED)
            with made.offered().accept() as app:
                assert exactly(app, len(ASKED)) == ASKED
                made.link(up=False)
                made.link(up=True)
                app.sendall(answer("app"))
                assert exactly(caller, len(answer("app"))) == answer("app")
                caller.sendall(ASKED)
                assert exactly(app, len(ASKED)) == ASKED
                began = time.monotonic()
                made.link(up=False)
                assert exactly(caller, 12) == b"HTTP/1.1 502"
                assert 0.25 < time.monotonic() - began < 2


@pytest.mark.parametrize("filtered", [False, True])
def test_an_engine_that_closes_without_a_word(lab: Lab, gate: Start, filtered: bool) -> None:
    """As a process does that dies: an answer that was cut is no whole one."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE if filtered else None))
        with lab.connect(TARGET4, port) as caller:
            caller.sendall(ASKED)
            with made.offered().accept() as app:
                assert exactly(app, len(ASKED)) == ASKED
                app.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf an ans")
            with pytest.raises(ConnectionResetError):
                exactly(caller, 1000)


@pytest.mark.parametrize("filtered", [False, True])
def test_what_an_app_had_sent_comes_before_its_reset(lab: Lab, gate: Start, filtered: bool) -> None:
    """As a server does that answers early and closes on what it has not read."""
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE if filtered else None))
        for _ in range(20):
            with lab.connect(TARGET4, port) as caller:
                caller.sendall(ASKED)
                offer = made.offered()
                app = offer.accept()
                assert exactly(app, len(ASKED)) == ASKED
                app.sendall(answer("no"))
                made.hand_over([18, offer.conn, 104])
                assert exactly(caller, len(answer("no"))) == answer("no")
                app.close()


@pytest.mark.parametrize("filtered", [False, True])
def test_a_port_that_is_no_longer_wanted_finishes_what_it_has(lab: Lab, gate: Start, filtered: bool) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE if filtered else None))
        with lab.connect(TARGET4, port) as caller:
            caller.sendall(ASKED)
            with made.offered().accept() as app:
                assert exactly(app, len(ASKED)) == ASKED
                made.want()  # the session is there still
                with lab.connect(TARGET4, port) as other, accepted_from(listener, other) as server:
                    talk(other, ASKED, server, answer("target"), other)
                app.sendall(answer("app"))
                assert exactly(caller, len(answer("app"))) == answer("app")


def accepted_from(listener: socket.socket, client: socket.socket) -> socket.socket:
    """The target's end of this client's connection; others that the gate has dialled are passed over."""
    while True:
        server = listener.accept()[0]
        if server.getpeername() == client.getsockname():
            return server
        server.close()


def test_a_session_that_is_gone_has_lost_its_requests(lab: Lab, gate: Start) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE), sessions=[Session(on_app_gone=1)])
        with lab.connect(TARGET4, port) as caller:
            caller.sendall(ASKED)
            with made.offered().accept() as app:
                assert exactly(app, len(ASKED)) == ASKED
                made.want(sessions=[])
                assert exactly(caller, 12) == b"HTTP/1.1 502"


def test_many_come_and_go_and_nothing_is_kept(lab: Lab, fast_gate: Start) -> None:
    """A thousand bystanders of a filter that has seen a request of each, and what they cost the gate in memory."""
    made = fast_gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=MINE))
        before = resident(made.pid)
        pairs = []
        for _ in range(400):
            caller = lab.connect(TARGET4, port)
            server = listener.accept()[0]
            talk(caller, request("/"), server, answer("target"), caller)
            pairs.append((caller, server))
        grown = resident(made.pid) - before
        for caller, server in pairs:
            caller.close()
            assert server.recv(1) == b""
            server.close()
        assert grown < 400 * 15_000_000 / 1000
        made.drain()
        assert made.drained() == 0


def resident(pid: int) -> int:
    """Octets."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))
