"""What the agent itself sends inside a target is never mirrored back, not even after its socket has closed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from agent.engine import Engine
from tests.net.agent.lab import TARGET4, WORLD4, Bridge, Lab, linked, octets
from wire.messages import AppPort, ChannelKind, Opened, Proto

pytestmark = [pytest.mark.net, pytest.mark.native]

PORT = 8088


@pytest.fixture
async def mirroring(lab: Lab) -> AsyncIterator[Bridge]:
    """A link over which PORT of the target is mirrored, TCP and UDP."""
    with Engine() as engine:
        engine.session_add(1)
        netns = lab.open_target()
        engine.target_set(1, 0, netns)
        os.close(netns)
        async with linked(engine, 1) as bridge:
            engine.mirror_ports(1, 0, (AppPort(Proto.TCP, PORT, PORT), AppPort(Proto.UDP, PORT, PORT)))
            yield bridge


@pytest.mark.parametrize("own", ["127.0.0.1", TARGET4])
async def test_a_connection_to_the_target_itself(lab: Lab, mirroring: Bridge, own: str) -> None:
    """The world's connection, made after it, is the first that is offered."""
    loop = asyncio.get_running_loop()
    with lab.listener(lab.target, "0.0.0.0", PORT) as listener:
        for _ in range(3):
            flow = await mirroring.tcp(own, PORT)
            peer, _ = await loop.sock_accept(listener)
            with peer:
                await flow.send(b"from the app itself")
                assert await loop.sock_recv(peer, 100) == b"from the app itself"
            assert await flow.read() == b""
            await flow.eof()
        with lab.inside(lab.world):
            client = socket.socket()
        client.setblocking(False)
        with client:
            await loop.sock_connect(client, (TARGET4, PORT))
            with (await loop.sock_accept(listener))[0]:
                client.send(b"from the world")
                offer = await asyncio.wait_for(mirroring.offered.get(), 10)
                assert (offer.kind, offer.source) == (ChannelKind.MIRROR_TCP, octets(WORLD4))
    assert mirroring.offered.empty()


async def test_a_datagram_to_the_target_itself(lab: Lab, mirroring: Bridge) -> None:
    with (
        lab.datagrams(lab.target, "0.0.0.0", PORT) as server,
        lab.datagrams(lab.world, WORLD4) as client,
    ):
        flow = await mirroring.open(ChannelKind.UDP, TARGET4, PORT)
        assert isinstance(await flow.opened(), Opened)
        await flow.datagram(TARGET4, PORT, b"from the app itself")
        assert await asyncio.get_running_loop().sock_recv(server, 100) == b"from the app itself"
        client.sendto(b"from the world", (TARGET4, PORT))
        offer = await asyncio.wait_for(mirroring.offered.get(), 10)
        assert (offer.kind, offer.source) == (ChannelKind.MIRROR_UDP, octets(WORLD4))
    assert mirroring.offered.empty()
