"""The engine's socket at a TCP port of the loopback, as one on another machine is reached: a program of its own.

python -m tests.e2e.kubernetes.engine_far SOCKET        prints the port
"""

from __future__ import annotations

import asyncio
import sys


async def _copied(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """With its half-close, by which attached streams end."""
    try:
        while octets := await source.read(1 << 17):
            sink.write(octets)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.transport.abort()


async def _serve(path: str) -> None:
    held: set[object] = set()  # asyncio holds none that has a half-closed connection

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(_copied(reader, far_writer), _copied(far_reader, writer))
        far_writer.close()
        writer.close()
        held.discard(asyncio.current_task())

    async with await asyncio.start_server(joined, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
