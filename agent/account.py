"""What a session came to, for whoever gave its warrant: the rights that it used, what passed, how long it was. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wire.messages import Counters


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What the app did from its targets. ``opened``: connections begun, and datagram associations that sent something;
    ``sent`` and ``received``: octets of both; ``slowed``: datagrams dropped, either way, because of the rate."""

    opened: int = 0
    sent: int = 0
    received: int = 0
    slowed: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """``reason``: why it ended. ``used``: of its rights, those that were used, not those that it had."""

    reason: str
    seconds: float
    used: frozenset[str]
    mirrored: Counters
    outgoing: Outgoing


def used(asked: Collection[str], mirrored: Counters, outgoing: Outgoing) -> frozenset[str]:
    """``asked``: rights of which something was given as it was asked for."""
    found = set(asked)
    if mirrored.connections or mirrored.datagrams:
        found.add("mirror")
    if mirrored.stolen:
        found.add("steal")
    if outgoing.opened:
        found.add("outgoing")
    return frozenset(found)
