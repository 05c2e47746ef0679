"""What agents and bridge counted, in words: at the end, and whenever something of the mirrored traffic was lost."""

from __future__ import annotations

from dataclasses import astuple

from wire.messages import Counters, FilesRead

LOOKS_EVERY = 2.0
"""Seconds between two looks at the counters while the command runs."""


def added(one: Counters, other: Counters) -> Counters:
    """What several agents counted, as one."""
    return Counters(*(a + b for a, b in zip(astuple(one), astuple(other), strict=True)))


def complaint(before: Counters, now: Counters) -> str:
    """What was lost between two looks; empty when nothing was."""
    ended = now.dropped - before.dropped
    packets = now.lost_packets - before.lost_packets
    limited = now.limited - before.limited
    said = []
    if ended > 0:
        said.append(
            f"{_count(ended, 'mirrored connection')} ended: the app or this machine was slower than its client"
        )
    if packets > 0:
        said.append(f"{_count(packets, 'packet')} not captured, and whatever had a hole from it ended")
    if limited > 0:
        said.append(f"{_count(limited, 'copy', 'copies')} left out or cut short by the rate (--mirror-rate)")
    return "; ".join(said)


def summary(now: Counters) -> str:
    """The whole session in one line; empty when nothing was mirrored or stolen."""
    said = []
    if now.stolen:
        said.append(f"{_count(now.stolen, 'connection')} ({octets(now.stolen_bytes)}) stolen")
    if now.connections:
        said.append(f"{_count(now.connections, 'connection')} ({octets(now.bytes)}) mirrored")
    if now.datagrams:
        said.append(f"{_count(now.datagrams, 'datagram')} mirrored")
    if now.joined:
        said.append(f"{_count(now.joined, 'older connection')} joined at a request")
    if now.skipped:
        said.append(f"{_count(now.skipped, 'older connection')} not to be joined")
    if now.dropped:
        said.append(f"{_count(now.dropped, 'copy', 'copies')} ended as too slow")
    if now.limited:
        whole = now.connections + now.datagrams
        said.append(
            f"{_count(now.limited, 'copy', 'copies')} of {whole + now.limited} limited by --mirror-rate"
        )
    if now.lost_packets:
        said.append(f"{_count(now.lost_packets, 'packet')} not captured")
    return ", ".join(said)


def files(read: FilesRead) -> str:
    """What the app had of the target's; empty when it had nothing, and could have."""
    said = []
    if read.files:
        said.append(f"{_count(read.files, 'file')} ({octets(read.octets)}) read from the target")
    if read.without_layer:
        said.append(f"{_count(read.without_layer, 'program')} had no layer, and the container's files")
    return "; ".join(said)


def octets(count: int) -> str:
    """ "3.4 MB": decimal, as `docker stats` and disks have it."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
