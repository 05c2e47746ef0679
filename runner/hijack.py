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
            bare.close()  # the SDK keeps it with the answer, for whenever that is collected
        return ours
    ours, theirs = socket.socketpair()
    to_engine = threading.Thread(target=_to_engine, args=(bare, theirs), name="stream to engine", daemon=True)
    to_engine.start()
    rest = (bare, theirs, to_engine)
    threading.Thread(target=_from_engine, args=rest, name="stream from engine", daemon=True).start()
    return ours


def _from_engine(engine: Any, theirs: socket.socket, to_engine: threading.Thread) -> None:
    with contextlib.suppress(OSError):
        while octets := engine.recv(CHUNK):
            theirs.sendall(octets)
    with contextlib.suppress(OSError):
        theirs.shutdown(socket.SHUT_RDWR)  # close() alone would not wake the other thread's recv()
    to_engine.join()
    theirs.close()
    with contextlib.suppress(OSError):
        engine.close()


def _to_engine(engine: Any, theirs: socket.socket) -> None:
    """Ends at our end's half-close too, and leaves the engine's side open then: what it says must still come."""
    with contextlib.suppress(OSError):
        while octets := theirs.recv(CHUNK):
            engine.sendall(octets)
