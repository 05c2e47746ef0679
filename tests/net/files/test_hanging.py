"""A disk of the target's that hangs: other files go on being served, what waits is bounded, and all ends."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.net.files.door import Answer
from tests.net.files.hanging import Hanging
from tests.net.files.lab import Files, Target

ALL = 40
"""agent/files/pool.h: POOL_MOST."""


@pytest.fixture
def own(harness: Path, target: Target) -> Iterator[Files]:
    made = Files(harness, target.pid)
    yield made
    made.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def hang(own: Files, stack: ExitStack, disk: Hanging, count: int) -> set[Future[Answer]]:
    """Asks that wait for the disk, of which the first has reached it."""
    threads = stack.enter_context(ThreadPoolExecutor(count))
    stack.callback(disk.close)  # ahead of the threads' end
    asks = {threads.submit(own.door.ask, "stat", "/hung") for _ in range(count)}
    disk.heard("asked")
    return asks


def test_other_files_are_served_beside_a_disk_that_hangs(
    own: Files, stack: ExitStack, target: Target
) -> None:
    asks = hang(own, stack, Hanging(target, "/hung"), 20)
    began = time.monotonic()
    large = (target.root / "data/large").read_bytes()
    modes = [stat.S_IMODE((target.root / name).stat().st_mode) for name in (".", "data", "data/large")]
    assert modes == [0o755, 0o755, 0o644], "the target's user may read it"
    assert hashlib.sha256(own.door.read("/data/large")).digest() == hashlib.sha256(large).digest()
    for _ in range(20):
        assert own.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    assert time.monotonic() - began < 20, "threads in the place of those that are stuck: 250 ms each time"
    folder = own.door.open("/", os.O_RDONLY | os.O_DIRECTORY)
    assert not any(ask.done() for ask in asks)
    os.close(folder)
    stack.close()
    assert {ask.result().result for ask in asks} <= {-errno.ENOTCONN, -errno.EIO, -errno.ECONNABORTED}
    assert own.door.read("/etc/hosts") == b"198.18.0.1 target\n"


def test_what_hangs_is_bounded_and_then_an_error(own: Files, stack: ExitStack, target: Target) -> None:
    asks = hang(own, stack, Hanging(target, "/hung"), ALL + 4)
    refused, _ = wait(asks, timeout=60, return_when=FIRST_COMPLETED)
    assert {ask.result().result for ask in refused} == {-errno.EIO}
    stack.close()
    assert own.door.read("/etc/hosts") == b"198.18.0.1 target\n"
