"""Connections from inside the target: what connect() meets, and how each end of a stream crosses."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import socket
import struct
import termios
from collections.abc import Callable

import pytest

from tests.net.agent.lab import NOBODY4, TARGET4, TARGET6, WORLD4, WORLD6, Bridge, Lab, run
from wire.messages import ChannelKind, Eof, Opened, Reset

pytestmark = [pytest.mark.net, pytest.mark.native]

MIB = 1024 * 1024


async def accepted(listener: socket.socket) -> socket.socket:
    sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listener), 10)
    sock.setblocking(False)
    return sock


async def received(sock: socket.socket, limit: int | None = None) -> bytes:
    """``limit`` octets, or up to the end of the stream."""
    parts = bytearray()
    while limit is None or len(parts) < limit:
        part = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1 << 20), 10)
        if not part:
            break
        parts += part
    return bytes(parts)


def close_with_rst(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture(params=[(WORLD4, TARGET4), (WORLD6, TARGET6)], ids=["ipv4", "ipv6"])
def ends(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The world's address, and the target's that it should see."""
    pair: tuple[str, str] = request.param
    return pair


async def test_the_peer_sees_the_target(lab: Lab, bridge: Bridge, ends: tuple[str, str]) -> None:
    world, target = ends
    with lab.listener(lab.world, world) as listener:
        flow = await bridge.tcp(world, listener.getsockname()[1])
        with await accepted(listener) as peer:
            assert peer.getpeername()[0] == target
            await flow.send(b"from the app")
            assert await received(peer, 12) == b"from the app"
            await asyncio.get_running_loop().sock_sendall(peer, b"from the world")
            assert await flow.read(14) == b"from the world"


async def test_a_server_may_speak_first(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:
            await asyncio.get_running_loop().sock_sendall(peer, b"220 hello\r\n")
            assert await flow.read(11) == b"220 hello\r\n"


async def test_the_targets_own_loopback(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.target, "127.0.0.1") as listener:
        flow = await bridge.tcp("127.0.0.1", listener.getsockname()[1])
        with await accepted(listener) as peer:
            assert peer.getpeername()[0] == "127.0.0.1"
            await flow.send(b"x")
            assert await received(peer, 1) == b"x"


async def test_refused(lab: Lab, bridge: Bridge, ends: tuple[str, str]) -> None:
    with lab.listener(lab.world, ends[0]) as closed:
        port = closed.getsockname()[1]
    flow = await bridge.open(ChannelKind.TCP, ends[0], port)
    assert await flow.opened() == Reset(flow.number, errno.ECONNREFUSED)


async def test_unreachable_network(bridge: Bridge) -> None:
    flow = await bridge.open(ChannelKind.TCP, "198.19.0.1", 80)
    assert await flow.opened() == Reset(flow.number, errno.ENETUNREACH)


async def test_unreachable_host(bridge: Bridge) -> None:
    """Nobody answers ARP for it: the kernel gives up after three tries, a second each."""
    flow = await bridge.open(ChannelKind.TCP, NOBODY4, 80)
    assert await flow.opened() == Reset(flow.number, errno.EHOSTUNREACH)


@pytest.mark.parametrize(("kind", "error"), [("prohibit", errno.EACCES), ("unreachable", errno.EHOSTUNREACH)])
async def test_the_targets_routes_refuse(lab: Lab, bridge: Bridge, kind: str, error: int) -> None:
    run("ip", "-n", lab.target, "route", "replace", kind, "198.19.7.0/24")
    flow = await bridge.open(ChannelKind.TCP, "198.19.7.1", 80)
    assert await flow.opened() == Reset(flow.number, error)


async def test_filtered_is_silence_until_it_is_cancelled(lab: Lab, bridge: Bridge) -> None:
    """A dropped SYN: no answer while another connection is made; after the cancel the socket is gone."""
    with lab.drops(lab.world, "input", "tcp dport 4444"):
        silent = await bridge.open(ChannelKind.TCP, WORLD4, 4444)
        with lab.listener(lab.world, WORLD4) as listener:
            await bridge.tcp(WORLD4, listener.getsockname()[1])
        assert silent.inbox.empty()
        assert syn_sent(lab) == 1
        await silent.reset(errno.ECONNRESET)
        await eventually(lambda: syn_sent(lab) == 0)


def syn_sent(lab: Lab) -> int:
    return len(run("ip", "netns", "exec", lab.target, "ss", "-Htn", "state", "syn-sent").splitlines())


async def eventually(true: Callable[[], bool]) -> None:
    """For what the kernel tells nobody: asked every 10 ms, 10 s at most."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_app_half_closes(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:
            await flow.send(b"request")
            await flow.eof()
            assert await received(peer) == b"request"
            await asyncio.get_running_loop().sock_sendall(peer, b"answer after your end")
        assert await flow.read() == b"answer after your end"
        assert flow.ended == Eof(flow.number)


async def test_the_server_half_closes(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:
            await asyncio.get_running_loop().sock_sendall(peer, b"all I have")
            peer.shutdown(socket.SHUT_WR)
            assert await flow.read() == b"all I have"
            assert flow.ended == Eof(flow.number)
            await flow.send(b"and this is for you")
            await flow.eof()
            assert await received(peer) == b"and this is for you"


async def test_the_server_resets(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        close_with_rst(await accepted(listener))
        assert await flow.read() == b""
        assert flow.ended == Reset(flow.number, errno.ECONNRESET)


async def test_the_server_resets_after_it_half_closed(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        peer = await accepted(listener)
        peer.shutdown(socket.SHUT_WR)
        assert await flow.read() == b""
        assert flow.ended == Eof(flow.number)
        close_with_rst(peer)
        assert await flow.next() == Reset(flow.number, errno.ECONNRESET)


async def test_an_early_answer_arrives_before_the_reset(lab: Lab, bridge: Bridge) -> None:
    """A server that answers and closes on what it has not read sends RST; its answer is in our receive queue."""
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        peer = await accepted(listener)
        await flow.send(b"x" * 1000)
        await eventually(lambda: unread(peer) == 1000)
        await asyncio.get_running_loop().sock_sendall(peer, b"413 too much")
        peer.close()
        assert await flow.read() == b"413 too much"
        assert flow.ended == Reset(flow.number, errno.ECONNRESET)


def unread(sock: socket.socket) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0\0\0\0"))[0])


async def test_the_app_resets(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:
            await flow.reset(errno.ECONNRESET)
            with pytest.raises(ConnectionResetError):
                await received(peer)


async def test_the_end_of_the_link_resets(lab: Lab, bridge: Bridge) -> None:
    with lab.listener(lab.world, WORLD4) as listener:
        await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:
            await bridge.close()
            with pytest.raises(ConnectionResetError):
                await received(peer)


async def test_bulk_both_ways_at_once(lab: Lab, bridge: Bridge) -> None:
    up, down = os.urandom(MIB) * 24, os.urandom(MIB) * 24
    with lab.listener(lab.world, WORLD4) as listener:
        flow = await bridge.tcp(WORLD4, listener.getsockname()[1])
        with await accepted(listener) as peer:

            async def app() -> None:
                await flow.send(up)
                await flow.eof()

            async def server() -> None:
                await asyncio.get_running_loop().sock_sendall(peer, down)
                peer.shutdown(socket.SHUT_WR)

            _, _, got_up, got_down = await asyncio.gather(app(), server(), received(peer), flow.read())
    assert hashlib.sha256(got_up).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got_down).digest() == hashlib.sha256(down).digest()


async def test_a_slow_server_stops_its_own_channel_only(lab: Lab, bridge: Bridge) -> None:
    """It reads nothing: the window is used up and no more is granted, while another connection goes on."""
    with lab.listener(lab.world, WORLD4) as listener:
        port = listener.getsockname()[1]
        slow = await bridge.tcp(WORLD4, port)
        peer = await accepted(listener)
        data = os.urandom(MIB) * 32
        sending = asyncio.create_task(slow.send(data))
        quick = await bridge.tcp(WORLD4, port)
        with await accepted(listener) as other:
            for _ in range(100):
                await quick.send(b"ping")
                assert await received(other, 4) == b"ping"
        assert not sending.done()
        assert await received(peer, len(data)) == data
        await sending
        peer.close()


async def test_a_slow_app_stops_its_own_channel_only(lab: Lab, bridge: Bridge) -> None:
    """It grants nothing: no more than its window ever comes, and what was held back comes once it grants."""
    window = 128 * 1024
    with lab.listener(lab.world, WORLD4) as listener:
        port = listener.getsockname()[1]
        slow = await bridge.tcp(WORLD4, port, window=window)
        peer = await accepted(listener)
        data = os.urandom(MIB) * 16
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(peer, data))
        quick = await bridge.tcp(WORLD4, port)
        with await accepted(listener) as other:
            for _ in range(100):
                await asyncio.get_running_loop().sock_sendall(other, b"pong")
                assert await quick.read(4) == b"pong"
        assert not sending.done()
        assert await slow.read(len(data)) == data
        await sending
        peer.close()


async def test_a_thousand_connections_at_once(lab: Lab, bridge: Bridge) -> None:
    count = 1000
    with lab.listener(lab.world, WORLD4) as listener:
        port = listener.getsockname()[1]
        flows = [await bridge.open(ChannelKind.TCP, WORLD4, port) for _ in range(count)]
        peers = [await accepted(listener) for _ in range(count)]
        for flow in flows:
            assert isinstance(await flow.opened(), Opened)
            await flow.send(str(flow.number).encode() + b"\n")
        said = {await line(peer) for peer in peers}
        assert said == {flow.number for flow in flows}
        for peer in peers:
            peer.close()
        for flow in flows:
            assert await flow.read() == b""
            assert flow.ended == Eof(flow.number)
            await flow.eof()
    await eventually(lambda: established(lab) == 0)


async def line(sock: socket.socket) -> int:
    whole = b""
    while not whole.endswith(b"\n"):
        whole += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 16), 10)
    return int(whole)


def established(lab: Lab) -> int:
    return len(run("ip", "netns", "exec", lab.target, "ss", "-Htn", "state", "connected").splitlines()) - len(
        run("ip", "netns", "exec", lab.target, "ss", "-Htn", "state", "time-wait").splitlines()
    )
