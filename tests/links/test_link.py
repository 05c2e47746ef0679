"""Link over real socket pairs: questions, notices, back-pressure, and every way in which a link ends."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from links.handshake import adopt
from links.link import UNREAD, CallFailed, Link, LinkEnded
from wire import frames
from wire.messages import (
    Detach,
    Done,
    Environ,
    Failure,
    GetEnviron,
    Goodbye,
    Message,
    Ping,
    TargetGone,
)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Link, Link]]:
    """Two links to each other, both up."""
    a, b = socket.socketpair()
    async with Link(*await adopt(a), name="agent") as runner, Link(*await adopt(b), name="runner") as agent:
        yield runner, agent


@asynccontextmanager
async def bare() -> AsyncIterator[tuple[Link, socket.socket]]:
    """A link, and the socket of a peer that the test plays by hand."""
    a, b = socket.socketpair()
    b.setblocking(False)
    with b:
        async with Link(*await adopt(a), name="agent") as link:
            yield link, b


async def say(sock: socket.socket, *messages: Message) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"".join(map(frames.pack, messages)))


async def hear(sock: socket.socket) -> bytes:
    """All that the link sends until it closes."""
    heard = b""
    while octets := await asyncio.get_running_loop().sock_recv(sock, 65536):
        heard += octets
    return heard


async def take(link: Link, count: int) -> list[Message]:
    taken: list[Message] = []
    async for message in link.incoming():
        taken.append(message)
        if len(taken) == count:
            break
    return taken


async def test_questions_have_their_own_answers_in_any_order() -> None:
    async with pair() as (runner, agent):
        asked = [asyncio.create_task(runner.call(GetEnviron(0, target))) for target in range(3)]
        questions = await take(agent, 3)
        for question in reversed(questions):
            assert isinstance(question, GetEnviron)
            await agent.send(Environ(question.call, (b"N=%d" % question.target,), "/"))
        answers = await asyncio.gather(*asked)
    assert [a.variables for a in answers if isinstance(a, Environ)] == [(b"N=0",), (b"N=1",), (b"N=2",)]


async def test_a_failure_is_raised_where_it_was_asked() -> None:
    async with pair() as (runner, agent):
        asked = asyncio.create_task(runner.call(Detach(0, 9)))
        (question,) = await take(agent, 1)
        await agent.send(Failure(question.call, "there is no target 9", 2))  # type: ignore[attr-defined]
        with pytest.raises(CallFailed, match="there is no target 9") as failed:
            await asked
    assert (failed.value.reason, failed.value.errno) == ("there is no target 9", 2)


async def test_ping_is_answered_inside_both_ways() -> None:
    async with pair() as (runner, agent):
        assert await asyncio.gather(runner.call(Ping(0)), agent.call(Ping(0))) == [Done(1), Done(1)]
        assert await runner.call(Ping(0)) == Done(2)


async def test_what_a_ping_brings_is_brought_back() -> None:
    octets = bytes(range(256)) * 256
    async with pair() as (runner, agent):
        assert await runner.call(Ping(0, octets)) == Done(1, octets)
        assert await agent.call(Ping(0)) == Done(1)


async def test_notices_arrive_in_order_and_the_last_before_the_end() -> None:
    async with pair() as (runner, agent):
        for n in range(5):
            await agent.send(TargetGone(n))
        await agent.close("the target's engine stopped")
        assert [m async for m in runner.incoming()] == [TargetGone(n) for n in range(5)]
        assert await runner.ended == "the target's engine stopped"


async def test_who_waits_for_an_answer_learns_of_the_end() -> None:
    async with pair() as (runner, agent):
        asked = asyncio.create_task(runner.call(GetEnviron(0, 0)))
        await take(agent, 1)
        await agent.close("no more")
        with pytest.raises(LinkEnded, match=r"^no more$"):
            await asked
        with pytest.raises(LinkEnded, match=r"^no more$"):
            await runner.call(Ping(0))
        with pytest.raises(LinkEnded, match=r"^no more$"):
            await runner.send(TargetGone(0))


async def test_an_answer_given_up_does_not_end_the_link() -> None:
    async with bare() as (link, peer):
        asked = asyncio.create_task(link.call(GetEnviron(0, 0)))
        await asyncio.get_running_loop().sock_recv(peer, 100)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        pinged = asyncio.create_task(link.call(Ping(0)))
        await asyncio.get_running_loop().sock_recv(peer, 100)
        await say(peer, Environ(1, (), "/"), Done(2))
        assert await pinged == Done(2)


@pytest.mark.parametrize(
    ("octets", "reason", "told"),
    [
        (b"", "agent: the other side closed the link", None),
        (b"\0\0", "agent: the link broke off in the middle of a message", None),
        (frames.pack(Goodbye("enough")), "enough", None),
        (frames.pack(Goodbye("")), "agent: the other side closed the link", None),
        (
            struct.pack(">I", 2) + b"\x91\x63",
            "agent broke the protocol with a message with the unknown tag 99",
            "you sent a message with the unknown tag 99",
        ),
        (
            frames.pack(Done(7)),
            "agent broke the protocol with Done answers the question 7, which is not open",
            "you sent Done answers the question 7, which is not open",
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            "agent broke the protocol with a frame of 1195725856 octets, where 16777216 are the most",
            "you sent a frame of 1195725856 octets, where 16777216 are the most",
        ),
    ],
    ids=["EOF", "cut", "goodbye", "silent goodbye", "unknown tag", "unasked answer", "no frame"],
)
async def test_every_end_has_a_reason(octets: bytes, reason: str, told: str | None) -> None:
    async with bare() as (link, peer):
        await asyncio.get_running_loop().sock_sendall(peer, octets)
        peer.shutdown(socket.SHUT_WR)
        assert [m async for m in link.incoming()] == []
        assert await link.ended == reason
        assert await hear(peer) == (frames.pack(Goodbye(told)) if told else b"")


async def test_a_peer_that_vanishes_ends_the_link() -> None:
    async with bare() as (link, peer):
        peer.close()
        assert await link.ended
        with pytest.raises(LinkEnded):
            await link.send(TargetGone(0))


async def test_closing_here_wakes_everyone_and_says_goodbye() -> None:
    async with bare() as (link, peer):
        asked = asyncio.create_task(link.call(Ping(0)))
        listening = asyncio.create_task(take(link, 1))
        await asyncio.get_running_loop().sock_recv(peer, 100)
        await link.close("the command ended")
        with pytest.raises(LinkEnded, match="the command ended"):
            await asked
        assert await listening == []
        assert await hear(peer) == frames.pack(Goodbye("the command ended"))
        await link.close("again")
        assert await link.ended == "the command ended"


async def test_a_slow_consumer_stops_the_peer_and_loses_nothing() -> None:
    async with bare() as (link, peer):
        many = UNREAD * 40
        sending = asyncio.create_task(say(peer, *(TargetGone(n) for n in range(many))))
        (first,) = await take(link, 1)
        assert first == TargetGone(0)
        assert len(link._unread) <= UNREAD
        assert await take(link, many - 1) == [TargetGone(n) for n in range(1, many)]
        await sending


async def test_a_peer_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("links.link.LAST_WORDS", 0.01)
    async with bare() as (link, peer):
        big = Environ(1, (bytes(131_072),) * 100, "/")
        sending = asyncio.create_task(link.send(big))
        await asyncio.get_running_loop().sock_recv(peer, 1)
        await link.close("done")
        await sending  # who waited for room is released
        # The peer's end is a cut in the middle, and not the whole of what there was to say.
        assert 0 < len(await hear(peer)) < len(frames.pack(big))


# --- heartbeat ---


@asynccontextmanager
async def beating(heartbeat: float) -> AsyncIterator[tuple[Link, socket.socket]]:
    a, b = socket.socketpair()
    b.setblocking(False)
    with b:
        async with Link(*await adopt(a), name="agent", heartbeat=heartbeat) as link:
            yield link, b


async def test_a_peer_that_falls_silent_is_lost() -> None:
    """It was asked each time, and its socket is not left open."""
    async with beating(0.02) as (link, peer):
        assert await asyncio.wait_for(link.ended, 5) == "agent: nothing was heard for 0.06 s"
        assert not link.dismissed
        heard = frames.FrameReader()
        heard.feed(await hear(peer))
        assert [heard.take(), heard.take(), heard.take()] == [Ping(1), Ping(2), None]


async def test_a_peer_that_answers_is_there() -> None:
    a, b = socket.socketpair()
    async with (
        Link(*await adopt(a), name="agent", heartbeat=0.01) as link,
        Link(*await adopt(b), name="runner") as peer,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(link.ended), 0.2)
        assert await link.call(Ping(0)) == Done(link._book._last)
        assert not peer.ended.done()


async def test_any_word_is_a_sign_of_life() -> None:
    """Also of a peer that answers no questions for a while because it is busy sending."""
    async with beating(0.05) as (link, peer):
        for _ in range(8):
            await say(peer, TargetGone(0))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(link.ended), 0.04)


async def test_our_own_sleep_is_not_the_peer_s_silence() -> None:
    """A process that was stopped finds what came meanwhile before it judges."""
    async with beating(0.05) as (link, peer):
        await say(peer, TargetGone(0))
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 the point: the whole process stands still
        await say(peer, TargetGone(1))
        assert await take(link, 2) == [TargetGone(0), TargetGone(1)]
        assert not link.ended.done()


async def test_what_nobody_takes_is_not_the_peer_s_silence() -> None:
    async with beating(0.02) as (link, peer):
        whole = frames.pack(TargetGone(0)) * (UNREAD + 500)
        await asyncio.get_running_loop().sock_sendall(peer, whole)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(link.ended), 0.3)
        assert len(await take(link, UNREAD + 500)) == UNREAD + 500


async def test_goodbye_is_told_from_a_cut() -> None:
    async with bare() as (link, peer):
        await say(peer, Goodbye("enough"))
        assert await link.ended == "enough"
        assert link.dismissed
    async with bare() as (link, peer):
        peer.close()
        await link.ended
        assert not link.dismissed
