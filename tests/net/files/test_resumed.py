"""Files over a link of the two engines, which is cut while they are read: resumed, or an error, and never a hang. The
link is the one for packets, as with an agent that has no other, or the one for files alone.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from agent.engine import Engine
from tests.net.agent.lab import Lab
from tests.net.files.door import Door
from tests.net.files.lab import APP_GID, APP_UID, Target
from tests.net.netstack.ground import Ground, ground, ready
from tests.net.resume.way import SESSION, Way

pytestmark = [pytest.mark.net, pytest.mark.native]

LARGE = 64 << 20


class Place:
    """The engines, joined; files of ``target`` served by the one, the door in the other's namespace."""

    def __init__(self, stack: ExitStack, target: Target, *, alone: bool) -> None:
        lab = Lab()
        stack.callback(lab.destroy)
        lab.build()
        self.ground: Ground = stack.enter_context(ground())
        self.engine = stack.enter_context(Engine())
        self.engine.session_add(SESSION)
        self._lab = lab
        self.serve(target)
        with self.ground.space.inside():
            self.ground.netstack.files(APP_UID, APP_GID, writes=False)
        self.way = Way(self.ground.netstack, self.engine, files=alone)
        stack.callback(lambda: self.way.close())
        self.ground.netstack.link_primary(self.way.link, 0)
        self.door = Door(self.socket)

    def serve(self, target: Target | None) -> None:
        """Anew: a target, and this one's files, or none."""
        netns = self._lab.open_target()
        self.engine.target_set(SESSION, 0, netns)
        os.close(netns)
        if target is not None:
            pidfd = os.pidfd_open(target.pid)
            self.engine.target_files(SESSION, 0, target.pid, pidfd, writes=False)
            os.close(pidfd)

    def socket(self) -> socket.socket:
        """For the door."""
        with self.ground.space.inside():
            return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def cut_and_heard(self) -> None:
        """Both engines have noticed."""
        self.way.cut()
        assert self.ground.message()[0] == "link-cut"
        assert ready(select.POLLIN, 20, self.engine.outbox)
        self.engine.events()


@pytest.fixture(params=[False, True], ids=["by the data link", "alone"])
def place(request: pytest.FixtureRequest, target: Target) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(stack, target, alone=request.param)


def read_by_another(path_fd: int) -> subprocess.Popen[bytes]:
    """In a process of its own: a read that waits for this process's engines must not hold its interpreter."""
    return subprocess.Popen(["sha1sum"], stdin=path_fd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(reader: subprocess.Popen[bytes], over: threading.Event) -> None:
    """Says so."""
    reader.wait()
    over.set()


@pytest.fixture(scope="module")
def large(target: Target) -> Path:
    path = target.root / "data/very-large"
    path.write_bytes(os.urandom(1 << 20) * (LARGE >> 20))
    return path


def test_a_file_is_read_through_ten_cuts(place: Place, large: Path) -> None:
    random.seed(6)
    fd = place.door.open("/data/very-large")
    place.cut_and_heard()
    place.way.resume(after=random.randrange(1 << 22))
    over = threading.Event()
    with read_by_another(fd) as reader:
        waiter = threading.Thread(target=end, args=(reader, over), name="reader's end")
        waiter.start()
        while not over.is_set():
            if place.way.leg.over.wait(0.05):
                place.way.cuts += 1
                place.way.resume(after=random.randrange(1 << 22) if place.way.cuts < 10 else 1 << 62)
        waiter.join()
        assert reader.stdout is not None
        said = reader.stdout.read().split()[0].decode()
    assert place.way.cuts == 10
    assert said == hashlib.sha1(large.read_bytes(), usedforsecurity=False).hexdigest()
    os.close(fd)


def test_who_reads_during_a_cut_goes_on_after_it(place: Place, target: Target) -> None:
    place.door.read("/etc/hosts")
    fd = place.door.open("/data/large")
    place.cut_and_heard()
    with read_by_another(fd) as reader:
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.3)
        place.way.resume()
        said, _ = reader.communicate(timeout=60)
    whole = (target.root / "data/large").read_bytes()
    assert said.split()[0].decode() == hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    os.close(fd)


def test_a_link_that_is_given_up_is_an_error(place: Place) -> None:
    fd = place.door.open("/data/large")
    place.cut_and_heard()
    with read_by_another(fd) as reader:
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.3)
        place.ground.netstack.link_del(place.way.link)
        _, said = reader.communicate(timeout=60)
    assert os.strerror(errno.EIO).encode() in said
    os.close(fd)


def test_why_files_are_refused_is_said_once(place: Place) -> None:
    """Here: the session has a target, and none of its files."""
    place.serve(None)
    with pytest.raises(OSError, match=r"\[Errno 13\]"):
        place.door.open("/etc/hosts")
    assert place.ground.message() == [
        "files-refused",
        "the session may not have the target's files: Permission denied",
    ]


def test_a_process_that_has_ended_is_no_refusal(place: Place, target: Target) -> None:
    """Another may have its number by now, and its successor is attached soon."""
    gone = Target(target.root)
    pidfd = os.pidfd_open(gone.pid)
    gone.close()
    place.engine.target_files(SESSION, 0, gone.pid, pidfd, writes=False)
    os.close(pidfd)
    with pytest.raises(OSError, match=r"\[Errno 5\]"):
        place.door.open("/etc/hosts")
    place.serve(target)
    assert place.door.read("/etc/hosts") == b"198.18.0.1 target\n"


def test_the_right_is_used_when_something_is_read(place: Place) -> None:
    """Not when the two have greeted each other, which they do by themselves."""
    overdue = time.monotonic() + 5
    while place.ground.netstack.files_counters().asked == 0:
        assert time.monotonic() < overdue
    assert place.engine.files_used(SESSION) == frozenset()
    assert place.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    assert place.engine.files_used(SESSION) == {"files"}
    read = place.ground.netstack.files_counters()
    assert (read.files, read.octets) == (1, len(b"198.18.0.1 target\n"))


def test_a_target_that_is_let_go(place: Place) -> None:
    """Its files are gone with it; the same index again has files anew."""
    assert place.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    place.engine.target_del(SESSION, 0)
    with pytest.raises(OSError, match=r"\[Errno (5|116)\]"):
        place.door.open("/data/large")


@pytest.mark.parametrize("place", [False], indirect=True)
def test_files_go_from_one_link_to_the_other_and_back(place: Place, target: Target) -> None:
    """What is asked meanwhile waits; what was open before is gone, as with any other link's end."""
    netstack = place.ground.netstack
    alone = Way(netstack, place.engine, files=True)
    for link in (alone.link, place.way.link, alone.link):
        fd = place.door.open("/data/large")
        assert os.pread(fd, 10, 0) == (target.root / "data/large").read_bytes()[:10]
        with ThreadPoolExecutor(8) as askers:
            asked = [askers.submit(place.door.read, "/etc/hosts") for _ in range(64)]
            netstack.link_primary(link, 0)
            for one in asked:
                with suppress(OSError):  # EIO: it was under way just then
                    assert one.result(10) == b"198.18.0.1 target\n"
        with pytest.raises(OSError, match=r"\[Errno (5|116)\]"):
            os.pread(fd, 10, 4 << 20)
        os.close(fd)
        assert place.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    alone.cut()
    assert place.ground.message()[0] == "link-cut"
    netstack.link_primary(place.way.link, 0)
    assert place.door.read("/data/../etc/hosts") == b"198.18.0.1 target\n"
