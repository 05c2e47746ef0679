"""Datagrams and echo requests: associations, answers from anywhere, errors, large ones, mirrored ones."""

from __future__ import annotations

import errno
import hashlib
import select
import socket
import struct
import threading

import pytest

from tests.net.layer.packets import checksum
from tests.net.netstack.far_end import Datagram, Open, Opened, Reset
from tests.net.netstack.ground import FAMILY, OTHER, OWN, Ground, packed
from wire.messages import ChannelKind, Unreachable

CLIENT = {4: "198.18.77.7", 6: "fd00:198:18::77"}
THIRD = {4: "198.18.9.10", 6: "fd00:198:18::10"}

both_families = pytest.mark.parametrize("family", [4, 6])


@both_families
def test_one_socket_is_one_association_whoever_it_talks_to(place: Ground, family: int) -> None:
    sock = place.opened(family, socket.SOCK_DGRAM)
    sock.sendto(b"one", (OTHER[family], 1000))
    sock.sendto(b"two", (THIRD[family], 2000))
    asked = place.far.take(Open)
    assert asked.kind == ChannelKind.UDP
    assert (asked.source, asked.source_port) == (packed(OWN[family]), sock.getsockname()[1])
    first, second = place.far.take(Datagram), place.far.take(Datagram)
    assert (first.peer, first.port, first.payload) == (packed(OTHER[family]), 1000, b"one")
    assert (second.peer, second.port, second.payload) == (packed(THIRD[family]), 2000, b"two")
    place.far.send(
        Opened(asked.channel, 0), Datagram(asked.channel, packed(THIRD[family]), 2000, b"two back")
    )
    octets, peer = sock.recvfrom(100)
    assert (octets, peer[:2]) == (b"two back", (THIRD[family], 2000))
    place.far.send(Datagram(asked.channel, packed(CLIENT[family]), 9, b"unasked"))
    octets, peer = sock.recvfrom(100)
    assert (octets, peer[:2]) == (b"unasked", (CLIENT[family], 9))


@both_families
@pytest.mark.parametrize("size", [0, 1, 1472, 60_000, 65_487, 65_488, 65_507])
def test_a_datagram_of_any_size_is_one_datagram_both_ways(place: Ground, family: int, size: int) -> None:
    sock = place.opened(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    body = hashlib.shake_256(b"seed").digest(size)
    sock.sendto(body, (OTHER[family], 1000))
    channel = place.far.take(Open).channel
    assert place.far.take(Datagram).payload == body
    place.far.send(Datagram(channel, packed(OTHER[family]), 1000, body))
    assert sock.recvfrom(70_000)[0] == body


@both_families
def test_an_error_reaches_a_connected_socket(place: Ground, family: int) -> None:
    sock = place.opened(family, socket.SOCK_DGRAM)
    sock.connect((OTHER[family], 1000))
    sock.send(b"anybody?")
    channel = place.far.take(Open).channel
    place.far.take(Datagram)
    place.far.send(Unreachable(channel, packed(OTHER[family]), 1000, errno.ECONNREFUSED))
    with pytest.raises(ConnectionRefusedError):
        sock.recv(1)


def test_a_closed_association_is_opened_anew(place: Ground) -> None:
    sock = place.opened(4, socket.SOCK_DGRAM)
    sock.sendto(b"one", (OTHER[4], 1000))
    first = place.far.take(Open)
    place.far.take(Datagram)
    place.far.send(Reset(first.channel, 0))
    while place.netstack.counters().associations:
        select.select([], [], [], 0.01)
    sock.sendto(b"two", (OTHER[4], 1000))
    assert place.far.take(Open).channel != first.channel
    assert place.far.take(Datagram).payload == b"two"


def test_the_number_of_associations_is_bounded_and_the_oldest_goes(place: Ground) -> None:
    first = None
    for i in range(4097):
        with place.space.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((OWN[4], 10000 + i))
            sock.sendto(b"x", (OTHER[4], 1000))
        if i == 4096:
            assert place.far.take(Reset).channel == first
        came = place.far.take(Open).channel
        first = first or came
        place.far.take(Datagram)
    assert place.netstack.counters().associations == 4096


@both_families
def test_mirrored_datagrams_come_from_the_client_and_answers_go_nowhere(place: Ground, family: int) -> None:
    app = place.listen(family, 5300, socket.SOCK_DGRAM)
    opened = place.far.open(
        lambda channel: Open(
            channel, ChannelKind.MIRROR_UDP, 0, packed(CLIENT[family]), 777, packed(OWN[family]), 5300
        )
    )
    place.far.take(Opened)
    place.far.send(Datagram(opened.channel, packed(CLIENT[family]), 777, b"question"))
    octets, peer = app.recvfrom(100)
    assert (octets, peer[:2]) == (b"question", (CLIENT[family], 777))
    app.sendto(b"answer", peer)
    while place.netstack.counters().answers < len(b"answer"):
        select.select([], [], [], 0.01)
    assert place.far.quiet()
    app.sendto(b"of my own", (OTHER[family], 1))
    assert place.far.take(Open).kind == ChannelKind.UDP
    assert place.far.take(Datagram).payload == b"of my own"


@both_families
def test_a_port_that_another_replicas_client_has_is_replaced(place: Ground, family: int) -> None:
    app = place.listen(family, 5300, socket.SOCK_DGRAM)
    one, two = (
        place.far.open(
            lambda channel, target=target: Open(
                channel,
                ChannelKind.MIRROR_UDP,
                0,
                packed(CLIENT[family]),
                777,
                packed(OWN[family]),
                5300,
                target=target,
            )
        ).channel
        for target in (0, 1)
    )
    assert {place.far.take(Opened).channel, place.far.take(Opened).channel} == {one, two}
    place.far.send(
        Datagram(one, packed(CLIENT[family]), 777, b"one"), Datagram(two, packed(CLIENT[family]), 777, b"two")
    )
    seen = {octets: peer[:2] for octets, peer in (app.recvfrom(100), app.recvfrom(100))}
    assert seen[b"one"] == (CLIENT[family], 777)
    assert seen[b"two"][0] == CLIENT[family]
    assert seen[b"two"][1] != 777
    for peer in seen.values():  # the app's answers to either go nowhere
        app.sendto(b"answer", peer)
    while place.netstack.counters().answers < 2 * len(b"answer"):
        select.select([], [], [], 0.01)
    assert place.far.quiet()


@both_families
def test_echo(place: Ground, family: int) -> None:
    with place.space.inside():
        proto = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
        sock = place.stack.enter_context(socket.socket(FAMILY[family], socket.SOCK_RAW, proto))
    sock.settimeout(5)
    request = bytearray(struct.pack("!BBHHH", 8 if family == 4 else 128, 0, 0, 4711, 3) + b"payload")
    if family == 4:  # the kernel does ICMPv6's
        request[2:4] = struct.pack("!H", checksum(bytes(request)))
    sock.sendto(bytes(request), (OTHER[family], 0))
    asked = place.far.take(Open)
    assert (asked.kind, asked.source_port) == (ChannelKind.ECHO, 4711)
    sent = place.far.take(Datagram)
    assert (sent.peer, sent.port, sent.payload) == (packed(OTHER[family]), 3, b"payload")
    place.far.send(Datagram(asked.channel, packed(OTHER[family]), 3, b"payload"))
    answer, peer = sock.recvfrom(200)
    icmp = answer[20:] if family == 4 else answer
    assert peer[0] == OTHER[family]
    assert (icmp[0], icmp[4:8], icmp[8:]) == (
        0 if family == 4 else 129,
        struct.pack("!HH", 4711, 3),
        b"payload",
    )


def test_ping_itself(place: Ground) -> None:
    def answer() -> None:
        channel = place.far.take(Open).channel
        for _ in range(3):
            sent = place.far.take(Datagram)
            place.far.send(Datagram(channel, sent.peer, sent.port, sent.payload))

    thread = threading.Thread(target=answer)
    thread.start()
    done = place.space.run(["ping", "-c", "3", "-i", "0.2", "-W", "3", OTHER[4]])
    thread.join()
    assert "3 received" in done.stdout, done.stdout + done.stderr
