"""What the app connects to: asked of the agent first, then octets, ends and errors both ways."""

from __future__ import annotations

import errno
import hashlib
import select
import socket
import struct
import threading

import pytest

from tests.net.netstack.far_end import Data, Eof, FarEnd, Grant, Open, Opened, Reset
from tests.net.netstack.ground import OTHER, OWN, Ground, outcome, packed

both_families = pytest.mark.parametrize("family", [4, 6])


@both_families
def test_connect_is_answered_when_the_agent_is_connected(place: Ground, family: int) -> None:
    sock = place.connecting(80, family)
    asked = place.far.take(Open)
    assert (asked.destination, asked.destination_port) == (packed(OTHER[family]), 80)
    assert (asked.source, asked.source_port) == (packed(OWN[family]), sock.getsockname()[1])
    assert not select.select([], [sock], [], 0)[1]
    place.far.send(Opened(asked.channel, 1 << 20))
    assert outcome(sock) == 0
    sock.settimeout(5)
    sock.sendall(b"question")
    assert place.far.octets(asked.channel, 8) == b"question"
    place.far.send(Data(asked.channel, b"answer"))
    assert sock.recv(100) == b"answer"


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (errno.ECONNREFUSED, errno.ECONNREFUSED),
        (errno.ENETUNREACH, errno.ENETUNREACH),
        (errno.EHOSTUNREACH, errno.EHOSTUNREACH),
        (errno.EACCES, errno.EHOSTUNREACH),
    ],
)
def test_errors_of_connect_cross_as_they_are(place: Ground, error: int, seen: int) -> None:
    sock = place.connecting(80)
    place.far.send(Reset(place.far.take(Open).channel, error))
    assert outcome(sock) == seen


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH])
def test_errors_of_connect_cross_with_ipv6(place: Ground, error: int) -> None:
    sock = place.connecting(80, 6)
    place.far.send(Reset(place.far.take(Open).channel, error))
    assert outcome(sock) == error


def test_an_error_that_no_packet_can_say_is_a_reset_and_told(place: Ground) -> None:
    sock = place.connecting(80)
    place.far.send(Reset(place.far.take(Open).channel, errno.EADDRNOTAVAIL))
    assert outcome(sock) == errno.ECONNREFUSED
    assert place.message() == ["refused", errno.EADDRNOTAVAIL, packed(OTHER[4]), 80]


def test_a_timeout_is_silence_and_the_next_syn_asks_again(place: Ground) -> None:
    sock = place.connecting(80)
    first = place.far.take(Open)
    place.far.send(Reset(first.channel, errno.ETIMEDOUT))
    again = place.far.take(Open)
    assert again.channel != first.channel
    assert again.source_port == first.source_port
    place.far.send(Opened(again.channel, 1 << 20))
    assert outcome(sock) == 0


def test_a_repeated_syn_asks_once_and_a_given_up_one_is_cancelled(place: Ground) -> None:
    sock = place.connecting(80)
    asked = place.far.take(Open)
    before = place.netstack.counters().packets_in
    while place.netstack.counters().packets_in < before + 2:  # the repetitions are the event
        select.select([], [], [], 0.1)
    assert place.far.quiet()
    sock.close()
    reset = place.far.take(Reset, timeout=20)
    assert (reset.channel, reset.errno) == (asked.channel, errno.ECANCELED)
    assert place.netstack.counters().flows == 0


def test_what_a_server_says_first_waits_for_the_handshake(place: Ground) -> None:
    sock = place.connecting(25)
    asked = place.far.take(Open)
    place.far.send(Opened(asked.channel, 1 << 20), Data(asked.channel, b"220 hello"), Eof(asked.channel))
    assert outcome(sock) == 0
    sock.settimeout(5)
    assert sock.recv(100) == b"220 hello"
    assert sock.recv(100) == b""


def test_half_close_by_the_app(place: Ground) -> None:
    sock, channel = place.connected()
    sock.sendall(b"all")
    sock.shutdown(socket.SHUT_WR)
    assert place.far.octets(channel, 3) == b"all"
    assert place.far.take(Eof).channel == channel
    place.far.send(Data(channel, b"late answer"), Eof(channel))
    assert sock.recv(100) == b"late answer"
    assert sock.recv(100) == b""
    assert gone(place)


def test_half_close_by_the_server(place: Ground) -> None:
    sock, channel = place.connected()
    place.far.send(Data(channel, b"that was it"), Eof(channel))
    assert sock.recv(100) == b"that was it"
    assert sock.recv(100) == b""
    sock.sendall(b"more of mine")
    assert place.far.octets(channel, 12) == b"more of mine"
    sock.close()
    assert place.far.take(Eof).channel == channel
    assert gone(place)


def test_reset_by_the_app(place: Ground) -> None:
    sock, channel = place.connected()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.ECONNRESET)
    assert gone(place)


def test_reset_by_the_server_comes_after_what_it_sent(place: Ground) -> None:
    sock, channel = place.connected()
    place.far.send(Data(channel, b"last words"), Reset(channel, errno.ECONNRESET))
    assert sock.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        sock.recv(100)
    assert gone(place)


@both_families
@pytest.mark.parametrize("size", [1, 1000, 100_000, 30_000_000])
def test_octets_arrive_whole_both_ways(place: Ground, family: int, size: int) -> None:
    sock, channel = place.connected(80, family)
    sock.settimeout(60)  # sendall's is for all of it
    body = hashlib.shake_256(b"seed").digest(size)
    sender = threading.Thread(target=lambda: (sock.sendall(body), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    assert place.far.octets(channel, size) == body
    assert place.far.take(Eof).channel == channel
    sender.join()
    back = threading.Thread(target=send_granted, args=(place, channel, body))
    back.start()
    got = bytearray()
    while piece := sock.recv(1 << 20):
        got += piece
    back.join()
    assert got == body
    assert place.netstack.counters().held == 0


def send_granted(place: Ground, channel: int, body: bytes) -> None:
    """As an agent does: never more than was granted. The end after it."""
    window = 1 << 20
    sent = 0
    while sent < len(body):
        piece = body[sent : sent + 65536]
        place.far.wait_granted(channel, sent + len(piece) - window)
        place.far.send(Data(channel, piece))
        sent += len(piece)
    place.far.send(Eof(channel))


def test_a_link_that_takes_nothing_stops_the_app_and_nothing_else(place: Ground) -> None:
    sock = place.connecting(80)
    asked = place.far.take(Open)
    place.far.send(Opened(asked.channel, 10))
    assert outcome(sock) == 0
    sent = 0
    while select.select([], [sock], [], 0.3)[1]:
        sent += sock.send(b"x" * 65536)
    assert sent > 1 << 20
    assert place.far.take(Data).payload == b"x" * 10
    assert place.far.quiet()
    assert 0 < place.netstack.counters().held <= 1 << 20
    other, channel = place.connected(81)
    other.sendall(b"free")
    assert place.far.octets(channel, 4) == b"free"
    place.far.send(Reset(asked.channel, errno.ECONNRESET))
    sock.settimeout(5)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    assert place.netstack.counters().held == 0


def test_an_app_that_reads_nothing_is_granted_nothing(place: Ground) -> None:
    sock, channel = place.connected()
    body = bytes(range(256)) * 4096
    for at in range(0, len(body), 65536):
        place.far.send(Data(channel, body[at : at + 65536]))
    other, second = place.connected(81)
    place.far.send(Data(second, b"free"))
    assert other.recv(100) == b"free"
    assert place.far.granted.get(channel, 0) < len(body)
    got = b""
    while len(got) < len(body):
        got += sock.recv(100_000)
    assert got == body
    place.far.wait_granted(channel, len(body) * 3 // 4)


def test_small_pieces_are_not_held_back(place: Ground) -> None:
    sock, channel = place.connected()
    for i in range(2000):
        sock.sendall(bytes([i % 256]))
    assert place.far.octets(channel, 2000) == bytes(i % 256 for i in range(2000))
    for i in range(2000):
        place.far.send(Data(channel, bytes([i % 256])))
    got = b""
    while len(got) < 2000:
        got += sock.recv(5000)
    assert got == bytes(i % 256 for i in range(2000))


def test_when_the_link_goes_connections_are_reset_and_new_ones_wait_for_the_next(place: Ground) -> None:
    sock, _ = place.connected()
    waiting = place.connecting(81)
    place.far.take(Open)
    place.far.close()
    name, link, _ = place.message()
    assert (name, link) == ("link-gone", place.link)
    with pytest.raises(ConnectionResetError):
        sock.recv(1)
    place.netstack.link_del(place.link)
    next_end = FarEnd()
    place.stack.callback(next_end.close)
    place.netstack.link_add(next_end.bridge_end.detach())
    assert next_end.accept().destination_port == 81
    assert outcome(waiting) == 0


def test_one_port_of_the_app_many_times_in_a_row(place: Ground) -> None:
    for _ in range(50):
        sock = place.opened()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((OWN[4], 40000))
        sock.setblocking(False)
        sock.connect_ex((OTHER[4], 80))
        channel = place.far.accept().channel
        assert outcome(sock) == 0
        place.far.send(
            Eof(channel)
        )  # the server closes first: TIME_WAIT is the stack's, not the app's kernel's
        sock.settimeout(5)
        assert sock.recv(1) == b""
        sock.close()
        place.far.take(Eof)


def stalled_and_closed(place: Ground, room: int) -> tuple[int, bytes]:
    """A connection closed in order on both sides whose last octets wait for credit: its channel, and what waits."""
    sock = place.connecting(80)
    channel = place.far.take(Open).channel
    place.far.send(Opened(channel, room))
    assert outcome(sock) == 0
    sock.settimeout(5)
    body = b"last words" * 500
    sock.sendall(body)
    sock.shutdown(socket.SHUT_WR)
    if room:
        assert place.far.take(Data).payload == body[:room]
    place.far.send(Eof(channel))
    assert sock.recv(1) == b""
    for _ in range(
        100
    ):  # our FIN is out, so a timer looks after the connection until the app's kernel has answered it
        if place.netstack.counters().ticking == 0:
            break
        select.select([], [], [], 0.05)
    counters = place.netstack.counters()
    assert (counters.ticking, counters.flows, counters.held) == (0, 1, len(body) - room)
    return channel, body[room:]


@pytest.mark.parametrize("room", [0, 100])
def test_octets_that_the_link_takes_after_the_connection_was_closed_are_its_last(
    place: Ground, room: int
) -> None:
    channel, waiting = stalled_and_closed(place, room)
    place.far.send(Grant(channel, len(waiting)))
    assert place.far.take(Data).payload == waiting
    assert place.far.take(Eof).channel == channel
    assert gone(place)


def test_octets_that_the_agent_does_not_want_any_more_go_with_the_connection(place: Ground) -> None:
    channel, _ = stalled_and_closed(place, 0)
    place.far.send(Reset(channel, errno.ECONNRESET))
    assert gone(place)
    assert place.netstack.counters().held == 0


def gone(place: Ground) -> bool:
    """Waits until no flow is left; TIME_WAIT is short."""
    for _ in range(100):
        if place.netstack.counters().flows == 0:
            return True
        select.select([], [], [], 0.05)
    return False
