"""A bridge that has not been configured yet asks its runner every now and then whether it is still there.

The end of its standard input is how a bridge hears that the runner is gone. A runner that is stopped, or on the far
side of a connection to a remote engine that was cut, keeps it open, and without an app nobody would miss the bridge.
"""

from __future__ import annotations

import asyncio
import logging

from links.link import Link, LinkEnded
from wire.messages import Ping

log = logging.getLogger(__name__)

ANSWERS_WITHIN = 30.0
"""Seconds. It may take its time with configuring: its agents may have to be pulled first."""

ASKED_EVERY = 5.0
"""Seconds between an answer and the next question."""


async def answering(runner: Link) -> None:
    """Until it is cancelled, or the link has ended; it is closed when the runner does not answer."""
    try:
        while True:
            async with asyncio.timeout(ANSWERS_WITHIN):
                await runner.call(Ping(0))
            await asyncio.sleep(ASKED_EVERY)
    except TimeoutError:
        log.error("the runner has not answered for %g s, and not configured the bridge", ANSWERS_WITHIN)  # noqa: TRY400
        await runner.close()
    except LinkEnded:
        pass
