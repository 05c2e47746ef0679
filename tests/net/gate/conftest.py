"""Fixtures: the namespaces as the mirror has them; the program once for a session, a gate for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.gate.lab import Gate, Lab, build
from tests.net.mirror.conftest import lab, started
from tests.net.mirror.lab import OPTIMIZED, SANITIZED

__all__ = ["lab"]

Start = Callable[..., Gate]


@pytest.fixture(scope="session")
def sanitized() -> Path:
    return build("mirror-gate.sanitized", SANITIZED)


@pytest.fixture(scope="session")
def optimized() -> Path:
    return build("mirror-gate", OPTIMIZED)


def gates(program: Path, stage: Lab) -> Iterator[Start]:
    yield from started(
        lambda _, comment="anna since 14:02 (session k3f)", program=program: Gate(program, stage, comment)
    )


@pytest.fixture
def gate(sanitized: Path, lab: Lab) -> Iterator[Start]:
    """Starts a gate compiled with the sanitizers."""
    yield from gates(sanitized, lab)


@pytest.fixture
def fast_gate(optimized: Path, lab: Lab) -> Iterator[Start]:
    """Starts an optimized one."""
    yield from gates(optimized, lab)
