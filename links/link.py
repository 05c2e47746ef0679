"""A control link that is up: questions with their answers, notices, and one clear end with a reason.

It knows nothing of who dialled or what the messages mean. One task reads; anybody may send. After a protocol
error of the peer's the link says Goodbye with the sentence and ends: there is no way back into a stream that
lost its frames.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from wire import frames
from wire.calls import CallBook, is_answer
from wire.messages import Done, Failure, Goodbye, Message, Ping

log = logging.getLogger(__name__)

UNREAD = 1024
"""Messages kept for a slow consumer of ``incoming``. Above it the link is not read, so the peer's own writes
wait: zero credit stops this peer alone. (A consumer that asks the peer something inside its loop over
``incoming`` would then wait for an answer behind 1,024 unread notices; no peer of ours sends so many.)"""

CHUNK = 65_536

LAST_WORDS = 2.0
"""Seconds that what was sent before the end may still take to leave."""

HEARTBEAT = 5.0
"""Seconds between two questions whether the peer is there, on links that are asked so."""

MISSED = 3
"""Heartbeats in a row without a frame from the peer, of whatever kind, that end the link."""


class LinkEnded(Exception):
    """The link is over. ``reason`` is a sentence: the peer's Goodbye, its silence, or what it did wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Dismissed(LinkEnded):
    """The peer said no instead of Welcome: it is there, and ``reason`` is its own sentence."""


class CallFailed(Exception):
    """The peer answered Failure: ``reason`` is its sentence, ``errno`` 0 if its kernel had no part in it."""

    def __init__(self, reason: str, errno: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errno = errno


class Link:
    """One link, read from ``async with`` to its end. ``name`` is how logs and reasons call the peer.

    ``ended`` holds the reason once the link is over, whoever ended it; ``dismissed`` whether the peer ended it with a
    Goodbye, and so on purpose. ``heartbeat``: seconds between two Pings; a peer that says nothing at all for MISSED of
    them is lost. 0: it may be silent for ever.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        name: str,
        heartbeat: float = 0.0,
    ) -> None:
        self.name = name
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.dismissed = False
        self._heartbeat = heartbeat
        self._missed = 0
        self._reader = reader
        self._writer = writer
        self._frames = frames.FrameReader()
        self._book = CallBook()
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._unread: deque[Message] = deque()
        self._changed = asyncio.Event()  # something to read in _unread, or the end
        self._space = asyncio.Event()  # _unread is below its bound
        self._space.set()
        self._task: asyncio.Task[None] | None = None
        self._next_beat: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read(), name=f"link {self.name}")
        if self._heartbeat and not self.ended.done():
            self._next_beat = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, message: Message) -> Message:
        """Ask and wait. CallFailed if the peer could not do it, LinkEnded if it will never answer."""
        self._check_open()
        question = self._book.ask(message)
        number: int = question.call  # type: ignore[attr-defined]
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self.send(question)
            told = await answer
        except BaseException:
            self._book.give_up(number)
            raise
        finally:
            self._waiting.pop(number, None)
            answer.cancel()
        if isinstance(told, Failure):
            raise CallFailed(told.reason, told.errno)
        return told

    async def send(self, message: Message) -> None:
        """Send a notice or an answer; returns when the stream's buffer has room again. LinkEnded if the link
        is over.
        """
        self._check_open()
        try:
            self._writer.write(frames.pack(message))
            await self._writer.drain()
        except OSError as error:
            self._end(f"{self.name}: {error.strerror or type(error).__name__}")
            self._check_open()

    async def incoming(self) -> AsyncIterator[Message]:
        """The peer's questions and notices, in order. Ends when the link has ended and all of them were
        taken.
        """
        while True:
            while self._unread:
                message = self._unread.popleft()
                self._space.set()
                yield message
            if self.ended.done():
                return
            self._changed.clear()
            await self._changed.wait()

    async def close(self, reason: str = "") -> None:
        """End the link; the peer is told the reason, if any, in a Goodbye. Returns when the reader stopped."""
        if not self.ended.done():
            if reason and not self._writer.is_closing():
                self._writer.write(frames.pack(Goodbye(reason)))  # the transport flushes it while it closes
            self._end(reason or f"{self.name}: closed on this side")
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait([self._task])
        # Not wait_closed(): a peer that reads nothing would hold us here with our last words unsent.

    async def _read(self) -> None:
        reason = f"{self.name}: the other side closed the link"
        try:
            while octets := await self._reader.read(CHUNK):
                self._frames.feed(octets)
                while (message := self._frames.take()) is not None:
                    self._missed = 0
                    if isinstance(message, Goodbye):
                        self.dismissed = True
                        self._end(message.reason or reason)
                        return
                    await self._took(message)
            if self._frames.in_frame:
                reason = f"{self.name}: the link broke off in the middle of a message"
        except frames.BadFrame as error:
            reason = f"{self.name} broke the protocol with {error}"
            log.warning("%s", reason)
            if not self._writer.is_closing():
                self._writer.write(frames.pack(Goodbye(f"you sent {error}")))
        except OSError as error:
            reason = f"{self.name}: {error.strerror or type(error).__name__}"
        except LinkEnded:
            return
        finally:
            self._end(reason)

    async def _took(self, message: Message) -> None:
        if isinstance(message, Ping):
            await self.send(Done(message.call, message.octets))
        elif is_answer(message):
            number = self._book.settle(message)
            if (waits := self._waiting.get(number)) is not None and not waits.done():
                waits.set_result(message)
        else:
            while len(self._unread) >= UNREAD:
                self._space.clear()
                await self._space.wait()
            self._unread.append(message)
            self._changed.set()

    def _beat(self) -> None:
        """Beats are counted, not seconds: when this process itself was stopped for a minute, that is one beat.

        A link that is not read because nobody takes what it brought is not the peer's silence either.
        """
        if self.ended.done():
            return
        self._missed = self._missed + 1 if self._space.is_set() else 0
        if self._missed >= MISSED:
            self._end(f"{self.name}: nothing was heard for {MISSED * self._heartbeat:g} s")
            self._writer.transport.abort()
            return
        if not self._writer.transport.get_write_buffer_size():  # else what waits there asks as well
            ping = self._book.ask(Ping(0))
            self._book.give_up(ping.call)
            self._writer.write(frames.pack(ping))
        self._next_beat = asyncio.get_running_loop().call_later(self._heartbeat, self._beat)

    def _end(self, reason: str) -> None:
        """The one place where a link ends: everyone who waits is told. The first reason stands."""
        if self.ended.done():
            return
        self.ended.set_result(reason)
        if self._next_beat is not None:
            self._next_beat.cancel()
        for number in self._book.end():
            if (waits := self._waiting.get(number)) is not None and not waits.done():
                waits.set_exception(LinkEnded(reason))
        self._changed.set()
        self._space.set()
        self._writer.close()
        transport = self._writer.transport
        if transport.get_write_buffer_size():
            # A peer that reads nothing must not keep the descriptor for ever.
            asyncio.get_running_loop().call_later(LAST_WORDS, transport.abort)

    def _check_open(self) -> None:
        if self.ended.done():
            raise LinkEnded(self.ended.result())
