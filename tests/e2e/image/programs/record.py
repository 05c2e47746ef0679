"""An app that takes part and says nothing: for each connection or datagram to its ports, one JSON line of what arrived.

    record.py [--host ADDRESS] [--slow SECONDS] [--http] PORT… [udp/PORT…]

A line: {"port", "peer", "octets", "sha256", "head", "end"}, written when the connection ends ("eof", "reset").
{"open": …} is written when it begins, {"listening": [...]} first of all. With --http every complete request line is
written at once too, with the second at which it came ("at"), so that a test can wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import time


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def record(port: int, slow: float, http: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = writer.get_extra_info("peername")[:2]
    peer = [peer[0].removeprefix("::ffff:"), peer[1]]
    say(open=port, peer=peer)
    octets, sha, head, end, rest = 0, hashlib.sha256(), b"", "eof", b""
    try:
        while got := await reader.read(1 << 18):
            octets += len(got)
            sha.update(got)
            head = (head + got)[:64]
            if http:
                rest += got
                for line in re.findall(rb"^[A-Z]+ [^\r\n]+ HTTP/1\.[01](?=\r\n)", rest, re.MULTILINE):
                    say(request=line.decode(), port=port, peer=peer, at=time.time())
                rest = rest[rest.rfind(b"\n") + 1 :]
                if writer is not None:
                    writer.write(b"HTTP/1.1 500 Not Me\r\nContent-Length: 0\r\n\r\n")
            if slow:
                await asyncio.sleep(slow)
    except ConnectionError:
        end = "reset"
    say(port=port, peer=peer, octets=octets, sha256=sha.hexdigest(), head=head.decode("latin-1"), end=end)
    writer.close()


class RecordUdp(asyncio.DatagramProtocol):
    def __init__(self, port: int) -> None:
        self.port = port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        say(udp=self.port, peer=[addr[0].removeprefix("::ffff:"), addr[1]], octets=len(data),
            sha256=hashlib.sha256(data).hexdigest())
        self.transport.sendto(b"an answer that nobody may see", addr)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("ports", nargs="+")
    given = parser.parse_args()
    hosts = [given.host] if given.host else ["0.0.0.0", "::"]
    for text in given.ports:
        if text.startswith("udp/"):
            port = int(text[4:])
            for host in hosts[-1:]:  # "::" takes both families
                await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda port=port: RecordUdp(port), (host, port))
        else:
            port = int(text)
            await asyncio.start_server(
                lambda r, w, port=port: record(port, given.slow, given.http, r, w), hosts, port, backlog=1024)
    say(listening=given.ports)
    await asyncio.Event().wait()


asyncio.run(main())
