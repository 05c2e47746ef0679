"""Fixtures: the namespaces once for a module, a mirror for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.mirror.lab import OPTIMIZED, SANITIZED, Lab, Mirror, build

Start = Callable[..., Mirror]


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


def starter(program: Path, lab: Lab, folder: Path) -> Iterator[Start]:
    made: list[Mirror] = []

    def start(app: str = "take") -> Mirror:
        made.append(Mirror(program, lab, folder / f"record{len(made)}", app))
        return made[-1]

    yield start
    for mirror in made:
        mirror.close()


@pytest.fixture
def mirror(sanitized: Path, lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Starts a mirror compiled with the sanitizers."""
    yield from starter(sanitized, lab, tmp_path)


@pytest.fixture
def fast_mirror(optimized: Path, lab: Lab, tmp_path: Path) -> Iterator[Start]:
    """Starts an optimized one."""
    yield from starter(optimized, lab, tmp_path)
