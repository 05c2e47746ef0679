"""What was mirrored and lost, in words."""

from __future__ import annotations

import pytest

from runner.tally import complaint, files, octets, summary
from wire.messages import Counters, FilesRead


def test_nothing_is_not_worth_a_line() -> None:
    assert summary(Counters()) == ""
    assert complaint(Counters(connections=1), Counters(connections=5, bytes=10)) == ""


def test_the_whole_session() -> None:
    told = summary(
        Counters(connections=12, bytes=3_400_000, datagrams=1, joined=1, skipped=2, dropped=1, lost_packets=3)
    )
    assert told == (
        "12 connections (3.4 MB) mirrored, 1 datagram mirrored, 1 older connection joined at a request, "
        "2 older connections not to be joined, 1 copy ended as too slow, 3 packets not captured"
    )


def test_only_what_is_new_is_complained_of() -> None:
    assert complaint(Counters(dropped=3), Counters(dropped=4)).startswith("1 mirrored connection ended")
    assert "2 packets not captured" in complaint(Counters(lost_packets=1), Counters(lost_packets=3))


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_500_000, "2.5 MB")]
)
def test_octets(count: int, told: str) -> None:
    assert octets(count) == told


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (FilesRead(1), ""),
        (FilesRead(1, 12, 3_400_000), "12 files (3.4 MB) read from the target"),
        (FilesRead(1, 1, 5), "1 file (5 B) read from the target"),
        (FilesRead(1, 0, 0, 1), "1 program had no layer, and the container's files"),
        (
            FilesRead(1, 3, 0, 2),
            "3 files (0 B) read from the target; 2 programs had no layer, and the container's files",
        ),
    ],
)
def test_files(read: FilesRead, told: str) -> None:
    assert files(read) == told
