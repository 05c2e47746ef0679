"""Mirrored connections: the app sees the real client, and what it answers goes nowhere."""

from __future__ import annotations

import errno
import select
import socket
import struct

import pytest

from tests.net.netstack.far_end import Data, Eof, Open, Opened, Reset
from tests.net.netstack.ground import OTHER, OWN, Ground, packed
from wire.messages import ChannelKind

CLIENT = {4: "198.18.77.7", 6: "fd00:198:18::77"}

both_families = pytest.mark.parametrize("family", [4, 6])


def mirrored(place: Ground, family: int, port: int, client_port: int = 5555, window: int = 1 << 20) -> int:
    """The agent's OPEN; its channel."""
    return place.far.open(
        lambda channel: Open(
            channel,
            ChannelKind.MIRROR_TCP,
            window,
            packed(CLIENT[family]),
            client_port,
            packed(OWN[family]),
            port,
        )
    ).channel


def accepted(place: Ground, listener: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
    """What the app accepts, and from whom."""
    sock, peer = listener.accept()
    place.stack.enter_context(sock)
    sock.settimeout(5)
    return sock, peer[:2]


@both_families
def test_the_app_sees_the_real_client_and_its_answers_go_nowhere(place: Ground, family: int) -> None:
    listener = place.listen(family, 8080)
    channel = mirrored(place, family, 8080)
    sock, peer = accepted(place, listener)
    assert peer == (CLIENT[family], 5555)
    assert sock.getsockname()[:2] == (OWN[family], 8080)
    assert place.far.take(Opened).channel == channel
    place.far.send(Data(channel, b"GET / HTTP/1.1\r\n"))
    assert sock.recv(100) == b"GET / HTTP/1.1\r\n"
    answer = b"a" * 3_000_000
    sock.settimeout(30)
    sock.sendall(answer)
    place.far.send(Eof(channel))
    assert sock.recv(100) == b""
    sock.close()
    assert place.far.take(Eof).channel == channel
    while place.netstack.counters().answers < len(answer):
        select.select([], [], [], 0.01)
    assert place.far.quiet()


@both_families
def test_what_was_sent_to_another_replica_comes_to_the_primary_s_address(place: Ground, family: int) -> None:
    listener = place.listen(family, 8080)
    replica = {4: "198.18.66.6", 6: "fd00:198:18::66"}[family]
    place.far.open(
        lambda channel: Open(
            channel,
            ChannelKind.MIRROR_TCP,
            1 << 20,
            packed(CLIENT[family]),
            5555,
            packed(replica),
            8080,
            target=1,
        )
    )
    sock, peer = accepted(place, listener)
    assert (peer, sock.getsockname()[:2]) == ((CLIENT[family], 5555), (OWN[family], 8080))


def test_a_refusal_by_the_app_is_told(place: Ground) -> None:
    channel = mirrored(place, 4, 8080)
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.ECONNREFUSED)


def test_a_reset_by_the_app_is_told(place: Ground) -> None:
    listener = place.listen(4, 8080)
    channel = mirrored(place, 4, 8080)
    sock, _ = accepted(place, listener)
    place.far.take(Opened)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.ECONNRESET)


def test_the_clients_reset_reaches_the_app(place: Ground) -> None:
    listener = place.listen(4, 8080)
    channel = mirrored(place, 4, 8080)
    sock, _ = accepted(place, listener)
    place.far.take(Opened)
    place.far.send(Reset(channel, errno.ECONNRESET))
    with pytest.raises(ConnectionResetError):
        sock.recv(1)


def test_a_port_that_another_replicas_client_has_is_replaced(place: Ground) -> None:
    listener = place.listen(4, 8080)
    first, second = mirrored(place, 4, 8080), mirrored(place, 4, 8080)
    one, one_peer = accepted(place, listener)
    two, two_peer = accepted(place, listener)
    assert {place.far.take(Opened).channel, place.far.take(Opened).channel} == {first, second}
    assert one_peer[0] == two_peer[0] == CLIENT[4]
    assert one_peer[1] != two_peer[1]
    place.far.send(Data(first, b"first"), Data(second, b"second"))
    by_port = {peer[1]: sock.recv(100) for sock, peer in ((one, one_peer), (two, two_peer))}
    assert by_port.pop(5555) == b"first"
    assert list(by_port.values()) == [b"second"]


def test_a_client_comes_back_with_its_port_at_once(place: Ground) -> None:
    listener = place.listen(4, 8080)
    for who_closes_first in ("app", "client") * 5:
        channel = mirrored(place, 4, 8080)
        sock, peer = accepted(place, listener)
        assert peer == (CLIENT[4], 5555)
        place.far.take(Opened)
        place.far.send(Data(channel, b"hello"))
        assert sock.recv(100) == b"hello"
        if who_closes_first == "app":
            sock.close()
            place.far.take(Eof)
            place.far.send(Eof(channel))
        else:
            place.far.send(Eof(channel))
            assert sock.recv(100) == b""
            sock.close()
            place.far.take(Eof)
        while place.netstack.counters().flows and place.netstack.counters().ticking:
            select.select([], [], [], 0.01)


def test_a_slow_app_is_granted_no_more_and_delays_nobody(place: Ground) -> None:
    listener = place.listen(4, 8080)
    slow = mirrored(place, 4, 8080, 1001)
    slow_sock, _ = accepted(place, listener)
    place.far.take(Opened)
    for _ in range(16):
        place.far.send(Data(slow, b"x" * 65536))
    quick = mirrored(place, 4, 8080, 1002)
    quick_sock, _ = accepted(place, listener)
    place.far.take(Opened)
    place.far.send(Data(quick, b"quick"))
    assert quick_sock.recv(100) == b"quick"
    assert place.far.granted.get(slow, 0) < 1 << 20
    place.far.send(Reset(slow, errno.ENOBUFS))  # the agent drops it
    with pytest.raises(ConnectionResetError):
        read_all(slow_sock)


def read_all(sock: socket.socket) -> None:
    """To the end, which may be an error."""
    while sock.recv(1 << 20):
        continue


def test_an_address_of_no_family_is_refused(place: Ground) -> None:
    def without(channel: int) -> Open:
        return Open(channel, ChannelKind.MIRROR_TCP, 1 << 20, packed(CLIENT[6]), 1, packed(OWN[4]), 80)

    channel = place.far.open(without).channel
    reset = place.far.take(Reset)
    assert (reset.channel, reset.errno) == (channel, errno.EAFNOSUPPORT)


def test_what_listens_is_told_when_it_changes(place: Ground) -> None:
    with place.space.inside():
        place.netstack.listeners(20)
    assert place.message() == ["listening", []]
    listener = place.listen(4, 8080)
    assert place.message() == ["listening", [[6, 8080, False, 4]]]
    udp = place.opened(6, socket.SOCK_DGRAM)
    udp.bind(("::1", 5353))
    name, ports = place.message()
    assert name == "listening"
    assert [6, 8080, False, 4] in ports
    assert [17, 5353, True, 6] in ports
    udp.close()
    assert place.message() == ["listening", [[6, 8080, False, 4]]]
    listener.close()
    assert place.message() == ["listening", []]


def test_a_syn_for_what_listens_here_by_now_stays_here(place: Ground) -> None:
    with place.space.inside():
        place.netstack.listeners(60_000)
    assert place.message() == ["listening", []]
    listener = place.listen(4, 8080)
    sock = place.opened()
    sock.connect((OWN[4], 8080))  # the rules have not been told: it leaves by tun0, and comes back
    assert accepted(place, listener)[1] == sock.getsockname()
    assert place.message() == ["self", 8080]
    assert place.message() == ["listening", [[6, 8080, False, 4]]]
    assert place.far.quiet()
    elsewhere = place.connecting(8080)
    assert place.far.take(Open).destination == packed(OTHER[4])
    elsewhere.close()
