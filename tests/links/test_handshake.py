"""The first frames on real Unix sockets: who may talk, what is said to who may not, and that no octet too
many is read.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from links import handshake
from links.link import Link, LinkEnded
from wire import frames
from wire.messages import Done, Goodbye, Hello, LinkKind, Ping, Welcome

HELLO = Hello(1, 1, "mirror-run 0.1.0", LinkKind.DATA, "k7f2", bytes(range(32)))
WELCOME = Welcome(1, "agent 0.1.0")


async def serve(path: str, answer: Callable[[socket.socket], Awaitable[None]]) -> asyncio.Task[None]:
    """Listen at ``path`` and answer one peer on its bare socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)

    async def once() -> None:
        with listener:
            peer, _ = await asyncio.get_running_loop().sock_accept(listener)
            with peer:
                await answer(peer)

    return asyncio.create_task(once())


async def test_a_dialled_socket_is_ready_for_who_comes_next(tmp_path: Path) -> None:
    """What follows Welcome in the same packet is still in the socket: C reads on from there."""

    async def agent(peer: socket.socket) -> None:
        assert await handshake.meet(peer, "agent 0.1.0", 5) == (HELLO, WELCOME)
        follows = frames.pack(WELCOME) + frames.pack(Done(1))
        await asyncio.get_running_loop().sock_sendall(peer, follows)

    task = await serve(str(tmp_path / "s"), agent)
    with await handshake.dial(str(tmp_path / "s"), HELLO, 5) as sock:
        assert not sock.getblocking()
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == frames.pack(Done(1))
    await task


async def test_an_abstract_socket_is_dialled_too() -> None:
    path = f"\0mirror-run-test-{id(object())}"

    async def agent(peer: socket.socket) -> None:
        await handshake.meet(peer, "agent 0.1.0", 5)
        await handshake.send_frame(peer, WELCOME)

    task = await serve(path, agent)
    (await handshake.dial(path, HELLO, 5)).close()
    await task
    with pytest.raises(LinkEnded, match=r"@mirror-run-test-.*: Connection refused"):
        await handshake.dial(path, HELLO, 5)


async def test_an_adopted_socket_carries_a_link(tmp_path: Path) -> None:
    async def agent(peer: socket.socket) -> None:
        _, welcome = await handshake.meet(peer, "agent 0.1.0", 5)
        await handshake.send_frame(peer, welcome)
        async with Link(*await handshake.adopt(peer.dup()), name="runner") as link:
            assert [m async for m in link.incoming()] == []
            assert await link.ended == "thank you"

    task = await serve(str(tmp_path / "s"), agent)
    sock = await handshake.dial(str(tmp_path / "s"), HELLO, 5)
    async with Link(*await handshake.adopt(sock), name="agent") as link:
        assert await link.call(Ping(0)) == Done(1)
        await link.close("thank you")
    await task


async def test_a_refusal_is_the_dialler_s_error(tmp_path: Path) -> None:
    async def agent(peer: socket.socket) -> None:
        with pytest.raises(LinkEnded, match=r"mirror-run 0.1.0 says it speaks protocol 1 and none before 7"):
            await handshake.meet(peer, "agent 0.1.0", 5)

    task = await serve(str(tmp_path / "s"), agent)
    with pytest.raises(LinkEnded, match=r"mirror-run 0.1.0 says it speaks protocol 1 and none before 7"):
        await handshake.dial(str(tmp_path / "s"), Hello(1, 7, "mirror-run 0.1.0", 1, "s", bytes(32)), 5)
    await task


@pytest.mark.parametrize(
    ("octets", "sentence"),
    [
        (b"", "the other side closed the link$"),
        (b"\0\0", "the other side closed the link in the middle of a message"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            "the other side sent a frame of 1213486160 octets, where 8192 are the most",
        ),
        (b"\0\0\0\1\xc1", "the other side sent a frame that is not msgpack"),
        (frames.pack(Done(1)), "the answer to Hello is Welcome, not Done"),
        (frames.pack(Goodbye("no such session here")), "^no such session here$"),
    ],
    ids=["EOF", "cut", "HTTP", "not msgpack", "wrong", "goodbye"],
)
async def test_whatever_answers_the_error_is_a_sentence(tmp_path: Path, octets: bytes, sentence: str) -> None:
    async def other(peer: socket.socket) -> None:
        await handshake.read_frame(peer)
        await asyncio.get_running_loop().sock_sendall(peer, octets)

    task = await serve(str(tmp_path / "s"), other)
    with pytest.raises(LinkEnded, match=sentence):
        await handshake.dial(str(tmp_path / "s"), HELLO, 5)
    await task


async def test_who_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    done = asyncio.Event()

    async def silent(peer: socket.socket) -> None:
        await done.wait()

    task = await serve(str(tmp_path / "s"), silent)
    with pytest.raises(LinkEnded, match=r"s did not answer within 0.05 s"):
        await handshake.dial(str(tmp_path / "s"), HELLO, 0.05)
    done.set()
    await task


async def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LinkEnded, match="absent: No such file or directory"):
        await handshake.dial(str(tmp_path / "absent"), HELLO, 5)


async def test_a_dialler_that_says_nothing_is_not_waited_for() -> None:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        with pytest.raises(LinkEnded, match=r"no Hello within 0.05 s"):
            await handshake.meet(a, "agent 0.1.0", 0.05)


async def test_greet_over_the_stdio_of_a_process() -> None:
    """A process that says Welcome to whatever it reads, as docker exec would carry it."""
    welcome = frames.pack(WELCOME).hex()
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"head -c {len(frames.pack(HELLO))} >/dev/null; printf '%b' '{_escaped(welcome)}'; cat",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert await handshake.greet(process.stdout, process.stdin, HELLO) == WELCOME
    async with Link(process.stdout, process.stdin, name="echo") as link:
        # cat sends our question back: then it is the peer's, and answered inside; and that answer comes back too.
        assert await link.call(Ping(0)) == Done(1)
    assert await process.wait() == 0


async def test_greet_to_a_process_that_ends_is_a_sentence() -> None:
    process = await asyncio.create_subprocess_exec(
        "true", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.wait()
    with pytest.raises(LinkEnded):
        await handshake.greet(process.stdout, process.stdin, HELLO)


def _escaped(octets: str) -> str:
    return "".join(f"\\\\0{int(octets[i : i + 2], 16):03o}" for i in range(0, len(octets), 2)).replace(
        "\\\\", "\\"
    )
