"""Fact 13: a client whose address is local to the target is answered through tun0, although its address is
local here too.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from layer.rules import Sockets
from tests.net.layer.field import OTHER4, OTHER6, OWN4, OWN6, Field, field
from tests.net.layer.packets import ACK, SYN, Packet

pytestmark = pytest.mark.net


@pytest.fixture
def ground() -> Iterator[Field]:
    with field() as made:
        yield made


@pytest.mark.parametrize("client", [OTHER4, "127.0.0.6", "127.0.0.1", OWN4])
def test_ipv4_client(ground: Field, client: str) -> None:
    listener = ground.listen("::", 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    assert ground.client(client, OWN4, 80, listener) == (client, OWN4)


@pytest.mark.parametrize("client", [OTHER6, OWN6])
def test_ipv6_client(ground: Field, client: str) -> None:
    listener = ground.listen("::", 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    assert ground.client(client, OWN6, 80, listener) == (client, OWN6)


def test_ipv6_loopback_cannot_be_carried(ground: Field) -> None:
    """Which is why such a client is given another address: the kernel drops ::1 from any link but lo."""
    ground.listen("::", 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    ground.far.send(Packet(6, "::1", 5555, OWN6, 80, SYN, 100))
    ground.far.send(Packet(6, OTHER6, 5556, OWN6, 80, SYN, 100))
    ground.far.take(lambda p: p.flags == SYN | ACK and p.dport == 5556)
    assert ground.far.quiet(lambda p: p.dport == 5555)


def test_without_the_mark_such_a_client_gets_no_answer(ground: Field) -> None:
    """The kernel still behaves as the rules assume: take them away and the answer goes to lo."""
    ground.listen("::", 80)
    ground.space.nft("flush ruleset")
    ground.far.send(Packet(6, "127.0.0.6", 5555, OWN4, 80, SYN, 100))
    ground.far.send(Packet(6, OTHER4, 5556, OWN4, 80, SYN, 100))
    ground.far.take(lambda p: p.flags == SYN | ACK and p.dport == 5556)
    assert ground.far.quiet(lambda p: p.dport == 5555)


@pytest.mark.parametrize("client", [OTHER4, "127.0.0.6", "127.0.0.1", OWN4])
def test_datagrams_of_a_local_client(ground: Field, client: str) -> None:
    """A server on a wildcard answers a client on loopback from 127.0.0.1, as it would in the target: by tun0
    all the same.
    """
    for bound, sources in ((OWN4, {OWN4}), ("0.0.0.0", {OWN4, "127.0.0.1"})):
        server = ground.listen(bound, 5300, socket.SOCK_DGRAM)
        ground.ports(Sockets(udp=frozenset({5300})))
        ground.far.send(Packet(17, client, 5555, OWN4, 5300, payload=b"question"))
        octets, peer = server.recvfrom(100)
        assert (octets, peer) == (b"question", (client, 5555))
        server.sendto(b"answer", peer)
        answer = ground.far.take(lambda p: p.payload == b"answer")
        assert (answer.sport, answer.dst, answer.dport) == (5300, client, 5555)
        assert answer.src in sources
        server.close()
