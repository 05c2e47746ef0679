"""Which place a target names: containers of the engine, or pods of a cluster; for a bare name, whoever alone has it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import config, docker_place, targets
from runner.config import Caller, RunOptions
from runner.engine import Engine, Json
from runner.errors import Refusal
from runner.kube import names
from runner.place import Place, Proof
from runner.screen import Screen

if TYPE_CHECKING:
    from runner.kube.api import Cluster
    from runner.kube.place import Looked

log = logging.getLogger(__name__)

ANSWERS_WITHIN = 1.5
"""Seconds that a cluster has to say whether it too has a bare name that the engine has."""

OF_THE_ENGINE = ("container/", "compose/")


@dataclass(slots=True)
class Seeker:
    """Looks for one run's place. Whatever is opened on the way is closed by ``undo``. ``engine`` is set when it is
    there."""

    options: RunOptions
    caller: Caller
    screen: Screen
    proof: Proof
    undo: AsyncExitStack
    engine: asyncio.Future[Engine] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _ahead: asyncio.Task[Looked] | None = None

    def begin(self) -> None:
        """Ask the cluster already, where it is plain that the target is there: an engine takes as long to answer."""
        text, said = self.options.target, self.options.cluster
        if text.startswith(OF_THE_ENGINE) or not (said.named or "/" in text or names.is_kind(text)):
            return
        self._ahead = asyncio.create_task(self._look(), name="look for the target")
        self.undo.push_async_callback(_drop, self._ahead)

    async def find(self, listed: Awaitable[list[Json]]) -> Place:
        """The place of the options' target; ``listed`` are all of the engine's containers. Refusal if there is none."""
        text = self.options.target
        if text.startswith(OF_THE_ENGINE) and self.options.cluster.named:
            raise Refusal(
                f"{text} is of the engine on this machine, and what was said besides is about a cluster",
                "leave out -n, --context, -c and the like; or name a target of the cluster",
            )
        if self._ahead is not None:
            return await self._of_cluster(await self._ahead)
        if text.startswith(OF_THE_ENGINE) or not text or not has_kubeconfig(self.caller):
            return await self._of_engine(await listed)
        return await self._bare(await listed)

    async def _of_engine(self, containers: list[Json]) -> Place:
        engine = await self.engine
        place = await docker_place.find(engine, containers, self.options, self.screen, self.proof)
        self.undo.push_async_callback(place.close)
        return place

    async def _of_cluster(self, looked: Looked) -> Place:
        from runner.kube.legs import Legs
        from runner.kube.place import KubePlace

        legs = Legs(looked.cluster, await self.engine, config.runtime_folder())
        place = KubePlace(looked, self.screen, self.options, self.proof, legs)
        self.undo.push_async_callback(place.close)
        return place

    async def _look(self) -> Looked:
        from runner.kube import place

        return await place.look(
            await self._connected(),
            self.options,
            self.caller,
            self.screen,
            self.engine,
            self.proof,
            self.undo,
        )

    async def _connected(self, *, attended: bool = True) -> Cluster:
        from runner.kube.place import connected

        if "/" in self.options.target:
            _understood(self.options.target)  # before anybody is asked
        cluster = await connected(self.options.cluster, self.caller, attended=attended)
        self.undo.push_async_callback(cluster.close)
        return cluster

    async def _bare(self, containers: list[Json]) -> Place:
        text = self.options.target
        try:
            found = targets.resolve(text, targets.listed(containers))
        except Refusal as refusal:
            if any(text in (one.name, one.service) for one in targets.listed(containers)):
                raise  # it is the engine's, and something is the matter with it
            self.screen.step(f"no container is named {text}: asking the cluster")
            try:
                return await self._of_cluster(await self._look())
            except Refusal as other:
                raise Refusal(f"{refusal.what}; {other.what}", other.next_step) from other
        if there := await self._in_cluster():
            raise Refusal(
                f"{text} is ambiguous: the engine on this machine has it, and so has the cluster ({there})",
                f"name {found.name}, or {there.partition(' ')[0]}",
            )
        return await self._of_engine(containers)

    async def _in_cluster(self) -> str:
        """ "deploy/api in namespace shop", if the cluster has it and says so in time."""
        from runner.kube import candidates
        from runner.kube.errors import KubeError

        with suppress(TimeoutError, Refusal, KubeError):
            async with asyncio.timeout(ANSWERS_WITHIN):
                cluster = await self._connected(attended=False)
                things = await candidates.named(cluster, cluster.namespace, self.options.target)
                return f"{things[0].name} in namespace {cluster.namespace}" if things else ""
        log.info("the cluster was not asked for %s: it does not answer", self.options.target)
        return ""


async def _drop(task: asyncio.Task[Any]) -> None:
    """What it would have found is not wanted any more; its own failure was, or will not be, told."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def has_kubeconfig(caller: Caller) -> bool:
    """Whether there is a file that names clusters."""
    listed = caller.environ.get("KUBECONFIG") or str(caller.home / ".kube/config")
    return any(Path(path).is_file() for path in listed.split(os.pathsep) if path)


def _understood(text: str) -> None:
    try:
        names.understood(text)
    except Refusal as refusal:
        raise Refusal(
            refusal.what,
            f"{refusal.next_step}; container/NAME and compose/SERVICE are of this machine's engine",
        ) from refusal
