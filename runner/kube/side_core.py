"""What the user is told about the way to one agent: each cut once, and once what became of it. Sans-io.

The way has two strands that are cut by the same things at slightly different moments: the runner's own link, on which
the session hangs, and the bridge's data link, on which connections hang.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PATIENCE = 60
"""Seconds that an agent keeps a session, and both ends a data link, whose socket was cut."""


@dataclass(slots=True)
class Side:
    """``node`` is where the agent is. Every method returns what to say now: "" for nothing."""

    node: str
    _founder_up: bool = field(default=True, init=False)
    _data_up: bool = field(default=True, init=False)
    _said: bool = field(default=False, init=False)
    _lost: bool = field(default=False, init=False)
    _given_up: bool = field(default=False, init=False)

    @property
    def up(self) -> bool:
        """Both strands are."""
        return self._founder_up and self._data_up

    def founder_cut(self) -> str:
        """The runner's link ended."""
        self._founder_up = False
        return self._cut()

    def founder_back(self, *, taken_over: bool) -> str:
        """It is there again: at the session that was left, or at a new one."""
        self._founder_up = True
        self._lost |= not taken_over
        return self._back()

    def data_cut(self) -> str:
        """The bridge's link ended."""
        self._data_up = False
        return self._cut()

    def data_back(self, *, resumed: bool) -> str:
        """It is there again, where it was, or anew."""
        self._data_up = True
        self._lost |= not resumed
        return self._back()

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

    def _cut(self) -> str:
        if self._said:
            return ""
        self._said = True
        return f"link to node {self.node} cut: connections wait up to {PATIENCE} s"

    def _back(self) -> str:
        if not self.up or not self._said:
            return ""
        lost = self._lost
        self._said = self._lost = self._given_up = False
        return f"link to node {self.node} is back, " + (
            "its connections were reset" if lost else "nothing was lost"
        )
