"""The agent's C as Python sees it: the one file that touches ``ffi``.

Every call is short and may come from any thread; a fault of C's becomes EngineFault. The C loop has a thread of its own
from ``with`` to its end, and tells what happens by itself through ``events``.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import msgpack

from agent._engine import ffi, lib
from agent.account import Outgoing
from wire.messages import Address, AppPort, Chosen, Counters, Port

log = logging.getLogger(__name__)

_LISTENERS = 4096
_ADDRESSES = 256
_PORTS = 256
_NAME = 256
_MESSAGE = 4096
_LINK_GONE = 1
_LINK_CUT = 2


class EngineFault(Exception):
    """What C could not do: ``reason`` is a sentence, ``errno`` 0 if the kernel had no part in it."""

    def __init__(self, reason: str, errno: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errno = errno


@dataclass(frozen=True, slots=True)
class LinkGone:
    """A session's data link ended by itself. ``link`` is the number that ``link_add`` gave it."""

    session: int
    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class LinkCut:
    """A session's data link lost its socket; it waits for ``link_resume``, or ``link_del``."""

    session: int
    link: int
    reason: str


class Engine:
    """The data plane. ``with Engine() as engine``: its loops run inside, and all sessions end with it.

    C has two engines: one for packets, and one beside it for links that carry files alone, each with a thread of its
    own. Sessions and targets are told to both."""

    def __init__(self) -> None:
        fault = _fault()
        self._engine = lib.engine_new(ffi.NULL, fault)
        if self._engine == ffi.NULL:
            raise _raised(fault)
        self._files = lib.engine_new(self._engine, fault)
        if self._files == ffi.NULL:
            lib.engine_free(self._engine)
            raise _raised(fault)
        self._threads = [
            threading.Thread(target=self._run, args=(engine,), name=name, daemon=True)
            for engine, name in ((self._engine, "engine"), (self._files, "files"))
        ]
        self.failed: EngineFault | None = None

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in (self._engine, self._files):
            lib.engine_stop(engine)
        for thread in self._threads:
            thread.join()
        lib.engine_free(self._files)  # first: it speaks by the other's outbox
        lib.engine_free(self._engine)
        self._engine = self._files = ffi.NULL

    def _run(self, engine: Any) -> None:
        fault = _fault()
        if lib.engine_run(engine, fault) < 0:
            self.failed = _raised(fault)
            log.critical("the data plane stopped: %s", self.failed.reason)

    @property
    def outbox(self) -> int:
        """An fd, readable while ``events`` has something to return. It stays the engine's."""
        return int(lib.engine_outbox_fd(self._engine))

    def events(self) -> list[LinkGone | LinkCut]:
        """What has happened since the last call. Never waits."""
        happened: list[LinkGone | LinkCut] = []
        buffer = ffi.new("uint8_t[]", _MESSAGE)
        while (size := lib.engine_outbox_pull(self._engine, buffer, _MESSAGE)) > 0:
            tag, *fields = msgpack.unpackb(ffi.buffer(buffer, size)[:])
            if tag == _LINK_GONE:
                happened.append(LinkGone(*fields))
            elif tag == _LINK_CUT:
                happened.append(LinkCut(*fields))
        return happened

    def session_add(self, session: int) -> None:
        """A new session, without link and targets. ``session`` is the caller's number for it."""
        self._both(lib.engine_session_add, session)

    def session_del(self, session: int) -> None:
        """Its links, its connections and its mirrors end at once."""
        lib.engine_session_del(self._engine, session)
        lib.engine_session_del(self._files, session)

    def rest(self) -> None:
        """Gives memory back to the machine, this process's own too, if there is no session: the next may be long in
        coming."""
        lib.engine_rest(self._files)
        lib.engine_rest(self._engine)

    def limits(
        self,
        session: int,
        *,
        outgoing: bool = True,
        metadata: bool = True,
        mirror_rate: int = 0,
        outgoing_rate: int = 0,
        connections: int = 0,
    ) -> None:
        """What the session may do, from now on; what is open stays.

        Without ``outgoing`` every connect, datagram and echo of the app fails with EACCES; without ``metadata`` those
        to a cloud's metadata services do. ``mirror_rate``: octets a second of all that is mirrored, by whole
        connections, the oldest kept; ``outgoing_rate``: of all that the app sends from its targets, and as many of what
        it is answered, by streams that wait and datagrams that are dropped; ``connections``: open at a time, either
        way, further ones fail with EMFILE or are not mirrored; 0: no limit. Links that carry files alone have a rate
        and a number of their own.
        """
        limits = ffi.new(
            "struct engine_limits *", (outgoing, metadata, mirror_rate, outgoing_rate, connections)
        )
        self._both(lib.engine_session_limits, session, limits)

    def link_add(self, session: int, fd: int, *, keeps: bool = False, files: bool = False) -> int:
        """The session's data link, its handshake done; one that it had is closed. Takes ``fd``. Its number.

        ``keeps``: it survives its socket (LinkCut), and can be resumed. ``files``: the one that carries files alone,
        here and below.
        """
        return self._check(lib.engine_link_add, session, fd, keeps, files=files)

    def link_cut(self, session: int, *, files: bool = False) -> tuple[int, int]:
        """Takes the session's link off its socket: its number, and how many octets of it have come.

        EngineFault: the session has no link that keeps. No LinkCut comes of it.
        """
        received = ffi.new("uint64_t *")
        return self._check(lib.engine_link_cut, session, received, files=files), int(received[0])

    def link_resume(self, session: int, fd: int, received: int, *, files: bool = False) -> None:
        """Goes on by ``fd`` (taken, also when it fails), the peer having ``received`` octets of the link.

        EngineFault: there is no such link, or that cannot be; ``link_del`` is due.
        """
        self._check(lib.engine_link_resume, session, fd, received, files=files)

    def link_del(self, session: int, *, files: bool = False) -> None:
        """Closes the session's data link, if it has one."""
        lib.engine_link_del(self._files if files else self._engine, session)

    def target_set(self, session: int, target: int, netns: int) -> None:
        """From now on this index means this network namespace (an fd, which stays the caller's)."""
        self._both(lib.engine_target_set, session, target, netns)

    def target_files(self, session: int, target: int, pid: int, pidfd: int, *, writes: bool) -> None:
        """Files of this target are served from now on, as this process of it sees them. ``pidfd`` stays theirs."""
        self._both(lib.engine_target_files, session, target, pid, pidfd, writes)

    def target_del(self, session: int, target: int) -> None:
        """What was open from this target is reset, its mirror ends."""
        lib.engine_target_del(self._engine, session, target)
        lib.engine_target_del(self._files, session, target)

    def mirror_ports(self, session: int, target: int, ports: tuple[AppPort, ...]) -> None:
        """What of this target is mirrored from now on. EngineFault too when the session has no data link."""
        array = ffi.new("struct engine_port[]", [(port.proto, port.target, port.app) for port in ports])
        self._check(lib.engine_mirror_ports, session, target, array, len(ports))

    def choose(self, session: int, filters: bytes) -> None:
        """Of what is mirrored only requests that match these (``gate_words.filters_alone``), all with b"". What was
        mirrored ends, and ``mirror_ports`` is due. EngineFault: why they are refused."""
        self._check(lib.engine_session_choose, session, filters, len(filters))

    def seen(self, session: int, target: int) -> tuple[Chosen, ...]:
        """What they saw, by port; from the beginning of what is mirrored now."""
        found = ffi.new("struct engine_seen[]", _PORTS)
        count = self._check(lib.engine_seen, session, target, found, _PORTS)
        return tuple(_chosen(target, found[i]) for i in range(count))

    def counters(self, session: int) -> Counters:
        """What was mirrored and stolen since the session began."""
        c = ffi.new("struct engine_counters *")
        self._check(lib.engine_counters, session, c)
        return Counters(
            connections=c.connections,
            bytes=c.bytes,
            datagrams=c.datagrams,
            joined=c.joined,
            skipped=c.skipped,
            dropped=c.dropped,
            lost_packets=c.lost_packets,
            limited=c.limited,
            stolen=c.stolen,
            stolen_bytes=c.stolen_bytes,
        )

    def gate_add(self, fd: int) -> int:
        """The engine's end of a gate's hand-over, which it takes; the gate's number here."""
        return self._check(lib.engine_gate_add, fd)

    def gate_del(self, gate: int) -> None:
        """What went through it is reset."""
        lib.engine_gate_del(self._engine, gate)

    def gate_sessions(self, gate: int) -> None:
        """Tells the gate once more which sessions' links are there: it may not have known them before."""
        lib.engine_gate_sessions(self._engine, gate)

    def hush(self, session: int) -> None:
        """Stolen connections of the session that are idle end in order from the app's side; their clients may still."""
        lib.engine_hush(self._engine, session)

    def stolen_open(self, session: int) -> int:
        """Stolen connections of the session, open now."""
        c = ffi.new("struct engine_counters *")
        self._check(lib.engine_counters, session, c)
        return int(c.stolen_open)

    def unanswered(self, session: int) -> int:
        """Stolen connections of the session whose client spoke last."""
        return int(lib.engine_unanswered(self._engine, session))

    def outgoing(self, session: int) -> Outgoing:
        """What the app did from its targets since the session began."""
        both = self._counted(session)
        return Outgoing(
            opened=sum(c.opened for c in both),
            sent=sum(c.sent for c in both),
            received=sum(c.received for c in both),
            slowed=sum(c.slowed for c in both),
        )

    def files_used(self, session: int) -> frozenset[str]:
        """Of the session's rights to files, those of which something was asked."""
        both = self._counted(session)
        used = {
            "files": any(c.files_read for c in both),
            "files-write": any(c.files_written for c in both),
        }
        return frozenset(right for right, was in used.items() if was)

    def _counted(self, session: int) -> tuple[Any, Any]:
        both = ffi.new("struct engine_counters *"), ffi.new("struct engine_counters *")
        self._check(lib.engine_counters, session, both[0])
        self._check(lib.engine_counters, session, both[1], files=True)
        return both

    def _check(self, call: object, *arguments: object, files: bool = False) -> int:
        fault = _fault()
        result: int = call(self._files if files else self._engine, *arguments, fault)  # type: ignore[operator]
        if result < 0:
            raise _raised(fault)
        return result

    def _both(self, call: object, *arguments: object) -> None:
        self._check(call, *arguments)
        self._check(call, *arguments, files=True)


def _chosen(target: int, one: Any) -> Chosen:
    last = bytes(ffi.buffer(one.last, one.last_n)[:]).decode(errors="replace")
    return Chosen(target, one.target_port, one.seen, one.matched, one.tls, one.other, last)


def diag_open(netns: int) -> int:
    """A descriptor, the caller's to close, by which ``listening`` asks the network namespace ``netns``."""
    fault = _fault()
    return _result(lib.engine_diag_open(netns, fault), fault)


def listening(diag: int) -> frozenset[Port]:
    """TCP ports that are listened on and UDP ports that are bound, in the namespace where ``diag`` was opened."""
    fault = _fault()
    found = ffi.new("struct engine_listener[]", _LISTENERS)
    count = _result(lib.engine_listening(diag, found, _LISTENERS, fault), fault)
    return frozenset(Port(found[i].proto, found[i].port, bool(found[i].loopback)) for i in range(count))


def hostname(uts: int) -> str:
    """The host name in the UTS namespace ``uts`` (a descriptor)."""
    fault = _fault()
    name = ffi.new("char[]", _NAME)
    _result(lib.identity_hostname(uts, name, _NAME, fault), fault)
    return bytes(ffi.string(name)).decode(errors="surrogateescape")


def addresses(netns: int) -> tuple[Address, ...]:
    """The addresses of the network namespace ``netns`` that others can reach, the kernel's preferred source first."""
    fault = _fault()
    found = ffi.new("struct identity_address[]", _ADDRESSES)
    count = _result(lib.identity_addresses(netns, found, _ADDRESSES, fault), fault)
    return tuple(
        Address(bytes(found[i].ip)[: 4 if found[i].family == 4 else 16], found[i].prefix)
        for i in range(count)
    )


def read_file(root: int, path: str, limit: int) -> bytes:
    """A regular file of at most ``limit`` octets, resolved inside ``root`` (a descriptor of a root directory)."""
    fault = _fault()
    buffer = ffi.new("uint8_t[]", limit)
    size = _result(lib.identity_file(root, path.encode(), buffer, limit, fault), fault)
    return bytes(ffi.buffer(buffer, size)[:])


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Octets of a process's memory. EngineFault if the process is gone or may not be looked into."""
    fault = _fault()
    buffer = ffi.new("uint8_t[]", max(size, 1))
    got = _result(lib.identity_memory(pid, address, buffer, size, fault), fault)
    return bytes(ffi.buffer(buffer, got)[:])


def _fault() -> Any:
    return ffi.new("struct fault *")


def _raised(fault: Any) -> EngineFault:
    return EngineFault(bytes(ffi.string(fault.text)).decode(errors="replace"), fault.err)


def _result(result: int, fault: Any) -> int:
    if result < 0:
        raise _raised(fault)
    return result
