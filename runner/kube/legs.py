"""The bridge's ways to the agents: sockets in its folder, each joined to port-forwards of one agent.

Where the engine is on this machine the folder is ours, mounted into the bridge, and this process listens in it.
Elsewhere no socket crosses, so programs in the bridge's container listen there, and hand what they take to us by their
streams.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.engine import Engine
from runner.kube.agents import AgentPod
from runner.kube.exec_legs import ExecLegs
from runner.kube.socket_folder import SocketFolder
from runner.kube.tunnel import Tunnel
from runner.plan import AGENTS_FOLDER, EngineTraits

if TYPE_CHECKING:
    from runner.kube.api import Cluster

Json = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Legs:
    """``base`` is where a folder of ours may be made. ``bridge`` is the bridge's container, known once it runs."""

    cluster: Cluster
    engine: Engine
    base: Path
    bridge: str = ""
    _folder: SocketFolder | None = None
    _agents: dict[int, AgentPod] = field(default_factory=dict)
    _tunnels: dict[int, Tunnel] = field(default_factory=dict)
    _ends: dict[int, asyncio.Server | ExecLegs] = field(default_factory=dict)

    def way(self, traits: EngineTraits) -> Json:
        """What of the bridge's HostConfig makes the folder."""
        if not traits.shares_sockets:
            return {"Tmpfs": {AGENTS_FOLDER: "mode=0700,size=64k"}}
        self._folder = SocketFolder(self.base)
        return {"Mounts": [{"Type": "bind", "Source": str(self._folder.path), "Target": AGENTS_FOLDER}]}

    async def add(self, number: int, agent: AgentPod) -> str:
        """A socket of this agent's; its path in the bridge."""
        self._agents[number] = agent
        name = f"{number}.sock"

        async def where() -> AgentPod:
            return self._agents[number]

        tunnel = self._tunnels[number] = Tunnel(self.cluster, where, f"agent {number}")
        path = f"{AGENTS_FOLDER}/{name}"
        if self._folder is not None:
            self._ends[number] = await self._folder.listen(name, tunnel.leg)
        else:
            served = self._ends[number] = ExecLegs(self.engine, self.bridge, path, tunnel)
            await served.start()
        return path

    def move(self, number: int, agent: AgentPod) -> None:
        """Its successor: legs to what is gone end, and the bridge dials again."""
        if number in self._agents:
            self._agents[number] = agent
            self._tunnels[number].cut()

    async def remove(self, number: int) -> None:
        """Of an agent that is needed no more."""
        self._agents.pop(number, None)
        if end := self._ends.pop(number, None):
            end.close()
        if tunnel := self._tunnels.pop(number, None):
            await tunnel.close()

    async def close(self) -> None:
        """Nothing is left, neither legs nor folder."""
        for number in list(self._agents):
            await self.remove(number)
        if self._folder is not None:
            self._folder.close()
            self._folder = None
