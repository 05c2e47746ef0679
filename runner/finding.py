"""What ``doctor`` finds, thing by thing, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from runner.errors import Refusal
from runner.screen import Screen


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: a sentence, and what to do if it is not well (or what is worth to know)."""

    well: bool
    sentence: str
    next_step: str = ""


def of_refusal(about: str, refusal: Refusal) -> Finding:
    """Something that was refused as it would be in a run."""
    return Finding(False, f"{about}: {refusal.what}", refusal.next_step)


def show(screen: Screen, finding: Finding) -> None:
    screen.say(f"{'ok  ' if finding.well else 'BAD '} {finding.sentence}")
    if finding.next_step:
        screen.say(f"     {finding.next_step}")
