"""One of the bridge's data links to an agent, kept: resumed where it was cut, for a minute, then begun anew.

The octets are the engine's. What this knows is which of its links this is, and how one comes back.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from links.handshake import introduce
from links.link import Dismissed, LinkEnded
from wire.messages import OLDEST_PROTOCOL, PROTOCOL, Hello, LinkKind, Welcome

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

CALLED = {LinkKind.CONTROL: "control link", LinkKind.DATA: "data link", LinkKind.FILES: "files' link"}


class LinkEngine(Protocol):
    """What is asked of ``layer.netstack.engine.Netstack`` here. NetstackError is an OSError."""

    def link_add(self, fd: int, *, primary: bool = True, keeps: bool = False) -> int:
        """Takes the descriptor; the link's number."""

    def files_link_add(self, fd: int, *, keeps: bool = False) -> int:
        """The same for a link that carries files alone."""

    def link_primary(self, link: int, target: int, *, files: bool = True) -> None:
        """New connections go out by this link, from its agent's target of this number; ``files`` too."""

    def link_cut(self, link: int) -> int:
        """Takes a kept link off its socket: the octets that have come."""

    def link_resume(self, link: int, fd: int, received: int) -> None:
        """Goes on by this descriptor, which it takes."""

    def link_del(self, link: int) -> None:
        """Ends a link, or forgets one that is gone."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who this bridge is to every agent. ``keeps``: the way to them may be cut. ``files``: it asks for the target's."""

    session: str
    secret: bytes
    keeps: bool
    files: bool = False

    def hello(self, kind: LinkKind, received: int | None = None) -> Hello:
        """``received``: octets that have come on the data link to resume; None for a new link."""
        return Hello(
            PROTOCOL,
            OLDEST_PROTOCOL,
            PRODUCT,
            kind,
            self.session,
            self.secret,
            keeps=self.keeps and kind != LinkKind.CONTROL,
            resumes=received is not None,
            received=received or 0,
        )

    @property
    def patience(self) -> float:
        """Seconds for a handshake."""
        return FAR_PATIENCE if self.keeps else PATIENCE


async def first(path: str, me: Introduction, kind: LinkKind) -> socket.socket:
    """A way that may be cut may be so at first too, and a socket that serves one connection at a time sends the second
    away: such a link is tried again for as long as one may take. What the agent itself says against it is final."""
    deadline = asyncio.get_running_loop().time() + me.patience
    for pause in itertools.chain(BACKOFF, itertools.repeat(BACKOFF[-1])):
        try:
            sock, _ = await introduce(path, me.hello(kind), me.patience)
            return sock
        except LinkEnded as error:
            late = asyncio.get_running_loop().time() + pause > deadline
            if not me.keeps or late or isinstance(error, Dismissed):
                raise
            log.info("the agent's %s: %s", CALLED[kind], error.reason)
        await asyncio.sleep(pause)
    raise AssertionError("pauses have no end")


class DataLink:
    """From ``begin`` to ``close``. Every link without a past is the primary's again, if it was before."""

    def __init__(self, number: int, kind: LinkKind, path: str, me: Introduction, engine: LinkEngine) -> None:
        self._number = number
        self._kind = kind
        self._path = path
        self._me = me
        self._engine = engine
        self._link = -1
        self._target: int | None = None
        self._files = False
        self._cut = asyncio.Event()
        self._why = ""

    @property
    def there(self) -> bool:
        """Whether the engine has it, up or cut."""
        return self._link >= 0

    def begin(self, sock: socket.socket) -> None:
        """A link without a past. OSError."""
        self.end()
        if self._kind == LinkKind.FILES:
            self._link = self._engine.files_link_add(sock.detach(), keeps=self._me.keeps)
        else:
            self._link = self._engine.link_add(sock.detach(), primary=False, keeps=self._me.keeps)
        self.primary(self._target, files=self._files)

    def end(self) -> None:
        """Of what link there is: its connections are reset."""
        if self._link >= 0:
            self._engine.link_del(self._link)
            self._link = -1

    def primary(self, target: int | None, *, files: bool) -> None:
        """New connections go out here, from this target; or, with None, no longer: they go out by another agent.
        ``files``: those of this target too."""
        self._target, self._files = target, files
        if target is not None and self._link >= 0:
            self._engine.link_primary(self._link, target, files=files)

    def reported(self, link: int, reason: str, *, gone: bool) -> bool:
        """The engine says that a data link was cut, or has gone. Whether it is this one."""
        if link != self._link:
            return False
        if gone:
            self.end()
        self._why = reason
        self._cut.set()
        return True

    async def keep(self, lost: Callable[[str], Awaitable[None]], back: Callable[[bool], Awaitable[None]]) -> None:
        """Until the agent says that it has no such link (Dismissed; only for files, which then go by the other).
        ``lost``: why; ``back``: whether it is the link that was cut, of which nothing was lost."""
        while True:
            await self._cut.wait()
            self._cut.clear()
            await lost(f"the agent's {CALLED[self._kind]}: {self._why}")
            resumed = await self._again()
            log.warning("the agent's %s is back%s", CALLED[self._kind], ", nothing was lost" if resumed else "")
            await back(resumed)

    async def _again(self) -> bool:
        """Until there is one; whether it is the one that was cut."""
        give_up_at = asyncio.get_running_loop().time() + GIVEN_UP_AFTER
        for attempt in itertools.count(1):
            await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF)) - 1])
            if asyncio.get_running_loop().time() >= give_up_at:
                self.end()
            received = self._received()
            answered = await self._introduce(received, attempt)
            if answered is None:
                continue
            sock, welcome = answered
            try:
                if received is not None and welcome.resumed:
                    self._engine.link_resume(self._link, sock.detach(), welcome.received)
                    return True
                self.begin(sock)
            except OSError as error:
                log.warning("the agent's %s: %s", CALLED[self._kind], error.strerror)
                self.end()
            else:
                return False
        raise AssertionError("attempts have no end")

    def _received(self) -> int | None:
        """Octets that came on the link that was cut; None: there is none to resume."""
        if self._link < 0:
            return None
        try:
            return self._engine.link_cut(self._link)
        except OSError as error:
            log.info("the agent's %s cannot be resumed: %s", CALLED[self._kind], error.strerror)
            self.end()
            return None

    async def _introduce(self, received: int | None, attempt: int) -> tuple[socket.socket, Welcome] | None:
        try:
            return await introduce(self._path, self._me.hello(self._kind, received), self._me.patience)
        except LinkEnded as error:
            if self._kind == LinkKind.FILES and isinstance(error, Dismissed):
                self.end()
                raise
            level = logging.INFO if attempt == 1 else logging.DEBUG
            log.log(level, "agent %d's %s: %s", self._number, CALLED[self._kind], error.reason)
            return None
