"""What several test processes need and one must make: the first makes it, the others wait and find it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "build" / "locks"


@contextmanager
def once(name: str) -> Iterator[None]:
    """One process at a time; who comes later looks first whether it is there. A process that dies lets go."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    with (LOCKS / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
