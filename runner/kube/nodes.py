"""What the caller may know of nodes: each is asked for once, and none again where reading them is not allowed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from runner.kube.api import Cluster
from runner.kube.errors import KubeError

Json = dict[str, Any]

log = logging.getLogger(__name__)

AT_ONCE = 10
"""Questions; each is a connection of its own."""


class Nodes:
    """Nodes of one cluster, by name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, Json | None] = {}
        self._allowed = True

    async def fetch(self, names: Iterable[str]) -> None:
        """Those that are not known yet, side by side; the first alone, which tells whether any may be read."""
        first, *others = sorted({name for name in names if name} - self._known.keys()) or [""]
        await self.read(first)
        for i in range(0, len(others), AT_ONCE):
            await asyncio.gather(*(self.read(name) for name in others[i : i + AT_ONCE]))

    async def read(self, name: str) -> Json | None:
        """The Node, or None if there is none of the name, or it may not be read (developers often may not)."""
        if not name or not self._allowed:
            return None
        if name not in self._known:
            try:
                self._known[name] = await self._cluster.get(f"/api/v1/nodes/{name}")
            except KubeError as error:
                log.info("node %s: %s", name, error)
                self._allowed = not (error.forbidden or error.unauthorized)
                if not error.missing:
                    return None  # it may be read another time
                self._known[name] = None
        return self._known[name]
