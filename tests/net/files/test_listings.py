"""A folder whose entries are asked for one after another is listed ahead of who asks; no other disk is woken for it."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from tests.net.files.hanging import Hanging
from tests.net.files.lab import Files, Target

MANY = 3000


def planted(target: Target, name: str, count: int) -> Path:
    folder = target.root / name
    folder.mkdir()
    for number in range(count):
        (folder / f"file-{number}").write_text("x" * (number % 50))
    return folder


def test_a_storm_of_stats_costs_few_round_trips(files: Files, target: Target) -> None:
    folder = planted(target, "storm", MANY)

    def deed() -> None:
        for number in range(MANY):
            assert files.door.stat(f"/storm/file-{number}")["size"] == number % 50

    assert files.asked(deed) < MANY / 2
    assert files.door.stat("/storm/file-7")["ino"] == (folder / "file-7").stat().st_ino


def test_few_questions_list_nothing(files: Files, target: Target) -> None:
    planted(target, "few", 20)

    def deed() -> None:
        for number in range(7):
            files.door.stat(f"/few/file-{number}")

    assert files.asked(deed) == 7


def test_what_a_listing_told_is_gone_by_for_a_second_at_most(files: Files, target: Target) -> None:
    folder = planted(target, "changing", 200)

    def deed() -> None:
        for number in range(150):
            files.door.stat(f"/changing/file-{number}")

    deed()
    (folder / "file-199").write_text("another length than it had")
    began = time.monotonic()
    while files.door.stat("/changing/file-199")["size"] != 26:
        assert time.monotonic() - began < 3
        time.sleep(0.05)  # the cache's own time is the fact tested


def test_a_listing_does_not_wake_a_disk_that_is_mounted_there(files: Files, target: Target) -> None:
    """Who lists the folder is not held by it either: it is named, and what it is remains to be asked."""
    planted(target, "beside", 40)
    disk = Hanging(target, "/beside/hung")
    try:
        for number in range(40):
            files.door.stat(f"/beside/file-{number}")
        folder = files.door.open("/beside", os.O_RDONLY | os.O_DIRECTORY)
        assert "hung" in os.listdir(folder)
        os.close(folder)
    finally:
        said = disk.close()
    assert said == "", "nothing was asked of it"


def test_the_content_of_a_small_file_is_the_kernels_once_it_is_open(files: Files, target: Target) -> None:
    (target.root / "etc/stored").write_bytes(b"stored" * 1000)
    fd = files.door.open("/etc/stored")

    def known() -> list[int]:
        told = files.tell("counters")
        return [told[name] for name in ("asked", "ahead", "octets")]

    before = known()
    assert os.read(fd, 9000) == b"stored" * 1000
    with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == b"stored" * 1000
    assert known() == before
    os.close(fd)
