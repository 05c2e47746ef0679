"""Marks by place: what a test needs is said by the folder it lies in, and those who cannot give it leave it out.

``make test-unit`` leaves out ``net`` and ``engine``; nothing is skipped because something is missing: a test that was
asked for and cannot run has failed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made and judged is the machine's affair, and a busy one would fail tests that are right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

HERE = Path(__file__).resolve().parent

MARKS = {"net": "net", "facts": "net", "e2e": "engine", "demo": "engine"}
"""Folder of tests/: the mark of everything below it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            place = item.path.relative_to(HERE).parts[0]
            if mark := MARKS.get(place):
                item.add_marker(mark)
