"""A FUSE server of a few lines on a mount that is attached nowhere: what the kernel does with it is the fact, not this.

Speaks /dev/fuse itself (linux/fuse.h, little-endian): a root with ``file``, whose octets are CONTENT, and ``dir``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading

CONTENT = b"of the target\n" * 600

ROOT, FILE, DIR = 1, 2, 3
NAMES = {(ROOT, b"file"): FILE, (ROOT, b"dir"): DIR}

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_CLOEXEC, _NOSUID, _NODEV = 1, 2, 4

_libc = ctypes.CDLL(None, use_errno=True)


def _call(*words: object) -> int:
    done: int = _libc.syscall(*words)
    if done < 0:
        raise OSError(ctypes.get_errno(), f"system call {words[0]}")
    return done


def detached(device: int) -> int:
    """The descriptor of a FUSE mount on ``device``, which no tree holds. Whoever closes it ends the mount."""
    context = _call(_FSOPEN, b"fuse", 1)
    try:
        for key, value in (("fd", device), ("rootmode", "40000"), ("user_id", 0), ("group_id", 0)):
            _call(_FSCONFIG, context, _SET_STRING, key.encode(), str(value).encode(), 0)
        _call(_FSCONFIG, context, _SET_FLAG, b"allow_other", None, 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, _NOSUID | _NODEV)
    finally:
        os.close(context)


class Server:
    """Serves from construction until ``die``, which is what the kernel sees of a process that was killed."""

    def __init__(self) -> None:
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self.mount = detached(self.device)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._run, name="fuse server", daemon=True)
        self._thread.start()

    def die(self) -> None:
        """The device is closed; the mount and what was opened of it are not."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        os.close(self.device)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.device, self._stop], [], [])
            if self._stop in ready:
                return
            request = os.read(self.device, 1 << 20)
            opcode, unique, node = struct.unpack_from("<IQQ", request, 4)
            answer = self._answer(opcode, node, request[40:])
            if answer is not None:
                error, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
                os.write(self.device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes | int | None:
        match opcode:
            case 1:  # LOOKUP
                found = NAMES.get((node, body.rstrip(b"\0")))
                return (
                    errno.ENOENT
                    if found is None
                    else struct.pack("<QQQQII", found, 0, 0, 0, 0, 0) + _attr(found)
                )
            case 2 | 36 | 42:  # FORGET, INTERRUPT, BATCH_FORGET
                return None
            case 3:  # GETATTR
                return struct.pack("<QII", 0, 0, 0) + _attr(node)
            case 14 | 27:  # OPEN, OPENDIR
                return struct.pack("<QII", 0, 0, 0)
            case 15:  # READ
                _, offset, size = struct.unpack_from("<QQI", body)
                return CONTENT[offset : offset + size]
            case 26:  # INIT
                return struct.pack("<IIIIHHI", 7, 31, 1 << 16, 0, 8, 8, 1 << 16) + bytes(40)
            case 28:  # READDIR
                _, offset, _ = struct.unpack_from("<QQI", body)
                return b"" if offset else _entries(node)
            case 18 | 25 | 29:  # RELEASE, FLUSH, RELEASEDIR
                return b""
            case _:
                return errno.ENOSYS


def _attr(node: int) -> bytes:
    mode, size = (0o100644, len(CONTENT)) if node == FILE else (0o40755, 0)
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _entries(node: int) -> bytes:
    names = [name for (where, name) in NAMES if where == node]
    packed = b""
    for place, name in enumerate((b".", b"..", *names), 1):
        entry = struct.pack("<QQII", 9, place, len(name), 0) + name
        packed += entry + bytes(-len(entry) % 8)
    return packed
