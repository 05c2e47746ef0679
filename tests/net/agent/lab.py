"""Two network namespaces joined by a veth pair, the target's and the world it talks to; and the bridge's end of a link.

Sockets of the world are made by this process inside that namespace and then served here; so a test sees both ends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from pyroute2 import netns

from agent.engine import Engine
from wire import frames
from wire.messages import (
    ChannelKind,
    Data,
    Datagram,
    Eof,
    Grant,
    Message,
    Open,
    Opened,
    Reset,
    Unreachable,
)

TARGET4, WORLD4, NOBODY4 = "198.18.40.1", "198.18.40.2", "198.18.40.3"
TARGET6, WORLD6 = "fd00:198:18:40::1", "fd00:198:18:40::2"
WINDOW = 1024 * 1024


def run(*command: str, stdin: str = "") -> str:
    """A command that must succeed; its output."""
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout


class Lab:
    """Made once for a module: namespaces are named for this process, so that runs side by side do not meet."""

    def __init__(self) -> None:
        self.target = f"agt-t-{os.getpid()}"
        self.world = f"agt-w-{os.getpid()}"

    def build(self) -> None:
        """Addresses of both families at both ends, usable at once (no duplicate address detection)."""
        for name in (self.target, self.world):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run(
            "ip",
            "link",
            "add",
            "agt0",
            "netns",
            self.target,
            "type",
            "veth",
            "peer",
            "name",
            "agt0",
            "netns",
            self.world,
        )
        for name, four, six in ((self.target, TARGET4, TARGET6), (self.world, WORLD4, WORLD6)):
            run("ip", "-n", name, "addr", "add", f"{four}/24", "dev", "agt0")
            run("ip", "-n", name, "addr", "add", f"{six}/64", "dev", "agt0", "nodad")
            run("ip", "-n", name, "link", "set", "agt0", "up")

    def destroy(self) -> None:
        """Whatever is left of it."""
        for name in (self.target, self.world):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    @contextmanager
    def drops(self, name: str, hook: str, match: str) -> Iterator[None]:
        """Inside, the namespace drops what matches on its input or output."""
        chain = f"chain c {{ type filter hook {hook} priority 0; {match} drop; }}"
        run("ip", "netns", "exec", name, "nft", "-f", "-", stdin=f"table inet agt {{\n{chain}\n}}\n")
        try:
            yield
        finally:
            run("ip", "netns", "exec", name, "nft", "delete", "table", "inet", "agt")

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets made here are born in that namespace; this thread comes back."""
        netns.pushns(name)
        try:
            yield
        finally:
            netns.popns()

    def listener(self, name: str, ip: str, port: int = 0) -> socket.socket:
        """A listening TCP socket in that namespace."""
        with self.inside(name):
            sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        sock.listen(1024)
        sock.setblocking(False)
        return sock

    def datagrams(self, name: str, ip: str, port: int = 0) -> socket.socket:
        """A bound UDP socket in that namespace."""
        with self.inside(name):
            sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ip, port))
        sock.setblocking(False)
        return sock

    def open_target(self) -> int:
        """A descriptor of the target's network namespace."""
        return os.open(f"/run/netns/{self.target}", os.O_RDONLY)


def octets(ip: str) -> bytes:
    return ipaddress.ip_address(ip).packed


class Flow:
    """One channel as the bridge sees it. ``read`` grants what it returns."""

    def __init__(self, bridge: Bridge, number: int) -> None:
        self._bridge = bridge
        self.number = number
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.credit = 0
        self.credited = asyncio.Event()
        self.ended: Message | None = None

    async def next(self) -> Message:
        return await asyncio.wait_for(self.inbox.get(), 10)

    async def opened(self) -> Message:
        """Opened, or the Reset that refused it."""
        return await self.next()

    async def send(self, data: bytes) -> None:
        """Within the credit; waits for more."""
        view = memoryview(data)
        while view:
            while not self.credit:
                self.credited.clear()
                await asyncio.wait_for(self.credited.wait(), 10)
            n = min(len(view), self.credit, 65536)
            self.credit -= n
            await self._bridge.send(Data(self.number, bytes(view[:n])))
            view = view[n:]

    async def eof(self) -> None:
        await self._bridge.send(Eof(self.number))

    async def reset(self, errno: int) -> None:
        await self._bridge.send(Reset(self.number, errno))

    async def datagram(self, ip: str, port: int, data: bytes) -> None:
        await self._bridge.send(Datagram(self.number, octets(ip), port, data))

    async def read(self, limit: int | None = None) -> bytes:
        """``limit`` octets, or up to Eof or Reset, which is then ``ended``."""
        parts = bytearray()
        while limit is None or len(parts) < limit:
            message = await self.next()
            if isinstance(message, Data):
                parts += message.payload
                await self._bridge.send(Grant(self.number, len(message.payload)))
            else:
                assert isinstance(message, Eof | Reset), message
                self.ended = message
                break
        return bytes(parts)


class Bridge:
    """The bridge's end of a data link: frames of ``wire``, credit counted by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._flows: dict[int, Flow] = {}
        self._next = 1
        self.offered: asyncio.Queue[Open] = asyncio.Queue()
        self.task = asyncio.create_task(self._read())

    async def send(self, message: Message) -> None:
        self._writer.write(frames.pack(message))
        await self._writer.drain()

    async def open(
        self, kind: ChannelKind, ip: str, port: int, target: int = 0, window: int = WINDOW
    ) -> Flow:
        flow = Flow(self, self._next)
        self._next += 2
        self._flows[flow.number] = flow
        source = octets("198.18.40.200" if "." in ip else "fd00:198:18:40::200")
        await self.send(Open(flow.number, kind, window, source, 40000, octets(ip), port, target))
        return flow

    def follow(self, offered: Open) -> Flow:
        """A channel of the agent's, which has not been answered yet."""
        flow = Flow(self, offered.channel)
        flow.credit = offered.window
        self._flows[flow.number] = flow
        return flow

    async def tcp(self, ip: str, port: int, **options: int) -> Flow:
        """Connected, or the test fails."""
        flow = await self.open(ChannelKind.TCP, ip, port, **options)
        opened = await flow.opened()
        assert isinstance(opened, Opened), opened
        return flow

    async def _read(self) -> None:
        inbox = frames.FrameReader(frames.DATA_FRAME)
        while octets_read := await self._reader.read(1 << 20):
            inbox.feed(octets_read)
            while (message := inbox.take()) is not None:
                self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Open():
                self.offered.put_nowait(message)
            case Grant(channel=number, octets=more):
                self._credit(number, more)
            case Opened(channel=number, window=window):
                self._credit(number, window)
                self._flows[number].inbox.put_nowait(message)
            case Data(channel=number) | Datagram(channel=number) if number not in self._flows:
                pass  # mirrored: what the tests of mirroring look at
            case Data() | Eof() | Reset() | Datagram() | Unreachable():
                self._flows[message.channel].inbox.put_nowait(message)
            case _:
                raise AssertionError(message)

    def _credit(self, number: int, more: int) -> None:
        self._flows[number].credit += more
        self._flows[number].credited.set()

    async def close(self) -> None:
        self._writer.close()
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()


@asynccontextmanager
async def linked(engine: Engine, session: int) -> AsyncIterator[Bridge]:
    """A data link of this session."""
    ours, theirs = socket.socketpair()
    engine.link_add(session, theirs.detach())
    bridge = Bridge(*await asyncio.open_unix_connection(sock=ours))
    try:
        yield bridge
    finally:
        await bridge.close()
