"""What is done with a target's ports just now: one line for all its containers, said when it has changed. Sans-io."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner import ports
from wire.messages import AppPort


@dataclass(slots=True)
class Present:
    """Collects the agents' notices; ``line`` is what to say now, or None if it was said. ``doing``: "mirroring", say;
    ``filtered``: to which requests, in words; "" for everything."""

    doing: str
    target: str
    filtered: str = ""
    _now: dict[int, tuple[AppPort, ...]] = field(default_factory=dict)
    _said: str = ""
    _stale: bool = (
        False  # something that was said of has gone: what there is then is worth saying, same or not
    )

    def notice(self, index: int, now: tuple[AppPort, ...]) -> None:
        self._now[index] = tuple(sorted(now, key=lambda port: (port.proto, port.target)))

    def gone(self, index: int) -> None:
        """A container, or its agent, ended, which is said elsewhere; what there is when it is back is said anew, also
        where there were others all the while."""
        self._stale |= bool(self._now.pop(index, ()))
        if not any(self._now.values()):
            self._said = ""

    def line(self) -> str | None:
        """One sentence about the present, once."""
        by_ports: dict[tuple[AppPort, ...], int] = {}
        for now in self._now.values():
            if now:
                by_ports[now] = by_ports.get(now, 0) + 1
        parts = [
            f"{ports.shown(now)} of {self.target}" + (f" ({count} containers)" if count > 1 else "")
            for now, count in by_ports.items()
        ]
        text = f"{self.doing} {' and '.join(parts)}" if parts else ""
        if text == self._said and not (self._stale and text):
            return None
        before, self._said, self._stale = self._said, text, False
        if text and self.filtered:
            return f"{text}: {self.filtered}"
        return text or f"no longer {before}"
