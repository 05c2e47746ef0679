"""A client of the files' door, as layer/files/door_words.h has it."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NAME = "\0mirror-run/files"
VERSION = 1
HEAD = struct.Struct("=HHIIIIIHHIqqqqq")
NOFOLLOW, FOLLOW = 0x80000000, 0x40000000
VALUE = 65536

OPS = (
    *(
        "open",
        "stat",
        "access",
        "readlink",
        "statfs",
        "mkdir",
        "rmdir",
        "unlink",
        "rename",
        "link",
        "symlink",
    ),
    *("truncate", "chmod", "chown", "utimens", "getxattr", "listxattr", "setxattr", "removexattr"),
    "without_layer",
    "connect",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """``result`` is the call's, or -errno."""

    result: int
    body: bytes
    fd: int = -1


def packet(
    op: int,
    path: bytes,
    second: bytes = b"",
    value: bytes = b"",
    *,
    flags: int = 0,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    length: int = 0,
    times: tuple[int, int, int, int] = (0, 0, 0, 0),
    version: int = VERSION,
) -> bytes:
    """One ask."""
    lengths = len(path), len(second), len(value)
    return (
        HEAD.pack(version, op, flags, mode, uid, gid, size, *lengths, length, *times) + path + second + value
    )


class Door:
    """Asks in the network namespace in which ``make`` makes sockets."""

    def __init__(self, make: Callable[[], socket.socket]) -> None:
        self._make = make

    def connect(self) -> socket.socket:
        """A connection without an ask. A blocking socket: connect(2) then waits while the door's queue is full."""
        sock = self._make()
        for limit in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, limit, struct.pack("qq", 90, 0))
        sock.connect(NAME)
        return sock

    def send(self, octets: bytes, *given: int) -> Answer | None:
        """With these descriptors. None: closed without an answer."""
        with self.connect() as sock:
            socket.send_fds(sock, [octets], given)
            return self.receive(sock)

    def receive(self, sock: socket.socket) -> Answer | None:
        """What is said on this connection."""
        answer, fds, _, _ = socket.recv_fds(sock, 8 + VALUE, 1, socket.MSG_CMSG_CLOEXEC)
        if not answer:
            return None
        result, length = struct.unpack_from("=iI", answer)
        assert len(answer) == 8 + length
        return Answer(result, answer[8:], fds[0] if fds else -1)

    def ask(
        self, op: str, path: str | bytes, second: str | bytes = b"", value: bytes = b"", **more: Any
    ) -> Answer:
        """By the op's name."""
        octets = packet(OPS.index(op) + 1, os.fsencode(path), os.fsencode(second), value, **more)
        answer = self.send(octets)
        assert answer is not None, f"the door closed without an answer to {op} {path!r}"
        return answer

    def open(self, path: str | bytes, flags: int = os.O_RDONLY, mode: int = 0, *given: int) -> int:
        """A descriptor; ``given``: of a folder whose names are listed too. OSError."""
        answer = self.send(packet(OPS.index("open") + 1, os.fsencode(path), flags=flags, mode=mode), *given)
        assert answer is not None, f"the door closed without an answer to open {path!r}"
        if answer.result < 0:
            raise OSError(-answer.result, os.strerror(-answer.result), path)
        assert answer.fd >= 0
        return answer.fd

    def read(self, path: str | bytes) -> bytes:
        """All of a file."""
        with os.fdopen(self.open(path), "rb") as file:
            return file.read()

    def stat(self, path: str | bytes, flags: int = 0) -> dict[str, int]:
        """Of struct statx. OSError."""
        answer = self.ask("stat", path, flags=flags)
        if answer.result < 0:
            raise OSError(-answer.result, os.strerror(-answer.result), path)
        assert len(answer.body) == 256
        _, _, _, nlink, uid, gid, mode, ino, size = struct.unpack_from("=IIQIIIHxxQQ", answer.body)
        return {"nlink": nlink, "uid": uid, "gid": gid, "mode": mode, "ino": ino, "size": size}
