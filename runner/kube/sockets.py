"""Sockets: to the first of a name's addresses that answers; noticed to be dead; holding more than usual."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

ADDRESS_TIME = 3.0
"""Seconds for one address of a name that has others."""


async def connected(host: str, port: int) -> socket.socket:
    """A non-blocking socket to the first of the name's addresses that answers, the caller's. OSError, gaierror.

    Not asyncio's own way, whose race between addresses drops a socket that has just connected when it is cancelled
    (3.11 to 3.13), and which does not give the socket away before TLS is up."""
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=kind)
    failure: OSError = OSError(f"{host} has no address")
    for number, (family, _, protocol, _, address) in enumerate(found, 1):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(None if number == len(found) else ADDRESS_TIME):
                await loop.sock_connect(sock, address)
            return sock
        except OSError as error:  # a TimeoutError is one
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure


def keep_alive(sock: Any) -> None:
    """A peer that is gone without a word is noticed within half a minute; boxes between see that somebody is there."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
        if idle is not None:
            sock.setsockopt(socket.IPPROTO_TCP, idle, 15)
        if hasattr(socket, "TCP_KEEPINTVL"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def hold(sock: Any, octets: int) -> None:
    """The kernel takes so much before its peer has read (or what the machine allows, net.core.wmem_max).

    With the usual 208 KiB a socket takes a part of what one turn of the loop brings, and the rest is copied, waited for
    and written by a second call: a third of a relay's CPU (measured). None, where there is no socket, is left alone."""
    with contextlib.suppress(OSError):
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets)
