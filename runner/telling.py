"""What the agents tell of a target, gathered into few lines for the user: which ports are mirrored, what was lost,
and the sum at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from links.link import CallFailed, LinkEnded
from runner import tally
from runner.mirrored import Mirrored
from runner.screen import Screen
from wire import messages as m

SETTLES_WITHIN = 0.1
"""Seconds in which the notices of a target's several containers are gathered into one line."""

COUNTED_WITHIN = 0.5
"""Seconds for the agents' last count; a run does not end later for it."""


class MirroredLine:
    """Says which ports are mirrored, once the notices have settled."""

    def __init__(self, screen: Screen, target: str) -> None:
        self._screen = screen
        self._mirrored = Mirrored(target)
        self._flush: asyncio.TimerHandle | None = None

    def notice(self, index: int, now: tuple[m.AppPort, ...]) -> None:
        """An agent's Mirroring."""
        self._mirrored.notice(index, now)
        self._soon()

    def gone(self, index: int) -> None:
        """This one of the target's containers is not mirrored any more, which is said elsewhere."""
        self._mirrored.gone(index)

    def close(self) -> None:
        """Nothing is said from now on."""
        if self._flush is not None:
            self._flush.cancel()

    def _soon(self) -> None:
        self.close()
        self._flush = asyncio.get_running_loop().call_later(SETTLES_WITHIN, self._say)

    def _say(self) -> None:
        if line := self._mirrored.line():
            self._screen.notice(line)


Ask = Callable[[], Awaitable[m.Counters]]
"""Asks the agents what they counted. LinkEnded or CallFailed when none of them can tell."""


async def complain(ask: Ask, screen: Screen) -> None:
    """For ever: whatever was lost since the last look is said. Ends when nobody can tell any more."""
    seen = m.Counters()
    with suppress(LinkEnded, CallFailed):  # whoever hears the agent says that it is gone
        while True:
            await asyncio.sleep(tally.LOOKS_EVERY)
            now = await ask()
            if said := tally.complaint(seen, now):
                screen.warn(said)
            seen = now


async def sum_up(ask: Ask, screen: Screen) -> None:
    """One line about the whole session, if the agents answer in time."""
    with suppress(LinkEnded, CallFailed, TimeoutError):
        async with asyncio.timeout(COUNTED_WITHIN):
            if said := tally.summary(await ask()):
                screen.notice(said)
