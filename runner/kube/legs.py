"""The bridge's ways to the agents: sockets in its folder, each joined to port-forwards of one agent.

Where the engine is on this machine the folder is ours, mounted into the bridge, and this process listens in it.
Elsewhere no socket crosses, so programs in the bridge's container listen there, and hand what they take to us by their
streams.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.engine import Engine
from runner.kube.agents import AgentPod
from runner.kube.exec_legs import ExecLegs
from runner.kube.tunnel import Tunnel
from runner.plan import AGENTS_FOLDER, EngineTraits

if TYPE_CHECKING:
    from runner.kube.api import Cluster

Json = dict[str, Any]

log = logging.getLogger(__name__)

PREFIX = "mirror-run-legs-"


@dataclass(slots=True)
class Legs:
    """``base`` is where a folder of ours may be made. ``bridge`` is the bridge's container, known once it runs."""

    cluster: Cluster
    engine: Engine
    base: Path
    bridge: str = ""
    _folder: Path | None = None
    _lock: int = -1
    _agents: dict[int, AgentPod] = field(default_factory=dict)
    _tunnels: dict[int, Tunnel] = field(default_factory=dict)
    _ends: dict[int, asyncio.Server | ExecLegs] = field(default_factory=dict)

    def way(self, traits: EngineTraits) -> Json:
        """What of the bridge's HostConfig makes the folder."""
        if not traits.shares_sockets:
            return {"Tmpfs": {AGENTS_FOLDER: "mode=0700,size=64k"}}
        self._folder, self._lock = _folder(self.base)
        return {"Mounts": [{"Type": "bind", "Source": str(self._folder), "Target": AGENTS_FOLDER}]}

    async def add(self, number: int, agent: AgentPod) -> str:
        """A socket of this agent's; its path in the bridge."""
        self._agents[number] = agent
        name = f"{number}.sock"

        async def where() -> AgentPod:
            return self._agents[number]

        tunnel = self._tunnels[number] = Tunnel(self.cluster, where, f"agent {number}")
        path = f"{AGENTS_FOLDER}/{name}"
        if self._folder is not None:
            loop = asyncio.get_running_loop()
            self._ends[number] = await loop.create_unix_server(tunnel.leg, self._folder / name)
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
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None


def _folder(base: Path) -> tuple[Path, int]:
    """One of our own and a lock on it, which ends with this process; what killed ones left is removed."""
    base.mkdir(parents=True, exist_ok=True)
    for old in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            held = _locked(old)
            shutil.rmtree(old, ignore_errors=True)
            os.close(held)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    return made, _locked(made)


def _locked(folder: Path) -> int:
    """OSError if somebody has it."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held
