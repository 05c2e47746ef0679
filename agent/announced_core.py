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
class Said:
    """Of this pod the app gets these ports now; ``first``: it is the session's first word about it."""

    pod: str
    ports: Ports
    first: bool


@dataclass(slots=True)
class _State:
    since: float
    ports: Ports = ()
    had: Ports = ()  # the last that were any
    said: Ports | None = None

    def due(self) -> float | None:
        if self.said is None:
            return self.since + (SETTLES if self.ports else BEGINS_WITHIN)
        if self.ports == self.said:
            return None
        return self.since + (LINGERS if set(self.ports) < set(self.said) else SETTLES)


@dataclass(slots=True)
class Announced:
    """Pods by a name of the caller's."""

    _pods: dict[str, _State] = field(default_factory=dict)

    def entered(self, pod: str, now: float) -> None:
        """The session takes part in it; once more after a restart of its container."""
        self._pods.setdefault(pod, _State(now))

    def gets(self, pod: str, ports: Ports, now: float) -> None:
        """These ports, and no others."""
        state = self._pods.get(pod)
        ports = tuple(sorted(ports, key=lambda port: (port.proto, port.target)))
        if state is not None and state.ports != ports:
            state.ports, state.since, state.had = ports, now, ports or state.had

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
                one.ports = one.had
        return self._say([pod for pod, one in self._pods.items() if one.said is None])

    def last(self, pod: str) -> Ports:
        """What was said of it last."""
        return self._pods[pod].said or ()

    def _say(self, pods: list[str]) -> list[Said]:
        said = [Said(pod, self._pods[pod].ports, self._pods[pod].said is None) for pod in pods]
        for one in said:
            self._pods[one.pod].said = one.ports
        return said
