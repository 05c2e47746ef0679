"""Unix sockets of the target's that keep packets apart: both ways, and datagrams there; and what cannot cross."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyroute2 import netns

from tests.net.files.lab import TARGET_UID, Files, Target
from tests.net.files.test_sockets import listening, reach

PACKETS = 100
LARGE = os.urandom(200_000)


@contextmanager
def bound(path: Path, kind: int) -> Iterator[socket.socket]:
    """A server's socket in the target's tree."""
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(path))
        path.chmod(0o777)
        if kind == socket.SOCK_SEQPACKET:
            server.listen(8)
        server.settimeout(20)
        try:
            yield server
        finally:
            path.unlink(missing_ok=True)


def joined(files: Files, path: str, kind: int) -> socket.socket:
    """As a program of the app's does it. OSError with the door's error."""
    answer = files.door.ask("connect", path, size=kind)
    if answer.result < 0:
        raise OSError(-answer.result, os.strerror(-answer.result))
    netns.pushns(files.space)
    try:
        made = socket.socket(socket.AF_UNIX, kind)
    finally:
        netns.popns()
    made.settimeout(20)
    made.connect(answer.body)
    return made


def test_packets_keep_their_borders_both_ways(files: Files, target: Target) -> None:
    packets = [b"one", b"x" * 70_000, LARGE, b"last"]
    kind = socket.SOCK_SEQPACKET
    with bound(target.root / "own/q", kind) as server, joined(files, "/own/q", kind) as app:
        there, _ = server.accept()
        there.settimeout(20)
        credentials = there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("3i", credentials)[1] == TARGET_UID
        for one, other in ((app, there), (there, app)):
            for packet in packets:
                one.send(packet)
                assert other.recv(1 << 18) == packet
        app.send(b"more")
        app.shutdown(socket.SHUT_WR)
        assert (there.recv(100), there.recv(100)) == (b"more", b"")
        there.send(b"still heard")
        there.close()
        assert (app.recv(100), app.recv(100)) == (b"still heard", b"")


def test_a_reader_that_is_slow_stops_the_writer_and_loses_nothing(files: Files, target: Target) -> None:
    kind = socket.SOCK_SEQPACKET
    with bound(target.root / "own/q", kind) as server, joined(files, "/own/q", kind) as app:
        there, _ = server.accept()
        there.settimeout(20)
        sent: list[int] = []

        def write() -> None:
            for n in range(PACKETS):
                app.send(struct.pack("I", n) + LARGE[:50_000])
                sent.append(n)

        writer = threading.Thread(target=write)
        writer.start()
        for n in range(PACKETS):
            packet = there.recv(1 << 17)
            assert (struct.unpack_from("I", packet)[0], len(packet)) == (n, 50_004)
            assert len(sent) < n + PACKETS / 2, "somewhere it is kept without a bound"
        writer.join()
        there.close()


def test_datagrams_arrive_each_as_it_was(files: Files, target: Target) -> None:
    """Of however many senders, by one socket; a server that has gone is told of, and its successor is found."""
    path = target.root / "own/log"
    with bound(path, socket.SOCK_DGRAM) as server:
        first, second = (joined(files, "/own/log", socket.SOCK_DGRAM) for _ in range(2))
        assert first.getpeername() == second.getpeername()
        for sender in (first, second):
            for datagram in (b"a line", b"", b"y" * 60_000):
                sender.send(datagram)
                assert server.recv(1 << 17) == datagram
    with pytest.raises(FileNotFoundError):
        joined(files, "/own/none", socket.SOCK_DGRAM)
    with suppress(ConnectionRefusedError):
        for _ in range(1_000_000):  # the first is lost with the server, as it is there
            first.send(b"to nobody")
        pytest.fail("it is never told")
    with bound(path, socket.SOCK_DGRAM) as server, joined(files, "/own/log", socket.SOCK_DGRAM) as again:
        again.send(b"again")
        assert server.recv(100) == b"again"
    first.close()
    second.close()


def test_of_another_type(files: Files, target: Target) -> None:
    """Said as connect(2) says it in the target; of a type that is none, too."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    for kind in kinds:
        with bound(target.root / "own/q", kind) as server:
            if kind == socket.SOCK_STREAM:
                server.listen(1)
            for other in (*kinds, 77):
                if other != kind:
                    with pytest.raises(OSError, match=os.strerror(errno.EPROTOTYPE)):
                        joined(files, "/own/q", other)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_descriptors_do_not_cross(files: Files, target: Target, kind: int) -> None:
    """Whoever sends one: the connection is reset at both ends, and the next one is as good as any."""
    path = target.root / "own/q"
    with listening(path) if kind == socket.SOCK_STREAM else bound(path, kind) as server:
        for sender in (0, 1):
            app = reach(files, "/own/q") if kind == socket.SOCK_STREAM else joined(files, "/own/q", kind)
            there, _ = server.accept()
            there.settimeout(20)
            app.send(b"first")
            assert there.recv(5) == b"first"
            socket.send_fds((app, there)[sender], [b"descriptor"], [0])
            assert (there.recv(100), app.recv(100)) == (b"", b"")
            there.close()
            app.close()
