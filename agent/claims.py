"""Who gets which port of one target, as a pure function of who asked for it, and in what order.

A port that is stolen whole has one holder. Filters of several sessions share a port, and are asked in order of the
sessions' age. Who comes second is refused, and told who holds the port.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wish:
    """One session's for one port. ``whole``: not by filter."""

    session: int
    port: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """``holders``: of each wish that cannot be granted, the one that stands in its way."""

    granted: tuple[Wish, ...]
    holders: dict[Wish, Wish]


def settle(wishes: Iterable[Wish]) -> Settled:
    """``wishes`` in the order in which they came."""
    granted: list[Wish] = []
    holders: dict[Wish, Wish] = {}
    for wish in wishes:
        others = [one for one in granted if one.port == wish.port and one.session != wish.session]
        in_the_way = next((one for one in others if one.whole or wish.whole), None)
        if in_the_way is None:
            granted.append(wish)
        else:
            holders[wish] = in_the_way
    return Settled(tuple(granted), holders)
