"""A door over a plain directory, for tests of the layer alone: what it gives are descriptors of a detached mount of
that tree (open_tree(2)), which look to the app as those of the bridge's mount do. The real door is tested with that.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.net.layer.space import Space

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_OPEN_TREE, SYS_OPENAT2, SYS_STATX, SYS_MOUNT_SETATTR = 428, 437, 332, 442
MOUNT_ATTR_RDONLY = 1
CLONE, RECURSIVE, CLOEXEC = 1, 0x8000, os.O_CLOEXEC
IN_ROOT, NO_MAGIC = 0x10, 0x02
AT_FDCWD, AT_EMPTY_PATH, AT_NOFOLLOW = -100, 0x1000, 0x100
NOFOLLOW, FOLLOW = 0x80000000, 0x40000000
HEAD = struct.Struct("=HHIIIIIHHIqqqqq")
ANSWER = struct.Struct("=iI")
VERSION = 1

(OPEN, STAT, ACCESS, READLINK, STATFS, MKDIR, RMDIR, UNLINK, RENAME, LINK, SYMLINK, TRUNCATE, CHMOD, CHOWN, UTIMENS,
 GETXATTR, LISTXATTR, SETXATTR, REMOVEXATTR, WITHOUT_LAYER, CONNECT, WATCH) = range(1, 23)  # fmt: skip
NAMED = {MKDIR, RMDIR, UNLINK, SYMLINK, RENAME, READLINK}
"""Ops that never follow the last part."""


def call(number: int, *arguments: object) -> int:
    done = int(LIBC.syscall(number, *arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def detached(tree: Path) -> int:
    """A mount of its own of this directory, in no tree."""
    return call(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(tree), CLONE | CLOEXEC)


def open_in(root: int, path: bytes, flags: int, mode: int = 0) -> int:
    how = struct.pack("=QQQ", flags, mode, IN_ROOT | NO_MAGIC)
    return call(SYS_OPENAT2, root, path, how, len(how))


def carry(listener: socket.socket, there: socket.socket) -> None:
    """What the first who comes says, there and back, to both ends."""
    with listener, there:
        here, _ = listener.accept()
        with here:
            ways = {here: there, there: here}
            while ways:
                ready, _, _ = select.select(list(ways), [], [], 30)
                assert ready, "nothing is said any more"
                for one in ready:
                    if octets := one.recv(65536):
                        ways[one].sendall(octets)
                    else:
                        ways.pop(one).shutdown(socket.SHUT_WR)


def pass_on(named: socket.socket, there: socket.socket) -> None:
    """One datagram."""
    with named, there:
        named.settimeout(30)
        there.send(named.recv(65536))


class StandIn:
    """Serves from ``with`` to its end. ``asked`` counts the asks by op."""

    def __init__(self, tree: Path, space: Space) -> None:
        self._root = detached(tree)
        self.device = os.fstat(self._root).st_dev
        with space.inside():
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind("\0mirror-run/files")
        self._listener.listen(64)
        self.asked: dict[int, int] = {}
        self.users: set[int] = set()
        """Who asked."""
        self.held: threading.Event | None = None
        """If there is one, answers wait for it."""
        self._waits = threading.Event()
        self.foreign: dict[int, int] = {}
        """Of another machine's programs, which flag of open(2) is which of this one's."""
        self._space = space
        self._carriers: list[threading.Thread] = []
        self._threads = [threading.Thread(target=self._serve, name=f"stand-in {n}") for n in range(4)]

    def read_only(self) -> None:
        """As the bridge's mount is when nothing may be written."""
        attributes = struct.pack("=4Q", MOUNT_ATTR_RDONLY, 0, 0, 0)
        call(SYS_MOUNT_SETATTR, self._root, b"", AT_EMPTY_PATH, attributes, len(attributes))

    def when_held(self, told: Callable[[], None]) -> None:
        """Tells once an answer waits."""
        self._waits.wait()
        told()

    def __enter__(self) -> Self:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in (*self._threads, *self._carriers):
            one.join()
        self._listener.close()
        os.close(self._root)

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            with visitor:
                packet = visitor.recv(1 << 17)
                credentials = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                self.users.add(struct.unpack("3i", credentials)[1])
                if packet:
                    self._answer(visitor, packet)

    def _answer(self, visitor: socket.socket, packet: bytes) -> None:
        if self.held:
            self._waits.set()
            self.held.wait()
        fds: list[int] = []
        try:
            result, body = self._done(packet, fds)
        except OSError as error:
            result, body = -(error.errno or errno.EIO), b""
        except (OverflowError, ValueError):  # numbers that Python does not pass on
            result, body = -errno.EINVAL, b""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with contextlib.suppress(BrokenPipeError):  # who asked was killed
            visitor.sendmsg([ANSWER.pack(result, len(body)), body], rights)
        for fd in fds:
            os.close(fd)

    def _done(self, packet: bytes, fds: list[int]) -> tuple[int, bytes]:
        head = HEAD.unpack_from(packet)
        version, op, flags, mode, uid, gid, size, path_len, second_len, value_len, length, *times = head
        rest = packet[HEAD.size :]
        assert (version, len(rest)) == (VERSION, path_len + second_len + value_len)
        path, second = rest[:path_len], rest[path_len : path_len + second_len]
        value = rest[path_len + second_len :]
        assert path.startswith(b"/")
        self.asked[op] = self.asked.get(op, 0) + 1
        if op == OPEN:
            fds.append(open_in(self._root, path, self._own(flags), mode))
            return 0, b""
        if op == WATCH:  # its own kernel's files are what they are
            fds.append(open_in(self._root, path, os.O_PATH | (os.O_NOFOLLOW if flags & NOFOLLOW else 0)))
            return 0, b""
        follow = not (flags & NOFOLLOW or op in NAMED or (op == LINK and not flags & FOLLOW))
        return self._by_name(op, path, second, value, follow, flags, mode, (uid, gid), size, length, times)

    def _own(self, flags: int) -> int:
        same = flags & ~sum(self.foreign)
        return same | sum(ours for theirs, ours in self.foreign.items() if flags & theirs)

    def _by_name(self, op: int, path: bytes, second: bytes, value: bytes, follow: bool, flags: int, mode: int,
                 owner: tuple[int, int], size: int, length: int, times: list[int]) -> tuple[int, bytes]:  # fmt: skip
        if op in (MKDIR, RMDIR, UNLINK, SYMLINK, RENAME):
            self._change_names(op, path, second, flags & 0xFFFF, mode)
            return 0, b""
        plain = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        fd = open_in(self._root, path, plain)
        try:
            return self._of(fd, op, second, value, flags, mode, owner, size, length, times)
        finally:
            os.close(fd)

    def _change_names(self, op: int, path: bytes, second: bytes, flags: int, mode: int) -> None:
        folder, name = self._parent(path)
        try:
            match op:
                case _ if op == MKDIR:
                    os.mkdir(name, mode, dir_fd=folder)
                case _ if op == RMDIR:
                    os.rmdir(name, dir_fd=folder)
                case _ if op == UNLINK:
                    os.unlink(name, dir_fd=folder)
                case _ if op == SYMLINK:
                    os.symlink(second, name, dir_fd=folder)
                case _:
                    to_folder, to_name = self._parent(second)
                    try:
                        call(316, folder, name, to_folder, to_name, flags)
                    finally:
                        os.close(to_folder)
        finally:
            os.close(folder)

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        """The folder, and the last part as it was written: the kernel knows what a slash behind it means."""
        bare = path.rstrip(b"/")
        above, _, name = bare.rpartition(b"/")
        return open_in(self._root, above or b"/", os.O_PATH | os.O_DIRECTORY), name + path[
            len(bare) :
        ] or b"."

    def _of(self, fd: int, op: int, second: bytes, value: bytes, flags: int, mode: int, owner: tuple[int, int],
            size: int, length: int, times: list[int]) -> tuple[int, bytes]:  # fmt: skip
        name = f"/proc/self/fd/{fd}"
        match op:
            case _ if op == STAT:
                buffer = ctypes.create_string_buffer(256)
                call(SYS_STATX, fd, b"", AT_EMPTY_PATH, 0x7FF, buffer)
                return 0, buffer.raw
            case _ if op == ACCESS:
                if not os.access(name, mode):
                    raise OSError(errno.EACCES, "")
            case _ if op == READLINK:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    raise OSError(errno.EINVAL, "")
                return 0, os.readlink(b"", dir_fd=fd)
            case _ if op == CONNECT:
                return 0, self._joined(name, size or socket.SOCK_STREAM)
            case _ if op == STATFS:
                s = os.statvfs(fd)
                sizes = (
                    s.f_bsize,
                    s.f_blocks,
                    s.f_bfree,
                    s.f_bavail,
                    s.f_files,
                    s.f_ffree,
                    s.f_namemax,
                    s.f_frsize,
                )
                return 0, struct.pack("=9Q", 0x01021994, *sizes)
            case _ if op == LINK:
                folder, to = self._parent(second)
                try:
                    os.link(name, to, dst_dir_fd=folder, follow_symlinks=True)
                finally:
                    os.close(folder)
            case _ if op == TRUNCATE:
                os.truncate(name, length)
            case _ if op == CHMOD:
                os.chmod(name, mode)
            case _ if op == CHOWN:
                call(260, fd, b"", *(ctypes.c_uint32(one) for one in owner), AT_EMPTY_PATH)
            case _ if op == UTIMENS:
                call(280, fd, b"", struct.pack("=4q", *times), AT_EMPTY_PATH)
            case _ if op == GETXATTR:
                return self._sized(os.getxattr(name, second), size)
            case _ if op == LISTXATTR:
                return self._sized(b"".join(os.fsencode(one) + b"\0" for one in os.listxattr(name)), size)
            case _ if op == SETXATTR:
                os.setxattr(name, second, value, flags & 3)
            case _ if op == REMOVEXATTR:
                os.removexattr(name, second)
            case _:
                raise OSError(errno.EINVAL, "")
        return 0, b""

    def _joined(self, name: str, kind: int) -> bytes:
        """A name that stands for this socket of the tree's, and a thread that carries what is said."""
        there = socket.socket(socket.AF_UNIX, kind)
        try:
            there.connect(name)
        except OSError:
            there.close()
            raise
        with self._space.inside():
            listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind("\0mirror-run/socket/" + os.urandom(8).hex())
        if kind == socket.SOCK_DGRAM:
            carrier: Callable[[socket.socket, socket.socket], None] = pass_on
        else:
            listener.listen()
            carrier = carry
        thread = threading.Thread(target=carrier, args=(listener, there), name="stand-in's socket")
        thread.start()
        self._carriers.append(thread)
        said: bytes = listener.getsockname()
        return said

    @staticmethod
    def _sized(octets: bytes, size: int) -> tuple[int, bytes]:
        if size and len(octets) > size:
            raise OSError(errno.ERANGE, "")
        return len(octets), octets if size else b""
