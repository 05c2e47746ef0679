"""What the user is told about stolen ports: which they are, what stands in the way, and at the end what came of it.
Sans-io."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.chosen import matched
from runner.present import Present
from wire.counts import added
from wire.messages import Stealing, Stolen


@dataclass(slots=True)
class Theft:
    """Collects the agents' notices. ``filtered``: which requests, in words; "" for whole ports."""

    target: str
    filtered: str = ""
    _present: Present = field(init=False)
    _refused: dict[int, str] = field(default_factory=dict)
    _counts: dict[tuple[int, int], Stolen] = field(default_factory=dict)
    _past: dict[int, Stolen] = field(default_factory=dict)  # of targets that are gone, by port
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        whose = f"{self.filtered}; all others stay with it" if self.filtered else ""
        self._present = Present("stealing", self.target, whose)

    def notice(self, said: Stealing) -> None:
        self._present.notice(said.target, said.ports)
        self._refused[said.target] = said.refused

    def counted(self, said: Stolen) -> None:
        self._counts[said.target, said.port] = said

    def gone(self, index: int) -> None:
        """A container ended, which is said elsewhere."""
        self._present.gone(index)
        self._refused.pop(index, None)
        for key in [key for key in self._counts if key[0] == index]:
            one = self._counts.pop(key)
            self._past[one.port] = added(self._past.get(one.port), one)

    def line(self) -> str | None:
        """One sentence about the present, once."""
        return self._present.line()

    def warnings(self) -> list[str]:
        """What stands in the way, each once."""
        said = [reason for reason in self._refused.values() if reason]
        for one in self._by_port().values():
            if one.older:
                said.append(
                    f"{_count(one.older, 'connection')} to {one.port} of {self.target} "
                    f"{'was' if one.older == 1 else 'were'} open before and {'stays' if one.older == 1 else 'stay'} "
                    "with it: what comes next is stolen (--steal-existing moves them)"
                )
            if one.tls and self.filtered:
                said.append(
                    f"clients of {one.port} of {self.target} speak TLS: a filter sees nothing in it, so it stays there"
                )
        fresh = [one for one in dict.fromkeys(said) if _kind(one) not in self._warned]
        self._warned.update(_kind(one) for one in fresh)
        return fresh

    def summary(self) -> list[str]:
        """The whole session, by port; nothing where nothing came."""
        said = []
        for port, one in sorted(self._by_port().items()):
            if self.filtered and one.seen:
                said.append(matched(port, one.seen, one.matched, one.last, "stolen"))
        return said

    def _by_port(self) -> dict[int, Stolen]:
        found = dict(self._past)
        for one in self._counts.values():
            found[one.port] = added(found.get(one.port), one)
        return found


def _kind(sentence: str) -> str:
    """Without its numbers: a count that grows is no news."""
    return "".join(letter for letter in sentence if not letter.isdigit())


def _count(number: int, one: str) -> str:
    return f"{number} {one if number == 1 else one + 's'}"
