"""An interface that the container engine attached (published ports, a network the user named), beside tun0."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from layer import rules, tun, ways
from layer.rules import Sockets
from tests.net.layer.field import OWN4, packed
from tests.net.layer.packets import ACK, SYN, Far
from tests.net.layer.space import Space
from wire.messages import Address

pytestmark = pytest.mark.net

ENGINE_GATEWAY, ENGINE_OWN = "198.19.7.1", "198.19.7.2"
RESOLVER = "127.0.0.11"


class Attached:
    """``space`` has eth0 with a default route by the machine (``machine``), then what the bridge makes."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.space, self.machine = Space(), Space()
        stack.callback(self.space.close)
        stack.callback(self.machine.close)
        for space, script in (
            (self.machine, "link set lo up"),
            (
                self.machine,
                f"link add veth7 type veth peer name eth0 netns /proc/{os.getpid()}/fd/{self.space.fd}",
            ),
            (self.machine, f"address add {ENGINE_GATEWAY}/24 dev veth7"),
            (self.machine, "link set veth7 up"),
            (self.space, f"address add {ENGINE_OWN}/24 dev eth0"),
            (self.space, "link set eth0 up"),
            (self.space, f"route add default via {ENGINE_GATEWAY}"),
        ):
            done = space.run(["ip", *script.split()])
            assert done.returncode == 0, done.stderr
        own = (Address(packed(OWN4), 16),)
        with self.space.inside():
            fd = tun.make()
            ways.prepare(own)
        self.far = Far(fd)
        self.space.nft(
            rules.whole(rules.Ground((own[0].ip,), (packed(RESOLVER),)), Sockets(tcp=frozenset({8080})))
        )

    def socket(self, space: Space, kind: int = socket.SOCK_STREAM) -> socket.socket:
        with space.inside():
            made = self.stack.enter_context(socket.socket(socket.AF_INET, kind))
        made.settimeout(2)
        return made


@pytest.fixture
def attached() -> Iterator[Attached]:
    with ExitStack() as stack:
        yield Attached(stack)


def test_a_published_port_is_answered_by_the_interface_it_came_by(attached: Attached) -> None:
    listener = attached.socket(attached.space)
    listener.bind(("0.0.0.0", 8080))
    listener.listen()
    client = attached.socket(attached.machine)
    client.connect((ENGINE_OWN, 8080))
    accepted, peer = listener.accept()
    with accepted:
        assert peer[0] == ENGINE_GATEWAY
        accepted.sendall(b"answer")
        assert client.recv(100) == b"answer"
    assert attached.far.quiet(lambda p: p.proto == 6)


@pytest.mark.parametrize("to", [ENGINE_GATEWAY, "198.18.77.1"])
def test_everything_else_leaves_by_tun0(attached: Attached, to: str) -> None:
    sock = attached.socket(attached.space)
    sock.setblocking(False)
    sock.connect_ex((to, 90))
    syn = attached.far.take(lambda p: p.flags == SYN and p.dst == to)
    assert syn.src == OWN4
    attached.far.send(syn.answer(SYN | ACK, 1000))
    attached.far.take(lambda p: p.flags == ACK and p.dst == to)


def test_the_engines_name_server_is_not_the_targets(attached: Attached) -> None:
    """The engine translates 127.0.0.11:53 to a port of its own in every network that users make; ours comes
    before.
    """
    attached.space.nft(
        "table ip nat { chain OUTPUT { type nat hook output priority -100; "
        "ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:40953; }; }"
    )
    sock = attached.socket(attached.space, socket.SOCK_DGRAM)
    sock.sendto(b"query", (RESOLVER, 53))
    query = attached.far.take(lambda p: p.payload == b"query")
    assert (query.dst, query.dport) == (RESOLVER, 53)
