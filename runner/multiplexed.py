"""Docker's multiplexed stream (attach or exec without a terminal), taken apart, and as asyncio streams.

Each piece is an 8-octet header, {stream, 0, 0, 0, u32 big-endian length}, and that many octets: stream 1 is
stdout, 2 stderr (Docker Engine API, "Attach to a container", Stream format). What goes *to* the container
has no framing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

HEADER = 8
STDOUT = 1
STDERR = 2


class Pieces:
    """Takes octets as they come, gives (stream, payload) pieces; a payload may be handed out in parts, in order."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._stream = 0
        self._left = 0

    def feed(self, octets: memoryview) -> list[tuple[int, memoryview]]:
        """The views returned are parts of ``octets``: use them before its buffer is used again."""
        found = []
        at = 0
        while at < len(octets):
            if self._left == 0:
                part = octets[at : at + HEADER - len(self._head)]
                self._head += part
                at += len(part)
                if len(self._head) == HEADER:
                    self._stream = self._head[0]
                    self._left = int.from_bytes(self._head[4:], "big")
                    self._head.clear()
                continue
            part = octets[at : at + self._left]
            found.append((self._stream, part))
            self._left -= len(part)
            at += len(part)
        return found


class _Stdout(asyncio.StreamReaderProtocol):
    """Feeds the container's stdout to the reader and hands its stderr to ``on_stderr``."""

    def __init__(self, reader: asyncio.StreamReader, on_stderr: Callable[[bytes], None]) -> None:
        super().__init__(reader)
        self._pieces = Pieces()
        self._on_stderr = on_stderr

    def data_received(self, data: bytes) -> None:
        for stream, payload in self._pieces.feed(memoryview(data)):
            if stream == STDERR:
                self._on_stderr(bytes(payload))
            else:
                super().data_received(bytes(payload))


async def streams(
    sock: socket.socket, on_stderr: Callable[[bytes], None]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Asyncio streams over a hijacked connection: reads its stdout, writes its stdin. They own ``sock`` from
    then on."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    reader = asyncio.StreamReader()
    # Any connected stream socket will do for create_connection, a Unix one too.
    transport, protocol = await loop.create_connection(lambda: _Stdout(reader, on_stderr), sock=sock)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
