"""Which requests of what is mirrored are copied, once the runner has asked: filters for the engine, and what they saw
for the founder, at most once a second.

The engine counts from the beginning of what is mirrored now; what it counted before a link or a target came anew is
kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent import gate_words
from agent.engine import Engine
from agent.target import Target
from agent.warrants import NotAllowed, Warrant
from wire.counts import added
from wire.messages import Choose, Chosen, Filter, Message

TELLS_EVERY = 1.0
"""Seconds between two notices about a port, except the last."""


class Choosing:
    """``targets`` by their index, which stay the session's. ``anew``: called when the engine mirrors nothing any more,
    and is to be told the ports again."""

    def __init__(
        self,
        engine: Engine,
        session: int,
        warrant: Warrant,
        targets: Mapping[int, Target],
        notice: Callable[[Message], None],
        anew: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._session = session
        self._warrant = warrant
        self._targets = targets
        self._notice = notice
        self._anew = anew
        self._filters: tuple[Filter, ...] = ()
        self._past: dict[tuple[int, int], Chosen] = {}
        self._now: dict[tuple[int, int], Chosen] = {}
        self._told: dict[tuple[int, int], Chosen] = {}
        self._due = 0.0

    def begin(self, asked: Choose) -> None:
        """From now on. NotAllowed; EngineFault if a filter is refused."""
        if "mirror" not in self._warrant.rights:
            raise NotAllowed(f"no mirroring: {self._warrant.lacking('mirror')}")
        if asked.filters == self._filters:
            return
        self.look(last=True)
        self._engine.choose(self._session, gate_words.filters_alone(asked.filters))
        self._filters = asked.filters
        self._anew()

    def look(self, *, last: bool = False) -> None:
        """Tells what has changed, if it is time to, or for the ``last`` time. EngineFault."""
        now = asyncio.get_running_loop().time()
        if not self._filters or (now < self._due and not last):
            return
        self._due = now + TELLS_EVERY
        for index in self._targets:
            for seen in self._engine.seen(self._session, index):
                self._tell((index, seen.port), seen)

    def changed(self, index: int) -> None:
        """This target is another by now, or gone; so are its counts."""
        for counts in (self._past, self._now, self._told):
            for key in [key for key in counts if key[0] == index]:
                del counts[key]

    def say_anew(self) -> None:
        """To a founder that may not have heard."""
        for said in self._told.values():
            self._notice(said)

    def _tell(self, key: tuple[int, int], seen: Chosen) -> None:
        before = self._now.get(key)
        if before is not None and (seen.seen < before.seen or seen.other < before.other or seen.tls < before.tls):
            self._past[key] = added(self._past.get(key), before)
        self._now[key] = seen
        whole = added(self._past.get(key), seen)
        if whole != self._told.get(key, Chosen(*key)):
            self._told[key] = whole
            self._notice(whole)
