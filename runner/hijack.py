"""What the SDK returns for an upgraded connection, as a plain socket whose descriptor is ours.

Over a Unix or TCP connection that is the connection itself, duplicated. Over TLS, ssh or a Windows pipe it
is one end of a socket pair, with two threads that copy; half-close is not carried there, because those have none.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from typing import Any

CHUNK = 65_536


def as_socket(raw: Any) -> socket.socket:
    """``raw`` as of APIClient.attach_socket and exec_start(socket=True). The caller owns the socket returned."""
    bare = getattr(raw, "_sock", raw)  # socket.SocketIO keeps its socket there, and has no public name for it
    if type(bare) is socket.socket:
        ours = bare.dup()
        if isinstance(raw, io.IOBase):
            raw.close()
        return ours
    ours, theirs = socket.socketpair()
    for name, source, sink in (("from engine", bare, theirs), ("to engine", theirs, bare)):
        threading.Thread(target=_copy, args=(source, sink), name=f"stream {name}", daemon=True).start()
    return ours


def _copy(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(CHUNK):
            sink.sendall(octets)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.close()
