"""What the facts of more than one file stand on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.facts.fuse import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A FUSE server, whose mount is attached nowhere."""
    made = Server()
    yield made
    made.die()
    os.close(made.mount)
