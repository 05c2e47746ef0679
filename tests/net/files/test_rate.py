"""Files of a session that is held to a rate: they come whole, in their time, and nobody waits behind a large one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.net.files.lab import TARGET_GID, TARGET_UID, Files, Target

RATE = 4_000_000
SAVED = RATE // 8  # passes at once
MESSAGE = 272 * 1024  # FILES_MESSAGE: the last one may pass while there is room for an octet
SHARED = 3 * RATE // 2
LEAST = (SHARED - SAVED - MESSAGE) / RATE


@pytest.fixture
def slow(harness: Path, target: Target) -> Iterator[Files]:
    made = Files(harness, target.pid, writes=True, rate=RATE)
    yield made
    made.close()


def test_reading(slow: Files, target: Target) -> None:
    """A small file is read meanwhile: what is begun of the large one is no more than the rate let pass."""
    body = os.urandom(SHARED)
    (target.root / "data/slow").write_bytes(body)
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.append(slow.door.read("/data/slow")))
    began = time.monotonic()
    reading.start()
    asked = time.monotonic()
    assert slow.door.read("/etc/hosts") == b"198.18.0.1 target\n"
    waited = time.monotonic() - asked
    reading.join()
    assert read == [body]
    assert time.monotonic() - began >= LEAST
    assert waited < LEAST


def test_writing(slow: Files, target: Target) -> None:
    """Until it is written to the target's: close(2) waits for that (fuse.rst, FUSE_FLUSH)."""
    body = os.urandom(SHARED)
    path = target.root / "own/slow"
    path.touch()
    os.chown(path, TARGET_UID, TARGET_GID)
    began = time.monotonic()
    fd = slow.door.open("/own/slow", os.O_WRONLY)
    with os.fdopen(fd, "wb") as file:
        file.write(body)
    assert time.monotonic() - began >= LEAST
    assert path.read_bytes() == body
