"""A target's process is asked whether it has ended by whatever descriptor it is held: an agent has thousands open."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
from collections.abc import Iterator

import pytest

from agent.target import has_ended

BEYOND = 1024
"""FD_SETSIZE of select(2)."""


@pytest.fixture
def far() -> Iterator[int]:
    """A descriptor number that select(2) does not take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], BEYOND + 512), before[1]))
    yield BEYOND
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_end_is_seen_by_a_descriptor_of_any_number(far: int) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        low = os.pidfd_open(process.pid)
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, far)
        try:
            assert high >= far
            assert not has_ended(high)
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
            assert has_ended(high)
            assert has_ended(low)
        finally:
            os.close(low)
            os.close(high)
