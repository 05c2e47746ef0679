"""When the agent ends by itself: a while after its last session, or a longer while after its start if none came; or
never, where it was installed to stay.

Sans-io: time comes in as an argument (seconds of one clock), and ``deadline`` says when to ask again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_WITHIN = 8.0
"""Seconds after the start in which the first session must have come. Its runner dials at once; one that was killed
first never comes, and nothing of it may be left after 10 s. A slower runner finds no agent, and makes another."""

LINGERS = 2.0
"""Seconds after the last session: one that follows at once finds a warm agent."""


@dataclass(slots=True)
class Lifetime:
    """``began``: when the agent started. ``first``, ``idle``: seconds, as above; an ``idle`` of 0 means never."""

    began: float
    first: float = FIRST_WITHIN
    idle: float = LINGERS
    _sessions: set[int] = field(default_factory=set)
    _idle_since: float | None = None

    def session_began(self, number: int) -> None:
        """From now on it is needed."""
        self._sessions.add(number)

    def session_ended(self, number: int, now: float) -> None:
        """The last one starts the clock."""
        self._sessions.discard(number)
        self._idle_since = now

    def deadline(self) -> float | None:
        """When it ends if nothing happens; None while there are sessions, and where it stays."""
        if self._sessions or not self.idle:
            return None
        return self.began + self.first if self._idle_since is None else self._idle_since + self.idle
