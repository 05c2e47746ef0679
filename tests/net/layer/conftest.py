"""What several tests of the bridge stand on."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.net.layer.space import Space
from tests.net.layer.stage import FakeAgent, Stage

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("init")
    command = [sys.executable, "images/build_native.py", "--out", str(out), "--only", "mirror-init"]
    subprocess.run(command, cwd=ROOT, check=True)
    return out / "mirror-init"


async def _staged(tmp_path: Path, scripted: bool) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        space = Space()
        stack.callback(space.close)
        agent = FakeAgent(str(tmp_path / "agent.sock"))
        serving = asyncio.create_task(agent.run())
        made = Stage(space, agent, tmp_path)
        await made.start(scripted)
        await stack.enter_async_context(made.runner)
        yield made
        await made.runner.close()
        async with asyncio.timeout(3):
            await made.process.wait()
        made.engine.close()
        serving.cancel()
        await asyncio.wait([serving])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The daemon with a scripted engine."""
    async for made in _staged(tmp_path, scripted=True):
        yield made


@pytest.fixture
async def whole(tmp_path: Path) -> AsyncIterator[Stage]:
    """The daemon as it is, with the engine in C."""
    async for made in _staged(tmp_path, scripted=False):
        yield made
