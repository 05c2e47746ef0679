"""Every test here runs the engine in a fresh network namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.net.netstack.ground import Ground, ground


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder need root and the compiled module."""
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("net")
            item.add_marker("native")


@pytest.fixture
def place() -> Iterator[Ground]:
    """A fresh one."""
    with ground() as made:
        yield made
