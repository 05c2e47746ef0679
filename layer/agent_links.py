"""The bridge's two links to its agent, kept: dialled, dialled again when they end, until the session ends.

A lost link never ends the app. What waits on the agent (connections, mirrored copies) is reset; new ones work
as soon as the agent answers again. What the control link last said is said again on every new one, because
the agent that answers may be another process than the one that heard it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from links.handshake import adopt, dial
from links.link import Link, LinkEnded
from wire.messages import OLDEST_PROTOCOL, PROTOCOL, Hello, LinkKind, Listening

log = logging.getLogger(__name__)

PRODUCT = "mirror-run bridge 0.1.0"
PATIENCE = 5.0
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before each further attempt; the last one again and again. The agent is on this machine: trying
costs nothing.
"""


class AgentLinks:
    """Both links, from ``start`` on.

    ``on_data(fd)``: a data link is up; the callee owns the descriptor. ``on_lost(sentence)``: a link ended.
    """

    def __init__(
        self,
        path: str,
        session: str,
        secret: bytes,
        on_data: Callable[[int], None],
        on_lost: Callable[[str], Awaitable[None]],
    ) -> None:
        self._path = path
        self._session = session
        self._secret = secret
        self._on_data = on_data
        self._on_lost = on_lost
        self._listening = Listening(())
        self._control: Link | None = None
        self._data_gone = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def dial(self) -> tuple[socket.socket, socket.socket]:
        """The first control and data link, at once. LinkEnded says why the agent cannot be had."""
        control, data = await asyncio.gather(
            self._dial(LinkKind.CONTROL), self._dial(LinkKind.DATA), return_exceptions=True
        )
        for one, other in ((control, data), (data, control)):
            if isinstance(one, BaseException):
                if isinstance(other, socket.socket):
                    other.close()
                raise one
        assert isinstance(control, socket.socket)
        assert isinstance(data, socket.socket)
        return control, data

    def start(self, control: socket.socket, data: socket.socket) -> None:
        """Takes what ``dial`` gave and keeps both links from now on."""
        self._on_data(data.detach())
        self._tasks = [
            asyncio.create_task(self._keep_control(control), name="agent control"),
            asyncio.create_task(self._keep_data(), name="agent data"),
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def listening(self, said: Listening) -> None:
        """Tells the agent, now or when it is there again."""
        self._listening = said
        if self._control is not None:
            try:
                await self._control.send(said)
            except LinkEnded:
                log.debug("the control link ended as it was told the ports: they are said again on the next")

    def data_gone(self) -> None:
        """The engine says that the data link has ended."""
        self._data_gone.set()

    async def _keep_control(self, sock: socket.socket) -> None:
        while True:
            async with Link(*await adopt(sock), name="the agent's control link") as link:
                self._control = link
                await self.listening(self._listening)
                async for message in link.incoming():
                    log.debug("the agent said %s, which a bridge has no use for", type(message).__name__)
                self._control = None
                reason = await link.ended
            await self._on_lost(reason)
            sock = await self._dial_again(LinkKind.CONTROL)

    async def _keep_data(self) -> None:
        while True:
            await self._data_gone.wait()
            self._data_gone.clear()
            self._on_data((await self._dial_again(LinkKind.DATA)).detach())

    async def _dial(self, kind: LinkKind) -> socket.socket:
        hello = Hello(PROTOCOL, OLDEST_PROTOCOL, PRODUCT, kind, self._session, self._secret)
        return await dial(self._path, hello, PATIENCE)

    async def _dial_again(self, kind: LinkKind) -> socket.socket:
        attempt = 0
        while True:
            await asyncio.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            attempt += 1
            try:
                sock = await self._dial(kind)
            except LinkEnded as error:
                log.log(
                    logging.INFO if attempt == 1 else logging.DEBUG,
                    "the agent's %s link: %s",
                    kind.name,
                    error.reason,
                )
                continue
            log.warning("the agent's %s link is back", kind.name.lower())
            return sock
