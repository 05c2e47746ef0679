"""What the user is told of a filter on what is mirrored: what it cannot read, and at the end how many requests matched.
Sans-io."""

from __future__ import annotations

from dataclasses import dataclass, field

from wire.counts import added
from wire.messages import Chosen


@dataclass(slots=True)
class Choice:
    """Collects the agents' notices."""

    target: str
    _counts: dict[tuple[int, int], Chosen] = field(default_factory=dict)
    _past: dict[int, Chosen] = field(default_factory=dict)  # of targets that are gone, by port
    _warned: set[str] = field(default_factory=set)

    def counted(self, said: Chosen) -> None:
        self._counts[said.target, said.port] = said

    def gone(self, index: int) -> None:
        """A container ended, which is said elsewhere."""
        for key in [key for key in self._counts if key[0] == index]:
            one = self._counts.pop(key)
            self._past[one.port] = added(self._past.get(one.port), one)

    def warnings(self) -> list[str]:
        """What a filter cannot choose from, each once."""
        said = []
        for one in self._by_port().values():
            if one.tls:
                said.append(
                    f"clients of {one.port} of {self.target} speak TLS: "
                    "a filter sees nothing in it, so it is not copied"
                )
            if one.other:
                said.append(
                    f"not all that clients of {one.port} of {self.target} say is HTTP "
                    "that can be read without a doubt: with a filter such connections are not copied"
                )
        fresh = [one for one in said if one not in self._warned]
        self._warned.update(fresh)
        return fresh

    def summary(self) -> list[str]:
        """The whole session, by port; nothing where nothing came."""
        return [
            matched(port, one.seen, one.matched, one.last, "copied")
            for port, one in sorted(self._by_port().items())
            if one.seen
        ]

    def _by_port(self) -> dict[int, Chosen]:
        found = dict(self._past)
        for one in self._counts.values():
            found[one.port] = added(found.get(one.port), one)
        return found


def matched(port: int, seen: int, matching: int, last: str, became: str) -> str:
    """How many requests of those that were ``seen`` a filter chose. ``became``: what was done with them."""
    requests = f"{seen} request{'' if seen == 1 else 's'} to {port}"
    if not matching:
        return f"none of {requests} matched" + (f"; the last was {last}" if last else "")
    return f"{matching} of {requests} matched, and {'was' if matching == 1 else 'were'} {became}"
