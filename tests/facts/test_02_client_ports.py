"""Fact 2: who gives a connection its client's name by source NAT finds that name taken, while an earlier connection of
the same name is remembered: two minutes after the server has closed it.
"""

from __future__ import annotations

import socket
import struct

import pytest

from tests.facts.steal import lab, nft, table
from tests.net.mirror.lab import CLIENT4, TARGET4, Lab

pytestmark = pytest.mark.net

RULES = table(f'oifname "lo" meta mark 7 meta l4proto tcp snat ip to {CLIENT4}:45000', "postrouting", 90)


def named(made: Lab, timeout: float) -> socket.socket:
    """A connection to the target over lo, in the client's name."""
    with made.inside(made.target):
        sock = socket.socket()
    sock.settimeout(timeout)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
    try:
        sock.connect((TARGET4, 80))
    except TimeoutError:
        sock.close()
        raise
    return sock


def attribute(kind: int, octets: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(octets), kind) + octets + bytes(-len(octets) % 4)


def forget(made: Lab) -> int:
    """IPCTNL_MSG_CT_DELETE (linux/netfilter/nfnetlink_conntrack.h) by the reply's tuple; an errno."""
    nested = 0x8000
    addresses = attribute(1, socket.inet_aton(TARGET4)) + attribute(2, socket.inet_aton(CLIENT4))
    ports = attribute(2, struct.pack("!H", 80)) + attribute(3, struct.pack("!H", 45000))
    transport = attribute(1, b"\6") + ports
    reply = attribute(2 | nested, attribute(1 | nested, addresses) + attribute(2 | nested, transport))
    payload = struct.pack("=BBH", socket.AF_INET, 0, 0) + reply
    head = struct.pack("=IHHII", 16 + len(payload), 1 << 8 | 2, 1 | 4, 1, 0)  # NLM_F_REQUEST | NLM_F_ACK
    with made.inside(made.target):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    with netlink:
        netlink.send(head + payload)
        return -int(struct.unpack_from("=i", netlink.recv(4096), 16)[0])


def once(made: Lab, listener: socket.socket) -> None:
    """Closed by the server first."""
    with named(made, 0.5) as sock, listener.accept()[0] as server:
        assert server.getpeername() == (CLIENT4, 45000)
        server.close()
        assert sock.recv(1) == b""


def until_one_hangs(made: Lab, listener: socket.socket) -> None:
    for _ in range(40):
        once(made, listener)


def test_the_next_one_hangs_until_the_entry_is_deleted() -> None:
    """Newer kernels forget the earlier one if the new one's sequence number is the later: half of the time."""
    with lab() as made, made.listen(TARGET4, 80) as listener:
        nft(made, "-f", "-", stdin=RULES)
        with pytest.raises(TimeoutError):
            until_one_hangs(made, listener)
        assert forget(made) == 0
        once(made, listener)
