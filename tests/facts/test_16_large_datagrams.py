"""Fact 16, tun0's part: the largest datagram of the app leaves as two fragments; one packet of 65,535 octets
is taken whole.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from layer import tun
from layer.rules import Sockets
from tests.net.layer.field import OTHER4, OWN4, Field, field
from tests.net.layer.packets import Packet
from tests.net.layer.space import Space

pytestmark = pytest.mark.net

LARGEST = 65_507


@pytest.fixture
def ground() -> Iterator[Field]:
    with field() as made:
        yield made


def test_the_largest_datagram_leaves_as_two_fragments(ground: Field) -> None:
    body = os.urandom(LARGEST)
    ground.opened(socket.AF_INET, socket.SOCK_DGRAM).sendto(body, (OTHER4, 90))
    pieces = []
    while select.select([ground.far.fd], [], [], 0)[0]:
        packet = os.read(ground.far.fd, 1 << 17)[tun.VNET_HEADER :]
        if packet[0] >> 4 == 4 and packet[9] == 17:
            pieces.append(packet)
    assert [int.from_bytes(one[6:8], "big") & 0x2000 for one in pieces] == [0x2000, 0]
    assert b"".join(one[20:] for one in pieces)[8:] == body
    assert all(len(one) <= tun.MTU for one in pieces)


def test_one_packet_above_the_mtu_is_taken_whole(ground: Field) -> None:
    server = ground.listen("0.0.0.0", 90, socket.SOCK_DGRAM)
    ground.ports(Sockets(udp=frozenset({90})))
    body = os.urandom(LARGEST)
    ground.far.send(Packet(17, OTHER4, 5555, OWN4, 90, payload=body))
    assert server.recv(1 << 17) == body


def test_echo_sockets_are_closed_in_a_fresh_namespace() -> None:
    """So the agent's echo is a raw socket with a filter, born in the target's namespace."""
    space = Space({})
    try:
        with space.inside(), pytest.raises(PermissionError):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        with space.inside():
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    finally:
        space.close()
