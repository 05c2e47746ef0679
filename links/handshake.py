"""The first frames of a link, on a bare socket, so that the descriptor may be handed to C (or to asyncio)
afterwards.

Reads never go past the frame. Everything here takes a connected, non-blocking stream socket; who owns it, and
closes it, is said at each function.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from links.link import Dismissed, LinkEnded
from wire import frames, handshake
from wire.messages import Goodbye, Hello, Message, Welcome


async def send_frame(sock: socket.socket, message: Message) -> None:
    """Send one whole frame. OSError from the socket; the caller keeps it."""
    await asyncio.get_running_loop().sock_sendall(sock, frames.pack(message))


async def read_frame(sock: socket.socket, limit: int = frames.FIRST_FRAME) -> Message:
    """Read exactly one frame of at most ``limit`` octets. LinkEnded at the stream's end or for what is no
    frame.
    """
    try:
        length = frames.length_of(await _exactly(sock, 4), limit)
        return frames.unpack(await _exactly(sock, length))
    except frames.BadFrame as error:
        raise LinkEnded(f"the other side sent {error}") from None


async def dial(path: str, hello: Hello, timeout: float) -> socket.socket:
    """``introduce`` where the Welcome has nothing to tell but that one is."""
    sock, _ = await introduce(path, hello, timeout)
    return sock


async def introduce(path: str, hello: Hello, timeout: float) -> tuple[socket.socket, Welcome]:
    """Connect to the Unix socket at ``path`` ("\\0name" is abstract), say Hello, hear Welcome; all within
    ``timeout`` seconds.

    Returns the non-blocking socket, the caller's from then on. LinkEnded with a sentence for every way it can
    fail.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, path)
            await send_frame(sock, hello)
            return sock, handshake.welcomed(await read_frame(sock), hello)
    except BaseException as error:
        sock.close()
        match error:
            case TimeoutError():
                raise LinkEnded(f"{_shown(path)} did not answer within {timeout:g} s") from None
            case OSError():
                raise LinkEnded(f"{_shown(path)}: {error.strerror}") from error
            case handshake.Refused():
                raise Dismissed(str(error)) from None
        raise


async def everybody(hello: Hello) -> None:
    """Where whoever can connect is trusted: nothing to prove."""


async def meet(
    sock: socket.socket,
    product: str,
    timeout: float,
    prove: Callable[[Hello], Awaitable[None]] = everybody,
) -> tuple[Hello, Welcome]:
    """The side that was dialled: read Hello, within ``timeout`` seconds, let ``prove`` look at its secret, settle the
    version. The caller sends the Welcome.

    What ``prove`` raises comes out; until it has returned, nothing has been said. On LinkEnded a peer that proved
    itself has been told why, if it could be; the socket stays the caller's to close.
    """
    try:
        async with asyncio.timeout(timeout):
            first = await read_frame(sock)
    except TimeoutError:
        raise LinkEnded(f"no Hello within {timeout:g} s") from None
    except OSError as error:
        raise LinkEnded(error.strerror or type(error).__name__) from error
    if isinstance(first, Hello):
        await prove(first)
    try:
        return handshake.judge(first, product)
    except handshake.Refused as refused:
        if isinstance(first, Hello):
            with suppress(OSError):  # it is gone, and knows what it speaks
                await send_frame(sock, Goodbye(str(refused)))
        raise LinkEnded(str(refused)) from None


async def adopt(sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams over a connected socket, for Link. The streams own the socket from then on."""
    if sock.family == socket.AF_UNIX:
        return await asyncio.open_unix_connection(sock=sock)
    return await asyncio.open_connection(sock=sock)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> Welcome:
    """Hello and Welcome on streams that are no socket of ours (the stdio of a process). LinkEnded with the
    sentence; Dismissed when it is the peer's own.
    """
    try:
        writer.write(frames.pack(hello))
        await writer.drain()
        length = frames.length_of(await reader.readexactly(4), frames.FIRST_FRAME)
        return handshake.welcomed(frames.unpack(await reader.readexactly(length)), hello)
    except asyncio.IncompleteReadError:
        raise LinkEnded("the other side closed the link before it answered Hello") from None
    except frames.BadFrame as error:
        raise LinkEnded(f"the other side sent {error}") from None
    except handshake.Refused as error:
        raise Dismissed(str(error)) from None
    except OSError as error:
        raise LinkEnded(error.strerror or type(error).__name__) from error


async def _exactly(sock: socket.socket, count: int) -> bytes:
    whole = bytearray(count)
    view, at = memoryview(whole), 0
    while at < count:
        got = await asyncio.get_running_loop().sock_recv_into(sock, view[at:])
        if got == 0:
            raise LinkEnded("the other side closed the link" + (" in the middle of a message" if at else ""))
        at += got
    return bytes(whole)


def _shown(path: str) -> str:
    return "@" + path[1:] if path.startswith("\0") else path
