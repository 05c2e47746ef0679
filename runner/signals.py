"""Signals while a command runs: they are the app's; the second of one kind within two seconds ends the run. Sans-io.

On a terminal Ctrl-C is a key and never gets here: it goes to the app as an octet.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

from wire.record import record

FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
TWICE_WITHIN = 2.0
"""Seconds."""


@record
class Forward:
    """Give it to the app."""

    signal: signal.Signals


@record
class End:
    """End the run now; mirror-run's exit code is 128 + signal."""

    signal: signal.Signals


@dataclass(slots=True)
class Signals:
    """Takes signals with the time they came, and says what to do."""

    running: bool = False
    _last: dict[signal.Signals, float] = field(default_factory=dict)

    def came(self, number: signal.Signals, now: float) -> Forward | End:
        """``now`` in seconds, of any steady clock. Before the app runs there is nobody to give it to."""
        before = self._last.get(number)
        self._last[number] = now
        if number in ENDING and (not self.running or (before is not None and now - before <= TWICE_WITHIN)):
            return End(number)
        return Forward(number)
