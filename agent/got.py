"""What of each target the app gets, mirrored and stolen, put together for who gave the warrant."""

from __future__ import annotations

from collections.abc import Mapping

from agent.target import Target
from agent.warrants import Warrant
from wire.messages import AppPort

Ports = tuple[AppPort, ...]


class Got:
    """``targets`` by their index, which stay the session's."""

    def __init__(self, targets: Mapping[int, Target], warrant: Warrant) -> None:
        self._targets = targets
        self._warrant = warrant
        self._mirrored: dict[int, Ports] = {}
        self._stolen: dict[int, Ports] = {}

    def mirrors(self, index: int, ports: Ports) -> None:
        """These, and no others."""
        self._mirrored[index] = ports
        self._tell(index)

    def steals(self, index: int, ports: Ports) -> None:
        """These, and no others."""
        self._stolen[index] = ports
        self._tell(index)

    def changed(self, index: int) -> None:
        """This target is another by now, or gone: it is told elsewhere that it was left."""
        self._mirrored.pop(index, None)
        self._stolen.pop(index, None)

    def _tell(self, index: int) -> None:
        if index in self._targets:
            target = self._targets[index]
            mirrored, stolen = self._mirrored.get(index, ()), self._stolen.get(index, ())
            self._warrant.gets(target.container, target.pod, mirrored, stolen)
