"""The mirror inside the agent's engine: what a client sends is shown, what the agent itself dials is not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from agent.engine import Engine
from tests.net.agent.lab import Bridge, Flow, linked
from tests.net.mirror.lab import CLIENT4, TARGET4, TCP, Lab
from wire.messages import AppPort, ChannelKind, Eof, Open, Opened, Reset

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


async def test_the_rate_keeps_the_oldest(lab: Lab, engine: tuple[Engine, Bridge]) -> None:
    """Three that send without a pause, and a rate that is less than one of them: the first is shown to its end."""
    made, bridge = engine
    made.limits(SESSION, mirror_rate=100_000)
    piece = os.urandom(20_000)
    with lab.listen() as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        made.mirror_ports(SESSION, 0, (AppPort(proto=TCP, app=port, target=port),))
        pairs = []
        for _ in range(3):
            client = stack.enter_context(lab.connect(TARGET4, port))
            pairs.append((client, stack.enter_context(listener.accept()[0])))
        flows = []
        shown = [bytearray(), bytearray(), bytearray()]
        for at, (client, server) in enumerate(pairs):
            client.sendall(b"%d" % at)
            assert server.recv(1)
            flows.append((await offered(bridge))[1])
            assert await flows[at].read(1) == b"%d" % at
        while made.counters(SESSION).limited < 2:
            for client, server in pairs:
                client.sendall(piece)
                assert len(server.recv(len(piece), socket.MSG_WAITALL)) == len(piece)
            for at, flow in enumerate(flows):
                while not flow.inbox.empty() and flow.ended is None:
                    shown[at] += await flow.read(1)
            await asyncio.sleep(0.01)  # the pace of those who send
        client = stack.enter_context(lab.connect(TARGET4, port))
        client.sendall(b"too late")
        with listener.accept()[0] as server:
            assert server.recv(100)
            for _ in range(1000):
                if made.counters(SESSION).limited == 3:
                    break
                await asyncio.sleep(0.01)
        pairs[0][0].shutdown(socket.SHUT_WR)
        shown[0] += await flows[0].read()
        for flow in flows[1:]:
            while flow.ended is None:
                await flow.read(1)
    assert isinstance(flows[0].ended, Eof)
    assert bytes(shown[0]) == piece * (len(shown[0]) // len(piece))
    assert all(isinstance(flow.ended, Reset) for flow in flows[1:])
    assert bridge.offered.empty()
    counted = made.counters(SESSION)
    assert (counted.connections, counted.limited, counted.dropped) == (3, 3, 0)
