"""What inotify(7) of the app's says of the target's files: what became of them, within moments."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from collections.abc import Iterator

import pytest

from tests.net.files.lab import Files, Target

LIBC = ctypes.CDLL(None, use_errno=True)
MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, CLOSE_WRITE, IGNORED = 0x400, 0x8, 0x8000
ALL = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | CLOSE_WRITE
NOFOLLOW = 0x80000000


class Watcher:
    """An inotify descriptor, as a program of the app has it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: int = ALL, flags: int = 0) -> int:
        """As the layer does it: the watch descriptor. OSError."""
        answer = self._files.door.ask("watch", path, flags=flags)
        if answer.result < 0:
            raise OSError(-answer.result, os.strerror(-answer.result))
        watch: int = LIBC.inotify_add_watch(self.fd, f"/proc/self/fd/{answer.fd}".encode(), mask)
        os.close(answer.fd)
        assert watch >= 0, os.strerror(ctypes.get_errno())
        return watch

    def until(self, *wanted: tuple[int, int, str]) -> list[tuple[int, int, str]]:
        """Events (watch, mask, name) until each of these was among them."""
        seen: list[tuple[int, int, str]] = []
        deadline = time.monotonic() + 20
        while not set(wanted) <= set(seen):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{wanted} is not all of {seen}"
            octets = os.read(self.fd, 65536)
            while octets:
                watch, mask, _, length = struct.unpack_from("iIII", octets)
                seen.append((watch, mask & 0xFFFF, octets[16 : 16 + length].rstrip(b"\0").decode()))
                octets = octets[16 + length :]
        return seen


@pytest.fixture
def watcher(files: Files) -> Iterator[Watcher]:
    made = Watcher(files)
    yield made
    os.close(made.fd)


def test_a_folder(watcher: Watcher, target: Target) -> None:
    folder = target.root / "own/watched"
    folder.mkdir()
    (folder / "old").write_text("1")
    (folder / "other").write_text("1")
    one = watcher.add("/own/watched")
    (folder / "new").write_text("x")
    (folder / "old").write_text("longer")
    (folder / "other").unlink()
    (folder / "below").mkdir()
    created = ((one, CREATE, "new"), (one, CREATE, "below"))
    seen = watcher.until(*created, (one, MODIFY, "old"), (one, CLOSE_WRITE, "old"), (one, DELETE, "other"))
    assert not [event for event in seen if event[2] not in ("new", "old", "other", "below")]
    (folder / "old").rename(folder / "renamed")
    watcher.until((one, MOVED_FROM, "old"), (one, MOVED_TO, "renamed"))
    (folder / "new").chmod(0o600)
    watcher.until((one, ATTRIB, "new"))
    assert watcher.add("/own/watched") == one, "the same folder is the same watch"
    for name in ("renamed", "new"):
        (folder / name).unlink()
    (folder / "below").rmdir()
    folder.rmdir()
    watcher.until((one, DELETE_SELF, ""), (one, IGNORED, ""))


def test_a_rotated_volume_and_a_file_that_is_replaced(watcher: Watcher, target: Target) -> None:
    """As kubelet does it: a symlink of another name is renamed over ..data."""
    volume = target.root / "own/volume"
    for name, text in (("..1", "first"), ("..2", "second")):
        (volume / name).mkdir(parents=True)
        (volume / name / "token").write_text(text)
    (volume / "..data").symlink_to("..1")
    (volume / "token").symlink_to("..data/token")
    one = watcher.add("/own/volume")
    itself = watcher.add("/own/volume/token")
    (volume / "..tmp").symlink_to("..2")
    (volume / "..tmp").rename(volume / "..data")
    watcher.until((one, MOVED_TO, "..data"), (itself, DELETE_SELF, ""))
    again = watcher.add("/own/volume/token")
    (volume / "..2/token").write_text("third")
    watcher.until((again, MODIFY, ""))


def test_what_cannot_be_watched(watcher: Watcher, target: Target) -> None:
    def refused(path: str) -> int:
        try:
            watcher.add(path)
        except OSError as error:
            return error.errno or 0
        return 0

    assert refused("/own/nothing") == errno.ENOENT
    assert refused("/secret") == errno.EACCES
    (target.root / "own/hanging").symlink_to("nowhere")
    assert refused("/own/hanging") == errno.ENOENT
    assert watcher.add("/own/hanging", flags=NOFOLLOW) > 0
    for number in range(600):
        (target.root / f"own/many-{number}").touch()
    results = [refused(f"/own/many-{number}") for number in range(600)]
    assert set(results) == {0, errno.ENOSPC}
    assert results.count(0) > 500
