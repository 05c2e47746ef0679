"""Asyncio streams over this process's own standard input and output, for the bridge, whose runner speaks
through them.
"""

from __future__ import annotations

import asyncio
import os


async def stdio(stdin: int = 0, stdout: int = 1) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over two descriptors (pipes, sockets or terminals), which belong to the streams from then on.

    ValueError for a regular file. Both are set non-blocking; where they share one open file with others (a
    terminal), the others see that too.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stdin, "rb", buffering=0)
    )
    # FlowControlMixin is what asyncio itself puts under a writing end (asyncio.subprocess does); the other way is
    # a second StreamReaderProtocol whose reader is never fed.
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), os.fdopen(stdout, "wb", buffering=0)
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)
