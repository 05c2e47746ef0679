"""The target's containers, through their restarts: who is attached under which index, and what to do when
one comes or goes.

Sans-io: engine events and the agent's notices in, steps out. Index 0 is the primary, whose identity the app has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.targets import Target
from wire.record import record


@record
class AttachTo:
    """Ask the agent to attach this container under this index; then, for index 0, give the bridge its identity."""

    index: int
    container: str
    name: str
    again: bool  # the index was attached before: a restart


@record
class Leave:
    """The container of this index is gone and was not the primary: detach it."""

    index: int
    name: str


@record
class Say:
    """Tell the user."""

    text: str


Step = AttachTo | Leave | Say


@dataclass(slots=True)
class _Place:
    container: str
    name: str
    up: bool = True


@dataclass(slots=True)
class Followed:
    """Who of the target takes part. Give it what happens; carry out what it returns, in order."""

    target: Target
    _places: dict[int, _Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = {i: _Place(found.id, found.name) for i, found in enumerate(self.target.containers)}

    @property
    def up(self) -> int:
        """How many of the target's containers run."""
        return sum(place.up for place in self._places.values())

    def first(self) -> list[AttachTo]:
        """Who is attached at the beginning."""
        return [AttachTo(i, place.container, place.name, again=False) for i, place in self._places.items()]

    def name(self, index: int) -> str:
        """How people call the container of an index."""
        place = self._places.get(index)
        return place.name if place else f"container {index}"

    def started(self, container: str, name: str, labels: dict[str, str]) -> list[Step]:
        """A container of the engine's has started."""
        for index, place in self._places.items():
            if place.container == container:
                was_up, place.up = place.up, True
                if was_up:
                    return []
                return [AttachTo(index, container, name, again=True)]
        if not self.target.takes(name, labels):
            return []
        index = self._vacant(name)
        again = index in self._places
        self._places[index] = _Place(container, name)
        return [AttachTo(index, container, name, again)]

    def died(self, container: str) -> list[Step]:
        """A container of the engine's has ended; it may be restarted or replaced."""
        for index, place in self._places.items():
            if place.container == container and place.up:
                place.up = False
                return [Say(self._loss(index, place))]
        return []

    def destroyed(self, container: str) -> list[Step]:
        """A container of the engine's is gone for good; one of the same service may still take its place."""
        for index, place in self._places.items():
            if place.container != container:
                continue
            place.up = False
            if index != 0:
                del self._places[index]
                return [Leave(index, place.name)]
            return [
                Say(
                    f"{place.name} is gone for good; your command keeps running, and follows when there is another"
                )
            ]
        return []

    def _loss(self, index: int, place: _Place) -> str:
        left = f"; {self.up} of {self.target.name} left" if len(self._places) > 1 else ""
        if index == 0:
            return f"{place.name} ended: no way out through it until it is back{left}"
        return f"{place.name} ended{left}"

    def _vacant(self, name: str) -> int:
        """The primary's place if its container does not run; else the one of that name; else a new one."""
        if not self._places[0].up:
            return 0
        for index, place in self._places.items():
            if place.name == name and not place.up:
                return index
        return max(self._places) + 1
