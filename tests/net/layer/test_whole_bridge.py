"""The bridge as it is, engine in C included, in a namespace: only the agent is played, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator

import pytest

from links.handshake import read_frame, send_frame
from tests.net.layer.stage import OWN, Stage
from wire.frames import DATA_FRAME
from wire.messages import (
    AppListens,
    AppPort,
    ChannelKind,
    Configured,
    Data,
    Datagram,
    Eof,
    Grant,
    Listening,
    Message,
    Open,
    Opened,
    Port,
    Reset,
)

pytestmark = [pytest.mark.net, pytest.mark.native]

CLIENT = socket.inet_aton("198.18.9.9")
WINDOW = 1 << 20


class DataLink:
    """The agent's end of the data link, one frame at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def say(self, message: Message) -> None:
        await send_frame(self.sock, message)

    async def hear(self, *kinds: type[Message]) -> Message:
        """The next frame of one of these kinds; windows' grants are skipped unless wanted."""
        async with asyncio.timeout(5):
            while True:
                message = await read_frame(self.sock, DATA_FRAME)
                if isinstance(message, kinds):
                    return message
                assert isinstance(message, Grant), message

    async def mirror(self, channel: int, source: bytes, port: int) -> None:
        """A client of the target, as an agent opens it."""
        await self.say(Open(channel, ChannelKind.MIRROR_TCP, WINDOW, source, 5555, OWN.ip, port))


async def configured(whole: Stage) -> DataLink:
    assert isinstance(await whole.runner.call(whole.configure()), Configured)
    async with asyncio.timeout(5):
        return DataLink(await whole.agent.datas.get())


@contextlib.asynccontextmanager
async def connecting(
    whole: Stage, to: str, port: int
) -> AsyncIterator[tuple[socket.socket, asyncio.Task[None]]]:
    """The app connects, in the background."""
    with whole.space.inside():
        sock = socket.socket()
    with sock:
        sock.setblocking(False)
        yield sock, asyncio.create_task(asyncio.get_running_loop().sock_connect(sock, (to, port)))


@pytest.mark.parametrize("to", ["198.18.77.1", "127.0.0.1", "127.0.0.11", "198.18.5.2"])
async def test_a_connection_out(whole: Stage, to: str) -> None:
    link, loop = await configured(whole), asyncio.get_running_loop()
    async with connecting(whole, to, 5432) as (sock, connect):
        asked = await link.hear(Open)
        assert isinstance(asked, Open)
        assert (asked.kind, asked.destination, asked.destination_port) == (
            ChannelKind.TCP,
            socket.inet_aton(to),
            5432,
        )
        assert not connect.done()
        await link.say(Opened(asked.channel, WINDOW))
        await asyncio.wait_for(connect, 2)
        await loop.sock_sendall(sock, b"question")
        assert await link.hear(Data) == Data(asked.channel, b"question")
        await link.say(Data(asked.channel, b"answer"))
        assert await loop.sock_recv(sock, 100) == b"answer"
        await link.say(Eof(asked.channel))
        assert await loop.sock_recv(sock, 100) == b""


async def test_a_connection_refused(whole: Stage) -> None:
    link = await configured(whole)
    async with connecting(whole, "127.0.0.1", 5432) as (_, connect):
        asked = await link.hear(Open)
        assert isinstance(asked, Open)
        await link.say(Reset(asked.channel, errno.ECONNREFUSED))
        with pytest.raises(ConnectionRefusedError):
            await asyncio.wait_for(connect, 2)


@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.1", "::", "::1"])
async def test_a_mirrored_client(whole: Stage, bound: str) -> None:
    link, loop = await configured(whole), asyncio.get_running_loop()
    with whole.space.inside():
        family = socket.AF_INET6 if ":" in bound else socket.AF_INET
        listener = socket.create_server((bound, 8080), family=family, dualstack_ipv6=bound == "::")
    with listener:
        listener.setblocking(False)
        assert await whole.told() == AppListens((Port(6, 8080, loopback=bound in ("127.0.0.1", "::1")),))
        while (said := await whole.agent.heard.get()) != Listening((AppPort(6, 8080, 8080),)):
            assert said == Listening(())
        await link.mirror(2, CLIENT, 8080)
        accepted, peer = await asyncio.wait_for(loop.sock_accept(listener), 5)
        with accepted:
            await link.hear(Opened)
            await link.say(Data(2, b"question"))
            await link.say(Eof(2))
            assert await loop.sock_recv(accepted, 100) == b"question"
            assert await loop.sock_recv(accepted, 100) == b""
            if bound == "::1":
                assert peer[0] == "::1"  # by the relay, which says so
            else:
                assert (peer[0].removeprefix("::ffff:"), peer[1]) == ("198.18.9.9", 5555)


async def test_an_app_that_listens_and_connects_at_once_meets_itself(whole: Stage) -> None:
    """And at once: no SYN waits for its repetition, which would take a second."""
    await configured(whole)
    loop = asyncio.get_running_loop()
    for port in range(9000, 9020):
        with whole.space.inside():
            listener = socket.create_server(("127.0.0.1", port))
            sock = socket.socket()
        with listener, sock:
            listener.setblocking(False)
            sock.setblocking(False)
            connect = asyncio.create_task(loop.sock_connect(sock, ("127.0.0.1", port)))
            accepted, _ = await asyncio.wait_for(loop.sock_accept(listener), 0.5)
            with accepted:
                await connect
                await loop.sock_sendall(sock, b"x" * 100)
                assert await loop.sock_recv(accepted, 1000) == b"x" * 100


@pytest.mark.parametrize("size", [1, 60_000])
@pytest.mark.parametrize("connected", [False, True])
async def test_datagrams_to_a_socket_that_was_just_bound(whole: Stage, connected: bool, size: int) -> None:
    """Connected to itself, as older PostgreSQL's statistics collector is: then it is in no list of listeners
    either.
    """
    await configured(whole)
    loop = asyncio.get_running_loop()
    for _ in range(10):
        with whole.space.inside():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            if connected:
                sock.connect(sock.getsockname())
            sock.sendto(b"x" * size, sock.getsockname())
            assert await asyncio.wait_for(loop.sock_recv(sock, 65536), 0.5) == b"x" * size


@pytest.mark.parametrize("client", ["198.18.9.9", "127.0.0.6", "198.18.5.2"])
async def test_answers_to_mirrored_datagrams_go_nowhere(whole: Stage, client: str) -> None:
    """Whatever address the kernel lets them come from: the next thing heard is what the app sends of its own."""
    link, loop = await configured(whole), asyncio.get_running_loop()
    with whole.space.inside():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with server:
        server.setblocking(False)
        server.bind(("0.0.0.0", 5300))
        assert await whole.told() == AppListens((Port(17, 5300),))
        ip = socket.inet_aton(client)
        await link.say(Open(2, ChannelKind.MIRROR_UDP, 0, ip, 5555, OWN.ip, 5300))
        await link.hear(Opened)
        await link.say(Datagram(2, ip, 5555, b"question"))
        octets, peer = await asyncio.wait_for(loop.sock_recvfrom(server, 100), 5)
        assert (octets, peer) == (b"question", (client, 5555))
        server.sendto(b"answer", peer)
        server.sendto(b"own", ("198.18.9.9", 90))
        await link.hear(Open)
        sent = await link.hear(Datagram)
        assert isinstance(sent, Datagram)
        assert sent.payload == b"own"


async def test_datagrams_to_a_sidecar_leave(whole: Stage) -> None:
    link = await configured(whole)
    with whole.space.inside():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        for _ in range(3):
            sock.sendto(b"metric", ("127.0.0.1", 8125))
        assert isinstance(await link.hear(Open), Open)
        for _ in range(3):
            sent = await link.hear(Datagram)
            assert isinstance(sent, Datagram)
            assert (sent.peer, sent.port, sent.payload) == (socket.inet_aton("127.0.0.1"), 8125, b"metric")
