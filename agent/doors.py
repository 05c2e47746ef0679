"""Where links come in: sockets that nobody reaches but who may try, each with what begins a session there.

Never an address that another pod or machine can reach: Unix sockets of this process's user, or the loopback of the
agent's own pod, where only the API server's port-forward and the pod's own containers come.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from agent.warrants import Warrants

BACKLOG = 128


@dataclass(slots=True)
class Door:
    """Listening, until ``close``. ``warrants``: None where no session begins.

    ``far``: what comes here may have been cut off without a word, so that silence has to be noticed.
    """

    name: str
    sockets: tuple[socket.socket, ...]
    warrants: Warrants | None
    far: bool = False
    path: str = ""

    def close(self) -> None:
        """Nobody comes in any more."""
        for one in self.sockets:
            one.close()
        if self.path:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


def on_path(path: str, warrants: Warrants | None) -> Door:
    """A Unix socket that only this process's user may connect to. OSError.

    One that an earlier agent left behind in the volume is nobody's: containers of this kind run one agent.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setblocking(False)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return Door(path, (listener,), warrants, path=path)


def on_port(port: int, warrants: Warrants) -> Door:
    """127.0.0.1 and ::1 at ``port``, and at no other: a runner shows its secret to whoever listens there. OSError."""
    return Door(f"port {port}", _both(port), warrants, far=True)


def _both(port: int) -> tuple[socket.socket, ...]:
    with ExitStack() as undo:
        made = [undo.enter_context(_listening(socket.AF_INET, ("127.0.0.1", port)))]
        try:
            made.append(_listening(socket.AF_INET6, ("::1", port)))
        except OSError as error:
            # A pod without IPv6 has no ::1, or no such family at all.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
        undo.pop_all()
        return tuple(made)


def _listening(family: int, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
