"""The bridge's links to one agent, kept: dialled, dialled again when they end, until the session ends.

A lost link never ends the app. A data link that keeps is resumed where it was cut (``layer.data_link``); then, or where
the agent knows nothing of it, what waits on it is reset and new connections work as soon as the agent answers again.
What the control link last said is said again on every new one, because the agent that answers may be another process
than the one that heard it.

Files have a data link of their own, so that no packet waits behind a file's octets. An agent may not want one: it is
older, or holds the session to a rate. Then files go by the first, and the other is asked for again when that begins
anew.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass

from layer.data_link import BACKOFF, DataLink, Introduction, LinkEngine, first
from links.handshake import adopt, introduce
from links.link import HEARTBEAT, Link, LinkEnded
from wire.messages import LinkBack, LinkKind, LinkLost, Listening, Message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dialled:
    """The first links to an agent. ``files``: None if there is to be none, or the agent has none."""

    control: socket.socket
    data: socket.socket
    files: socket.socket | None = None


async def dial(path: str, me: Introduction) -> Dialled:
    """All at once. LinkEnded says why the agent cannot be had."""
    kinds = [LinkKind.CONTROL, LinkKind.DATA, *([LinkKind.FILES] if me.files else [])]
    answers = await asyncio.gather(*(first(path, me, kind) for kind in kinds), return_exceptions=True)
    made = [one for one in answers if isinstance(one, socket.socket)]
    for one in answers[:2]:
        if isinstance(one, BaseException):
            for sock in made:
                sock.close()
            raise one
    if len(made) < len(kinds):
        log.info("files go by the agent's data link: %s", answers[2])
    return Dialled(*made)


class AgentLinks:
    """All links to the agent of this number, from ``start`` to ``close``. ``said``: what the app listens on."""

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
        self._tell = tell
        self._said = said
        self._control: Link | None = None
        self._data = DataLink(number, LinkKind.DATA, path, me, engine)
        self._files = DataLink(number, LinkKind.FILES, path, me, engine)
        self._files_kept: asyncio.Task[None] | None = None
        self._apart = False  # files come by their own link
        self._target: int | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, dialled: Dialled) -> None:
        """Takes what ``dial`` gave and keeps the links from now on."""
        self._data.begin(dialled.data)
        if dialled.files is not None:
            self._part_files(dialled.files)
            self._keep_files(None)
        self._tasks = [
            asyncio.create_task(self._keep_control(dialled.control), name=f"agent {self.number} control"),
            asyncio.create_task(self._data.keep(self._lost_data, self._back), name=f"agent {self.number} data"),
        ]

    async def close(self) -> None:
        """None is dialled again; the connections of this agent are reset."""
        tasks = [*self._tasks, *([self._files_kept] if self._files_kept else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._files.end()
        self._data.end()

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
        self._data.primary(target, files=not self._apart)
        if self._apart:
            self._files.primary(target, files=True)

    def reported(self, link: int, reason: str, *, gone: bool) -> bool:
        """The engine says that a data link was cut, or has gone. Whether it is one of these."""
        return any(one.reported(link, reason, gone=gone) for one in (self._data, self._files))

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
            try:
                sock, _ = await introduce(self._path, self._me.hello(LinkKind.CONTROL), self._me.patience)
                return sock
            except LinkEnded as error:
                level = logging.INFO if attempt == 1 else logging.DEBUG
                log.log(level, "agent %d's control link: %s", self.number, error.reason)

    # --- data ---

    async def _lost_data(self, reason: str) -> None:
        await self._lost(reason, data=True)

    async def _back(self, resumed: bool) -> None:
        await self._tell(LinkBack(self.number, data=True, resumed=resumed))
        if not resumed and self._me.files and self._files_kept is None:
            # The agent that answers may be another process, which has such a link.
            self._keep_files(first(self._path, self._me, LinkKind.FILES))

    # --- files ---

    def _part_files(self, sock: socket.socket) -> None:
        """They come by this link from now on. OSError."""
        self._files.begin(sock)
        self._apart = True
        self.primary(self._target)

    def _keep_files(self, dialled: Coroutine[None, None, socket.socket] | None) -> None:
        """Their link, once it is dialled or at once, until the agent says that it has none."""
        keeping = self._files_until_refused(dialled)
        self._files_kept = asyncio.create_task(keeping, name=f"agent {self.number} files")

    async def _files_until_refused(self, dialled: Coroutine[None, None, socket.socket] | None) -> None:
        async def lost(reason: str) -> None:
            log.warning("%s", reason)

        async def back(_resumed: bool) -> None:
            """Said in the log."""

        try:
            if dialled is not None:
                self._part_files(await dialled)
            await self._files.keep(lost, back)
        except (LinkEnded, OSError) as error:
            log.info("files go by the agent's data link: %s", error)
            self._files_kept = None
            self._apart = False
            self.primary(self._target)

    # --- both ---

    async def _lost(self, reason: str, *, data: bool) -> None:
        log.warning("%s", reason)
        await self._tell(LinkLost(reason, self.number, data))
