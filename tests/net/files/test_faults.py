"""Links that end or hang while files are read: an error within the limit or the rest of the file, and never a hang."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.files.lab import Files, Target

READ = ("dd", "bs=4096", "count=1", "iflag=direct", "of=/dev/null")


@pytest.fixture
def own(harness: Path, target: Target) -> Iterator[Files]:
    """Whose link is this test's to cut."""
    made = Files(harness, target.pid)
    yield made
    made.close()


def waiting_reader(files: Files, fd: int, skip: int) -> subprocess.Popen[bytes]:
    """A process that reads a page from the target and gets no answer."""
    before = files.tell("counters")["asked"]
    reader = subprocess.Popen([*READ, f"skip={skip}"], stdin=fd, stderr=subprocess.PIPE)
    while files.tell("counters")["asked"] == before:
        assert reader.poll() is None
        time.sleep(0.01)
    return reader


def test_the_agents_end_in_the_middle_of_a_read(own: Files) -> None:
    fd = own.door.open("/data/large", os.O_RDONLY | os.O_DIRECT)
    own.tell("stop")
    with waiting_reader(own, fd, 1000) as reader:
        own.tell("cut")
        _, said = reader.communicate(timeout=20)
    assert b"Input/output error" in said
    os.close(fd)


RUN = ("dd", "bs=128k", "skip=8", "of=/dev/null")


def reader_in_order(files: Files, fd: int) -> subprocess.Popen[bytes]:
    """A process that has read a MiB in order, and then waits for what was asked ahead of it and does not come."""
    for at in range(8):
        assert len(os.pread(fd, 131072, at * 131072)) == 131072
    files.tell("stop")
    os.lseek(fd, 0, os.SEEK_SET)
    return subprocess.Popen(RUN, stdin=fd, stderr=subprocess.PIPE)


def test_who_waits_for_what_was_asked_ahead_can_be_ended(own: Files) -> None:
    fd = own.door.open("/data/large")
    with reader_in_order(own, fd) as reader:
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.5)
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(timeout=20) == -signal.SIGKILL
    own.tell("go")
    os.close(fd)
    assert len(own.door.read("/data/large")) == 9 << 20


def test_who_waits_for_what_was_asked_ahead_is_told_of_the_links_end(own: Files) -> None:
    fd = own.door.open("/data/large")
    with reader_in_order(own, fd) as reader:
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.5)
        own.tell("cut")
        _, said = reader.communicate(timeout=20)
    assert b"Input/output error" in said
    os.close(fd)
    own.tell("go")
    own.tell("link")
    assert len(own.door.read("/data/large")) == 9 << 20


def test_another_link_serves_anew(own: Files) -> None:
    assert own.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    open_before = own.door.open("/data/large")
    own.tell("cut")
    own.tell("link")
    others = [own.door.open("/etc/hosts") for _ in range(8)]
    assert os.read(others[0], 100) == b"198.18.0.1 target\n"
    with pytest.raises(OSError) as stale:
        os.pread(open_before, 100, 3_000_000)
    assert stale.value.errno in (errno.ESTALE, errno.EIO)
    for fd in (open_before, *others):
        os.close(fd)


def test_who_asks_while_there_is_no_link_waits_for_one_but_not_for_ever(own: Files) -> None:
    own.tell("cut")
    began = time.monotonic()
    with pytest.raises(OSError) as refused:
        own.door.read("/etc/hosts")
    assert refused.value.errno == errno.EIO
    assert 1 < time.monotonic() - began < 20
    own.tell("link")
    assert own.door.read("/etc/hosts") == b"198.18.0.1 target\n"


def test_a_signal_ends_the_wait_for_an_agent_that_hangs(own: Files) -> None:
    fd = own.door.open("/data/large", os.O_RDONLY | os.O_DIRECT)
    own.tell("stop")
    with waiting_reader(own, fd, 500) as reader:
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(timeout=20) == -signal.SIGKILL
    own.tell("go")
    os.close(fd)


def test_the_targets_process_ends(harness: Path, target: Target) -> None:
    """Its root stays what it was for who has it open; a service that is asked for anew is refused."""
    brief = Target(target.root)
    files = Files(harness, brief.pid)
    try:
        assert files.door.read("/etc/hosts") == b"198.18.0.1 target\n"
        brief.close()
        assert files.door.read("/etc/absolute") == b"198.18.0.1 target\n"
        files.tell("again")
        with pytest.raises(OSError) as refused:
            files.door.read("/etc/hosts")
        assert refused.value.errno == errno.EIO
    finally:
        files.close()
