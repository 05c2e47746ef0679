"""Links, addresses, routes and policy rules of this network namespace, by rtnetlink(7).

Raw netlink because pyroute2 costs 160 ms of import at every start of a session, more than everything else the
bridge does before the app may run. Knows the dozen requests the bridge makes, and nothing of why it makes
them.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

RTM_NEWLINK = 16
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE = 32, 33

NLM_F_REQUEST, NLM_F_ACK = 1, 4
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3

IFF_UP = 1
IFLA_MTU, IFLA_AF_SPEC = 4, 26
IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE = 8, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD, IFA_F_DEPRECATED = 0x02, 0x20
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
FRA_SRC, FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FRA_FWMASK = 2, 6, 10, 15, 16
RT_TABLE_MAIN, RT_TABLE_LOCAL = 254, 255
RTPROT_STATIC = 4
RTN_UNICAST, RTN_LOCAL, FR_ACT_TO_TBL = 1, 2, 1
RTMGRP_IPV6_ROUTE = 0x400

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # fib_rule_hdr has the same size: the fields after tos are reserved, action, flags


class RtnlError(OSError):
    """The kernel refused a request; ``errno`` and what was asked."""


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route of the main table. ``dst`` is empty for the default route; ``gateway`` empty if there
    is none.
    """

    family: int
    dst: bytes
    prefix: int
    gateway: bytes
    index: int


def family_of(ip: bytes) -> int:
    """AF_INET for 4 octets, AF_INET6 for 16."""
    return socket.AF_INET if len(ip) == 4 else socket.AF_INET6


def _attr(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)


def _attrs(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        size, kind = struct.unpack_from("=HH", body, at)
        if size < 4:
            return
        yield kind & 0x3FFF, body[at + 4 : at + size]
        at += (size + 3) & ~3


def _messages(octets: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(kind, serial, payload) of each message of one datagram."""
    at = 0
    while at + _HEADER.size <= len(octets):
        size, kind, _, serial, _ = _HEADER.unpack_from(octets, at)
        if size < _HEADER.size:
            return
        yield kind, serial, octets[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


class Arrivals6:
    """Waits until IPv6 addresses that were just added are local.

    The kernel adds an address at once and its local route from a work queue a moment later (net/ipv6/addrconf.c,
    addrconf_dad_work), even without duplicate address detection. In between, a packet for the address is forwarded.
    """

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.bind((0, RTMGRP_IPV6_ROUTE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._sock.close()

    def wait(self, ips: set[bytes], seconds: float = 2.0) -> None:
        """Returns when all are local. RtnlError (ETIMEDOUT) when some are not by then."""
        missing = set(ips)
        self._sock.settimeout(seconds)
        while missing:
            try:
                answer = self._sock.recv(1 << 16)
            except TimeoutError:
                names = ", ".join(map(_text, sorted(missing)))
                raise RtnlError(errno.ETIMEDOUT, f"the kernel does not take {names} as its own") from None
            for kind, _, payload in _messages(answer):
                if kind == RTM_NEWROUTE and _RTMSG.unpack_from(payload)[7] == RTN_LOCAL:
                    missing.discard(dict(_attrs(payload[_RTMSG.size :])).get(RTA_DST, b""))


class Rtnl:
    """A NETLINK_ROUTE socket in the caller's network namespace; one request at a time, each acknowledged."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.bind((0, 0))
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._sock.close()

    def link_up(self, name: str, mtu: int = 0, link_local: bool = True) -> int:
        """Sets a link up and returns its index. ``link_local`` False: the kernel makes no fe80:: address on
        it.
        """
        index = socket.if_nametoindex(name)
        attrs = _attr(IFLA_MTU, _u32(mtu)) if mtu else b""
        if not link_local and os.path.exists("/proc/net/if_inet6"):
            mode = _attr(IFLA_INET6_ADDR_GEN_MODE, bytes([ADDR_GEN_MODE_NONE]))
            attrs += _attr(IFLA_AF_SPEC, _attr(socket.AF_INET6, mode))
        # Two requests: the kernel sets IFF_UP before it looks at the attributes of the same one.
        if attrs:
            self._ask(RTM_NEWLINK, 0, _IFINFO.pack(0, 0, index, 0, 0) + attrs, f"set {name}")
        self._ask(RTM_NEWLINK, 0, _IFINFO.pack(0, 0, index, IFF_UP, IFF_UP), f"set {name} up")
        return index

    def address_add(self, index: int, ip: bytes, prefix: int, deprecated: bool = False) -> None:
        """Adds an address, or changes its flags: a deprecated IPv6 one is no source of new connections. No
        DAD.
        """
        flags = IFA_F_NODAD | (IFA_F_DEPRECATED if deprecated else 0)
        body = _IFADDR.pack(family_of(ip), prefix, 0, 0, index)
        body += _attr(IFA_LOCAL, ip) + _attr(IFA_ADDRESS, ip) + _attr(IFA_FLAGS, _u32(flags))
        self._ask(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"add {_text(ip)}/{prefix}")

    def address_del(self, index: int, ip: bytes, prefix: int) -> None:
        """Removes an address; none there is no error."""
        body = _IFADDR.pack(family_of(ip), prefix, 0, 0, index) + _attr(IFA_LOCAL, ip)
        self._ask(RTM_DELADDR, 0, body, f"remove {_text(ip)}", fine=(errno.EADDRNOTAVAIL,))

    def addresses(self) -> list[tuple[int, bytes, int]]:
        """(link index, ip, prefix) of all links."""
        found = []
        for body in self._dump(RTM_GETADDR, _IFADDR.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, index = _IFADDR.unpack_from(body)
            attrs = dict(_attrs(body[_IFADDR.size :]))
            ip = attrs.get(IFA_LOCAL, attrs.get(IFA_ADDRESS, b""))
            found.append((index, ip, prefix))
        return found

    def route_add(self, route: Route, table: int = RT_TABLE_MAIN) -> None:
        """Adds or replaces a route."""
        self._route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route, table)

    def route_del(self, route: Route, table: int = RT_TABLE_MAIN) -> None:
        """Removes a route; none there is no error."""
        self._route(RTM_DELROUTE, 0, route, table)

    def routes(self) -> list[Route]:
        """The unicast routes of the main table."""
        found = []
        for body in self._dump(RTM_GETROUTE, _RTMSG.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            family, prefix, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(body)
            if table != RT_TABLE_MAIN or kind != RTN_UNICAST:
                continue
            attrs = dict(_attrs(body[_RTMSG.size :]))
            if RTA_OIF in attrs:
                index = struct.unpack("=I", attrs[RTA_OIF])[0]
                found.append(
                    Route(family, attrs.get(RTA_DST, b""), prefix, attrs.get(RTA_GATEWAY, b""), index)
                )
        return found

    def rule_mark(self, family: int, priority: int, mark: int, table: int) -> None:
        """What carries the mark (all its bits) looks its route up in ``table``."""
        attrs = _attr(FRA_FWMARK, _u32(mark)) + _attr(FRA_FWMASK, _u32(mark))
        self._rule(RTM_NEWRULE, family, priority, table, attrs)

    def rule_from(self, family: int, priority: int, source: bytes, table: int) -> None:
        """What is sent from this address looks its route up in ``table``."""
        self._rule(
            RTM_NEWRULE, family, priority, table, _attr(FRA_SRC, source), source_prefix=len(source) * 8
        )

    def rule_local(self, family: int, priority: int, present: bool = True) -> None:
        """The rule that looks up the local table, at this priority. The kernel makes one at 0."""
        kind = RTM_NEWRULE if present else RTM_DELRULE
        self._rule(kind, family, priority, RT_TABLE_LOCAL, b"")

    def _rule(
        self, kind: int, family: int, priority: int, table: int, attrs: bytes, source_prefix: int = 0
    ) -> None:
        body = _RTMSG.pack(family, 0, source_prefix, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
        body += _attr(FRA_PRIORITY, _u32(priority)) + _attr(FRA_TABLE, _u32(table)) + attrs
        flags = NLM_F_CREATE | NLM_F_EXCL if kind == RTM_NEWRULE else 0
        self._ask(kind, flags, body, f"rule {priority}", fine=(errno.EEXIST, errno.ENOENT))

    def _route(self, kind: int, flags: int, route: Route, table: int) -> None:
        # 253 is RT_SCOPE_LINK, 0 universe; a gateway needs the latter. IPv6 does not use it.
        scope = 0 if route.gateway or route.family == socket.AF_INET6 else 253
        body = _RTMSG.pack(route.family, route.prefix, 0, 0, 0, RTPROT_STATIC, scope, RTN_UNICAST, 0)
        if kind == RTM_DELROUTE:  # whoever made it
            body = _RTMSG.pack(route.family, route.prefix, 0, 0, 0, 0, 255, 0, 0)
        body += _attr(RTA_TABLE, _u32(table)) + _attr(RTA_OIF, _u32(route.index))
        body += _attr(RTA_DST, route.dst) if route.dst else b""
        body += _attr(RTA_GATEWAY, route.gateway) if route.gateway else b""
        what = f"{_text(route.dst)}/{route.prefix}" if route.dst else "default"
        self._ask(kind, flags, body, f"route {what}", fine=(errno.ESRCH,))

    def _ask(self, kind: int, flags: int, body: bytes, what: str, fine: tuple[int, ...] = ()) -> None:
        for _, _ in self._exchange(kind, NLM_F_ACK | flags, body, what, fine):
            pass

    def _dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        for _, payload in self._exchange(kind, NLM_F_DUMP, body, "dump", ()):
            yield payload

    def _exchange(
        self, kind: int, flags: int, body: bytes, what: str, fine: tuple[int, ...]
    ) -> Iterator[tuple[int, bytes]]:
        self._serial += 1
        self._sock.send(
            _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._serial, 0) + body
        )
        while True:
            for answer_kind, serial, payload in _messages(self._sock.recv(1 << 17)):
                if serial != self._serial:
                    continue
                if answer_kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    if code and -code not in fine:
                        raise RtnlError(-code, f"{what}: {os.strerror(-code)}")
                    return
                if answer_kind == NLMSG_DONE:
                    return
                yield answer_kind, payload


def _text(ip: bytes) -> str:
    return socket.inet_ntop(family_of(ip), ip)
