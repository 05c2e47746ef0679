"""What of a session is worth an event on each pod: that it begins, with the ports of which the app gets traffic, and
when these are others. Sans-io: what happens and the time come in, what is to be said comes out.

An app that is restarted leaves its ports and comes back: fewer ports are said late, and not at all if they come back by
then. A beginning waits a moment for its ports, so that one event says both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wire.messages import AppPort

BEGINS_WITHIN = 5.0
"""Seconds in which the ports of a beginning are waited for."""

SETTLES = 1.0
"""Seconds in which ports are gathered: an app opens several one after the other."""

LINGERS = 15.0
"""Seconds after which ports that the app has left are said to be left: a restart in a debugger takes less."""

Ports = tuple[AppPort, ...]


@dataclass(frozen=True, slots=True)
class Gets:
    """What the app gets of a pod: ports that are copied to it, and ports that it answers."""

    mirrored: Ports = ()
    stolen: Ports = ()

    def __bool__(self) -> bool:
        return bool(self.mirrored or self.stolen)

    def less_than(self, other: Gets) -> bool:
        """Nothing that the other is not, but not all of it."""
        within = set(self.mirrored) <= set(other.mirrored) and set(self.stolen) <= set(other.stolen)
        return within and self != other

    def ordered(self) -> Gets:
        """By number."""
        return Gets(*(tuple(sorted(one, key=_number)) for one in (self.mirrored, self.stolen)))


def _number(port: AppPort) -> tuple[int, int]:
    return port.proto, port.target


NOTHING = Gets()


@dataclass(frozen=True, slots=True)
class Said:
    """Of this pod the app gets that now; ``first``: it is the session's first word about it."""

    pod: str
    gets: Gets
    first: bool


@dataclass(slots=True)
class _State:
    since: float
    gets: Gets = NOTHING
    had: Gets = NOTHING  # the last that was anything
    said: Gets | None = None

    def due(self) -> float | None:
        if self.said is None:
            return self.since + (SETTLES if self.gets else BEGINS_WITHIN)
        if self.gets == self.said:
            return None
        return self.since + (LINGERS if self.gets.less_than(self.said) else SETTLES)


@dataclass(slots=True)
class Announced:
    """Pods by a name of the caller's."""

    _pods: dict[str, _State] = field(default_factory=dict)

    def entered(self, pod: str, now: float) -> None:
        """The session takes part in it; once more after a restart of its container."""
        self._pods.setdefault(pod, _State(now))

    def gets(self, pod: str, gets: Gets, now: float) -> None:
        """This, and nothing else."""
        state = self._pods.get(pod)
        gets = gets.ordered()
        if state is not None and state.gets != gets:
            state.gets, state.since, state.had = gets, now, gets or state.had

    def due(self, now: float) -> list[Said]:
        """What is to be said by now."""
        return self._say(
            [pod for pod, one in self._pods.items() if (at := one.due()) is not None and at <= now]
        )

    def deadline(self) -> float | None:
        """When to ask next."""
        return min((at for one in self._pods.values() if (at := one.due()) is not None), default=None)

    def rest(self) -> list[Said]:
        """The session is over: beginnings that were not said yet, with the ports that there were."""
        for one in self._pods.values():
            if one.said is None:
                one.gets = one.had
        return self._say([pod for pod, one in self._pods.items() if one.said is None])

    def last(self) -> dict[str, Gets]:
        """Every pod that was entered, and what was said of it last."""
        return {pod: one.said or NOTHING for pod, one in self._pods.items()}

    def _say(self, pods: list[str]) -> list[Said]:
        said = [Said(pod, self._pods[pod].gets, self._pods[pod].said is None) for pod in pods]
        for one in said:
            self._pods[one.pod].said = one.gets
        return said
