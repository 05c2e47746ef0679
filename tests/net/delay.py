"""A TCP relay that makes a way longer: each octet, and each end, arrives ``one_way`` seconds later, at any rate.

For machines without netem. The way can be cut (connections reset, new ones refused), frozen (nothing moves and nothing
ends, as when a laptop's lid is closed) and healed. Events alone move it: a chunk is due at its own moment, so a busy
machine makes it later but never out of order, and the delay does not depend on what else waits.

What it is not: the two TCP connections have no delay of their own, so neither slow start nor a kernel's window is part
of it. ``in_flight`` bounds what is on the way, and so stands for a window: in_flight / one_way is the most it carries.

    python -m tests.net.delay HOST:PORT --one-way 0.025 [--listen 127.0.0.1:0]     commands on stdin: cut freeze heal
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

IN_FLIGHT = 64 * 1024 * 1024
"""Octets of one direction: 1.2 s of 50 MB/s, 80 ms of 6 Gbit/s. Above it the sender is not read from."""


class Delay:
    """Listens on ``port`` of the loopback from ``async with`` on."""

    def __init__(
        self, host: str, port: int, one_way: float = 0.0, *, in_flight: int = IN_FLIGHT, listen: int = 0
    ) -> None:
        self.one_way = one_way
        self.in_flight = in_flight
        self.port = listen
        self.accepted = 0
        self.frozen = False
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()

    async def __aenter__(self) -> Self:
        await self.heal()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()

    @property
    def connections(self) -> int:
        return len(self._pairs)

    def cut(self) -> None:
        """Reset every connection, refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for pair in list(self._pairs):
            pair.reset()

    def freeze(self) -> None:
        """From now on nothing arrives and nothing ends; new connections are accepted and hear nothing."""
        self.frozen = True
        for pair in self._pairs:
            pair.stir()

    async def heal(self) -> None:
        """What is on the way arrives, and connections are taken again."""
        self.frozen = False
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: _Side(self, _Pair(self)), "127.0.0.1", self.port, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]
        for pair in list(self._pairs):
            pair.stir()

    def began(self, pair: _Pair) -> None:
        self.accepted += 1
        self._pairs.add(pair)

    def over(self, pair: _Pair) -> None:
        self._pairs.discard(pair)

    async def dial(self, pair: _Pair) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Side(self, pair), *self._to)
        except OSError:
            pair.reset()


class _Way:
    """One direction: what was read from one side and is due at the other."""

    def __init__(self, relay: Delay, ended: Callable[[], None]) -> None:
        self._relay = relay
        self._ended = ended
        self._queue: deque[tuple[float, bytes]] = deque()  # b"" is the end
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._blocked = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.done = False

    def put(self, octets: bytes) -> None:
        self._queue.append((asyncio.get_running_loop().time() + self._relay.one_way, octets))
        self._held += len(octets)
        if self._held > self._relay.in_flight and self.source is not None:
            self.source.pause_reading()
        self.stir()

    def block(self, *, blocked: bool) -> None:
        """The sink takes no more just now, or takes again."""
        self._blocked = blocked
        self.stir()

    def stir(self) -> None:
        """Deliver what is due, and come back when the next is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sink is None or self._relay.frozen:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._queue and not self._blocked and self._queue[0][0] <= now:
            _, octets = self._queue.popleft()
            self._held -= len(octets)
            if octets:
                self.sink.write(octets)
            else:
                self.done = True
                if not self.sink.is_closing():
                    with contextlib.suppress(OSError):  # it was reset while this end was on its way
                        self.sink.write_eof()
                self._ended()
        if (
            self._held <= self._relay.in_flight // 2
            and self.source is not None
            and not self.source.is_closing()
        ):
            self.source.resume_reading()
        if self._queue and not self._blocked:
            self._timer = loop.call_at(self._queue[0][0], self.stir)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()


class _Pair:
    """Two connections, joined."""

    def __init__(self, relay: Delay) -> None:
        self._relay = relay
        self.there, self.back = _Way(relay, self.ended), _Way(relay, self.ended)
        self.sides: list[asyncio.Transport] = []
        self._task: asyncio.Task[None] | None = None
        self._reset = False

    def joined(self, transport: asyncio.Transport) -> tuple[_Way, _Way]:
        """The ways from and to this side; the first side to come is the one that dialled."""
        self.sides.append(transport)
        mine, theirs = (self.there, self.back) if len(self.sides) == 1 else (self.back, self.there)
        mine.source, theirs.sink = transport, transport
        if len(self.sides) == 1:
            self._relay.began(self)
            self._task = asyncio.create_task(self._relay.dial(self), name="a delayed connection")
        theirs.stir()
        if self._reset:  # while it was being dialled
            transport.abort()
        return mine, theirs

    def stir(self) -> None:
        self.there.stir()
        self.back.stir()

    def ended(self) -> None:
        """One direction has; after the other, what the kernel has not taken yet still leaves."""
        if self.there.done and self.back.done:
            self._relay.over(self)
            for side in self.sides:
                side.close()

    def reset(self) -> None:
        self._reset = True
        self._relay.over(self)
        self.there.stop()
        self.back.stop()
        for side in self.sides:
            if (sock := side.get_extra_info("socket")) is not None and not side.is_closing():
                sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )  # RST, not FIN (socket(7))
            side.abort()


class _Side(asyncio.Protocol):
    def __init__(self, relay: Delay, pair: _Pair) -> None:
        self._relay = relay
        self._pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1024 * 1024)
        self._mine, self._theirs = self._pair.joined(transport)

    def data_received(self, data: bytes) -> None:
        self._mine.put(data)

    def eof_received(self) -> bool:
        self._mine.put(b"")
        return True  # the other direction goes on

    def pause_writing(self) -> None:
        self._theirs.block(blocked=True)

    def resume_writing(self) -> None:
        self._theirs.block(blocked=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:  # reset: told on at once, since what was on the way is lost with it
            self._pair.reset()


async def _serve(to: str, listen: str, one_way: float) -> None:
    host, _, port = to.rpartition(":")
    async with Delay(host, int(port), one_way, listen=int(listen.rpartition(":")[2])) as relay:
        print(relay.port, flush=True)
        loop = asyncio.get_running_loop()
        while command := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            match command:
                case "cut":
                    relay.cut()
                case "freeze":
                    relay.freeze()
                case "heal":
                    await relay.heal()
            print(command, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("to")
    parser.add_argument("--one-way", type=float, default=0.025)
    parser.add_argument("--listen", default="127.0.0.1:0")
    given = parser.parse_args()
    asyncio.run(_serve(given.to, given.listen, given.one_way))
