"""A leg of the bridge's before its agent is reached: what it says at once is kept, and no more is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.kube.tunnel import Tunnel

HELLO = b"Hello"
MORE = b"." * (1 << 20)


class Agent(asyncio.Transport):
    """Of a port-forward: what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.got = bytearray()
        self.whole = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.got += data
        if len(self.got) == len(HELLO + MORE):
            self.whole.set()

    def close(self) -> None: ...
    def abort(self) -> None: ...


class Slow(Tunnel):
    """An agent that is reached when the test says so."""

    def __init__(self) -> None:
        async def nowhere() -> Any: ...

        super().__init__(cast("Any", SimpleNamespace()), nowhere, "agent 0")
        self.agent = Agent()
        self.asked = asyncio.Event()
        self.reached = asyncio.Event()

    async def dial(self, far: asyncio.Protocol) -> asyncio.Transport:
        self.asked.set()
        await self.reached.wait()
        return self.agent


class Forgetful(asyncio.Transport):
    """Reads although connection_made paused it, as asyncio's own does in Python 3.11.2."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


async def test_what_comes_before_the_agent_is_reached_is_kept() -> None:
    tunnel, near = Slow(), Forgetful()
    leg = tunnel.leg()
    leg.connection_made(near)
    await tunnel.asked.wait()
    leg.data_received(HELLO)
    assert near.calls == ["pause", "resume", "pause"]  # a second pause alone would be taken for made
    tunnel.reached.set()
    await leg.ended()
    assert bytes(tunnel.agent.got) == HELLO
    assert tunnel.up == len(HELLO)
    assert near.calls[3:] == ["resume"]
    await tunnel.close()


@pytest.mark.parametrize("first", [b"", HELLO])
async def test_a_real_socket_is_read_when_the_agent_is_reached(tmp_path: Path, first: bytes) -> None:
    """Whatever this machine's asyncio does with the pause."""
    tunnel = Slow()
    server = await asyncio.get_running_loop().create_unix_server(tunnel.leg, str(tmp_path / "0.sock"))
    async with server:
        _, bridge = await asyncio.open_unix_connection(str(tmp_path / "0.sock"))
        bridge.write(first)
        await tunnel.asked.wait()
        tunnel.reached.set()
        bridge.write((HELLO + MORE).removeprefix(first))
        async with asyncio.timeout(10):
            await tunnel.agent.whole.wait()
        assert bytes(tunnel.agent.got) == HELLO + MORE
        bridge.close()
        await tunnel.close()
