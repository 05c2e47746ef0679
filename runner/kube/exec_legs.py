"""Legs over an engine that shares no sockets with us: `mirror-link --serve` in the bridge's container, one spare always
waiting.

A program that waits looks like one that serves, so the leg begins with the first octets; until then no agent is
dialled.
"""

from __future__ import annotations

import asyncio
import logging

from runner.agents import Words
from runner.engine import Engine, EngineError
from runner.kube.tunnel import Tunnel
from runner.multiplexed import STDERR, Pieces

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds until the next program when one ended before it took anybody."""


class ExecLegs:
    """One agent's, at ``path`` in the container ``bridge``."""

    def __init__(self, engine: Engine, bridge: str, path: str, tunnel: Tunnel) -> None:
        self._engine = engine
        self._bridge = bridge
        self._path = path
        self._tunnel = tunnel
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the first one waits."""
        spare = await self._spare()
        self._task = asyncio.create_task(self._keep(spare), name=f"spare leg at {self._path}")

    def close(self) -> None:
        """No further one; those that serve are the tunnel's to end."""
        if self._task is not None:
            self._task.cancel()

    async def _keep(self, spare: _Stdio) -> None:
        try:
            while True:
                if not await spare.taken:
                    await asyncio.sleep(PAUSE)
                spare = await self._spare()
        except EngineError as error:
            log.info("no further legs at %s: %s", self._path, error.sentence)  # the bridge is over
        finally:
            spare.drop()

    async def _spare(self) -> _Stdio:
        sock = await self._engine.execute(self._bridge, ["mirror-link", "--serve", self._path])
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: _Stdio(self._tunnel), sock=sock)
        return protocol


class _Stdio(asyncio.Protocol):
    """Of one program. ``taken``: true when the bridge has come, false when the program ended without."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._leg = tunnel.leg()
        self._pieces = Pieces()
        self._words = Words("mirror-link")
        self._held = _Held(self._leg)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._held.transport = transport

    def data_received(self, data: bytes) -> None:
        for stream, payload in self._pieces.feed(memoryview(data)):
            if stream == STDERR:
                self._words(bytes(payload))
                continue
            if not self.taken.done():
                self.taken.set_result(True)
                self._leg.connection_made(self._held)
            self._held.feed(bytes(payload))

    def pause_writing(self) -> None:
        if self._begun:
            self._leg.pause_writing()

    def resume_writing(self) -> None:
        if self._begun:
            self._leg.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._begun:
            self._leg.connection_lost(exc)
        elif not self.taken.done():
            self.taken.set_result(False)

    @property
    def _begun(self) -> bool:
        return self.taken.done() and not self.taken.cancelled() and self.taken.result()

    def drop(self) -> None:
        """End a program that nobody came to."""
        if not self.taken.done():
            self.taken.cancel()
            self._held.transport.abort()


class _Held(asyncio.Transport):
    """The leg's view of the stream: what has come already waits here while the leg does not read."""

    transport: asyncio.Transport

    def __init__(self, leg: asyncio.Protocol) -> None:
        super().__init__()
        self._leg = leg
        self._waiting = bytearray()
        self._paused = False

    def feed(self, octets: bytes) -> None:
        if self._paused:
            self._waiting += octets
        else:
            self._leg.data_received(octets)

    def pause_reading(self) -> None:
        self._paused = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._waiting:
            octets = bytes(self._waiting)
            self._waiting.clear()
            self._leg.data_received(octets)
        if not self._paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.transport.write(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()
