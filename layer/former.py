"""Addresses that the target had before: they stay on tun0 while a socket of the app's uses them, a minute at most.

A connection whose local address is taken away hangs instead of ending, and what was opened from the former target may
still have its last octets to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from layer import in_use, ways
from wire.messages import Address

log = logging.getLogger(__name__)

STAYS = 60.0
"""Seconds at most."""

LOOKS_EVERY = 2.0
"""Seconds between two looks at the namespace's sockets, while there is such an address."""


class Former:
    """``close`` leaves what there is: the namespace goes with its last process."""

    def __init__(self) -> None:
        self._until: dict[bytes, tuple[Address, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def back(self, addresses: Iterable[Address]) -> None:
        """These are about to be the target's own again: they make room, since they were kept without their network."""
        returning = [self._until.pop(address.ip)[0] for address in addresses if address.ip in self._until]
        ways.remove(returning)

    def add(self, gone: Iterable[Address]) -> None:
        """These were left in place by ``ways.replace``."""
        until = asyncio.get_running_loop().time() + STAYS
        self._until |= {address.ip: (address, until) for address in gone}
        if self._until and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._watch(), name="former addresses")

    def close(self) -> None:
        """Looks no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while self._until:
            await asyncio.sleep(LOOKS_EVERY)
            try:
                self._look(asyncio.get_running_loop().time())
            except OSError as error:
                log.warning("a former address of the target stays: %s", error.strerror)

    def _look(self, now: float) -> None:
        used = in_use.addresses()
        done = [one for one, until in self._until.values() if one.ip not in used or now >= until]
        for address in done:
            del self._until[address.ip]
        if done:
            ways.remove(done)
