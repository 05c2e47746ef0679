"""What of a session's targets is mirrored, kept in step with what the app and the targets listen on.

``ports.mirrored`` decides, the engine acts, the founder is told. What the app wants outlives the link by which
it was said, for as long as the session is patient: a cut must not end what is mirrored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from agent import ports
from agent.engine import Engine, EngineFault
from agent.target import Target
from wire.messages import AppPort, Message, Mirroring

log = logging.getLogger(__name__)

LOOKS_EVERY = 0.5
"""Seconds between two looks at what the targets listen on, while the app wants ports."""


class Mirrored:
    """``targets`` by their index, which stay the session's. ``there``: whether there is a data link to mirror into.
    ``gets``: called with what is mirrored of a target from now on. ``others`` takes of the ports that take part what is
    not to be mirrored; ``looked`` is called after each look."""

    def __init__(
        self,
        engine: Engine,
        session: int,
        targets: Mapping[int, Target],
        there: Callable[[], bool],
        notice: Callable[[Message], None],
        mirrors: Callable[[int, tuple[AppPort, ...]], None],
        others: Callable[[Target, tuple[AppPort, ...]], tuple[AppPort, ...]] = lambda _, chosen: chosen,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._session = session
        self._targets = targets
        self._there = there
        self._notice = notice
        self._mirrors = mirrors
        self._others = others
        self._looked = looked
        self._wanted: tuple[AppPort, ...] = ()
        self._wanted_by: object = None
        self._unwanted: asyncio.TimerHandle | None = None
        self._mirrored: dict[int, tuple[AppPort, ...]] = {}
        self._look = asyncio.Event()

    async def keep(self) -> None:
        """Until cancelled. Looks at once when something changed, and every LOOKS_EVERY while the app wants ports."""
        try:
            while True:
                waits = LOOKS_EVERY if self._wanted else None
                try:
                    async with asyncio.timeout(waits):
                        await self._look.wait()
                except TimeoutError:
                    pass
                self._look.clear()
                if self._there():
                    for index in sorted(self._targets):
                        self._apply(self._targets[index])
                    self._looked()
        finally:
            self._stay()

    def want(self, wanted: tuple[AppPort, ...], by: object) -> None:
        """What was last said counts: a session has one bridge, and a link of its that was cut may still be here."""
        self._stay()
        self._wanted, self._wanted_by = wanted, by
        self._look.set()

    def miss(self, by: object, patience: float) -> None:
        """That link has ended; what was said by it is wanted for so many seconds more."""
        if by is not self._wanted_by:
            return
        if not patience:
            self.want((), None)
            return
        self._unwanted = asyncio.get_running_loop().call_later(patience, self.want, (), None)

    def anew(self) -> None:
        """The engine has forgotten what it was told: the data link is another."""
        self._mirrored.clear()
        self._look.set()

    def look(self) -> None:
        """At once: what is to become of the ports has changed."""
        self._look.set()

    def changed(self, index: int) -> None:
        """This target is another by now, or gone: the engine has forgotten what it was told of it."""
        self._mirrored.pop(index, None)
        self._look.set()

    def say_anew(self) -> None:
        """To a founder that may not have heard: the state of each target."""
        for index in sorted(self._targets):
            self._notice(Mirroring(index, self._mirrored.get(index, ())))

    def _stay(self) -> None:
        if self._unwanted is not None:
            self._unwanted.cancel()
            self._unwanted = None

    def _apply(self, target: Target) -> None:
        """A fault is told once and not tried again until what is wanted changes."""
        try:
            chosen = ports.mirrored(self._wanted, target.listening() if self._wanted else ())
        except EngineFault as fault:
            log.warning("session %d: what target %d listens on: %s", self._session, target.index, fault.reason)
            return
        chosen = self._others(target, chosen)
        if chosen == self._mirrored.get(target.index, ()):
            return
        self._mirrored[target.index] = chosen
        try:
            self._engine.mirror_ports(self._session, target.index, chosen)
        except EngineFault as fault:
            log.warning("session %d: target %d cannot be mirrored: %s", self._session, target.index, fault.reason)
            return
        self._notice(Mirroring(target.index, chosen))
        self._mirrors(target.index, chosen)
