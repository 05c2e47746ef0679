"""Fact 10: AF_PACKET sees a packet before PREROUTING rewrites it, and what crosses lo twice; its filter may cut it."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.net.mirror.lab import CLIENT4, TARGET4, Lab

ETH_P_ALL = 3
HOST, OUTGOING = 0, 4
SO_ATTACH_FILTER = 26


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.destroy()


class Tap:
    """A cooked packet socket of the target's; packets of a port as (pkttype, source port, destination port)."""

    def __init__(self, lab: Lab, cut: int = 0) -> None:
        with lab.inside(lab.target):
            # With protocol 0 nothing comes in before the socket is bound.
            self.socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, 0 if cut else socket.htons(ETH_P_ALL)
            )
        self.socket.settimeout(10)
        if cut:
            code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, cut))  # BPF_RET
            program = struct.pack("@HP", 1, ctypes.addressof(code))
            self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
            self.socket.bind(("mir0", ETH_P_ALL))

    def packets(self, port: int, count: int) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        while len(found) < count:
            packet, address = self.socket.recvfrom(65536)
            if packet[0] >> 4 == 4 and packet[9] == 17:
                ports = struct.unpack("!HH", packet[20:24])
                if port in ports:
                    found.append((address[2], *ports))
        return found


def datagram(lab: Lab, where: str, to: tuple[str, int], own: str, size: int = 1) -> int:
    """Sent; the port it came from."""
    with lab.inside(where):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.bind((own, 0))
        sender.sendto(b"x" * size, to)
        return int(sender.getsockname()[1])


def test_loopback_shows_each_packet_twice(lab: Lab) -> None:
    tap = Tap(lab)
    with tap.socket:
        source = datagram(lab, lab.target, ("127.0.0.1", 9), "127.0.0.1")
        assert tap.packets(9, 2) == [(OUTGOING, source, 9), (HOST, source, 9)]


def test_a_redirected_packet_is_seen_as_it_was_sent(lab: Lab) -> None:
    tap = Tap(lab)
    rule = "chain in { type nat hook prerouting priority dstnat; udp dport 9 redirect to :10; }"
    with tap.socket, lab.rules(f"table inet lab {{ {rule}; }}"), lab.inside(lab.target):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with receiver:
            receiver.bind((TARGET4, 10))
            receiver.settimeout(10)
            source = datagram(lab, lab.client, (TARGET4, 9), CLIENT4)
            assert receiver.recv(10) == b"x"
            assert tap.packets(source, 1) == [(HOST, source, 9)]


def test_a_filter_that_was_there_first_cuts_every_packet(lab: Lab) -> None:
    tap = Tap(lab, cut=28)
    with tap.socket:
        datagram(lab, lab.client, (TARGET4, 9), CLIENT4, size=1000)
        packet, address = tap.socket.recvfrom(65536)
        while packet[9] != 17 or address[2] != HOST:
            packet, address = tap.socket.recvfrom(65536)
        assert len(packet) == 28
        assert struct.unpack("!H", packet[2:4])[0] == 1028  # its header still says what it was
