"""A session that may not go out, and one that may not ask for metadata: refused at once, as a firewall would."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable

import pytest

from agent.account import Outgoing
from agent.engine import Engine, EngineFault
from tests.net.agent.conftest import SESSION
from tests.net.agent.fake_gate import ACCEPTED, FakeGate
from tests.net.agent.lab import TARGET4, WINDOW, WORLD4, WORLD6, Bridge, Flow, Lab, linked, octets, run
from wire.messages import ChannelKind, Datagram, Opened, Reset, Unreachable

pytestmark = [pytest.mark.net, pytest.mark.native]

METADATA4, METADATA6 = "169.254.169.254", "fd00:ec2::254"


@pytest.fixture
async def place(lab: Lab) -> AsyncIterator[tuple[Engine, Bridge]]:
    with Engine() as engine:
        engine.session_add(SESSION)
        netns = lab.open_target()
        engine.target_set(SESSION, 0, netns)
        os.close(netns)
        async with linked(engine, SESSION) as bridge:
            yield engine, bridge


@pytest.fixture
def metadata(lab: Lab) -> None:
    """The world has the services' addresses, the target the routes to them: only the agent can refuse."""
    for address, prefix in ((METADATA4, 32), (METADATA6, 128)):
        run("ip", "-n", lab.world, "addr", "replace", f"{address}/{prefix}", "dev", "agt0", "nodad")
        run("ip", "-n", lab.target, "route", "replace", f"{address}/{prefix}", "dev", "agt0")


async def refused(bridge: Bridge, address: str, port: int) -> int:
    flow = await bridge.open(ChannelKind.TCP, address, port)
    answer = await flow.opened()
    assert isinstance(answer, Reset), answer
    return answer.errno


async def unreachable(bridge: Bridge, kind: ChannelKind, address: str, port: int) -> int:
    flow = await bridge.open(kind, address, 0)
    assert isinstance(await flow.opened(), Opened)
    await flow.datagram(address, port, b"anybody there?")
    answer = await flow.next()
    assert isinstance(answer, Unreachable), answer
    assert (answer.peer, answer.port) == (octets(address), port)
    return answer.errno


async def test_nothing_goes_out(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    with lab.listener(lab.world, WORLD4) as listener, lab.datagrams(lab.world, WORLD4) as peer:
        port = listener.getsockname()[1]
        before = await bridge.tcp(WORLD4, port)
        engine.limits(SESSION, outgoing=False)
        for address in (WORLD4, WORLD6, TARGET4, "127.0.0.1"):
            assert await refused(bridge, address, port) == errno.EACCES
        for kind in (ChannelKind.UDP, ChannelKind.ECHO):
            assert await unreachable(bridge, kind, WORLD4, peer.getsockname()[1]) == errno.EACCES
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        await before.send(b"what was open stays")
        with listener.accept()[0] as served:
            served.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(served, 100) == b"what was open stays"
        engine.limits(SESSION)
        await bridge.tcp(WORLD4, port)


@pytest.mark.usefixtures("metadata")
async def test_metadata_is_asked_by_leave_only(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    for address in (METADATA4, METADATA6):
        with lab.listener(lab.world, address) as listener, lab.datagrams(lab.world, address) as peer:
            tcp, udp = listener.getsockname()[1], peer.getsockname()[1]
            await bridge.tcp(address, tcp)
            engine.limits(SESSION, metadata=False)
            assert await refused(bridge, address, tcp) == errno.EACCES
            for kind in (ChannelKind.UDP, ChannelKind.ECHO):
                assert await unreachable(bridge, kind, address, udp) == errno.EACCES
            with pytest.raises(BlockingIOError):
                peer.recv(1)
            engine.limits(SESSION, metadata=True)
            flow = await bridge.open(ChannelKind.ECHO, address, 0)
            assert isinstance(await flow.opened(), Opened)
            await flow.datagram(address, 1, b"now?")
            assert isinstance(await flow.next(), Datagram)


async def test_the_rest_of_the_world_is_not_metadata(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    engine.limits(SESSION, metadata=False)
    for address in (WORLD4, WORLD6):
        with lab.listener(lab.world, address) as listener:
            await bridge.tcp(address, listener.getsockname()[1])


async def test_so_many_connections_and_no_more(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    engine.limits(SESSION, connections=2)
    with lab.listener(lab.world, WORLD4) as listener:
        port = listener.getsockname()[1]
        first = await bridge.tcp(WORLD4, port)
        await bridge.tcp(WORLD4, port)
        assert await refused(bridge, WORLD4, port) == errno.EMFILE
        flow = await bridge.open(ChannelKind.UDP, WORLD4, port)
        assert isinstance(await flow.opened(), Reset)
        await first.reset(errno.ECONNRESET)
        with listener.accept()[0] as served:
            served.settimeout(2)
            with pytest.raises(ConnectionResetError):
                served.recv(1)
        await bridge.tcp(WORLD4, port)


RATE = 1_000_000
SAVED = RATE // 8  # passes at once

MANY = os.urandom(3 * SAVED)


async def took(work: Awaitable[object]) -> float:
    began = time.monotonic()
    await asyncio.wait_for(work, 30)
    return time.monotonic() - began


async def served(listener: socket.socket) -> socket.socket:
    sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listener), 10)
    sock.setblocking(False)
    return sock


async def received(sock: socket.socket) -> bytes:
    """To its end."""
    parts = bytearray()
    while part := await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1 << 20), 10):
        parts += part
    return bytes(parts)


async def test_streams_wait_for_their_rate_and_lose_nothing(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    """Each way has a rate of its own; two streams share one."""
    engine, bridge = place
    engine.limits(SESSION, outgoing_rate=RATE)
    with lab.listener(lab.world, WORLD4) as listener:
        flows = [await bridge.tcp(WORLD4, listener.getsockname()[1]) for _ in range(2)]
        peers = [await served(listener) for _ in range(2)]

        async def up(flow: Flow, peer: socket.socket) -> None:
            reading = asyncio.create_task(received(peer))
            await flow.send(MANY)
            await flow.eof()
            assert await reading == MANY

        async def down(flow: Flow, peer: socket.socket) -> None:
            reading = asyncio.create_task(flow.read())
            await asyncio.get_running_loop().sock_sendall(peer, MANY)
            peer.shutdown(socket.SHUT_WR)
            assert await reading == MANY

        least = (2 * len(MANY) - SAVED) / RATE
        assert await took(asyncio.gather(*map(up, flows, peers))) >= least
        assert await took(asyncio.gather(*map(down, flows, peers))) >= least
        assert engine.outgoing(SESSION) == Outgoing(2, 2 * len(MANY), 2 * len(MANY))
        for peer in peers:
            peer.close()


async def test_stolen_connections_wait_for_the_same_rate(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    """Both ways, and what the app does itself meanwhile has its share of it; each is counted where it belongs."""
    engine, bridge = place
    engine.limits(SESSION, outgoing_rate=RATE)
    gate = FakeGate()
    with lab.listener(lab.world, WORLD4) as listener:
        engine.gate_add(gate.theirs.detach())
        with gate.give(1, SESSION, ("198.18.40.9", 40123), (TARGET4, 8080)) as client:
            stolen = bridge.follow(await asyncio.wait_for(bridge.offered.get(), 10))
            await bridge.send(Opened(stolen.number, WINDOW))
            assert await gate.heard() == [ACCEPTED, 1]
            flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
            with await served(listener) as peer:

                async def up() -> None:
                    reading = asyncio.gather(received(client), received(peer))
                    for one in (stolen, flow):
                        await one.send(MANY)
                        await one.eof()
                    assert await reading == [MANY, MANY]

                async def down() -> None:
                    reading = asyncio.gather(stolen.read(), flow.read())
                    for sock in (client, peer):
                        await asyncio.get_running_loop().sock_sendall(sock, MANY)
                        sock.shutdown(socket.SHUT_WR)
                    assert await reading == [MANY, MANY]

                least = (2 * len(MANY) - SAVED) / RATE
                assert await took(up()) >= least
                assert await took(down()) >= least
        assert engine.outgoing(SESSION) == Outgoing(1, len(MANY), len(MANY))
        assert engine.counters(SESSION).stolen_bytes == 2 * len(MANY)
    gate.close()


async def test_a_rate_that_is_lifted(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    """Who waits at 1 octet a second need not wait for it."""
    engine, bridge = place
    engine.limits(SESSION, outgoing_rate=1)
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await served(listener) as peer:
            await flow.send(MANY)
            await flow.eof()
            reading = asyncio.create_task(received(peer))
            while engine.outgoing(SESSION).sent < 16 * 1024:  # noqa: ASYNC110 - C does not tell
                await asyncio.sleep(0.01)
            engine.limits(SESSION)
            assert await reading == MANY


async def test_what_waits_goes_when_its_connection_does(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    engine.limits(SESSION, outgoing_rate=1)
    with lab.listener(lab.world, WORLD4) as listener:
        for end in ("reset", "session"):
            flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
            with await served(listener) as peer:
                await flow.send(MANY)
                await asyncio.get_running_loop().sock_sendall(peer, MANY[:1000])
                if end == "reset":
                    await flow.reset(errno.ECONNRESET)
                else:
                    engine.session_del(SESSION)
                with pytest.raises(ConnectionResetError):
                    await received(peer)
    engine.session_add(SESSION)


async def test_datagrams_over_the_rate_are_dropped_and_counted(
    lab: Lab, place: tuple[Engine, Bridge]
) -> None:
    engine, bridge = place
    engine.limits(SESSION, outgoing_rate=1)
    with lab.datagrams(lab.world, WORLD4) as peer:
        flow = await bridge.open(ChannelKind.UDP, WORLD4, 0)
        assert isinstance(await flow.opened(), Opened)
        for _ in range(3):
            await flow.datagram(WORLD4, peer.getsockname()[1], MANY[:10_000])
        (_, app), *_ = [await asyncio.get_running_loop().sock_recvfrom(peer, 1 << 16) for _ in range(2)]
        for _ in range(3):
            peer.sendto(MANY[:20_000], app)
        assert isinstance(await flow.next(), Datagram)
        while engine.outgoing(SESSION).slowed < 3:  # noqa: ASYNC110 - C does not tell
            await asyncio.sleep(0.01)
        assert engine.outgoing(SESSION) == Outgoing(1, 20_000, 20_000, slowed=3)
        with pytest.raises(BlockingIOError):
            peer.recv(1)


async def test_what_was_refused_was_not_opened(lab: Lab, place: tuple[Engine, Bridge]) -> None:
    engine, bridge = place
    engine.limits(SESSION, outgoing=False)
    assert await refused(bridge, WORLD4, 80) == errno.EACCES
    assert await unreachable(bridge, ChannelKind.UDP, WORLD4, 53) == errno.EACCES
    assert engine.outgoing(SESSION) == Outgoing()


def test_a_session_that_is_not_there() -> None:
    with Engine() as engine, pytest.raises(EngineFault, match="has ended"):
        engine.limits(99)
