"""Fact 14: what nobody here listens for on localhost or the target's own address goes to the target; what
somebody does, stays.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from layer.rules import Sockets
from tests.net.layer.field import OTHER4, OTHER6, OWN4, OWN6, RESOLVER, Field, field
from tests.net.layer.packets import ACK, SYN, Packet

pytestmark = pytest.mark.net


@pytest.fixture
def ground() -> Iterator[Field]:
    with field() as made:
        yield made


@pytest.mark.parametrize("to", ["127.0.0.1", "127.9.9.9", OWN4, OWN6, OTHER4, OTHER6])
def test_where_nobody_listens_tcp_goes_out(ground: Field, to: str) -> None:
    ground.connect_out(to, 90)


@pytest.mark.parametrize("to", ["127.0.0.1", OWN4, OWN6, OTHER4, OTHER6])
def test_where_nobody_listens_datagrams_go_out(ground: Field, to: str) -> None:
    ground.send_out(to, 90)


def test_ipv6_loopback_is_refused_at_once(ground: Field) -> None:
    with pytest.raises(ConnectionRefusedError):
        ground.opened(socket.AF_INET6).connect(("::1", 90))


def test_the_name_server_is_the_targets_even_if_the_app_serves_port_53(ground: Field) -> None:
    ground.listen("0.0.0.0", 53)
    ground.listen("0.0.0.0", 53, socket.SOCK_DGRAM)
    ground.ports(Sockets(tcp=frozenset({53}), udp=frozenset({53})))
    ground.connect_out(RESOLVER, 53)
    ground.send_out(RESOLVER, 53)


@pytest.mark.parametrize("to", ["127.0.0.1", OWN4, "::1", OWN6])
def test_where_somebody_listens_it_stays(ground: Field, to: str) -> None:
    listener = ground.listen("::", 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    sock = ground.opened(socket.AF_INET6 if ":" in to else socket.AF_INET)
    sock.connect((to, 80))
    accepted, _ = listener.accept()
    with accepted:
        sock.sendall(b"x")
        assert accepted.recv(1) == b"x"
    assert ground.far.quiet(lambda p: p.dport == 80 or p.sport == 80)


def test_datagrams_between_the_apps_own_sockets_stay_both_ways(ground: Field) -> None:
    server = ground.listen("127.0.0.1", 5300, socket.SOCK_DGRAM)
    ground.ports(Sockets(udp=frozenset({5300})))
    client = ground.opened(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", 5300))  # its own port is in no set: connected sockets do not listen
    client.send(b"question")
    octets, peer = server.recvfrom(100)
    server.sendto(octets.upper(), peer)
    assert client.recv(100) == b"QUESTION"
    assert ground.far.quiet(lambda p: p.proto == 17)


def test_a_repeated_syn_follows_the_set_as_it_is_by_then(ground: Field) -> None:
    """The app listens and connects at once: the SYN left before the set knew. Its repetition reaches the app
    itself.
    """
    listener = ground.listen("127.0.0.1", 80)
    sock = ground.opened(socket.AF_INET)
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", 80))
    ground.far.take(lambda p: p.flags == SYN and p.dport == 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    listener.accept()[0].close()
    sock.settimeout(2)
    assert sock.recv(1) == b""


@pytest.mark.parametrize("to", ["127.0.0.1", OWN4, OWN6])
def test_a_syn_that_is_sent_back_is_taken_and_the_rest_stays(ground: Field, to: str) -> None:
    """The set does not know the listener yet; whoever stands at tun0 does, and sends the SYN back as it came."""
    listener = ground.listen("::", 80)
    sock = ground.opened(socket.AF_INET6 if ":" in to else socket.AF_INET)
    sock.setblocking(False)
    sock.connect_ex((to, 80))
    ground.far.send(ground.far.take(lambda p: p.flags == SYN and p.dport == 80))
    accepted, _ = listener.accept()
    with accepted:
        sock.settimeout(2)
        sock.sendall(b"question")
        assert accepted.recv(100) == b"question"
        accepted.sendall(b"answer")
        assert sock.recv(100) == b"answer"
    assert ground.far.quiet(lambda p: 80 in (p.sport, p.dport))


@pytest.mark.parametrize("to", ["127.0.0.1", OWN4, OWN6])
def test_a_datagram_that_is_sent_back_is_taken_and_answered_here(ground: Field, to: str) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    server = ground.listen(to, 5300, socket.SOCK_DGRAM)
    client = ground.opened(family, socket.SOCK_DGRAM)
    for _ in range(2):
        client.sendto(b"question", (to, 5300))
        ground.far.send(ground.far.take(lambda p: p.payload == b"question"))
        _, peer = server.recvfrom(100)
        server.sendto(b"answer", peer)
        assert client.recv(100) == b"answer"
    assert ground.far.quiet(lambda p: p.proto == 17)
    ground.ports(Sockets(udp=frozenset({5300})))
    client.sendto(b"again", (to, 5300))
    assert server.recv(100) == b"again"
    assert ground.far.quiet(lambda p: p.proto == 17)


def test_an_open_connection_outlives_its_place_in_the_set(ground: Field) -> None:
    listener = ground.listen("127.0.0.1", 80)
    ground.ports(Sockets(tcp=frozenset({80})))
    sock = ground.opened(socket.AF_INET)
    sock.connect(("127.0.0.1", 80))
    accepted, _ = listener.accept()
    listener.close()
    ground.ports(Sockets())
    with accepted:
        sock.sendall(b"still")
        assert accepted.recv(10) == b"still"


@pytest.mark.parametrize("client", [OTHER4, "127.0.0.6", "127.0.0.1", OWN4])
def test_a_listener_on_127_0_0_1_is_served_with_the_clients_address(ground: Field, client: str) -> None:
    listener = ground.listen("127.0.0.1", 81)
    ground.ports(Sockets(tcp=frozenset({81}), loop_tcp=frozenset({81}), tracked_tcp=frozenset({81})))
    assert ground.client(client, OWN4, 81, listener) == (client, "127.0.0.1")


def test_a_translated_connection_outlives_its_listener(ground: Field) -> None:
    ever = frozenset({81})
    listener = ground.listen("127.0.0.1", 81)
    ground.ports(Sockets(tcp=ever, loop_tcp=ever, tracked_tcp=ever))
    ground.far.send(Packet(6, OTHER4, 5555, OWN4, 81, SYN, 100))
    synack = ground.far.take(lambda p: p.flags == SYN | ACK)
    ground.far.send(synack.answer(ACK, 101))
    accepted, _ = listener.accept()
    listener.close()
    ground.ports(Sockets(tracked_tcp=ever))
    with accepted:
        accepted.sendall(b"still")
        assert ground.far.take(lambda p: p.payload == b"still").src == OWN4


def test_a_datagram_server_on_127_0_0_1_is_served(ground: Field) -> None:
    server = ground.listen("127.0.0.1", 5300, socket.SOCK_DGRAM)
    ever = frozenset({5300})
    ground.ports(Sockets(udp=ever, loop_udp=ever, tracked_udp=ever))
    ground.far.send(Packet(17, OTHER4, 5555, OWN4, 5300, payload=b"question"))
    octets, peer = server.recvfrom(100)
    assert (octets, peer) == (b"question", (OTHER4, 5555))
    server.sendto(b"answer", peer)
    assert ground.far.take(lambda p: p.payload == b"answer").src == OWN4


def test_a_listener_on_ipv6_loopback_is_reached_by_a_redirect_alone(ground: Field) -> None:
    """DNAT to ::1 does not work; so clients of both families are redirected to a relay's port (which dials
    ::1).
    """
    relay = ground.listen("::", 40001)
    pairs = frozenset({(82, 40001)})
    ever = frozenset({82})
    ground.ports(
        Sockets(tcp=ever, tracked_tcp=ever, relays=frozenset({40001}), relayed4=pairs, relayed6=pairs)
    )
    assert ground.client(OTHER4, OWN4, 82, relay) == (OTHER4, OWN4)
    assert ground.client(OTHER6, OWN6, 82, relay) == (OTHER6, OWN6)
    ground.space.nft(
        "table ip6 try { chain c { type nat hook prerouting priority dstnat - 1; tcp dport 83 dnat to ::1; }; }"
    )
    ground.listen("::1", 83)
    ground.far.send(Packet(6, OTHER6, 5557, OWN6, 83, SYN, 100))
    ground.far.send(Packet(6, OTHER6, 5558, OWN6, 82, SYN, 100))
    ground.far.take(lambda p: p.flags == SYN | ACK and p.dport == 5558)
    assert ground.far.quiet(lambda p: p.flags == SYN | ACK and p.dport == 5557)


def test_bulk_streams_are_not_tracked(ground: Field) -> None:
    """Neither those that leave nor those that arrive from elsewhere: conntrack knows only local with local."""
    ground.space.nft(
        "table inet seen { counter tracked {}; chain c { type filter hook output priority 0; "
        "ct state new,established counter name tracked; }; }"
    )
    ground.connect_out(OTHER4, 90)
    ground.connect_out(OTHER6, 90)
    assert "packets 0" in ground.space.nft("list counters")
    ground.connect_out("127.0.0.1", 90)
    assert "packets 0" not in ground.space.nft("list counters")
