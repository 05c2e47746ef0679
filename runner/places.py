"""Which place a target names: containers of the engine, or pods of a cluster."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from runner import docker_place
from runner.config import Caller, RunOptions
from runner.engine import Engine, Json
from runner.place import Place, Proof
from runner.screen import Screen


@dataclass(frozen=True, slots=True)
class Seeker:
    """Looks for one run's place. Whatever is opened on the way is closed by ``undo``."""

    options: RunOptions
    caller: Caller
    screen: Screen
    engine: Engine
    proof: Proof
    undo: AsyncExitStack

    async def find(self, listed: Awaitable[list[Json]]) -> Place:
        """The place of the options' target; ``listed`` are all of the engine's containers. Refusal if there is none."""
        place = await docker_place.find(self.engine, await listed, self.options, self.screen, self.proof)
        self.undo.push_async_callback(place.close)
        return place
