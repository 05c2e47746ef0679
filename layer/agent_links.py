"""The bridge's two links to one agent, kept: dialled, dialled again when they end, until the session ends.

A lost link never ends the app. A data link that keeps is resumed where it was cut, for a minute; then, or where the
agent knows nothing of it, what waits on it is reset and new connections work as soon as the agent answers again. What
the control link last said is said again on every new one, because the agent that answers may be another process than
the one that heard it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from links.handshake import adopt, introduce
from links.link import HEARTBEAT, Dismissed, Link, LinkEnded
from wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL,
    Hello,
    LinkBack,
    LinkKind,
    LinkLost,
    Listening,
    Message,
    Welcome,
)

log = logging.getLogger(__name__)

PRODUCT = "mirror-run bridge 0.1.0"

PATIENCE = 5.0
"""Seconds for connecting and the handshake with an agent on this machine."""

FAR_PATIENCE = 15.0
"""The same where a tunnel has to be made for it first."""

BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each further attempt; the last one again and again, for ever."""

GIVEN_UP_AFTER = 60.0
"""Seconds that a cut data link's channels wait for its resumption; the agent gives up at the same time."""


class LinkEngine(Protocol):
    """What is asked of ``layer.netstack.engine.Netstack`` here. NetstackError is an OSError."""

    def link_add(self, fd: int, *, primary: bool = True, keeps: bool = False) -> int:
        """Takes the descriptor; the link's number."""

    def link_primary(self, link: int, target: int) -> None:
        """New connections go out by this link, from its agent's target of this number."""

    def link_cut(self, link: int) -> int:
        """Takes a kept link off its socket: the octets that have come."""

    def link_resume(self, link: int, fd: int, received: int) -> None:
        """Goes on by this descriptor, which it takes."""

    def link_del(self, link: int) -> None:
        """Ends a link, or forgets one that is gone."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who this bridge is to every agent. ``keeps``: the way to them may be cut."""

    session: str
    secret: bytes
    keeps: bool

    def hello(self, kind: LinkKind, received: int | None = None) -> Hello:
        """``received``: octets that have come on the data link to resume; None for a new link."""
        return Hello(
            PROTOCOL,
            OLDEST_PROTOCOL,
            PRODUCT,
            kind,
            self.session,
            self.secret,
            keeps=self.keeps and kind == LinkKind.DATA,
            resumes=received is not None,
            received=received or 0,
        )

    @property
    def patience(self) -> float:
        """Seconds for a handshake."""
        return FAR_PATIENCE if self.keeps else PATIENCE


async def dial(path: str, me: Introduction) -> tuple[socket.socket, socket.socket]:
    """A first control and data link, at once. LinkEnded says why the agent cannot be had."""
    control, data = await asyncio.gather(
        _first(path, me, LinkKind.CONTROL), _first(path, me, LinkKind.DATA), return_exceptions=True
    )
    for one, other in ((control, data), (data, control)):
        if isinstance(one, BaseException):
            if not isinstance(other, BaseException):
                other[0].close()
            raise one
    assert not isinstance(control, BaseException)
    assert not isinstance(data, BaseException)
    return control[0], data[0]


async def _first(path: str, me: Introduction, kind: LinkKind) -> tuple[socket.socket, Welcome]:
    """A way that may be cut may be so at first too, and a socket that serves one connection at a time sends the second
    away: such a link is tried again for as long as one may take. What the agent itself says against it is final."""
    deadline = asyncio.get_running_loop().time() + me.patience
    for pause in itertools.chain(BACKOFF, itertools.repeat(BACKOFF[-1])):
        try:
            return await introduce(path, me.hello(kind), me.patience)
        except LinkEnded as error:
            late = asyncio.get_running_loop().time() + pause > deadline
            if not me.keeps or late or isinstance(error, Dismissed):
                raise
            log.info("the agent's %s link: %s", kind.name.lower(), error.reason)
        await asyncio.sleep(pause)
    raise AssertionError("pauses have no end")


class AgentLinks:
    """Both links to the agent of this number, from ``start`` to ``close``. ``said``: what the app listens on."""

    def __init__(
        self,
        number: int,
        path: str,
        me: Introduction,
        engine: LinkEngine,
        tell: Callable[[Message], Awaitable[None]],
        said: Listening,
    ) -> None:
        self.number = number
        self._path = path
        self._me = me
        self._engine = engine
        self._tell = tell
        self._said = said
        self._control: Link | None = None
        self._link = -1
        self._target: int | None = None
        self._cut = asyncio.Event()
        self._why = ""
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, control: socket.socket, data: socket.socket) -> None:
        """Takes what ``dial`` gave and keeps both links from now on."""
        self._begin(data)
        self._tasks = [
            asyncio.create_task(self._keep_control(control), name=f"agent {self.number} control"),
            asyncio.create_task(self._keep_data(), name=f"agent {self.number} data"),
        ]

    async def close(self) -> None:
        """Neither is dialled again; the connections of this agent are reset."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._end()

    async def listening(self, said: Listening) -> None:
        """Tells the agent, now or when it is there again."""
        self._said = said
        if self._control is not None:
            try:
                await self._control.send(said)
            except LinkEnded:
                log.debug("the control link ended as it was told the ports: they are said again on the next")

    def primary(self, target: int | None) -> None:
        """New connections go out here, from this target; or, with None, no longer: they go out by another agent."""
        self._target = target
        if target is not None and self._link >= 0:
            self._engine.link_primary(self._link, target)

    def reported(self, link: int, reason: str, *, gone: bool) -> bool:
        """The engine says that a data link was cut, or has gone. Whether it is this one."""
        if link != self._link:
            return False
        if gone:
            self._end()
        self._why = reason
        self._cut.set()
        return True

    # --- control ---

    async def _keep_control(self, sock: socket.socket) -> None:
        again = False
        while True:
            heartbeat = HEARTBEAT if self._me.keeps else 0
            name = "the agent's control link"
            async with Link(*await adopt(sock), name=name, heartbeat=heartbeat) as link:
                self._control = link
                await self.listening(self._said)
                if again:
                    log.warning("the agent's control link is back")
                    await self._tell(LinkBack(self.number, data=False))
                async for message in link.incoming():
                    log.debug("the agent said %s, which a bridge has no use for", type(message).__name__)
                self._control = None
                reason = await link.ended
            await self._lost(reason, data=False)
            sock, again = await self._control_again(), True

    async def _control_again(self) -> socket.socket:
        attempt = 0
        while True:
            await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            attempt += 1
            if answered := await self._introduce(LinkKind.CONTROL, None, attempt):
                return answered[0]

    # --- data ---

    async def _keep_data(self) -> None:
        while True:
            await self._cut.wait()
            self._cut.clear()
            await self._lost(f"the agent's data link: {self._why}", data=True)
            resumed = await self._data_again()
            log.warning("the agent's data link is back%s", ", nothing was lost" if resumed else "")
            await self._tell(LinkBack(self.number, data=True, resumed=resumed))

    async def _data_again(self) -> bool:
        """Until there is a data link; whether it is the one that was cut."""
        give_up_at = asyncio.get_running_loop().time() + GIVEN_UP_AFTER
        attempt = 0
        while True:
            await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            attempt += 1
            if asyncio.get_running_loop().time() >= give_up_at:
                self._end()
            received = self._received()
            answered = await self._introduce(LinkKind.DATA, received, attempt)
            if answered is None:
                continue
            sock, welcome = answered
            try:
                if received is not None and welcome.resumed:
                    self._engine.link_resume(self._link, sock.detach(), welcome.received)
                    return True
                self._begin(sock)
            except OSError as error:
                log.warning("the agent's data link: %s", error.strerror)
                self._end()
            else:
                return False

    def _received(self) -> int | None:
        """Octets that came on the link that was cut; None: there is none to resume."""
        if self._link < 0:
            return None
        try:
            return self._engine.link_cut(self._link)
        except OSError as error:
            log.info("the agent's data link cannot be resumed: %s", error.strerror)
            self._end()
            return None

    def _begin(self, sock: socket.socket) -> None:
        """A link without a past. OSError."""
        self._end()
        self._link = self._engine.link_add(sock.detach(), primary=False, keeps=self._me.keeps)
        self.primary(self._target)

    def _end(self) -> None:
        """Of what link there is: its connections are reset."""
        if self._link >= 0:
            self._engine.link_del(self._link)
            self._link = -1

    # --- both ---

    async def _introduce(
        self, kind: LinkKind, received: int | None, attempt: int
    ) -> tuple[socket.socket, Welcome] | None:
        try:
            return await introduce(self._path, self._me.hello(kind, received), self._me.patience)
        except LinkEnded as error:
            level = logging.INFO if attempt == 1 else logging.DEBUG
            log.log(level, "agent %d's %s link: %s", self.number, kind.name, error.reason)
            return None

    async def _lost(self, reason: str, *, data: bool) -> None:
        log.warning("%s", reason)
        await self._tell(LinkLost(reason, self.number, data))
