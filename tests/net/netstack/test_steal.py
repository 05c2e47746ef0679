"""Stolen connections: as mirrored ones, and what the app answers is carried to the client."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from tests.net.netstack.far_end import Data, Eof, Open, Opened, Reset
from tests.net.netstack.ground import OWN, Ground, packed
from tests.net.netstack.test_mirror import CLIENT, accepted, both_families
from wire.messages import ChannelKind


def stolen(place: Ground, family: int, port: int, client_port: int = 5555, window: int = 1 << 20) -> int:
    """The agent's OPEN; its channel."""
    return place.far.open(
        lambda channel: Open(
            channel,
            ChannelKind.STEAL_TCP,
            window,
            packed(CLIENT[family]),
            client_port,
            packed(OWN[family]),
            port,
        )
    ).channel


@both_families
def test_the_app_sees_the_real_client_and_answers_it(place: Ground, family: int) -> None:
    listener = place.listen(family, 8080)
    channel = stolen(place, family, 8080)
    sock, peer = accepted(place, listener)
    assert peer == (CLIENT[family], 5555)
    assert sock.getsockname()[:2] == (OWN[family], 8080)
    assert place.far.take(Opened).channel == channel
    place.far.send(Data(channel, b"GET / HTTP/1.1\r\n"), Eof(channel))
    assert sock.recv(100) == b"GET / HTTP/1.1\r\n"
    assert sock.recv(100) == b""
    sock.sendall(b"HTTP/1.1 200 OK\r\n")
    sock.close()
    assert place.far.octets(channel, 17) == b"HTTP/1.1 200 OK\r\n"
    assert place.far.take(Eof).channel == channel
    assert place.netstack.counters().answers == 0


def test_an_app_that_speaks_first_is_heard(place: Ground) -> None:
    listener = place.listen(4, 8080)
    channel = stolen(place, 4, 8080)
    sock, _ = accepted(place, listener)
    sock.sendall(b"220 ready\r\n")
    place.far.take(Opened)
    assert place.far.octets(channel, 11) == b"220 ready\r\n"


def test_a_large_answer_keeps_to_the_client_s_pace(place: Ground) -> None:
    listener = place.listen(4, 8080)
    stolen(place, 4, 8080, window=65536)
    sock, _ = accepted(place, listener)
    place.far.take(Opened)
    sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        sock.sendall(bytes(64 << 20))  # more than what every buffer on the way holds


@pytest.mark.parametrize("listens", [False, True])
def test_an_app_that_does_not_accept_is_refused_with_its_errno(place: Ground, *, listens: bool) -> None:
    if listens:
        place.listen(4, 8080).close()
    channel = stolen(place, 4, 8080)
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.ECONNREFUSED)


def queued(place: Ground, count: int) -> int:
    """That many connections lie in the app's queue; when the engine could say so."""
    with place.space.inside():
        place.netstack.listeners(20)
    for client_port in range(1000, 1000 + count):
        stolen(place, 4, 8080, client_port)
    while (now := place.netstack.counters()).flows < count or now.ticking:  # handshakes
        time.sleep(0.001)
    return count


def test_nothing_is_said_before_the_app_has_accepted(place: Ground) -> None:
    """Fifty of them, which is more than are looked at at once; while it stands still nothing is heard of them."""
    listener = place.listen(4, 8080)
    count = queued(place, 50)
    assert place.far.quiet()
    opened = set()
    for _ in range(count):
        accepted(place, listener)
        opened.add(channel := place.far.take(Opened).channel)
        place.far.send(Data(channel, b"x"))
    assert len(opened) == count


def test_whom_nobody_accepted_is_refused_when_the_app_closes_or_dies(place: Ground) -> None:
    """The one that it had accepted, and which waits for an answer, is lost with it."""
    listener = place.listen(4, 8080)
    queued(place, 20)
    sock, _ = accepted(place, listener)
    channel = place.far.take(Opened).channel
    place.far.send(Data(channel, b"GET / HTTP/1.1\r\n"))
    while len(sock.recv(16, socket.MSG_PEEK)) < 16:
        pass
    listener.close()
    refused = [place.far.take(Reset) for _ in range(19)]
    assert {reset.errno for reset in refused} == {errno.ECONNREFUSED}
    assert channel not in {reset.channel for reset in refused}
    sock.close()
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.ECONNRESET)


def test_a_server_that_wants_octets_before_it_accepts_gets_them(place: Ground) -> None:
    """TCP_DEFER_ACCEPT."""
    listener = place.listen(4, 8080)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    with place.space.inside():
        place.netstack.listeners(20)
    channel = stolen(place, 4, 8080)
    assert place.far.take(Opened).channel == channel
    place.far.send(Data(channel, b"hello"))
    sock, _ = accepted(place, listener)
    assert sock.recv(5) == b"hello"


def test_the_clients_reset_reaches_the_app_and_the_app_s_the_client(place: Ground) -> None:
    listener = place.listen(4, 8080)
    first, second = stolen(place, 4, 8080, 1001), stolen(place, 4, 8080, 1002)
    by_port = {peer[1]: sock for sock, peer in (accepted(place, listener) for _ in range(2))}
    assert {place.far.take(Opened).channel, place.far.take(Opened).channel} == {first, second}
    place.far.send(Reset(first, errno.ECONNRESET))
    with pytest.raises(ConnectionResetError):
        by_port[1001].recv(1)
    by_port[1002].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    by_port[1002].close()
    assert place.far.take(Reset).channel == second
