"""IP packets by hand, for tests that play the stack at tun0's other end: built whole, parsed into a view."""

from __future__ import annotations

import ipaddress
import os
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass

from layer import tun

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class Packet:
    """The fields tests look at. ``seq``, ``ack`` and ``flags`` are TCP's."""

    proto: int
    src: str
    sport: int
    dst: str
    dport: int
    flags: int = 0
    seq: int = 0
    ack: int = 0
    payload: bytes = b""

    def answer(self, flags: int, seq: int = 0, payload: bytes = b"") -> Packet:
        """From its destination to its source; acknowledges all of it."""
        took = len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)
        ack = (self.seq + took) & 0xFFFFFFFF
        return Packet(self.proto, self.dst, self.dport, self.src, self.sport, flags, seq, ack, payload)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def build(packet: Packet) -> bytes:
    """The whole IP packet."""
    src, dst = ipaddress.ip_address(packet.src), ipaddress.ip_address(packet.dst)
    if packet.proto == 6:
        head = struct.pack(
            "!HHIIBBHHH",
            packet.sport,
            packet.dport,
            packet.seq,
            packet.ack,
            5 << 4,
            packet.flags,
            65535,
            0,
            0,
        )
        place = 16
    else:
        head = struct.pack("!HHHH", packet.sport, packet.dport, 8 + len(packet.payload), 0)
        place = 6
    body = bytearray(head + packet.payload)
    if src.version == 4:
        pseudo = src.packed + dst.packed + struct.pack("!BBH", 0, packet.proto, len(body))
        body[place : place + 2] = struct.pack("!H", checksum(pseudo + body))
        outer = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, packet.proto, 0))
        outer += src.packed + dst.packed
        outer[10:12] = struct.pack("!H", checksum(bytes(outer)))
    else:
        pseudo = src.packed + dst.packed + struct.pack("!IHBB", len(body), 0, 0, packet.proto)
        body[place : place + 2] = struct.pack("!H", checksum(pseudo + body))
        outer = bytearray(
            struct.pack("!IHBB", 6 << 28, len(body), packet.proto, 64) + src.packed + dst.packed
        )
    return bytes(outer + body)


def parse(octets: bytes) -> Packet | None:
    """None for what is neither TCP nor UDP."""
    if octets[0] >> 4 == 4:
        proto, size, src, dst = octets[9], (octets[0] & 15) * 4, octets[12:16], octets[16:20]
    else:
        proto, size, src, dst = octets[6], 40, octets[8:24], octets[24:40]
    body = octets[size:]
    if proto not in (6, 17):
        return None
    sport, dport = struct.unpack("!HH", body[:4])
    names = (str(ipaddress.ip_address(src)), sport, str(ipaddress.ip_address(dst)), dport)
    if proto == 17:
        return Packet(proto, *names, payload=body[8:])
    seq, ack, offset, flags = struct.unpack("!IIBB", body[4:14])
    return Packet(proto, *names, flags, seq, ack, body[(offset >> 4) * 4 :])


class Far:
    """tun0's other end: what the bridge's engine is in the product."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, packet: Packet) -> None:
        """One packet into the namespace."""
        os.write(self.fd, b"\0" * tun.VNET_HEADER + build(packet))

    def take(self, wanted: Callable[[Packet], bool], timeout: float = 3) -> Packet:
        """The first packet that is wanted; others are skipped. TimeoutError says what came instead."""
        seen: list[Packet] = []
        while select.select([self.fd], [], [], timeout)[0]:
            packet = parse(os.read(self.fd, 1 << 17)[tun.VNET_HEADER :])
            if packet is None:
                continue
            if wanted(packet):
                return packet
            seen.append(packet)
        raise TimeoutError(f"not seen; but {seen}")

    def quiet(self, unwanted: Callable[[Packet], bool]) -> bool:
        """Whether nothing of the kind waits now (the kernel writes to a TUN before the sender's call
        returns).
        """
        while select.select([self.fd], [], [], 0)[0]:
            packet = parse(os.read(self.fd, 1 << 17)[tun.VNET_HEADER :])
            if packet is not None and unwanted(packet):
                return False
        return True
