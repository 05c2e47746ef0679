"""Connections that have proved nothing yet: few at a time, and each failed proof costs who made it a second.

Whoever may forward a port to this pod can connect. They must not be able to keep others out by connecting and saying
nothing (the one that has been silent longest makes room), nor fill the log (failures are counted, and said once in a
while).
"""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)

SILENT = 64
"""Connections at once that have not said Hello; more than any burst of a session's own."""

PENALISED = 64
"""Failed proofs at once whose answer is held back; further ones get none."""

PENALTY = 1.0
"""Seconds between a failed proof and its answer. Secrets are 256 random bits: this is for the log's and the API
server's sake, and no guess of theirs would come true without it."""

SAID_EVERY = 10.0
"""Seconds between two lines of the log about failed proofs."""


class Threshold:
    """One for all doors."""

    def __init__(self) -> None:
        self._silent: dict[asyncio.Task[object], None] = {}
        self._penalised = 0
        self._failed = 0
        self._said_at = float("-inf")

    def enter(self) -> None:
        """The current task has a connection that has said nothing yet. One task may be cancelled to make room."""
        if len(self._silent) >= SILENT:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            oldest.cancel()
        self._silent[_current()] = None

    def leave(self) -> None:
        """It has said Hello, or has ended."""
        self._silent.pop(_current(), None)

    async def failed(self, peer: str) -> bool:
        """The proof failed: waits its time. Whether the peer is to be told."""
        self._count(peer)
        if self._penalised >= PENALISED:
            return False
        self._penalised += 1
        try:
            await asyncio.sleep(PENALTY)
        finally:
            self._penalised -= 1
        return True

    def _count(self, peer: str) -> None:
        self._failed += 1
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= SAID_EVERY:
            log.warning("%d links could not prove their session's secret, the last one %s", self._failed, peer)
            self._failed, self._said_at = 0, now


def _current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task
