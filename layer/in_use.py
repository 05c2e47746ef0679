"""Which local addresses sockets of this network namespace have, asked of the kernel by sock_diag(7).

TCP in any state but TIME-WAIT, which needs no address to end, and UDP.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
TCP_TIME_WAIT = 6
ALL_STATES = 0xFFFFFFFF & ~(1 << TCP_TIME_WAIT)

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2
_SOURCE = 4 + 4  # inet_diag_msg: four octets, then inet_diag_sockid's two ports, then its source address

_MAPPED = b"\0" * 10 + b"\xff\xff"
"""::ffff:0:0/96: an IPv6 socket's IPv4 address (RFC 4291, 2.5.5.2)."""


def addresses() -> set[bytes]:
    """Of 4 and 16 octets; zeros for the wildcards. OSError when the kernel does not say."""
    found: set[bytes] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(1.0)
        for family in (socket.AF_INET, socket.AF_INET6):
            for proto in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                found |= _dump(sock, family, proto)
    return found


def _dump(sock: socket.socket, family: int, proto: int) -> set[bytes]:
    body = _REQUEST.pack(family, proto, 0, ALL_STATES)
    head = _HEADER.pack(_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0)
    sock.send(head + body)
    found: set[bytes] = set()
    while True:
        octets = sock.recv(1 << 16)
        at = 0
        while at + _HEADER.size <= len(octets):
            size, kind, *_ = _HEADER.unpack_from(octets, at)
            payload = octets[at + _HEADER.size : at + size]
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", payload)
                if -code == errno.ENOENT:  # no such family or protocol in this kernel
                    return found
                raise OSError(-code, f"sock_diag: {os.strerror(-code)}")
            found.add(_address(family, payload[_SOURCE : _SOURCE + 16]))
            at += (size + 3) & ~3


def _address(family: int, source: bytes) -> bytes:
    if family == socket.AF_INET:
        return source[:4]
    return source[12:] if source.startswith(_MAPPED) else source
