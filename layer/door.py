"""The door: the abstract socket where mirror-init asks what to run, and whose connection is the session's
life to it.

The app's own processes share the network namespace and could knock too, so the first connection alone is
answered, and only to uid 0: mirror-init is there before any process of the app is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from types import TracebackType
from typing import Self

from links.handshake import read_frame, send_frame
from links.link import LinkEnded
from wire.messages import InitHello, Start

log = logging.getLogger(__name__)

NAME = "\0mirror-run/door"
PATIENCE = 5.0  # seconds that the first visitor has to say who it is


class Door:
    """Open from ``async with`` to its end, which ends mirror-init's connection, and so the app."""

    def __init__(self, start: Start, name: str = NAME) -> None:
        self._start = start
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.setblocking(False)
        self._name = name
        self._held: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listener.bind(self._name)
        self._listener.listen(8)
        self._task = asyncio.create_task(self._attend(), name="door")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._listener.close()
        if self._held is not None:
            self._held.close()

    async def _attend(self) -> None:
        """Answers the first, turns the others away, for as long as the door is open."""
        async with asyncio.TaskGroup() as group:
            while True:
                visitor, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                if self._held is not None:
                    log.warning("somebody knocked at the door although the command runs: turned away")
                    visitor.close()
                    continue
                self._held = visitor
                group.create_task(self._serve(visitor), name="door's visitor")

    async def _serve(self, visitor: socket.socket) -> None:
        try:
            await self._answer(visitor)
        except (LinkEnded, OSError, TimeoutError) as error:
            log.error("mirror-init at the door: %s", error or "said nothing")  # noqa: TRY400 the sentence is enough
            visitor.close()
            return
        log.info("the command starts")
        await asyncio.get_running_loop().sock_recv(visitor, 1)  # nothing is said any more: this is its end
        log.info("the command has ended")

    async def _answer(self, visitor: socket.socket) -> None:
        _, uid, _ = struct.unpack("3i", visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != 0:
            raise LinkEnded(f"uid {uid} knocked, where mirror-init is 0")
        async with asyncio.timeout(PATIENCE):
            hello = await read_frame(visitor)
            if not isinstance(hello, InitHello):
                raise LinkEnded(f"it said {type(hello).__name__} instead of InitHello")
            await send_frame(visitor, self._start)
