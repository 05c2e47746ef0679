"""What the app changes at the target, where it may: as the target's process, and nowhere else."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from tests.net.files.door import NOFOLLOW, Door
from tests.net.files.lab import TARGET_GID, TARGET_UID, Files, Target


@pytest.fixture
def door(writable: Files) -> Door:
    return writable.door


def test_a_new_file_is_the_targets_process_s(door: Door, target: Target) -> None:
    fd = door.open("/own/new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    assert os.write(fd, b"x" * 700_000) == 700_000
    assert os.pread(fd, 10, 699_990) == b"x" * 10
    os.ftruncate(fd, 5)
    os.fsync(fd)
    os.close(fd)
    made = (target.root / "own/new").stat()
    assert (made.st_uid, made.st_gid, made.st_size) == (TARGET_UID, TARGET_GID, 5)
    assert stat.S_IMODE(made.st_mode) == 0o640
    assert door.ask("open", "/own/new", flags=os.O_RDWR | os.O_CREAT | os.O_EXCL).result == -errno.EEXIST


def test_appending_and_truncating_at_the_open(door: Door, target: Target) -> None:
    path = target.root / "own/log"
    for text in (b"one", b"two"):
        fd = door.open("/own/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(fd, text)
        os.close(fd)
    assert path.read_bytes() == b"onetwo"
    os.close(door.open("/own/log", os.O_WRONLY | os.O_TRUNC))
    assert path.read_bytes() == b""


def test_what_was_read_ahead_is_not_read_after_a_write(door: Door, target: Target) -> None:
    (target.root / "own/both").write_text("before")
    os.chown(target.root / "own/both", TARGET_UID, TARGET_GID)
    reader = door.open("/own/both")
    writer = door.open("/own/both", os.O_WRONLY)
    os.write(writer, b"after ")
    assert os.read(reader, 100) == b"after "
    os.close(reader)
    os.close(writer)


def test_names(door: Door, target: Target) -> None:
    own = target.root / "own"
    assert door.ask("mkdir", "/own/folder", mode=0o750).result == 0
    assert door.ask("mkdir", "/own/folder/", mode=0o750).result == -errno.EEXIST
    os.close(door.open("/own/folder/a", os.O_WRONLY | os.O_CREAT, 0o600))
    assert door.ask("rename", "/own/folder/a", "/own/b").result == 0
    assert door.ask("link", "/own/b", "/own/folder/c").result == 0
    assert (own / "b").stat().st_ino == (own / "folder/c").stat().st_ino
    assert door.ask("rename", "/own/b", "/own/folder/c", flags=1).result == -errno.EEXIST
    assert door.ask("symlink", "/own/link", "../etc/hosts").result == 0
    assert (own / "link").readlink().as_posix() == "../etc/hosts"
    assert door.read("/own/link") == b"198.18.0.1 target\n"
    assert door.ask("rmdir", "/own/folder").result == -errno.ENOTEMPTY
    assert door.ask("unlink", "/own/folder/c").result == 0
    assert door.ask("rmdir", "/own/folder").result == 0
    for name in ("b", "link"):
        assert door.ask("unlink", f"/own/{name}").result == 0
    assert not (own / "folder").exists()


def test_a_folder_that_was_moved_is_still_known(door: Door, target: Target) -> None:
    assert door.ask("mkdir", "/own/before", mode=0o700).result == 0
    folder = door.open("/own/before", os.O_RDONLY | os.O_DIRECTORY)
    assert door.ask("rename", "/own/before", "/own/after").result == 0
    made = os.open("inside", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
    os.close(made)
    assert (target.root / "own/after/inside").exists()
    os.close(folder)


def test_attributes(door: Door, target: Target) -> None:
    path = target.root / "own/attributes"
    os.close(door.open("/own/attributes", os.O_WRONLY | os.O_CREAT, 0o600))
    assert door.ask("chmod", "/own/attributes", mode=0o444).result == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert door.ask("utimens", "/own/attributes", times=(1, 2, 3, 4)).result == 0
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (1_000_000_002, 3_000_000_004)
    assert door.ask("truncate", "/own/attributes", length=9).result == -errno.EACCES
    assert door.ask("chmod", "/own/attributes", mode=0o644).result == 0
    assert door.ask("truncate", "/own/attributes", length=9).result == 0
    assert path.stat().st_size == 9
    assert door.ask("setxattr", "/own/attributes", "user.a", b"value").result == 0
    assert os.getxattr(path, "user.a") == b"value"
    assert door.ask("removexattr", "/own/attributes", "user.a").result == 0
    assert os.listxattr(path) == []
    assert door.ask("chown", "/own/attributes", uid=0, gid=0xFFFFFFFF).result == -errno.EPERM
    assert door.ask("chown", "/own/attributes", uid=1000, gid=1001).result == 0, (
        "the app's own: the process's own"
    )
    assert path.stat().st_uid == TARGET_UID
    assert door.ask("symlink", "/own/to", "attributes").result == 0
    assert door.ask("utimens", "/own/to", times=(5, 0, 5, 0), flags=NOFOLLOW).result == 0
    assert (target.root / "own/to").lstat().st_mtime == 5
    assert path.stat().st_mtime_ns != 5_000_000_000


def test_what_the_process_may_not_the_app_may_not(door: Door) -> None:
    assert door.ask("open", "/etc/new", flags=os.O_WRONLY | os.O_CREAT, mode=0o600).result == -errno.EACCES
    assert door.ask("open", "/etc/hosts", flags=os.O_WRONLY).result == -errno.EACCES
    assert door.ask("unlink", "/etc/hosts").result == -errno.EACCES
    assert door.ask("chmod", "/etc/hosts", mode=0o666).result == -errno.EPERM
    assert door.ask("mkdir", "/closed/folder", mode=0o700).result == -errno.EACCES
