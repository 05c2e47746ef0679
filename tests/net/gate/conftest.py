"""Fixtures: the namespaces once for a module, the program once for a session, a gate for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.gate.lab import Gate, Lab, build
from tests.net.mirror.lab import OPTIMIZED, SANITIZED

Start = Callable[..., Gate]


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
    return build("mirror-gate.sanitized", SANITIZED)


@pytest.fixture(scope="session")
def optimized() -> Path:
    return build("mirror-gate", OPTIMIZED)


def starter(program: Path, lab: Lab) -> Iterator[Start]:
    made: list[Gate] = []

    def start(comment: str = "anna since 14:02 (session k3f)") -> Gate:
        made.append(Gate(program, lab, comment))
        return made[-1]

    yield start
    for gate in made:
        gate.close()


@pytest.fixture
def gate(sanitized: Path, lab: Lab) -> Iterator[Start]:
    """Starts a gate compiled with the sanitizers."""
    yield from starter(sanitized, lab)


@pytest.fixture
def fast_gate(optimized: Path, lab: Lab) -> Iterator[Start]:
    """Starts an optimized one."""
    yield from starter(optimized, lab)
