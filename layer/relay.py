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
        self._open = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()

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
        if self._open >= CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        try:
            there, back = await asyncio.open_connection(self._destinations[port], port, limit=CHUNK)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pour(reader, back), name=f"relay {port} in")
                    group.create_task(_pour(there, writer), name=f"relay {port} out")
            except* OSError:
                back.transport.abort()
                writer.transport.abort()
            else:
                back.close()
                writer.close()
        except OSError:
            writer.transport.abort()  # the listener is gone: the client sees a reset
        finally:
            self._open -= 1


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until its end, which is passed on as such; a reset is raised."""
    while octets := await source.read(CHUNK):
        sink.write(octets)
        await sink.drain()
    with contextlib.suppress(OSError):  # ENOTCONN: the other side is gone already, its own reader says so
        sink.write_eof()
