"""From what the kernel says the app listens on: what the rules need, what the agent is told, what the runner
is told.

Pure: reports in, values out. A report is what sock_diag sees in the shared namespace (native/sockdiag.h).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from layer.rules import Sockets
from wire.messages import AppPort, Port, Proto

EPHEMERAL = range(32768, 61000)
"""net.ipv4.ip_local_port_range as a namespace begins with it."""


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """A socket that takes what comes: ``family`` is 4, 6, or 10 for an IPv6 wildcard that takes IPv4 too."""

    proto: int
    port: int
    loopback: bool
    family: int


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user said about ports: Configure's ``mapped``, ``ignored`` and ``declared``."""

    mapped: tuple[AppPort, ...] = ()
    ignored: tuple[int, ...] = ()
    declared: tuple[Port, ...] = ()


def relay_needs(listeners: Iterable[Listener], has_v6: bool) -> dict[int, str]:
    """TCP ports whose clients no translation brings to the listener, and where the relay must dial instead.

    Packets from tun0 can be translated to 127.0.0.1 and not to ::1 (nor from IPv6 to IPv4). ``has_v6``:
    clients may come by IPv6.
    """
    needs = {}
    for port, at in _tcp(listeners).items():
        wide6 = any(not one.loopback and one.family != 4 for one in at)
        only6 = any(one.loopback and one.family == 6 for one in at)
        if not wide6 and only6 and (has_v6 or not _has_v4(at)):
            needs[port] = "::1"
        elif not wide6 and has_v6 and _only_loop4(at):
            needs[port] = "127.0.0.1"
    return needs


def sockets(
    listeners: Iterable[Listener], relays: Mapping[int, int], has_v6: bool, before: Sockets
) -> Sockets:
    """What the rules need now. ``relays``: port to the relay's port, all that were ever made; ``before``: the
    last answer.
    """
    listeners = tuple(listeners)
    tcp = _tcp(listeners)
    udp = _by_port(listeners, Proto.UDP)
    needs = relay_needs(listeners, has_v6)
    loop_tcp = frozenset(port for port, at in tcp.items() if _only_loop4(at))
    loop_udp = frozenset(port for port, at in udp.items() if _only_loop4(at))
    relayed = {port: relays[port] for port in needs if port in relays}
    return Sockets(
        tcp=frozenset(tcp),
        udp=frozenset(udp),
        loop_tcp=loop_tcp,
        loop_udp=loop_udp,
        tracked_tcp=before.tracked_tcp | loop_tcp | frozenset(relayed),
        tracked_udp=before.tracked_udp | loop_udp,
        relays=frozenset(relays.values()),
        relayed4=frozenset((port, relay) for port, relay in relayed.items() if not _has_v4(tcp[port])),
        relayed6=frozenset(relayed.items()) if has_v6 else frozenset(),
    )


def reported(listeners: Iterable[Listener]) -> tuple[Port, ...]:
    """What a person would say the app listens on: a port once, without the ephemeral ports of UDP clients."""
    found: dict[tuple[int, int], bool] = {}
    for one in listeners:
        if one.proto == Proto.UDP and one.port in EPHEMERAL:
            continue
        key = (one.proto, one.port)
        found[key] = found.get(key, True) and one.loopback
    return tuple(Port(proto, port, loopback) for (proto, port), loopback in sorted(found.items()))


def wanted(listeners: Iterable[Listener], wishes: Wishes) -> tuple[AppPort, ...]:
    """Whose traffic the app wants: a port of its own number unless a mapping says another; a mapping takes a
    target's port alone.

    ``declared`` is set where the target need not listen itself: mapped by the user, or named by the target's
    image.
    """
    open_ports = {(one.proto, one.port) for one in listeners} - {
        (proto, port) for proto in (Proto.TCP, Proto.UDP) for port in wishes.ignored
    }
    ports = {
        AppPort(one.proto, one.app, one.target, True)
        for one in wishes.mapped
        if (one.proto, one.app) in open_ports
    }
    mapped_from = {(one.proto, one.app) for one in wishes.mapped}
    mapped_to = {(one.proto, one.target) for one in wishes.mapped}
    named = {(one.proto, one.port) for one in wishes.declared}
    for proto, port in open_ports - mapped_from - mapped_to:
        declared = (proto, port) in named
        if proto == Proto.UDP and port in EPHEMERAL and not declared:
            continue
        ports.add(AppPort(proto, port, port, declared))
    return tuple(sorted(ports, key=lambda one: (one.proto, one.app, one.target)))


def _by_port(listeners: Iterable[Listener], proto: int) -> dict[int, list[Listener]]:
    found: dict[int, list[Listener]] = {}
    for one in listeners:
        if one.proto == proto:
            found.setdefault(one.port, []).append(one)
    return found


def _tcp(listeners: Iterable[Listener]) -> dict[int, list[Listener]]:
    return _by_port(listeners, Proto.TCP)


def _has_v4(at: list[Listener]) -> bool:
    return any(one.family != 6 for one in at)


def _only_loop4(at: list[Listener]) -> bool:
    """IPv4 reaches it on 127.0.0.0/8 alone."""
    return any(one.loopback and one.family == 4 for one in at) and not any(
        not one.loopback and one.family != 6 for one in at
    )
