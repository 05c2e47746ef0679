"""What the user is told about mirrored ports: one line for all of a target's containers, when it has
changed. Sans-io."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner import ports
from wire.messages import AppPort


@dataclass(slots=True)
class Mirrored:
    """Collects the agent's notices; ``line`` is what to say now, or None if it was said. ``filtered``: which
    requests, in words; "" for everything."""

    target: str
    filtered: str = ""
    _now: dict[int, tuple[AppPort, ...]] = field(default_factory=dict)
    _said: str = ""
    _stale: bool = (
        False  # something that was said of has gone: what is mirrored then is worth saying, same or not
    )

    def notice(self, index: int, now: tuple[AppPort, ...]) -> None:
        self._now[index] = tuple(sorted(now, key=lambda port: (port.proto, port.target)))

    def gone(self, index: int) -> None:
        """A container, or its agent, ended, which is said elsewhere; what is mirrored when it is back is said anew,
        also where others were mirrored all the while."""
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
        text = f"mirroring {' and '.join(parts)}" if parts else ""
        if text == self._said and not (self._stale and text):
            return None
        before, self._said, self._stale = self._said, text, False
        if text and self.filtered:
            return f"{text}: {self.filtered}"
        return text or f"no longer {before}"
