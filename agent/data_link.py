"""A session's data link, as the agent keeps it: added, cut, resumed where the bridge left off, given up after a minute.

The octets are C's. What this knows is which of the engine's links is the session's, and how long a cut one waits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import replace

from agent.engine import Engine, EngineFault
from links.handshake import send_frame
from wire.messages import Hello, Welcome

log = logging.getLogger(__name__)

GIVEN_UP_AFTER = 60.0
"""Seconds that a cut link's channels wait for its resumption; the bridge gives up at the same time."""


class DataLink:
    """None at first. ``anew``: called when a link has no past, so that what was mirrored has to be begun again.
    ``files``: the one that carries files alone."""

    def __init__(
        self, engine: Engine, session: int, name: str, anew: Callable[[], None], *, files: bool = False
    ) -> None:
        self._engine = engine
        self._session = session
        self._name = name
        self._anew = anew
        self._files = files
        self._called = "files' link" if files else "data link"
        self._link: int | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def there(self) -> bool:
        """Whether there is one, up or cut: the engine can be asked to mirror."""
        return self._link is not None

    async def take(self, sock: socket.socket, hello: Hello, welcome: Welcome) -> None:
        """The handshake's end, and the socket from then on. OSError, EngineFault: the bridge will dial again."""
        async with self._one_at_a_time:
            received = self._cut() if hello.resumes else None
            if received is None:
                await send_frame(sock, welcome)
                self._stay()
                self._link = self._engine.link_add(
                    self._session, sock.detach(), keeps=hello.keeps, files=self._files
                )
                self._anew()
                return
            await send_frame(sock, replace(welcome, resumed=True, received=received))
            try:
                self._engine.link_resume(self._session, sock.detach(), hello.received, files=self._files)
            except EngineFault:
                self.give_up()
                raise
            self._stay()
            log.info("session %s: the %s goes on", self._name, self._called)

    def gone(self, link: int, reason: str) -> None:
        """The engine told so: this link is no more."""
        if link == self._link:
            log.info("session %s: %s: %s", self._name, self._called, reason)
            self._forget()

    def was_cut(self, link: int, reason: str) -> None:
        """The engine told so: this link waits to be resumed."""
        if link == self._link:
            log.info("session %s: the %s was cut: %s", self._name, self._called, reason)
            self._wait()

    def give_up(self) -> None:
        """Its channels are reset; the bridge begins anew when it comes."""
        log.info("session %s: the cut %s is given up", self._name, self._called)
        self._engine.link_del(self._session, files=self._files)
        self._forget()

    def close(self) -> None:
        """The session is over; the engine has ended the link with it."""
        self._stay()
        self._link = None

    def _cut(self) -> int | None:
        """The octets that have come on the link, which is off its socket now; None: there is none that keeps."""
        if self._link is None:
            return None
        try:
            _, received = self._engine.link_cut(self._session, files=self._files)
        except EngineFault as fault:
            log.info("session %s: nothing to resume: %s", self._name, fault.reason)
            return None
        self._wait()
        return received

    def _wait(self) -> None:
        if self._giving_up is None:
            self._giving_up = asyncio.get_running_loop().call_later(GIVEN_UP_AFTER, self.give_up)

    def _stay(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _forget(self) -> None:
        self._stay()
        self._link = None
        self._anew()
