"""Datagrams and echo requests from inside the target: peers, sizes, errors and whose they are."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from tests.net.agent.lab import NOBODY4, TARGET4, TARGET6, WORLD4, WORLD6, Bridge, Flow, Lab, octets
from wire.messages import ChannelKind, Datagram, Eof, Message, Opened, Unreachable

pytestmark = [pytest.mark.net, pytest.mark.native]


async def received(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    data, sender = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(sock, 65536), 10)
    return data, sender[:2]


@pytest.fixture(params=[(WORLD4, TARGET4), (WORLD6, TARGET6)], ids=["ipv4", "ipv6"])
def ends(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


async def udp(bridge: Bridge) -> Flow:
    return await opened(bridge, ChannelKind.UDP)


async def opened(bridge: Bridge, kind: ChannelKind) -> Flow:
    flow = await bridge.open(kind, WORLD4, 0)
    assert isinstance(await flow.opened(), Opened)
    return flow


async def test_there_and_back(lab: Lab, bridge: Bridge, ends: tuple[str, str]) -> None:
    world, target = ends
    with lab.datagrams(lab.world, world) as peer:
        port = peer.getsockname()[1]
        flow = await udp(bridge)
        await flow.datagram(world, port, b"question")
        data, sender = await received(peer)
        assert (data, sender[0]) == (b"question", target)
        peer.sendto(b"answer", sender)
        assert await flow.next() == Datagram(flow.number, octets(world), port, b"answer")


async def test_one_socket_for_many_peers(lab: Lab, bridge: Bridge) -> None:
    """Each sees the same source; the answer says whose it is, also from a port that was never written to."""
    with lab.datagrams(lab.world, WORLD4) as one, lab.datagrams(lab.world, WORLD4) as two:
        flow = await udp(bridge)
        await flow.datagram(WORLD4, one.getsockname()[1], b"1")
        _, source = await received(one)
        two.sendto(b"unasked", source)
        assert await flow.next() == Datagram(flow.number, octets(WORLD4), two.getsockname()[1], b"unasked")
        await flow.datagram(WORLD4, two.getsockname()[1], b"2")
        assert await received(two) == (b"2", source)


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 60000, 65507])
async def test_every_size(lab: Lab, bridge: Bridge, size: int) -> None:
    """Fragments by the target's own stack above the MTU, both ways."""
    data = os.urandom(size)
    with lab.datagrams(lab.world, WORLD4) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        flow = await udp(bridge)
        await flow.datagram(WORLD4, peer.getsockname()[1], data)
        got, source = await received(peer)
        assert got == data
        peer.sendto(got, source)
        back = await flow.next()
        assert isinstance(back, Datagram)
        assert back.payload == data


async def test_too_large_is_an_error_of_its_own(bridge: Bridge) -> None:
    flow = await udp(bridge)
    await flow.datagram(WORLD4, 9, b"x" * 65508)
    assert await flow.next() == Unreachable(flow.number, octets(WORLD4), 9, errno.EMSGSIZE)


async def test_a_closed_port_is_told_with_its_peer(lab: Lab, bridge: Bridge, ends: tuple[str, str]) -> None:
    world = ends[0]
    with lab.datagrams(lab.world, world) as closed:
        port = closed.getsockname()[1]
    with lab.datagrams(lab.world, world) as alive:
        flow = await udp(bridge)
        await flow.datagram(world, port, b"anybody?")
        assert await flow.next() == Unreachable(flow.number, octets(world), port, errno.ECONNREFUSED)
        await flow.datagram(world, alive.getsockname()[1], b"you?")
        assert (await received(alive))[0] == b"you?"


async def test_an_error_does_not_cost_another_peer_its_datagram(lab: Lab, bridge: Bridge) -> None:
    """The socket reports a pending error on its next send, whoever that is to."""
    with lab.datagrams(lab.world, WORLD4) as closed:
        port = closed.getsockname()[1]
    with lab.datagrams(lab.world, WORLD4) as alive:
        flow = await udp(bridge)
        for number in range(50):
            await flow.datagram(WORLD4, port, b"nobody")
            await flow.datagram(WORLD4, alive.getsockname()[1], str(number).encode())
        assert [(await received(alive))[0] for _ in range(50)] == [str(n).encode() for n in range(50)]
        refused = await flow.next()
        assert refused == Unreachable(flow.number, octets(WORLD4), port, errno.ECONNREFUSED)


async def test_no_route(bridge: Bridge) -> None:
    flow = await udp(bridge)
    await flow.datagram("198.19.0.1", 53, b"x")
    assert await flow.next() == Unreachable(flow.number, octets("198.19.0.1"), 53, errno.ENETUNREACH)


async def test_the_targets_firewall_refuses(lab: Lab, bridge: Bridge) -> None:
    with lab.drops(lab.target, "output", "udp dport 4444"):
        flow = await udp(bridge)
        await flow.datagram(WORLD4, 4444, b"x")
        assert await flow.next() == Unreachable(flow.number, octets(WORLD4), 4444, errno.EPERM)


async def test_a_host_that_is_not_there(bridge: Bridge) -> None:
    flow = await udp(bridge)
    await flow.datagram(NOBODY4, 53, b"x")
    assert await flow.next() == Unreachable(flow.number, octets(NOBODY4), 53, errno.EHOSTUNREACH)


async def test_the_end_of_an_association_frees_its_socket(lab: Lab, bridge: Bridge) -> None:
    with lab.datagrams(lab.world, WORLD4) as peer:
        flow = await udp(bridge)
        await flow.datagram(WORLD4, peer.getsockname()[1], b"x")
        _, source = await received(peer)
        await flow.eof()
        assert await flow.next() == Eof(flow.number)
        with lab.datagrams(lab.target, TARGET4, source[1]) as again:
            assert again.getsockname()[1] == source[1]


async def test_echo(bridge: Bridge, ends: tuple[str, str]) -> None:
    world = ends[0]
    flow = await opened(bridge, ChannelKind.ECHO)
    for sequence in (0, 1, 65535):
        data = os.urandom(56)
        await flow.datagram(world, sequence, data)
        assert await flow.next() == Datagram(flow.number, octets(world), sequence, data)


async def test_a_large_and_an_odd_echo(bridge: Bridge) -> None:
    flow = await opened(bridge, ChannelKind.ECHO)
    for size in (0, 1, 1473, 65499):
        data = os.urandom(size)
        await flow.datagram(WORLD4, 7, data)
        assert await flow.next() == Datagram(flow.number, octets(WORLD4), 7, data)


async def test_two_apps_echo_with_the_same_numbers(bridge: Bridge) -> None:
    """Each gets its own replies and no other."""
    one, two = await opened(bridge, ChannelKind.ECHO), await opened(bridge, ChannelKind.ECHO)
    for sequence in range(20):
        await one.datagram(WORLD4, sequence, b"one")
        await two.datagram(WORLD4, sequence, b"two")

    async def payloads(flow: Flow) -> set[bytes]:
        return {datagram(await flow.next()).payload for _ in range(20)}

    assert await payloads(one) == {b"one"}
    assert await payloads(two) == {b"two"}


def datagram(message: Message) -> Datagram:
    assert isinstance(message, Datagram), message
    return message


async def test_echo_to_nobody(bridge: Bridge) -> None:
    flow = await opened(bridge, ChannelKind.ECHO)
    await flow.datagram(NOBODY4, 3, b"x")
    assert await flow.next() == Unreachable(flow.number, octets(NOBODY4), 3, errno.EHOSTUNREACH)


async def test_echo_without_a_route(bridge: Bridge) -> None:
    flow = await opened(bridge, ChannelKind.ECHO)
    await flow.datagram("198.19.0.1", 3, b"x")
    assert await flow.next() == Unreachable(flow.number, octets("198.19.0.1"), 3, errno.ENETUNREACH)
