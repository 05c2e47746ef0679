"""Fixtures: a target and the two halves, compiled with the sanitizers, once for a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.net.files.door import Door
from tests.net.files.lab import SANITIZED, Files, Target, build, plant

Start = Callable[..., Files]


@pytest.fixture(scope="session")
def harness() -> Path:
    assert os.geteuid() == 0, "mounts and namespaces need root"
    return build("harness.sanitized", SANITIZED)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    root = tmp_path_factory.mktemp("target")
    for folder in (root, root.parent, root.parent.parent):
        folder.chmod(0o755)
    plant(root)
    made = Target(root)
    yield made
    made.close()


@pytest.fixture(scope="module")
def files(harness: Path, target: Target) -> Iterator[Files]:
    """Which may be read."""
    made = Files(harness, target.pid)
    yield made
    made.close()


@pytest.fixture(scope="module")
def writable(harness: Path, target: Target) -> Iterator[Files]:
    """Which may be changed."""
    made = Files(harness, target.pid, writes=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def door(files: Files) -> Door:
    return files.door
