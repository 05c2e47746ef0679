"""What the app has made in a folder of the target's that it may only read is listed with what the target has."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.files.door import Door
from tests.net.files.lab import Files, Target

MADE_CALL = 0x4D52
SYS_GETDENTS64 = 217
LISTED = 3000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[int]:
    """A folder of the app's, with a file, a folder and a name that the target has; its descriptor."""
    folder = tmp_path / "own"
    (folder / "made-folder").mkdir(parents=True)
    for name in ("made", "hosts", "of the app"):
        (folder / name).touch()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def names(fd: int, room: int) -> list[str]:
    """By getdents64(2) with so many octets of room, as libcs with small buffers read."""
    libc, buffer, found = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(room), []
    while (n := libc.syscall(SYS_GETDENTS64, fd, buffer, room)) > 0:
        at = 0
        while at < n:
            _, _, length, _ = struct.unpack_from("=QqHB", buffer.raw, at)
            found.append(os.fsdecode(buffer.raw[at + 19 : at + length].split(b"\0")[0]))
            at += length
    assert n == 0, os.strerror(ctypes.get_errno())
    return found


def test_both_each_once(door: Door, target: Target, own: int) -> None:
    there = set(os.listdir(target.root / "etc"))
    fd = door.open("/etc", os.O_RDONLY | os.O_DIRECTORY, 0, own)
    try:
        for _ in range(2):  # and once more from its beginning
            with os.scandir(fd) as entries:
                seen = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
            assert set(seen) == there | {"made", "made-folder", "of the app"}
            assert (seen["made-folder"], seen["made"], seen["hosts"]) == (True, False, False)
        assert os.fstat(fd).st_ino == door.stat("/etc")["ino"]
        with pytest.raises(OSError, match=os.strerror(errno.ENOTTY)):
            fcntl.ioctl(fd, MADE_CALL)
    finally:
        os.close(fd)


def test_who_gives_nothing_sees_nothing(door: Door, target: Target, own: int) -> None:
    """Each descriptor is its own, also while another is listed."""
    one = door.open("/etc", os.O_RDONLY, 0, own)
    other = door.open("/etc", os.O_RDONLY)
    assert set(os.listdir(other)) == set(os.listdir(target.root / "etc"))
    assert "made" in os.listdir(one)
    os.close(one)
    os.close(other)


@pytest.mark.parametrize("room", [280, 2048, 32768])
def test_in_pieces(door: Door, target: Target, tmp_path: Path, room: int) -> None:
    """Thousands of both, a few of them the same, by whatever buffer."""
    for n in range(LISTED):
        (tmp_path / f"name-{n + 2900:05}").touch()
        (target.root / f"many/name-{n:05}").touch()
    given = os.open(tmp_path, os.O_RDONLY)
    fd = door.open("/many", os.O_RDONLY, 0, given)
    found = Counter(names(fd, room))
    os.close(fd)
    os.close(given)
    assert set(found.values()) == {1}
    assert set(found) - {".", ".."} == {f"name-{n:05}" for n in range(5900)}


def test_it_costs_no_round_trip(files: Files, target: Target, own: int) -> None:
    def deed(*given: int) -> None:
        fd = files.door.open("/etc", os.O_RDONLY, 0, *given)
        os.listdir(fd)
        os.close(fd)

    deed()
    assert min(files.asked(lambda: deed(own)) for _ in range(3)) <= 2  # WALK, and RELEASEDIR


def test_what_is_no_folder(door: Door, target: Target, own: int) -> None:
    """A file's descriptor, or several: listed is what the target has; and a file is read."""
    null = os.open("/dev/null", os.O_RDONLY)
    for given in ((null,), (null, own)):
        fd = door.open("/etc", os.O_RDONLY, 0, *given)
        assert set(os.listdir(fd)) == set(os.listdir(target.root / "etc"))
        os.close(fd)
    fd = door.open("/etc/hosts", os.O_RDONLY, 0, own)
    assert os.read(fd, 100) == b"198.18.0.1 target\n"
    os.close(fd)
    os.close(null)
    assert door.ask("stat", "/etc").result == 0
