"""Two sessions on one port, as docs/plan-steal.md has it ("Two at a time"): who answers whom, who sees a copy. Pure.

The first steals what ada asks, if it steals by a filter; the second what ada or ben asks. eve is nobody's. A choice is
a mirror by the same filter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MODES = ("mirror", "filter", "whole")
MIRRORS = ("mirror", "choice")
WITH_CHOICES = (*MIRRORS, "filter", "whole")
USERS = ("ada", "ben", "eve")
FILTERS = {"first": "^x-user: ada$", "second": "^x-user: (ada|ben)$"}
OURS = {"first": ("ada",), "second": ("ada", "ben")}


@dataclass(frozen=True, slots=True)
class Cell:
    """``together``: the same agent serves both, and so the same gate."""

    first: str
    second: str
    together: bool

    @property
    def refused(self) -> bool:
        """The second's steal, in words. Two agents cannot both have a table in one target, whatever they steal."""
        if self.first in MIRRORS or self.second in MIRRORS:
            return False
        return not self.together or "whole" in (self.first, self.second)

    def answers(self, user: str) -> str:
        """Who: "first", "second" or "target"."""
        if _takes(self.first, "first", user):
            return "first"
        return "second" if _takes(self.second, "second", user) and not self.refused else "target"

    def copies(self) -> Iterator[tuple[str, str]]:
        """Which of the two sees whose request copied: what still reaches the target, once."""
        for which, mode in (("first", self.first), ("second", self.second)):
            for user in USERS:
                chosen = mode == "mirror" or (mode == "choice" and user in OURS[which])
                if chosen and self.answers(user) == "target":
                    yield which, user


def _takes(mode: str, which: str, user: str) -> bool:
    return mode == "whole" or (mode == "filter" and user in OURS[which])


def command(mode: str, which: str) -> tuple[str, ...]:
    """The app: it tells of copies, or answers by its name."""
    if mode in MIRRORS:
        return ("python3", "/programs/record.py", "--http", "8080")
    return ("python3", "/programs/shop.py", which, "http")


def options(mode: str, which: str) -> tuple[str, ...]:
    """What makes a run of that mode."""
    by = ("--http-header", FILTERS[which]) if mode in ("choice", "filter") else ()
    return (*(() if mode in MIRRORS else ("--steal",)), *by)
