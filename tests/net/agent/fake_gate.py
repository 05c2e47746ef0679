"""A gate as the engine knows one: its end of the hand-over, written by hand; and the fault that it may be."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import socket
from dataclasses import dataclass, field
from typing import Any

import msgpack

GIVES, ABORTS = 1, 2
ACCEPTED, REFUSED, RESET, SESSION, ENDED = 16, 17, 18, 19, 20


@dataclass
class FakeGate:
    """``theirs`` is the engine's to take. What it says of sessions is in ``up``, all else comes out of ``heard``."""

    ours: socket.socket = field(init=False)
    theirs: socket.socket = field(init=False)
    up: dict[int, bool] = field(default_factory=dict)
    _others: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)

    def give(
        self, conn: int, session: int, client: tuple[str, int], own: tuple[str, int], target: int = 0
    ) -> socket.socket:
        """Hands over a connection; our end of its pair."""
        mine, engines = socket.socketpair()
        words = [GIVES, conn, session, target]
        for ip, port in (client, own):
            words += [ipaddress.ip_address(ip).packed, port]
        with engines:
            select.select([], [self.ours], [])  # the engine may be behind
            socket.send_fds(self.ours, [msgpack.packb(words)], [engines.fileno()])
        mine.setblocking(False)
        return mine

    def abort(self, conn: int) -> None:
        self.ours.send(msgpack.packb([ABORTS, conn]))

    async def packet(self) -> list[Any]:
        """The next that the engine says."""
        loop = asyncio.get_running_loop()
        return list(msgpack.unpackb(await asyncio.wait_for(loop.sock_recv(self.ours, 4096), 10)))

    async def heard(self) -> list[Any]:
        """The next about a connection."""
        while True:
            words = await self.packet()
            if words[0] != SESSION:
                return words
            self.up[words[1]] = words[2]

    async def told(self, session: int) -> bool:
        """The next about this session."""
        while True:
            words = await self.packet()
            assert words[0] == SESSION, words
            self.up[words[1]] = words[2]
            if words[1] == session:
                return bool(words[2])

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


async def read(sock: socket.socket, most: int = 65536) -> bytes:
    """What comes next; b"" at the end."""
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, most), 10)


async def read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := await read(sock):
        parts.append(part)
    return b"".join(parts)
