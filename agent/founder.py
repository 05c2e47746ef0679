"""The link on which a session hangs, its founder's: how long it may be missing, and the notices that go by it.

A runner that says goodbye has ended; one that says nothing may have been cut off, and another link of its may come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from links.link import Link, LinkEnded
from wire.messages import Message

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that a session outlives its founder's link at most."""

FOUNDED_WITHIN = 10.0
"""Seconds from its founder's Hello to that link, of a session without patience."""


class Founder:
    """``end``: called with the sentence when the session has lost its founder for good."""

    def __init__(self, session: str, patience: float, end: Callable[[str], None]) -> None:
        self._session = session
        self._end = end
        self._link: Link | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._notices: set[asyncio.Task[None]] = set()
        self.patience = min(patience, PATIENCE)
        self._expect(self.patience or FOUNDED_WITHIN)

    def is_by(self, link: Link) -> bool:
        """Whether this is the link."""
        return self._link is link

    def came(self, link: Link, patience: float) -> Link | None:
        """This is the link from now on; the one before it, if there was one."""
        former, self._link = self._link, link
        self.patience = min(patience, PATIENCE)
        self.close()
        return former

    def left(self, link: Link) -> None:
        """That link has ended. It is no news of one that was taken over."""
        if self._link is not link:
            return
        if link.dismissed or not self.patience:
            self._end("the session has ended")
            return
        log.info("session %s: waiting %g s for its runner", self._session, self.patience)
        self._expect(self.patience)

    def close(self) -> None:
        """Nobody is waited for."""
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def notice(self, message: Message) -> None:
        """To the runner, if it is here. Bounded by its own pace: ports change by hand, and a link that takes nothing
        ends."""
        if self._link is None or self._link.ended.done():
            return
        task = asyncio.create_task(tell(self._link, message), name=f"session {self._session} notice")
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def noticed(self) -> None:
        """What was told so far has gone out: an answer comes behind it."""
        if self._notices:
            await asyncio.wait(self._notices)

    def _expect(self, patience: float) -> None:
        self._overdue = asyncio.get_running_loop().call_later(
            patience, self._end, f"the runner did not come back within {patience:g} s"
        )


async def tell(link: Link, message: Message) -> None:
    """A link that has ended meanwhile says so where it is read."""
    try:
        await link.send(message)
    except LinkEnded as ended:
        log.debug("not told %s: %s", type(message).__name__, ended.reason)
