"""The peer that the target and the app talk to: one TCP and UDP server for each behaviour, each on a port of its own.

8080 HTTP: answers who the client is ("198.19.1.2"), keep-alive. 7001 echo. 7002 speaks first. 7003 answers after the
client's EOF with the digest of what came. 7004 sends 64 KiB and EOF, then counts what still comes. 7005 resets
at once. 7006 reads one line "N", sends N octets of a known pattern. 7007 accepts and waits for a reset, and tells it on
7008. UDP 7001 echo; UDP 7002 answers from another port; UDP 7003 never answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct

from server_pattern import pattern

resets: asyncio.Queue[str] = asyncio.Queue()


async def whoami(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = writer.get_extra_info("peername")[0].removeprefix("::ffff:").encode() + b"\n"
    head = b"HTTP/1.1"
    while b"HTTP/1.1" in head:  # 1.0 wants the connection closed behind the answer
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(1 << 18):
        writer.write(octets)
        await writer.drain()
    writer.write_eof()


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\r\n")
    await writer.drain()
    line = await reader.readline()
    writer.write(b"250 " + line)
    await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    total, sha = 0, hashlib.sha256()
    while octets := await reader.read(1 << 20):
        total += len(octets)
        sha.update(octets)
    writer.write(b"%d %s\n" % (total, sha.hexdigest().encode()))
    await writer.drain()


async def early_eof(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"x" * 65536)
    writer.write_eof()
    total = 0
    while octets := await reader.read(1 << 18):
        total += len(octets)
    await resets.put(f"after eof {total}")


def abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"half an answ")
    await writer.drain()
    await reader.readexactly(1)
    abort(writer)


async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for piece in pattern(int(await reader.readline())):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def wait_for_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read()
        await resets.put("eof")
    except ConnectionResetError:
        await resets.put("reset")


async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await resets.get()).encode() + b"\n")
    await writer.drain()


class EchoUdp(asyncio.DatagramProtocol):
    """Sends every datagram back, from this socket or, if given, from another."""

    def __init__(self, other: socket.socket | None = None) -> None:
        self.other = other

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.other is not None:
            self.other.sendto(data, addr)
        else:
            self.transport.sendto(data, addr)


async def closing(handler, reader, writer) -> None:
    try:
        await handler(reader, writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client went away: what a server sees every day
    finally:
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    served = {8080: whoami, 7001: echo, 7002: banner, 7003: digest, 7004: early_eof, 7005: reset, 7006: source,
              7007: wait_for_reset, 7008: tell}
    for port, handler in served.items():
        await asyncio.start_server(lambda r, w, h=handler: closing(h, r, w), ("0.0.0.0", "::"), port, backlog=4096,
                                   limit=1 << 20)
    # One socket for both families: an IPv4 peer shows as ::ffff:a.b.c.d, which goes back as it came.
    other = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    other.bind(("::", 7012))
    await loop.create_datagram_endpoint(EchoUdp, ("::", 7001), family=socket.AF_INET6)
    await loop.create_datagram_endpoint(lambda: EchoUdp(other), ("::", 7002), family=socket.AF_INET6)
    await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("::", 7003), family=socket.AF_INET6)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
