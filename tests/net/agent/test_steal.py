"""The engine's end of a hand-over: a gate's connections become channels, and what became of them is told."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from agent.engine import Engine
from tests.net.agent.conftest import SESSION
from tests.net.agent.fake_gate import ACCEPTED, ENDED, REFUSED, RESET, FakeGate, read, read_all
from tests.net.agent.lab import WINDOW, Bridge, Flow, linked, octets
from wire.messages import ChannelKind, Open, Opened, Reset

pytestmark = [pytest.mark.net, pytest.mark.native]

CLIENT, OWN = ("198.18.40.9", 40123), ("198.18.40.1", 8080)
CLIENT6, OWN6 = ("fd00:198:18:40::9", 40123), ("fd00:198:18:40::1", 8080)


@dataclass
class Place:
    engine: Engine
    gate: FakeGate
    number: int
    bridge: Bridge

    async def offered(self) -> tuple[Open, Flow]:
        """The bridge is asked for an app's connection."""
        asked = await asyncio.wait_for(self.bridge.offered.get(), 10)
        assert asked.kind == ChannelKind.STEAL_TCP
        return asked, self.bridge.follow(asked)

    async def accept(self, flow: Flow, window: int = WINDOW) -> None:
        await self.bridge.send(Opened(flow.number, window))

    async def stolen(self, conn: int) -> tuple[socket.socket, Flow]:
        """One that the app has accepted."""
        mine = self.gate.give(conn, SESSION, CLIENT, OWN)
        _, flow = await self.offered()
        await self.accept(flow)
        assert await self.gate.heard() == [ACCEPTED, conn]
        return mine, flow


@asynccontextmanager
async def gated(engine: Engine) -> AsyncIterator[tuple[FakeGate, int]]:
    gate = FakeGate()
    try:
        yield gate, engine.gate_add(gate.theirs.detach())
    finally:
        gate.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    with Engine() as engine:
        engine.session_add(SESSION)
        async with linked(engine, SESSION) as bridge, gated(engine) as (gate, number):
            assert await gate.told(SESSION)
            yield Place(engine, gate, number, bridge)


@pytest.mark.parametrize(("client", "own"), [(CLIENT, OWN), (CLIENT6, OWN6)])
async def test_octets_pass_both_ways_once_the_app_has_accepted(
    place: Place, client: tuple[str, int], own: tuple[str, int]
) -> None:
    with place.gate.give(1, SESSION, client, own, target=3) as mine:
        mine.send(b"GET / HTTP/1.1\r\n")
        asked, flow = await place.offered()
        assert (asked.source, asked.source_port) == (octets(client[0]), client[1])
        assert (asked.destination, asked.destination_port, asked.target) == (octets(own[0]), own[1], 3)
        assert flow.inbox.empty()
        await place.accept(flow)
        assert await place.gate.heard() == [ACCEPTED, 1]
        assert await flow.read(16) == b"GET / HTTP/1.1\r\n"
        assert place.engine.unanswered(SESSION) == 1
        await flow.send(b"HTTP/1.1 200 OK\r\n")
        assert await read(mine) == b"HTTP/1.1 200 OK\r\n"
        assert place.engine.unanswered(SESSION) == 0
        await flow.eof()
        assert await read(mine) == b""
        mine.send(b"bye")
        mine.shutdown(socket.SHUT_WR)
        assert await flow.read() == b"bye"
        assert await place.gate.heard() == [ENDED, 1]
    counted = place.engine.counters(SESSION)
    assert (counted.stolen, counted.stolen_bytes) == (1, 36)


async def test_an_idle_one_ends_in_order_when_it_is_hushed(place: Place) -> None:
    """And one whose client waits for an answer does not."""
    idle, flow = await place.stolen(1)
    busy, other = await place.stolen(2)
    with idle, busy:
        for mine, app in ((idle, flow), (busy, other)):
            mine.send(b"question")
            assert await app.read(8) == b"question"
        await flow.send(b"answer")
        assert await read(idle) == b"answer"
        place.engine.hush(SESSION)
        assert await read(idle) == b""
        assert place.engine.stolen_open(SESSION) == 2
        idle.shutdown(socket.SHUT_WR)
        assert await place.gate.heard() == [ENDED, 1]
        await other.send(b"answer")
        assert await read(busy) == b"answer"
        assert place.engine.stolen_open(SESSION) == 1


async def test_much_passes_both_ways(place: Place) -> None:
    mine, flow = await place.stolen(1)
    much = os.urandom(1 << 20) * 5

    async def gate() -> bytes:
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(mine, much))
        got = await read_all(mine)
        await sending
        mine.shutdown(socket.SHUT_WR)
        return got

    async def app() -> bytes:
        await flow.send(much)
        await flow.eof()
        return await flow.read()

    with mine:
        answered, asked = await asyncio.gather(gate(), app())
    assert answered == much
    assert asked == much


async def test_an_app_that_refuses_is_told_as_such(place: Place) -> None:
    with place.gate.give(1, SESSION, CLIENT, OWN) as mine:
        _, flow = await place.offered()
        await flow.reset(errno.ECONNREFUSED)
        assert await place.gate.heard() == [REFUSED, 1, errno.ECONNREFUSED]
        assert await read(mine) == b""
    assert place.engine.counters(SESSION).stolen == 0


async def test_a_broken_answer_is_told_before_the_pair_ends(place: Place) -> None:
    """Or half an answer would pass for a whole one."""
    mine, flow = await place.stolen(1)
    with mine:
        await flow.send(b"half an ans")
        await flow.reset(errno.ECONNRESET)
        assert await place.gate.heard() == [RESET, 1, errno.ECONNRESET]
        assert await read(mine) == b"half an ans"
        with pytest.raises(BlockingIOError):
            mine.recv(1)
        mine.shutdown(socket.SHUT_WR)
        with pytest.raises(BlockingIOError):
            mine.recv(1)
    assert place.engine.unanswered(SESSION) == 0


@pytest.mark.parametrize("accepted", [True, False])
async def test_the_gates_abort_resets_the_app(place: Place, *, accepted: bool) -> None:
    with place.gate.give(1, SESSION, CLIENT, OWN) as mine:
        _, flow = await place.offered()
        if accepted:
            await place.accept(flow)
            assert await place.gate.heard() == [ACCEPTED, 1]
        place.gate.abort(1)
        ended = await flow.next()
        assert isinstance(ended, Reset)
        assert ended.errno == errno.ECONNRESET
        assert await read(mine) == b""
    again, _ = await place.stolen(1)  # its number is free, and nothing was said of the first
    again.close()


async def test_a_session_without_a_link_is_refused_at_once(place: Place) -> None:
    place.engine.session_add(SESSION + 1)
    place.gate.give(1, SESSION + 1, CLIENT, OWN).close()
    assert await place.gate.heard() == [REFUSED, 1, errno.ENETDOWN]
    place.gate.give(2, 4711, CLIENT, OWN).close()
    assert await place.gate.heard() == [REFUSED, 2, errno.ESRCH]


async def test_as_many_as_the_session_may_have(place: Place) -> None:
    place.engine.limits(SESSION, connections=1)
    mine, _ = await place.stolen(1)
    with mine:
        place.gate.give(2, SESSION, CLIENT, OWN).close()
        assert await place.gate.heard() == [REFUSED, 2, errno.EMFILE]


async def test_the_link_comes_and_goes(place: Place) -> None:
    mine, _ = await place.stolen(1)
    with mine:
        place.engine.link_del(SESSION)
        assert await place.gate.heard() == [RESET, 1, errno.ENETRESET]
    assert not await place.gate.told(SESSION)
    async with linked(place.engine, SESSION):
        assert await place.gate.told(SESSION)
    place.engine.gate_sessions(place.number)
    assert SESSION in place.gate.up


async def test_a_cut_link_is_told_and_what_is_open_waits(place: Place) -> None:
    ours, theirs = socket.socketpair()
    place.engine.link_add(SESSION, theirs.detach(), keeps=True)
    while not await place.gate.told(SESSION):
        pass
    bridge = Bridge(*await asyncio.open_unix_connection(sock=ours))
    mine = place.gate.give(1, SESSION, CLIENT, OWN)
    asked = await asyncio.wait_for(bridge.offered.get(), 10)
    await bridge.send(Opened(asked.channel, WINDOW))
    assert await place.gate.heard() == [ACCEPTED, 1]
    await bridge.close()
    assert not await place.gate.told(SESSION)
    place.gate.give(2, SESSION, CLIENT, OWN).close()
    assert await place.gate.heard() == [REFUSED, 2, errno.ENETDOWN]
    with mine, pytest.raises(BlockingIOError):
        mine.recv(1)


async def test_a_gate_that_dies_resets_what_went_through_it(place: Place) -> None:
    mine, flow = await place.stolen(1)
    with mine:
        place.gate.close()
        assert isinstance(await flow.next(), Reset)
        assert await read(mine) == b""
    place.engine.gate_del(place.number)
    place.engine.gate_del(place.number)


async def test_a_gate_that_reads_nothing_is_told_all_of_it_later(place: Place) -> None:
    """More than its socket holds."""
    count = 3000
    for conn in range(count):
        place.gate.give(conn, 4711, CLIENT, OWN).close()
        if conn % 50 == 0:
            await asyncio.sleep(0)
    heard = [await place.gate.heard() for _ in range(count)]
    assert sorted(heard) == [[REFUSED, conn, errno.ESRCH] for conn in range(count)]


async def test_a_session_ends_with_its_stolen_connections(place: Place) -> None:
    mine, _ = await place.stolen(1)
    with mine:
        place.engine.session_del(SESSION)
        assert await place.gate.heard() == [RESET, 1, errno.ENETRESET]
