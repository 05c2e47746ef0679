"""Datagrams: one channel for each client and port."""

from __future__ import annotations

import socket

import pytest

from tests.net.mirror.conftest import Start
from tests.net.mirror.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, UDP, Lab


def bound(lab: Lab, where: str, address: str, port: int = 0) -> socket.socket:
    with lab.inside(where):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(20)
    made.bind((address, port))
    return made


@pytest.mark.parametrize(("own", "peer"), [(TARGET4, CLIENT4), (TARGET6, CLIENT6)])
def test_datagrams_of_two_clients(lab: Lab, mirror: Start, own: str, peer: str) -> None:
    made = mirror()
    with bound(lab, lab.target, own) as server, bound(lab, lab.client, peer) as one:
        port = server.getsockname()[1]
        made.ports((UDP, port, 53))
        with bound(lab, lab.client, peer) as two:
            for client, text in ((one, b"a"), (two, b"b"), (one, b""), (one, b"c" * 1400)):
                client.sendto(text, (own, port))
                assert server.recvfrom(65536)[0] == text
            server.sendto(b"an answer is not mirrored", one.getsockname()[:2])
            assert one.recv(100)
            names = [f"[{peer}]" if ":" in peer else peer] * 2
            sources = [f"{name}:{s.getsockname()[1]}" for name, s in zip(names, (one, two), strict=True)]
        assert made.counters()["datagrams"] == 4
    seen = made.end()
    assert [one.source for one in seen] == sources
    assert {(one.kind, one.destination.rsplit(":", 1)[1]) for one in seen} == {(18, "53")}
    assert [one.datagrams for one in seen] == [[b"a", b"", b"c" * 1400], [b"b"]]


def test_loopback_datagrams_are_seen_once(lab: Lab, mirror: Start) -> None:
    made = mirror()
    with bound(lab, lab.target, "127.0.0.1") as server, bound(lab, lab.target, "127.0.0.1") as client:
        port = server.getsockname()[1]
        made.ports((UDP, port, port))
        client.sendto(b"x" * 60_000, ("127.0.0.1", port))
        assert len(server.recv(65536)) == 60_000
        assert made.counters()["datagrams"] == 1
    (seen,) = made.end()
    assert seen.datagrams == [b"x" * 60_000]


@pytest.mark.parametrize(("own", "peer"), [(TARGET4, CLIENT4), (TARGET6, CLIENT6)])
def test_fragments_are_put_together(lab: Lab, mirror: Start, own: str, peer: str) -> None:
    made = mirror()
    text = bytes(range(256)) * 230
    with bound(lab, lab.target, own) as server, bound(lab, lab.client, peer) as client:
        port = server.getsockname()[1]
        made.ports((UDP, port, port))
        for _ in range(3):
            client.sendto(text, (own, port))
            assert server.recv(65536) == text
        counted = made.counters()
    assert (counted["datagrams"], counted["lost_packets"]) == (3, 0)
    (seen,) = made.end()
    assert seen.datagrams == [text] * 3
