"""Which ports of a target are mirrored, as a pure function of what the app accepts on and what the target does.

A port takes part while the app listens on it and the target does too, so that a debugger's port is nobody's traffic; or
when a mapping or the target's image names it (``declared``). Port 0 stands for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from wire.messages import AppPort, Port, Proto

MOST = 256
"""Ports of one target at most: each is a comparison for every packet in the kernel's filter."""


def mirrored(wanted: Iterable[AppPort], listens: Iterable[Port]) -> tuple[AppPort, ...]:
    """Sorted; each of the target's ports once, for the first app port that wants it."""
    there = {(port.proto, port.port) for port in listens}
    chosen: dict[tuple[int, int], AppPort] = {}
    for port in wanted:
        key = (port.proto, port.target)
        if port.proto not in (Proto.TCP, Proto.UDP) or not port.app or not port.target:
            continue
        if key not in chosen and (port.declared or key in there):
            chosen[key] = port
    return tuple(chosen[key] for key in sorted(chosen)[:MOST])
