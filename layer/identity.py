"""The files that make a container think it is another: /etc/hosts and /etc/resolv.conf, and what the latter
says.

The engine bind-mounts these two of the bridge into every container that joins its network, so they are
written in place: a rename would make a new inode, which nobody else would see.
"""

from __future__ import annotations

import ipaddress
import logging
import os

from wire.messages import Identity

log = logging.getLogger(__name__)


def write(identity: Identity, etc: str = "/etc") -> None:
    """Puts the target's hosts and resolv.conf in the place of ours. OSError when they cannot be written."""
    _overwrite(os.path.join(etc, "hosts"), identity.hosts)
    _overwrite(os.path.join(etc, "resolv.conf"), identity.resolv_conf)


def resolvers(resolv_conf: bytes) -> tuple[bytes, ...]:
    """The name servers within 127.0.0.0/8, 4 octets each (resolv.conf(5)): they listen on the target's
    loopback, not ours.
    """
    found = []
    for line in resolv_conf.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver":
            continue
        try:
            server = ipaddress.ip_address(words[1])
        except ValueError:
            continue  # the C library skips it too
        if server.version == 6 and server.is_loopback:
            log.warning("the target's name server ::1 is out of reach: IPv6's loopback cannot be carried")
        elif server.is_loopback:
            found.append(server.packed)
    return tuple(dict.fromkeys(found))


def _overwrite(path: str, body: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        at = 0
        while at < len(body):
            at += os.pwrite(fd, body[at:], at)
        os.ftruncate(fd, len(body))
    finally:
        os.close(fd)
