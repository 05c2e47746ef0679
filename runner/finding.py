"""What ``doctor`` finds, thing by thing, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from runner.errors import Refusal
from runner.screen import Screen
from wire.record import record


@record
class Finding:
    """One thing looked at: a sentence, and what to do if it is not well (or what is worth to know)."""

    well: bool
    sentence: str
    next_step: str = ""


STEALS_FROM = (5, 12)
"""Linux: nftables' tables that end with their owner, without which a gate would leave its rules behind."""


def kernels(found: Mapping[str, str]) -> Finding:
    """Whether these machines, by name, can be stolen from, by their kernels' releases ("6.1.0-18-amd64")."""
    old = {name: release for name, release in found.items() if _number(release) < STEALS_FROM}
    if not old:
        releases = ", ".join(sorted(set(found.values()))) or "which nobody tells"
        return Finding(True, f"stealing: kernels {releases}")
    named = ", ".join(f"{name} has {release}" for name, release in sorted(old.items())[:5])
    wanted = ".".join(map(str, STEALS_FROM))
    return Finding(
        True, f"stealing: {named}", f"Linux {wanted} is needed where one steals; mirroring needs it not"
    )


def _number(release: str) -> tuple[int, int]:
    """Of "5.15.0-91-generic"; what is no such text passes for new, since the gate looks for itself."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else STEALS_FROM


def of_refusal(about: str, refusal: Refusal) -> Finding:
    """Something that was refused as it would be in a run."""
    return Finding(False, f"{about}: {refusal.what}", refusal.next_step)


def show(screen: Screen, finding: Finding) -> None:
    """With -q only what is not well."""
    if screen.quiet and finding.well:
        return
    screen.say(f"{'ok  ' if finding.well else 'BAD '} {finding.sentence}")
    if finding.next_step:
        screen.say(f"     {finding.next_step}")


def show_all(screen: Screen, findings: Sequence[Finding]) -> None:
    """For programs, at the end."""
    screen.data([{"well": one.well, "found": one.sentence, "next": one.next_step} for one in findings])
