"""A Unix socket of the target's, reached through the door: errors, octets both ways, ends, and who the server sees."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyroute2 import netns

from tests.net.files.lab import TARGET_GID, TARGET_UID, Files, Target

MUCH = os.urandom(1 << 20) * 5


@contextmanager
def listening(path: Path, mode: int = 0o777) -> Iterator[socket.socket]:
    """A server's socket in the target's tree."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(mode)
        server.listen(8)
        server.settimeout(20)
        try:
            yield server
        finally:
            path.unlink()


def app_socket(files: Files) -> socket.socket:
    """As a program of the app makes it."""
    netns.pushns(files.space)
    try:
        made = socket.socket(socket.AF_UNIX)
    finally:
        netns.popns()
    made.settimeout(20)
    return made


def reach(files: Files, path: str) -> socket.socket:
    """Connected to what the door says; OSError with its error."""
    answer = files.door.ask("connect", path)
    if answer.result < 0:
        raise OSError(-answer.result, os.strerror(-answer.result))
    sock = app_socket(files)
    sock.connect(answer.body)
    return sock


def test_octets_go_both_ways_to_their_ends(files: Files, target: Target) -> None:
    with listening(target.root / "own/s") as server:
        with reach(files, "/own/../own/s") as app:
            there, _ = server.accept()
            with there:
                there.sendall(b"who speaks first")
                assert app.recv(100) == b"who speaks first"
                got: list[bytes] = []

                def read_all() -> None:
                    while octets := there.recv(65536):
                        got.append(octets)
                    there.sendall(MUCH[::-1])

                reader = threading.Thread(target=read_all)
                reader.start()
                app.sendall(MUCH)
                app.shutdown(socket.SHUT_WR)
                back = bytearray()
                while len(back) < len(MUCH):
                    back += app.recv(65536)
                reader.join()
                there.shutdown(socket.SHUT_WR)
                assert app.recv(1) == b""
        digests = [hashlib.sha256(one).hexdigest() for one in (b"".join(got), MUCH, bytes(back), MUCH[::-1])]
        assert digests[0] == digests[1]
        assert digests[2] == digests[3]


def test_the_server_sees_the_targets_process(files: Files, target: Target) -> None:
    with listening(target.root / "own/s") as server, reach(files, "/own/s"):
        there, _ = server.accept()
        with there:
            _, uid, gid = struct.unpack("3i", there.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            assert (uid, gid) == (TARGET_UID, TARGET_GID)


def test_errors_are_those_inside_the_target(files: Files, target: Target) -> None:
    def refused(path: str) -> int:
        try:
            reach(files, path).close()
        except OSError as error:
            return error.errno or 0
        return 0

    with listening(target.root / "own/s", 0o700):
        assert refused("/own/s") == errno.EACCES  # root's, and the target's process is another
        (target.root / "own/link").symlink_to("/own/s")
        assert refused("/own/link") == errno.EACCES
        (target.root / "own/link").unlink()
    assert refused("/own/s") == errno.ENOENT
    assert refused("/etc/hosts/s") == errno.ENOTDIR
    assert refused("/fifo") == errno.ECONNREFUSED
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(target.root / "own/dead"))
        (target.root / "own/dead").chmod(0o777)
    assert refused("/own/dead") == errno.ECONNREFUSED
    (target.root / "own/dead").unlink()


def test_a_server_that_goes_is_an_end(files: Files, target: Target) -> None:
    with listening(target.root / "own/s") as server, reach(files, "/own/s") as app:
        there, _ = server.accept()
        there.sendall(b"last words")
        there.close()
        assert app.recv(100) == b"last words"
        assert app.recv(100) == b""


def test_nobody_who_is_not_the_app_may_come(files: Files, target: Target) -> None:
    with listening(target.root / "own/s") as server:
        answer = files.door.ask("connect", "/own/s")
        there, _ = server.accept()
        stranger, app = app_socket(files), app_socket(files)
        pid = os.fork()
        if pid == 0:
            os.setresuid(1234, 1234, 1234)
            stranger.connect(answer.body)
            os._exit(0 if stranger.recv(1) == b"" else 1)
        assert os.waitpid(pid, 0)[1] == 0
        app.connect(answer.body)
        app.sendall(b"x")
        there.settimeout(20)
        assert there.recv(1) == b"x"
        for one in (stranger, app, there):
            one.close()


def test_a_link_that_ends_ends_them_and_the_next_serves(files: Files, target: Target) -> None:
    with listening(target.root / "own/s") as server:
        with reach(files, "/own/s") as app:
            there, _ = server.accept()
            there.sendall(b"x")
            assert app.recv(1) == b"x"  # the bridge has accepted; whom it has not is reset
            files.tell("cut")
            assert app.recv(1) == b""
            there.settimeout(20)
            assert there.recv(1) == b""
            there.close()
        files.tell("link")
        with reach(files, "/own/s") as app:
            there, _ = server.accept()
            app.sendall(b"again")
            assert there.recv(5) == b"again"
            there.close()
