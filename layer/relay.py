"""Byte relays for listeners that no rule can translate to: an app on ::1 alone (and IPv6 clients of one on
127.0.0.1).

The rare case, so asyncio carries the octets: tens of MB/s. The client's address is lost on the way, which is
said once. A relay, once made, stays until the session ends: connections through it outlive the listener they
were made for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

CHUNK = 65_536
CONNECTIONS = 512
"""Relayed connections at once, of all ports: each may hold two buffers of 128 KiB."""


class Relays:
    """Relay listeners by the port they stand for: ``ports`` maps it to the relay's own, an ephemeral one."""

    def __init__(self) -> None:
        self.ports: dict[int, int] = {}
        self._destinations: dict[int, str] = {}
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()
        """A task for each connection. asyncio holds them weakly, and one with a half-closed connection not at all."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._carrying:
            task.cancel()
        if self._carrying:
            await asyncio.wait(self._carrying)
        await asyncio.sleep(0)  # in which their sockets are closed

    async def stand_in(self, port: int, destination: str) -> None:
        """From now on there is a relay for ``port``, which dials ``destination`` ("::1" or "127.0.0.1")."""
        self._destinations[port] = destination
        if port in self.ports:
            return
        dual = socket.has_dualstack_ipv6()
        sock = socket.create_server(
            ("", 0), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual, backlog=128
        )

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(port, reader, writer)

        self._servers.append(await asyncio.start_server(accepted, sock=sock, limit=CHUNK))
        self.ports[port] = sock.getsockname()[1]
        log.warning(
            "port %d is served through a relay, because the command listens on %s only: clients' addresses are lost",
            port,
            destination,
        )

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._carrying) >= CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection(self._destinations[port], port, limit=CHUNK)
            ends.append(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, back), name=f"relay {port} in")
                group.create_task(_pour(there, writer), name=f"relay {port} out")
            for end in ends:
                end.close()
            for end in ends:
                await end.wait_closed()
        except* OSError:  # a reset, or the listener is gone: a reset for the other side
            pass
        finally:
            for end in ends:
                end.transport.abort()  # nothing, where it has closed
            self._carrying.discard(task)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until its end, which is passed on as such; a reset is raised."""
    while octets := await source.read(CHUNK):
        sink.write(octets)
        await sink.drain()
    with contextlib.suppress(OSError):  # ENOTCONN: the other side is gone already, its own reader says so
        sink.write_eof()
