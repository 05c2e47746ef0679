"""What the agent and a gate say to each other: values here, msgpack arrays on its control socket.

One packet is one array, the tag first (agent/gate/control.h). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from wire.messages import Filter, Probe

_WANT, _DRAIN = 1, 2

PACKET = 128 * 1024
"""Octets of what is wanted at most."""

TARGET, BAD_GATEWAY, RESET = 0, 1, 2
"""What becomes of a request that the app was given and did not answer."""


@dataclass(frozen=True, slots=True)
class Thief:
    """A session, as its gate needs to know it. ``since``: seconds of the wall clock; ``link_lost_after``: ms."""

    number: int
    since: int
    on_app_gone: int = TARGET
    link_lost_after: int = 5000
    probes: bool = False
    local: bool = False
    existing: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A port of the target's, for one session; without ``filters`` the whole of it, else what matches any of them."""

    session: int
    target: int
    port: int
    app_port: int
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Want:
    """Everything that a gate shall do; replaces what it did before."""

    thieves: tuple[Thief, ...] = ()
    rules: tuple[Rule, ...] = ()
    nodes: tuple[bytes, ...] = ()
    probes: tuple[Probe, ...] = ()
    mesh_uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """It stands in the target's network, and listens on this port."""

    port: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What was wanted by this serial is in force."""

    serial: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It is not: ``errno`` EEXIST, and the sentence is another agent's, when somebody else steals there."""

    errno: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one session's port. ``seen``, ``matched``: requests; ``stolen``, ``older``, ``tls``: connections; ``last``:
    the last request line."""

    session: int
    port: int
    seen: int
    matched: int
    stolen: int
    older: int
    tls: int
    last: str


@dataclass(frozen=True, slots=True)
class Drained:
    """Its last connection has ended; so many had to be reset."""

    reset: int


Said = Ready | Applied | Failed | Counts | Drained


_READS: dict[int, tuple[type[Any], int]] = {
    16: (Ready, 1),
    17: (Applied, 1),
    18: (Failed, 2),
    19: (Counts, 8),
    20: (Drained, 1),
}
"""By tag: what it becomes, of how many fields."""


def want(serial: int, wanted: Want) -> bytes:
    """The packet that asks for it. ValueError: it is more than a packet holds."""
    octets = _pack(
        [
            _WANT,
            serial,
            [_thief(thief) for thief in wanted.thieves],
            [
                [rule.session, rule.target, rule.port, rule.app_port, _filters(rule.filters)]
                for rule in wanted.rules
            ],
            list(wanted.nodes),
            [[probe.port, probe.kind, probe.path] for probe in wanted.probes],
            list(wanted.mesh_uids),
        ]
    )
    if len(octets) > PACKET:
        raise ValueError(f"filters of {len(octets)} octets are more than a gate takes")
    return octets


def drain(seconds: int) -> bytes:
    """The packet that ends it, once its last connection has, or after so long."""
    return _pack([_DRAIN, seconds])


def read(packet: bytes) -> Said | None:
    """None: nothing that is known here."""
    tag, *fields = msgpack.unpackb(packet, unicode_errors="replace")
    if (reads := _READS.get(tag)) is None:
        return None
    kind, arity = reads
    said: Said = kind(*fields[:arity])
    return said


def _thief(thief: Thief) -> list[int]:
    flags = thief.probes * 1 + thief.local * 2 + thief.existing * 4
    return [thief.number, thief.since, thief.on_app_gone, thief.link_lost_after, flags]


def filters_alone(filters: Sequence[Filter]) -> bytes:
    """As a mirror reads them; b"" for none."""
    return _pack(_filters(filters)) if filters else b""


def _filters(filters: Sequence[Filter]) -> list[list[list[int | str]]] | None:
    if not filters:
        return None
    return [[[one.what, one.regex] for one in each.conditions] for each in filters]


def _pack(value: object) -> bytes:
    octets: bytes = msgpack.packb(value)
    return octets
