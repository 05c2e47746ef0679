"""What the app sees of the target's files by the door, and how many round trips it costs."""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.net.files.door import NOFOLLOW, Door
from tests.net.files.lab import APP_GID, APP_UID, TARGET_GID, TARGET_UID, Files, Target

LISTED = 3000
CROWD = 100_000


def test_a_file_comes_whole(door: Door, target: Target) -> None:
    assert door.read("/data/large") == (target.root / "data/large").read_bytes()


@pytest.mark.parametrize(
    "path", ["/etc/hosts", "/etc/absolute", "/etc/../etc/./hosts", "/../../etc/hosts", "//etc//hosts"]
)
def test_by_whatever_path(door: Door, path: str) -> None:
    assert door.read(path) == b"198.18.0.1 target\n"


def test_a_small_file_costs_one_round_trip(files: Files, target: Target) -> None:
    """The least of three: the RELEASE of what was closed before may cross at any time."""

    def deed(name: str) -> None:
        fd = files.door.open(name)
        assert os.read(fd, 4096) == b"small"
        assert os.fstat(fd).st_size == 5
        assert not os.isatty(fd)
        os.close(fd)

    asked = []
    for name in ("/etc/small-1", "/etc/small-2", "/etc/small-3"):
        (target.root / name[1:]).write_text("small")
        asked.append(files.asked(partial(deed, name)))
    assert min(asked) <= 2  # WALK, and the RELEASE that nobody waits for


def test_what_was_closed_is_released_though_nobody_asks_on(files: Files) -> None:
    fd = files.door.open("/etc/hosts")
    wait_until(lambda: files.asked(lambda: time.sleep(0.1)) == 0, 5)  # those of before are out
    before = files.tell("counters")["asked"]
    os.close(fd)
    wait_until(lambda: files.tell("counters")["asked"] == before + 1, 5)


def test_through_links_too_and_again_for_what_is_known(files: Files) -> None:
    assert min(files.asked(lambda: files.door.read("/volume/token")) for _ in range(3)) <= 2
    assert min(files.asked(lambda: files.door.stat("/volume/token")) for _ in range(3)) == 0


def test_what_is_not_there_is_remembered_for_a_moment(files: Files) -> None:
    def deed(name: str) -> None:
        with pytest.raises(FileNotFoundError):
            files.door.stat(name)

    names = ("/etc/none-1", "/etc/none-2", "/etc/none-3")  # what was closed before may be released just now
    assert min(files.asked(partial(deed, name)) for name in names) == 1
    assert min(files.asked(partial(deed, names[-1])) for _ in names) == 0


def test_the_page_cache_serves_a_second_read(files: Files) -> None:
    files.door.read("/data/large")
    before = files.tell("counters")["octets"]
    files.door.read("/data/large")
    assert files.tell("counters")["octets"] == before


def test_in_order_and_here_and_there_by_many_at_once(door: Door, target: Target) -> None:
    """What is fetched ahead of who reads in order, mixed with seeks, is never another part of the file."""
    whole = (target.root / "data/large").read_bytes()

    def reader(seed: int) -> None:
        chance = random.Random(seed)
        fd = door.open("/data/large")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        at = 0
        for _ in range(60):
            if chance.random() < 0.2:
                at = chance.randrange(len(whole))
            size = chance.choice((4096, 65536, 131072, 400_000, 1 << 20))
            assert os.pread(fd, size, at) == whole[at : at + size]
            at = min(at + size, len(whole))
        os.close(fd)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(reader, range(8)))


def test_what_was_fetched_ahead_of_a_reader_is_not_what_it_was_before_a_write(
    writable: Files, target: Target
) -> None:
    path = target.root / "own/changing"
    path.write_bytes(b"a" * (4 << 20))
    os.chown(path, TARGET_UID, TARGET_GID)
    reader, writer = writable.door.open("/own/changing"), writable.door.open("/own/changing", os.O_WRONLY)
    for at in range(8):
        assert os.pread(reader, 131072, at * 131072) == b"a" * 131072
    os.pwrite(writer, b"b" * (3 << 20), 1 << 20)
    for at in range(8, 32):
        assert os.pread(reader, 131072, at * 131072) == b"b" * 131072
    os.close(reader)
    os.close(writer)
    path.unlink()


def test_a_descriptor_is_the_kernels(door: Door, target: Target) -> None:
    large = (target.root / "data/large").read_bytes()
    fd = door.open("/data/large")
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[-100:] == large[-100:]
    assert os.pread(fd, 100, 5_000_000) == large[5_000_000:5_000_100]
    assert os.lseek(fd, 0, os.SEEK_END) == len(large)
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        os.ttyname(fd)
    os.close(fd)
    folder = door.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    assert sorted(os.listdir(folder)) == sorted(os.listdir(target.root / "etc"))
    inner = os.open("hosts", os.O_RDONLY, dir_fd=folder)
    assert os.read(inner, 100) == b"198.18.0.1 target\n"
    os.close(inner)
    os.close(folder)


def test_names_that_are_not_utf8(door: Door) -> None:
    folder = door.open("/data", os.O_RDONLY | os.O_DIRECTORY)
    assert b"name-\xff\xfe" in map(os.fsencode, os.listdir(folder))
    assert door.read(b"/data/name-\xff\xfe") == b"not UTF-8"
    os.close(folder)


def test_a_folder_of_many_comes_in_few_pieces(files: Files, target: Target) -> None:
    for number in range(LISTED):
        (target.root / "many" / f"entry-{number}").touch()

    def deed() -> None:
        folder = files.door.open("/many", os.O_RDONLY | os.O_DIRECTORY)
        with os.scandir(folder) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
        assert len(found) == LISTED
        os.close(folder)

    asked = files.asked(deed)
    assert asked < 20, "names with their attributes: 700 entries a round trip"


def test_a_folders_end_is_no_question(files: Files, target: Target) -> None:
    def deed(path: str, count: int) -> None:
        folder = files.door.open(path, os.O_RDONLY | os.O_DIRECTORY)
        assert len(os.listdir(folder)) == count
        os.lseek(folder, 0, os.SEEK_SET)
        assert len(os.listdir(folder)) == count
        os.close(folder)

    for number in range(3):
        (target.root / f"few-{number}").mkdir()
        (target.root / f"few-{number}" / "one").touch()
    for number in range(2000):
        (target.root / "few-0" / f"entry-{number}").touch()
    small = min(files.asked(partial(deed, f"/few-{number}", 1)) for number in (1, 2))
    assert small <= 3, "WALK, READDIRPLUS for the second, and the RELEASEDIR that nobody waits for"
    assert files.asked(partial(deed, "/few-0", 2001)) <= 12, (
        "2 x 350 KB in pieces of 128: READDIR is given READDIRPLUS's"
    )


def test_a_folder_of_a_hundred_thousand(files: Files, target: Target) -> None:
    crowd = target.root / "crowd"
    crowd.mkdir()
    folder = os.open(crowd, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(CROWD):
        os.mknod(f"entry-{number}", dir_fd=folder)
    os.close(folder)
    found: list[str] = []

    def deed() -> None:
        listed = files.door.open("/crowd", os.O_RDONLY | os.O_DIRECTORY)
        found.extend(os.listdir(listed))
        os.close(listed)

    asked = files.asked(deed)
    assert len(found) == CROWD
    assert set(found) == {f"entry-{number}" for number in range(CROWD)}
    assert asked < 200, "128 KiB a round trip"
    shutil.rmtree(crowd)


def test_a_file_that_has_no_name_yet(door: Door, target: Target) -> None:
    """Written under none (O_TMPFILE), then linked: as programs do whose files are there whole or not at all."""
    with pytest.raises(FileNotFoundError):
        door.stat("/data/linked")
    fd = os.open(target.root / "data", os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(fd, b"whole")
    folder = os.open(target.root / "data", os.O_RDONLY | os.O_DIRECTORY)
    os.link(f"/proc/self/fd/{fd}", "linked", src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
    os.close(folder)
    wait_until(lambda: door.ask("stat", "/data/linked").result == 0, 2.0)
    assert door.read("/data/linked") == b"whole"
    os.close(fd)


def test_the_processs_own_files_are_shown_as_the_apps(door: Door, target: Target) -> None:
    own = door.stat("/own")
    assert (own["uid"], own["gid"]) == (APP_UID, APP_GID)
    assert door.stat("/etc/hosts")["uid"] == 0
    assert (target.root / "own").stat().st_uid == TARGET_UID


def test_who_reads_is_the_targets_process(door: Door) -> None:
    assert door.read("/grouped") == b"of the group"
    for path in ("/secret", "/closed/inner"):
        with pytest.raises(PermissionError):
            door.open(path)
    assert door.ask("access", "/etc/hosts", mode=os.R_OK).result == 0
    assert door.ask("access", "/secret", mode=os.R_OK).result == -errno.EACCES
    assert door.ask("access", "/secret", mode=os.F_OK).result == 0


def test_what_is_asked_of_a_path(door: Door, target: Target) -> None:
    assert stat.S_ISLNK(door.stat("/etc/absolute", NOFOLLOW)["mode"])
    assert stat.S_ISREG(door.stat("/etc/absolute")["mode"])
    assert door.ask("readlink", "/etc/absolute").body == b"/etc/hosts"
    assert door.ask("readlink", "/etc/hosts").result == -errno.EINVAL
    assert door.ask("statfs", "/data").result == 0
    os.setxattr(target.root / "data/large", "user.kind", b"random")
    assert door.ask("getxattr", "/data/large", "user.kind", size=100).body == b"random"
    assert door.ask("getxattr", "/data/large", "user.kind", size=0).result == 6
    assert door.ask("getxattr", "/data/large", "user.kind", size=2).result == -errno.ERANGE
    assert b"user.kind" in door.ask("listxattr", "/data/large", size=1000).body.split(b"\0")
    assert door.ask("getxattr", "/data/large", "user.none", size=100).result == -errno.ENODATA


def test_what_is_open_stays_what_it_was(door: Door, target: Target) -> None:
    victim = target.root / "data/victim"
    victim.write_bytes(b"v" * 300_000)
    fd = door.open("/data/victim")
    victim.unlink()
    assert os.pread(fd, 300_000, 0) == b"v" * 300_000
    assert os.fstat(fd).st_size == 300_000
    os.close(fd)


def test_a_rotated_volume_is_seen_within_a_second(door: Door, target: Target) -> None:
    assert door.read("/volume/token") == b"first"
    (target.root / "volume/..2025").mkdir()
    (target.root / "volume/..2025/token").write_text("second")
    (target.root / "volume/..new").symlink_to("..2025")
    (target.root / "volume/..new").rename(target.root / "volume/..data")
    wait_until(lambda: door.read("/volume/token") == b"second", 2.0)


def test_a_file_that_grows(door: Door, target: Target) -> None:
    path = target.root / "data/log"
    path.write_text("one\n")
    fd = door.open("/data/log")
    assert os.read(fd, 100) == b"one\n"
    with path.open("a") as log:
        log.write("two\n")
    wait_until(lambda: os.fstat(fd).st_size == 8, 2.0)
    assert os.read(fd, 100) == b"two\n"
    os.close(fd)


def test_holes_and_more_than_4_gib(door: Door, target: Target) -> None:
    path: Path = target.root / "data/sparse"
    with path.open("wb") as file:
        file.seek(5 << 30)
        file.write(b"the end")
    fd = door.open("/data/sparse")
    assert os.pread(fd, 100, 5 << 30) == b"the end"
    assert os.lseek(fd, 0, os.SEEK_DATA) == 5 << 30
    assert os.lseek(fd, 5 << 30, os.SEEK_HOLE) == (5 << 30) + 7
    assert os.lseek(fd, 1 << 20, os.SEEK_HOLE) == 1 << 20
    with pytest.raises(OSError, match="No such device or address"):
        os.lseek(fd, (5 << 30) + 7, os.SEEK_DATA)
    assert not any(os.pread(fd, 1 << 20, 4 << 30))
    os.close(fd)
    path.unlink()


def test_nothing_can_be_changed(door: Door) -> None:
    for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT):
        assert (
            door.ask("open", "/own/new" if flags & os.O_CREAT else "/etc/hosts", flags=flags).result
            == -errno.EROFS
        )
    assert door.ask("mkdir", "/own/folder", mode=0o755).result == -errno.EROFS
    assert door.ask("unlink", "/etc/hosts").result == -errno.EROFS


def wait_until(true: object, seconds: float) -> None:
    """The cache's own time is the fact tested: asked again until it is over."""
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
