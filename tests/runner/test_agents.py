"""The engine's one agent: what is said of one that is going and does not go."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runner import agents
from runner.engine import Engine
from runner.errors import Refusal


class Going:
    """An engine whose agent has been told to end and is held by the kernel."""

    async def inspect(self, _name: str) -> dict[str, Any]:
        return {"Id": "a", "State": {"Status": "removing"}}

    async def gone(self, _name: str) -> None:
        await asyncio.Event().wait()


def test_one_that_does_not_go_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "GOING", 0.01)
    with pytest.raises(Refusal, match=r"is ending and has not ended .*: the kernel holds it") as said:
        asyncio.run(agents.find(cast("Engine", Going()), "agent", {}))
    assert "umount -f" in said.value.next_step
