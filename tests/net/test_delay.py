"""The relay that stands for a long way: what it adds, what it keeps, and how it ends things."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.net.delay import Delay

ONE_WAY = 0.025


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says what it hears; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(262_144):
                writer.write(octets)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_each_round_trip_takes_twice_the_way() -> None:
    clock = asyncio.get_running_loop().time
    async with echo() as port, Delay("127.0.0.1", port, ONE_WAY) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        took = []
        for _ in range(20):
            before = clock()
            writer.write(b"x")
            await reader.readexactly(1)
            took.append(clock() - before)
        writer.close()
    assert min(took) >= 2 * ONE_WAY
    assert statistics.median(took) < 2 * ONE_WAY + 0.02


async def test_a_way_that_is_full_is_as_long_and_keeps_every_octet() -> None:
    """32 MiB there and back, all sent at once: the last octet is late by the way, not by what was before it."""
    clock = asyncio.get_running_loop().time
    sent = os.urandom(1024 * 1024) * 32
    async with echo() as port, Delay("127.0.0.1", port, ONE_WAY) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port, limit=1024 * 1024)
        before = clock()
        writer.write(sent)
        writer.write_eof()
        first = await reader.readexactly(1)
        assert clock() - before >= 2 * ONE_WAY
        got = first + await reader.read(-1)  # and the end comes through, both ways
        writer.close()
    assert got == sent


async def test_a_window_bounds_what_is_on_the_way() -> None:
    clock = asyncio.get_running_loop().time
    async with echo() as port, Delay("127.0.0.1", port, 0.05, in_flight=256 * 1024) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        before = clock()
        writer.write(bytes(4 * 1024 * 1024))
        await reader.readexactly(4 * 1024 * 1024)
        writer.close()
        # At most in_flight and what one read brings (256 KiB) for each 50 ms: 4 MiB take 8 of these at least.
        assert clock() - before > 0.3


async def test_cut_is_a_reset_and_heal_takes_again() -> None:
    async with echo() as port, Delay("127.0.0.1", port, 0.001) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        await reader.readexactly(1)
        relay.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", relay.port)
        await relay.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()


async def test_frozen_nothing_comes_and_nothing_is_lost() -> None:
    async with echo() as port, Delay("127.0.0.1", port, 0.001) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        await reader.readexactly(1)
        relay.freeze()
        writer.write(b"kept")
        writer.write_eof()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        await relay.heal()
        assert await asyncio.wait_for(reader.read(-1), 5) == b"kept"
        writer.close()


async def test_an_end_that_comes_to_one_who_was_reset_is_none(caplog: pytest.LogCaptureFixture) -> None:
    """Who has said its last is not read from any more, so that its reset is not seen."""
    heard = asyncio.Event()
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(-1) == b"x"
        heard.set()
        await go.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with Delay("127.0.0.1", server.sockets[0].getsockname()[1], 0.01) as relay:
        _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"x")
        writer.write_eof()
        await heard.wait()
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await asyncio.sleep(0)
        go.set()
        async with asyncio.timeout(5):
            while relay.connections:  # noqa: ASYNC110 - the relay tells nobody
                await asyncio.sleep(0.005)
    server.close()
    assert not caplog.records, "an error in a callback"


async def test_a_server_that_is_not_there_resets() -> None:
    async with Delay("127.0.0.1", 1, 0.001) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
