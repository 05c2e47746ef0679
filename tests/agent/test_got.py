"""What the app gets of each target, as the warrant is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from agent.got import Got
from agent.warrants import Warrant
from wire.messages import AppPort, Proto

WEB, DNS = AppPort(Proto.TCP, 8080, 8080), AppPort(Proto.UDP, 53, 53)


@dataclass
class Container:
    container: str
    pod: str


class Told(Warrant):
    def __init__(self) -> None:
        self.told: list[object] = []

    def gets(
        self, container: str, pod: str, mirrored: tuple[AppPort, ...], stolen: tuple[AppPort, ...]
    ) -> None:
        self.told.append((container, pod, mirrored, stolen))


def test_mirrored_and_stolen_are_told_together() -> None:
    warrant = Told()
    targets = {0: Container("c0", "p0"), 1: Container("c1", "p1")}
    got = Got(cast("Any", targets), warrant)
    got.mirrors(0, (WEB, DNS))
    got.mirrors(0, (DNS,))
    got.steals(0, (WEB,))
    got.steals(1, (WEB,))
    got.changed(0)
    got.mirrors(0, (DNS,))
    del targets[1]
    got.steals(1, ())
    assert warrant.told == [
        ("c0", "p0", (WEB, DNS), ()),
        ("c0", "p0", (DNS,), ()),
        ("c0", "p0", (DNS,), (WEB,)),
        ("c1", "p1", (), (WEB,)),
        ("c0", "p0", (DNS,), ()),
    ]
