"""What the agents tell of a target, gathered into few lines for the user: which ports are mirrored, what was lost,
and the sum at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from links.link import CallFailed, Link, LinkEnded
from runner import stealing, tally
from runner.chosen import Choice
from runner.present import Present
from runner.screen import Screen
from runner.stolen import Theft
from wire import messages as m

SETTLES_WITHIN = 0.1
"""Seconds in which the notices of a target's several containers are gathered into one line."""

COUNTED_WITHIN = 2.0
"""Seconds for the agents' last count (half a second was too short on a busy machine); a run ends without it then."""


class MirroredLine:
    """Says which ports are mirrored or stolen, once the notices have settled. ``filtered``: which requests are,
    stolen if it ``steals``."""

    def __init__(self, screen: Screen, target: str, filtered: str = "", *, steals: bool = True) -> None:
        self._screen = screen
        self._mirrored = Present("mirroring", target, "" if steals else filtered)
        self._stolen = Theft(target, filtered if steals else "")
        self._choice = Choice(target)
        self._flush: asyncio.TimerHandle | None = None

    def notice(self, index: int, now: tuple[m.AppPort, ...]) -> None:
        """An agent's Mirroring."""
        self._mirrored.notice(index, now)
        self._soon()

    def stolen(self, said: m.Stealing | m.Stolen) -> None:
        """An agent's notice about what is stolen."""
        if isinstance(said, m.Stealing):
            self._stolen.notice(said)
        else:
            self._stolen.counted(said)
        self._soon()

    def chosen(self, said: m.Chosen) -> None:
        """What filters saw of what is mirrored."""
        self._choice.counted(said)
        self._soon()

    def gone(self, index: int) -> None:
        """This one of the target's containers takes no part any more, which is said elsewhere."""
        self._mirrored.gone(index)
        self._stolen.gone(index)
        self._choice.gone(index)

    def sum_up(self) -> None:
        """What became of the requests, at the end."""
        for line in (*self._stolen.summary(), *self._choice.summary()):
            self._screen.notice(line)

    def close(self) -> None:
        """Nothing is said from now on."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    def _soon(self) -> None:
        """Counts come once a second, so what waits to be said is not put off by them."""
        if self._flush is not None and self._flush.when() > asyncio.get_running_loop().time():
            return
        self._flush = asyncio.get_running_loop().call_later(SETTLES_WITHIN, self._say)

    def _say(self) -> None:
        self._flush = None
        for line in (self._mirrored.line(), self._stolen.line()):
            if line:
                self._screen.notice(line)
        for sentence in (*self._stolen.warnings(), *self._choice.warnings()):
            self._screen.warn(sentence)


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


async def files_read(bridge: Link, screen: Screen) -> None:
    """One line about the target's files, if the bridge answers in time."""
    with suppress(LinkEnded, CallFailed, TimeoutError):
        async with asyncio.timeout(COUNTED_WITHIN):
            answer = await bridge.call(m.GetFiles(0))
            if isinstance(answer, m.FilesRead) and (said := tally.files(answer)):
                screen.notice(said)


async def let_go(agent: Link) -> None:
    """The target's clients are its own again, and what the app was given it has answered, if it does so in time."""
    with suppress(LinkEnded, CallFailed, TimeoutError):
        async with asyncio.timeout(stealing.LET_GO_WITHIN + COUNTED_WITHIN):
            await agent.call(m.LetGo(0, round(stealing.LET_GO_WITHIN * 1000)))
