"""Fixtures for what happens in real network namespaces."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.net.agent.lab import Bridge, Lab, linked

SESSION = 7


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Lab()
    try:
        made.build()
        yield made
    finally:
        made.destroy()


@pytest.fixture
async def bridge(lab: Lab) -> AsyncIterator[Bridge]:
    """The bridge's end of a data link whose target 0 is the lab's."""
    from agent.engine import Engine

    with Engine() as engine:
        engine.session_add(SESSION)
        netns = lab.open_target()
        engine.target_set(SESSION, 0, netns)
        os.close(netns)
        async with linked(engine, SESSION) as made:
            yield made
