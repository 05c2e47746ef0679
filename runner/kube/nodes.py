"""What the caller may know of nodes: each is asked for once, and none again where reading them is not allowed."""

from __future__ import annotations

import logging
from typing import Any

from runner.kube.api import Cluster
from runner.kube.errors import KubeError

Json = dict[str, Any]

log = logging.getLogger(__name__)


class Nodes:
    """Nodes of one cluster, by name."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, Json | None] = {}
        self._allowed = True

    async def read(self, name: str) -> Json | None:
        """The Node, or None if there is none of the name, or it may not be read (developers often may not)."""
        if not name or not self._allowed:
            return None
        if name not in self._known:
            try:
                self._known[name] = await self._cluster.get(f"/api/v1/nodes/{name}")
            except KubeError as error:
                log.info("node %s: %s", name, error)
                self._allowed = not (error.forbidden or error.status == 401)
                return None
        return self._known[name]
