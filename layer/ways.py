"""Which way packets leave: tun0's addresses and routes, and the policy rules ahead of the local table.

The target's addresses keep the target's own prefix length: a program that works out its network (a gossip
protocol, a broadcast) gets the pod's answer, and as tun0 is a link without neighbours the connected route
leaves by tun0 like everything else. An interface that the engine attached for published ports or a network
the user named answers from its own address by its own table (a source rule); everything else still leaves by
tun0.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

from layer import rules, tun
from layer.rtnl import Arrivals6, Route, Rtnl, RtnlError, family_of
from wire.messages import Address

PRIORITY_AWAY, PRIORITY_LOCAL, PRIORITY_ENGINE = 10, 20, 30
TABLE_AWAY = 27000
TABLE_ENGINE = 27001  # and one more for each further interface


def carried(addresses: Sequence[Address]) -> tuple[Address, ...]:
    """Of the target's addresses those that tun0 takes: not loopback (every namespace has its own) and not
    link-local.
    """
    return tuple(
        address
        for address in addresses
        if not (ip := ipaddress.ip_address(address.ip)).is_loopback
        and not (ip.version == 6 and ip.is_link_local)
    )


def prepare(addresses: Sequence[Address]) -> int:
    """Sets lo and tun0 up, with addresses, routes and policy rules. Returns tun0's index; tun0 exists
    already.

    RtnlError with what was asked, when the kernel refuses.
    """
    with Rtnl() as kernel, Arrivals6() as arrivals:
        kernel.link_up("lo")
        index = kernel.link_up(tun.NAME, mtu=tun.MTU, link_local=False)
        _set_engine_aside(kernel, index)
        for address in carried(addresses):
            kernel.address_add(index, address.ip, address.prefix)
        present = {family_of(address.ip) for address in carried(addresses)}
        families = [socket.AF_INET]
        if os.path.exists("/proc/net/if_inet6"):
            families.append(socket.AF_INET6)
        for family in families:
            default = Route(family, b"", 0, b"", index)
            # Without an address of the family the target has no such network: connect() says ENETUNREACH, as
            # there.
            if family in present:
                kernel.route_add(default)
            _rules(kernel, family, default)
        arrivals.wait(_v6(carried(addresses)))
        return index


def _v6(addresses: Sequence[Address]) -> set[bytes]:
    return {address.ip for address in addresses if len(address.ip) == 16}


def _rules(kernel: Rtnl, family: int, default: Route) -> None:
    try:
        kernel.route_add(default, rules_table := TABLE_AWAY)
    except RtnlError as error:
        if family == socket.AF_INET6 and error.errno in (errno.EACCES, errno.EPERM, errno.ENODEV):
            return  # IPv6 is switched off here
        raise
    kernel.rule_mark(family, PRIORITY_AWAY, rules.AWAY, rules_table)
    kernel.rule_local(family, PRIORITY_LOCAL)
    kernel.rule_local(family, 0, present=False)


def replace(old: Sequence[Address], new: Sequence[Address]) -> tuple[Address, ...]:
    """Adds the new addresses first, then makes the old ones that remain no source of anything new.

    Returns what was left in place (sockets may still use it), for ``remove``.
    """
    fresh = carried(new)
    gone = tuple(address for address in carried(old) if address.ip not in {a.ip for a in fresh})
    with Rtnl() as kernel, Arrivals6() as arrivals:
        index = socket.if_nametoindex(tun.NAME)
        for address in gone:
            # IPv4 takes its source from the first address of the link that fits: the old one is put at the
            # end.
            if len(address.ip) == 4:
                kernel.address_del(index, address.ip, address.prefix)
        for address in fresh:
            kernel.address_add(index, address.ip, address.prefix)
        for address in gone:
            kernel.address_add(index, address.ip, _kept(address), deprecated=len(address.ip) == 16)
        for family in {family_of(address.ip) for address in fresh}:
            kernel.route_add(Route(family, b"", 0, b"", index))
        arrivals.wait(_v6(fresh) - _v6(old))
    return gone


def _kept(address: Address) -> int:
    """The prefix of an old address: IPv4's is without a network, so that it is nobody's source; IPv6 has a
    flag for that.
    """
    return 32 if len(address.ip) == 4 else address.prefix


def remove(addresses: Sequence[Address]) -> None:
    """Takes addresses from tun0 that ``replace`` left in place."""
    with Rtnl() as kernel:
        index = socket.if_nametoindex(tun.NAME)
        for address in addresses:
            kernel.address_del(index, address.ip, _kept(address))


def _set_engine_aside(kernel: Rtnl, index: int) -> None:
    """Moves the routes of every other interface into tables of their own, which only their own addresses look
    up.
    """
    loopback = socket.if_nametoindex("lo")
    tables: dict[int, int] = {}
    for route in sorted(kernel.routes(), key=lambda route: bool(route.gateway)):
        if route.index in (index, loopback):
            continue
        table = tables.setdefault(route.index, TABLE_ENGINE + len(tables))
        kernel.route_add(route, table)
        kernel.route_del(route)
    for link, ip, _ in kernel.addresses():
        if link in tables:
            kernel.rule_from(family_of(ip), PRIORITY_ENGINE, ip, tables[link])
