"""The netstack as Python sees it: the one file that touches ``ffi``. What each call does is said in ``netstack.h``.

Calls are short and may come from any thread, but ``run``, which is one long call into C, and ``close``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

import msgpack

from layer.netstack._netstack import ffi, lib

_MESSAGE = 4096


class NetstackError(OSError):
    """What C could not do: ``strerror`` is its sentence, ``errno`` 0 if the kernel had no part in it."""


@dataclass(frozen=True, slots=True)
class Counters:
    """As ``struct netstack_counters``."""

    packets_in: int
    octets_in: int
    packets_out: int
    octets_out: int
    lost: int
    opened: int
    refused: int
    cancelled: int
    mirrored: int
    datagrams_lost: int
    answers: int
    flows: int
    ticking: int
    associations: int
    links: int
    held: int


@dataclass(frozen=True, slots=True)
class FilesCounters:
    """As ``struct netstack_files_counters``."""

    asked: int
    ahead: int
    octets: int
    opened: int
    files: int
    without_layer: int


class Netstack:
    """One engine on one tun device. Its maker calls ``run`` in a thread, ``stop``, joins it, and then ``close``."""

    def __init__(self, tun_fd: int) -> None:
        """Takes the descriptor, also when it fails: NetstackError."""
        fault = ffi.new("struct fault *")
        self._netstack = lib.netstack_new(tun_fd, fault)
        if self._netstack == ffi.NULL:
            raise _error(fault)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self) -> None:
        """Until ``stop``. NetstackError when epoll itself failed."""
        fault = ffi.new("struct fault *")
        if lib.netstack_run(self._netstack, fault) < 0:
            raise _error(fault)

    def stop(self) -> None:
        """Ends ``run``, now or as soon as it begins."""
        lib.netstack_stop(self._netstack)

    def close(self) -> None:
        """Not while it runs. The app's connections end as with a cut cable. A second call does nothing."""
        if self._netstack != ffi.NULL:
            lib.netstack_free(self._netstack)
            self._netstack = ffi.NULL

    def link_add(self, fd: int, *, primary: bool = True, keeps: bool = False) -> int:
        """Takes a stream socket that has had its handshake, also when it fails; the link's number.

        ``keeps``: it survives its socket (``link-cut``), and can be resumed.
        """
        fault = ffi.new("struct fault *")
        link = lib.netstack_link_add(self._netstack, fd, primary, keeps, fault)
        if link < 0:
            raise _error(fault)
        return int(link)

    def files_link_add(self, fd: int, *, keeps: bool = False) -> int:
        """The same for a link that carries files alone; it is no primary before ``link_primary``."""
        fault = ffi.new("struct fault *")
        link = lib.netstack_files_link_add(self._netstack, fd, keeps, fault)
        if link < 0:
            raise _error(fault)
        return int(link)

    def link_primary(self, link: int, target: int, *, files: bool = True) -> None:
        """New connections go out by this link, from its agent's target of this number; and the target's files come by
        it, with ``files`` or if it carries nothing else.
        """
        fault = ffi.new("struct fault *")
        if lib.netstack_link_primary(self._netstack, link, target, files, fault) < 0:
            raise _error(fault)

    def link_cut(self, link: int) -> int:
        """Takes a kept link off its socket: how many octets of it have come. No ``link-cut`` comes of it."""
        fault = ffi.new("struct fault *")
        received = ffi.new("uint64_t *")
        if lib.netstack_link_cut(self._netstack, link, received, fault) < 0:
            raise _error(fault)
        return int(received[0])

    def link_resume(self, link: int, fd: int, received: int) -> None:
        """Goes on by ``fd`` (taken, also when it fails), the agent having ``received`` octets of the link.

        NetstackError: there is no such link, or that cannot be; ``link_del`` is due.
        """
        fault = ffi.new("struct fault *")
        if lib.netstack_link_resume(self._netstack, link, fd, received, fault) < 0:
            raise _error(fault)

    def link_del(self, link: int) -> None:
        """Ends a link, or forgets one that is gone."""
        lib.netstack_link_del(self._netstack, link)

    def listeners(self, interval_ms: int) -> None:
        """Report what accepts in this thread's network namespace, looked at that often; 0 ends it."""
        fault = ffi.new("struct fault *")
        if lib.netstack_listeners(self._netstack, interval_ms, fault) < 0:
            raise _error(fault)

    def addresses(self, ips: list[bytes]) -> None:
        """The target's own, of 4 or 16 octets; at most 64."""
        packed = b"".join(bytes([4 if len(ip) == 4 else 6]) + ip.ljust(16, b"\0") for ip in ips)
        fault = ffi.new("struct fault *")
        if lib.netstack_addresses(self._netstack, packed, len(packed), fault) < 0:
            raise _error(fault)

    def files(self, uid: int, gid: int, *, writes: bool) -> None:
        """Serves the target's files, and the files' door in this thread's network namespace, until ``close``. Once."""
        fault = ffi.new("struct fault *")
        if lib.netstack_files(self._netstack, uid, gid, writes, fault) < 0:
            raise _error(fault)

    def files_device(self) -> int:
        """st_dev of the target's files, as the app sees it."""
        return int(lib.netstack_files_device(self._netstack))

    def files_counters(self) -> FilesCounters:
        """As they are now."""
        out = ffi.new("struct netstack_files_counters *")
        lib.netstack_files_counters(self._netstack, out)
        return FilesCounters(*(int(getattr(out, field.name)) for field in fields(FilesCounters)))

    def counters(self) -> Counters:
        """As they are now."""
        out = ffi.new("struct netstack_counters *")
        lib.netstack_counters(self._netstack, out)
        return Counters(*(int(getattr(out, field.name)) for field in fields(Counters)))

    def fileno(self) -> int:
        """Readable while a message waits. It stays the engine's."""
        return int(lib.netstack_outbox_fd(self._netstack))

    def pull(self) -> list[object] | None:
        """One message, its name first, or None. Never blocks."""
        room = ffi.new("uint8_t[]", _MESSAGE)
        n = lib.netstack_pull(self._netstack, room, _MESSAGE)
        if n == 0:
            return None
        message = msgpack.unpackb(bytes(ffi.buffer(room, n)))
        if not isinstance(message, list):
            raise TypeError(f"the engine said {message!r}, which is no array")
        return message


def _error(fault: Any) -> NetstackError:
    return NetstackError(fault.err, ffi.string(fault.text).decode(errors="replace"))
