"""Fixtures: the namespaces once for a module, a mirror for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from tests.net.mirror.lab import OPTIMIZED, SANITIZED, Lab, Mirror, build

Start = Callable[..., Mirror]


class Closes(Protocol):
    """What a test starts and need not end."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closes)


def started(make: Callable[..., T]) -> Iterator[Callable[..., T]]:
    """The body of a fixture: a function that makes one more, told how many there are; all are closed at the end."""
    made: list[T] = []

    def start(*words: Any) -> T:
        made.append(make(len(made), *words))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    assert os.geteuid() == 0, "network namespaces need root"
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="session")
def sanitized() -> Path:
    return build("harness.sanitized", SANITIZED)


@pytest.fixture(scope="session")
def optimized() -> Path:
    return build("harness", OPTIMIZED)


def mirrors(program: Path, lab: Lab, folder: Path) -> Iterator[Start]:
    yield from started(lambda n, app="take": Mirror(program, lab, folder / f"record{n}", app))


@pytest.fixture
def mirror(sanitized: Path, lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Starts a mirror compiled with the sanitizers."""
    yield from mirrors(sanitized, lab, tmp_path)


@pytest.fixture
def fast_mirror(optimized: Path, lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Starts an optimized one."""
    yield from mirrors(optimized, lab, tmp_path)
