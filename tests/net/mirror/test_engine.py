"""The mirror inside the agent's engine: what a client sends is shown, what the agent itself dials is not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from agent.engine import Engine
from tests.net.agent.lab import Bridge, Flow, linked
from tests.net.mirror.lab import CLIENT4, TARGET4, TCP, Lab
from wire.messages import AppPort, ChannelKind, Open, Opened, Reset

SESSION = 7


@pytest.fixture
async def engine(lab: Lab) -> AsyncIterator[tuple[Engine, Bridge]]:
    with Engine() as made:
        made.session_add(SESSION)
        netns = os.open(f"/run/netns/{lab.target}", os.O_RDONLY)
        made.target_set(SESSION, 0, netns)
        os.close(netns)
        async with linked(made, SESSION) as bridge:
            yield made, bridge


async def offered(bridge: Bridge) -> tuple[Open, Flow]:
    """The next channel of the agent's, accepted."""
    opened = await asyncio.wait_for(bridge.offered.get(), 10)
    flow = Flow(bridge, opened.channel)
    bridge._flows[opened.channel] = flow
    await bridge.send(Opened(opened.channel, 1 << 20))
    return opened, flow


async def test_a_client_is_mirrored_and_the_agent_is_not(lab: Lab, engine: tuple[Engine, Bridge]) -> None:
    made, bridge = engine
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.mirror_ports(SESSION, 0, (AppPort(proto=TCP, app=8080, target=port),))
        dialled = await bridge.tcp(TARGET4, port)
        await dialled.send(b"from the app, by the agent")
        with listener.accept()[0] as server:
            assert server.recv(100)
            with lab.connect(TARGET4, port) as client, listener.accept()[0] as other:
                client.sendall(b"from a client")
                assert other.recv(100)
                opened, flow = await offered(bridge)
                assert await flow.read(13) == b"from a client"
                name = client.getsockname()
    assert (opened.kind, opened.source_port) == (ChannelKind.MIRROR_TCP, name[1])
    assert (opened.source, opened.destination) == tuple(map(packed, (CLIENT4, TARGET4)))
    assert (opened.destination_port, opened.target) == (8080, 0)
    assert bridge.offered.empty()
    counted = made.counters(SESSION)
    assert (counted.connections, counted.bytes, counted.dropped) == (1, 13, 0)


def packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


async def test_no_ports_ends_it_when_the_app_has_ended(lab: Lab, engine: tuple[Engine, Bridge]) -> None:
    """The bridge is told of a target that goes away: its mirrored channels are reset."""
    made, bridge = engine
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.mirror_ports(SESSION, 0, (AppPort(proto=TCP, app=port, target=port),))
        with lab.connect(TARGET4, port) as client, listener.accept()[0]:
            client.sendall(b"x")
            _, flow = await offered(bridge)
            assert await flow.read(1) == b"x"
            made.target_del(SESSION, 0)
            assert isinstance(await flow.next(), Reset)
