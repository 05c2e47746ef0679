"""What the user is told about the way to one agent: each cut once, and once what became of it. Sans-io.

The way has three strands that are cut by the same things at slightly different moments: the runner's own link, on which
the session hangs, the bridge's data link, on which connections hang, and the bridge's control link, on which hangs what
is mirrored. A cut of the last alone is not worth a word; but the way is not back before all three are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

PATIENCE = 60
"""Seconds that an agent keeps a session, and both ends a data link, whose socket was cut."""


class Strand(Enum):
    """A link of the session's to this agent."""

    FOUNDER = auto()
    DATA = auto()
    CONTROL = auto()


BRIDGES = frozenset({Strand.DATA, Strand.CONTROL})


@dataclass(slots=True)
class Side:
    """``node`` is where the agent is. Methods that return text return what to say now: "" for nothing."""

    node: str
    _bridged: bool = field(default=False, init=False)
    _down: set[Strand] = field(default_factory=set, init=False)
    _fresh: set[Strand] = field(default_factory=set, init=False)  # came back since the founder dialled
    _said: bool = field(default=False, init=False)
    _lost: bool = field(default=False, init=False)
    _given_up: bool = field(default=False, init=False)

    @property
    def up(self) -> bool:
        """All strands are."""
        return not self._down

    def bridged(self) -> None:
        """The bridge has its two links, and tells of each that is lost and comes back."""
        self._bridged = True

    def founder_cut(self) -> str:
        """The runner's link ended."""
        return self._cut(Strand.FOUNDER)

    def founder_dials(self) -> None:
        """It is dialled again. A link of the bridge's to a session that begins by this comes after it."""
        self._fresh.clear()

    def founder_back(self, *, taken_over: bool) -> str:
        """It is there again: at the session that was left, or at a new one. No link of before is part of that, whether
        or not the bridge has told so yet."""
        self._down.discard(Strand.FOUNDER)
        self._lost |= not taken_over
        if not taken_over and self._bridged:
            self._down |= BRIDGES - self._fresh
        return self._back()

    def data_cut(self) -> str:
        """The bridge's data link ended."""
        return self._cut(Strand.DATA)

    def data_back(self, *, resumed: bool) -> str:
        """It is there again, where it was, or anew."""
        self._lost |= not resumed
        return self._came(Strand.DATA)

    def control_cut(self) -> None:
        """The bridge's control link ended."""
        self._down.add(Strand.CONTROL)

    def control_back(self) -> str:
        """It is there again, and what the app listens on was said on it."""
        return self._came(Strand.CONTROL)

    def dismissed(self, reason: str) -> str:
        """The agent is there, and does not take the session back."""
        if self.up or self._given_up:
            return ""
        self._given_up = self._lost = True
        return (
            f"the agent on node {self.node} does not take the session back ({reason}): its connections are reset, your "
            "command keeps running, and it is tried again"
        )

    def patience_over(self, reason: str) -> str:
        """PATIENCE has passed since the runner's link ended, and ``reason`` is why it is not back."""
        if self.up or self._given_up:
            return ""
        self._given_up = self._lost = True
        return (
            f"link to node {self.node} is still cut: its connections are reset, your command keeps running, and it is "
            f"tried again ({reason})"
        )

    def _cut(self, strand: Strand) -> str:
        self._down.add(strand)
        if self._said:
            return ""
        self._said = True
        return f"link to node {self.node} cut: connections wait up to {PATIENCE} s"

    def _came(self, strand: Strand) -> str:
        self._down.discard(strand)
        self._fresh.add(strand)
        return self._back()

    def _back(self) -> str:
        if not self.up or not self._said:
            return ""
        lost = self._lost
        self._said = self._lost = self._given_up = False
        return f"link to node {self.node} is back, " + (
            "its connections were reset" if lost else "nothing was lost"
        )
