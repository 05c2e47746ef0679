"""What the shared namespace's kernel does with packets, as nft script text: a pure function of what we want.

Facts it answers (fact programs: tests/facts/): packets that arrive by tun0 from an address that is local here
must be answered by tun0, although the tables say lo; and a connection or datagram to 127.0.0.0/8 or to the
target's own address at a port where nobody listens here belongs to the target, so it leaves by tun0 too. Both
are done with one mark, which a policy rule ahead of the local table (layer.ways) sends to tun0.

TCP decides by its SYN, every SYN anew, and the decision lives in the connection's ct mark. UDP decides by
each datagram that does not answer another one. The set of listening ports is some milliseconds old; so the
engine looks once more before it lets go of what came out for a local address, and sends back by tun0,
unchanged, what somebody here takes by now. That is known by its ct mark (LEFT), taken in, and the
conversation goes over lo from its next packet on.

Only conversations of local with local, and ports that are translated, are tracked at all: for the rest
conntrack is switched off, so that bulk streams do not pay for it.

Rejected: a static rule set that sends all of 127.0.0.0/8 out and lets the engine send back what is ours
(every local byte would pass a TUN twice), and listing chains per port (a set can be changed without touching
a chain).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from layer import tun

TABLE = "mirror_run"
AWAY = 0x6D72
"""The mark of what must leave by tun0 whatever the tables say; as ct mark: the conversation came in by tun0.
"""

LEFT = 0x6D73
"""ct mark: the conversation began here and was sent out by tun0, although its destination is local."""

_SYN = "tcp flags & (fin | syn | rst | ack) == syn"


@dataclass(frozen=True, slots=True)
class Sockets:
    """Ports where somebody here takes packets, as the rules need them.

    ``loop_*``: of these, the ones that IPv4 reaches on 127.0.0.0/8 alone. ``relayed4``, ``relayed6``: (port,
    port of the relay) for clients of that family. ``tracked_*``: whatever was ever translated, and ``relays``
    the ports of all relays ever made: a connection outlives its listener, and its translation must too.
    """

    tcp: frozenset[int] = frozenset()
    udp: frozenset[int] = frozenset()
    loop_tcp: frozenset[int] = frozenset()
    loop_udp: frozenset[int] = frozenset()
    tracked_tcp: frozenset[int] = frozenset()
    tracked_udp: frozenset[int] = frozenset()
    relays: frozenset[int] = frozenset()
    relayed4: frozenset[tuple[int, int]] = frozenset()
    relayed6: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Ground:
    """What is local here: the target's addresses (4 or 16 octets) and its name servers within 127.0.0.0/8."""

    addresses: tuple[bytes, ...]
    resolvers: tuple[bytes, ...] = ()


def whole(ground: Ground, sockets: Sockets) -> str:
    """The script that replaces our table by what is wanted now, in one transaction."""
    own4 = _addresses(ip for ip in ground.addresses if len(ip) == 4)
    own6 = _addresses(ip for ip in ground.addresses if len(ip) == 16)
    names = ", ".join(
        f"{one} : {one}" for one in map(str, map(ipaddress.ip_address, sorted(ground.resolvers)))
    )
    # A binding to what it is already: an engine that is attached to this namespace translates these addresses
    # for a name
    # server of its own, by rules that come later and find the binding made.
    untranslated = f"ct mark {LEFT:#x} dnat ip to ip daddr map {{ {names} }}" if names else ""
    dev = f'"{tun.NAME}"'
    return f"""table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    set own4 {{ type ipv4_addr; {own4} }}
    set own6 {{ type ipv6_addr; {own6} }}
    set resolvers {{ type ipv4_addr; {_addresses(ground.resolvers)} }}
    set tcp_open {{ type inet_service; }}
    set udp_open {{ type inet_service; }}
    set tcp_loop {{ type inet_service; }}
    set udp_loop {{ type inet_service; }}
    set tcp_tracked {{ type inet_service; }}
    set udp_tracked {{ type inet_service; }}
    set relays {{ type inet_service; }}
    map relayed4 {{ type inet_service : inet_service; }}
    map relayed6 {{ type inet_service : inet_service; }}

    chain untracked_in {{
        type filter hook prerouting priority raw; policy accept;
        iifname != {dev} accept
        ip saddr 127.0.0.0/8 accept
        ip saddr @own4 accept
        ip6 saddr @own6 accept
        tcp dport @tcp_tracked accept
        udp dport @udp_tracked accept
        notrack
    }}
    chain untracked_out {{
        type filter hook output priority raw; policy accept;
        oifname != {dev} accept
        ip saddr 127.0.0.0/8 accept
        tcp sport @relays accept
        notrack
    }}
    chain arrived {{
        type filter hook prerouting priority mangle; policy accept;
        iifname != {dev} accept
        ct direction original ct mark {LEFT:#x} ct mark set 0 accept
        ct direction original ct mark set {AWAY:#x}
    }}
    chain translated {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname != {dev} accept
        meta nfproto ipv4 {_SYN} tcp dport @tcp_loop dnat ip to 127.0.0.1
        meta nfproto ipv4 udp dport @udp_loop dnat ip to 127.0.0.1
        meta nfproto ipv4 {_SYN} redirect to : tcp dport map @relayed4
        meta nfproto ipv6 {_SYN} redirect to : tcp dport map @relayed6
    }}
    chain named {{
        type nat hook output priority -110; policy accept;
        {untranslated}
    }}
    chain leaving {{
        type route hook output priority mangle; policy accept;
        oifname != "lo" accept
        {_SYN} jump local_syn
        meta l4proto udp ct direction original jump local_datagram
        ct mark {{ {AWAY:#x}, {LEFT:#x} }} meta mark set {AWAY:#x}
    }}
    chain local_syn {{
        ct mark set 0
        ip daddr @resolvers tcp dport 53 ct mark set {LEFT:#x} return
        tcp dport @tcp_open return
        ip daddr 127.0.0.0/8 ct mark set {LEFT:#x}
        ip daddr @own4 ct mark set {LEFT:#x}
        ip6 daddr @own6 ct mark set {LEFT:#x}
    }}
    chain local_datagram {{
        ct mark {AWAY:#x} return
        ct mark set 0
        ip daddr @resolvers udp dport 53 ct mark set {LEFT:#x} return
        udp dport @udp_open return
        ip daddr 127.0.0.0/8 ct mark set {LEFT:#x}
        ip daddr @own4 ct mark set {LEFT:#x}
        ip6 daddr @own6 ct mark set {LEFT:#x}
    }}
}}
{ports(sockets)}"""


def ports(sockets: Sockets) -> str:
    """The script that swaps the contents of the port sets, in one transaction; the chains and open
    connections stay.
    """
    lines = []
    for name, members in (
        ("tcp_open", sockets.tcp),
        ("udp_open", sockets.udp),
        ("tcp_loop", sockets.loop_tcp),
        ("udp_loop", sockets.loop_udp),
        ("tcp_tracked", sockets.tracked_tcp),
        ("udp_tracked", sockets.tracked_udp),
        ("relays", sockets.relays),
    ):
        lines.append(f"flush set inet {TABLE} {name}")
        if members:
            lines.append(f"add element inet {TABLE} {name} {{ {', '.join(map(str, sorted(members)))} }}")
    for name, relayed in (("relayed4", sockets.relayed4), ("relayed6", sockets.relayed6)):
        lines.append(f"flush map inet {TABLE} {name}")
        if relayed:
            pairs = ", ".join(f"{port} : {relay}" for port, relay in sorted(relayed))
            lines.append(f"add element inet {TABLE} {name} {{ {pairs} }}")
    return "\n".join(lines) + "\n"


def _addresses(ips: Iterable[bytes]) -> str:
    """``elements = …`` of a set of addresses, or nothing: nft has no empty element list."""
    members = ", ".join(str(ipaddress.ip_address(ip)) for ip in sorted(ips))
    return f"elements = {{ {members} }}" if members else ""
