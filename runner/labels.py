"""The labels by which our containers are known; a container with a role is never a target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner import VERSION
from wire.record import record

SESSION = "mirror-run.dev/session"
ROLE = "mirror-run.dev/role"  # agent, bridge, app
IMAGE = (
    "mirror-run.dev/image"  # base, agent, bridge: on images only, and inherited by what is built FROM them
)
TARGET = "mirror-run.dev/target"
RELEASE = "mirror-run.dev/version"
AUTHOR = "mirror-run.dev/author"
MODE = "mirror-run.dev/mode"  # mirror, steal
WHERE = "mirror-run.dev/where"  # namespace and context of a target in a cluster; absent for the engine's own


@record
class Marks:
    """What is written on all containers of one session."""

    session: str
    target: str
    author: str
    where: str = ""
    mode: str = "mirror"

    def of(self, role: str) -> dict[str, str]:
        return {
            SESSION: self.session,
            ROLE: role,
            TARGET: self.target,
            RELEASE: VERSION,
            AUTHOR: self.author,
            MODE: self.mode,
        } | ({WHERE: self.where} if self.where else {})


STARTS_WITHIN = 60.0
"""Seconds between the making of a container and its start, at most, while its runner lives."""


def forgotten(summaries: Iterable[dict[str, Any]], now: float) -> list[str]:
    """Containers of sessions whose runner was killed before it started them: the engine removes only what has run.

    ``summaries`` are the engine's list of all containers, ``now`` is seconds since the epoch.
    """
    return [
        one["Id"]
        for one in summaries
        if SESSION in (one.get("Labels") or {})
        and one.get("State") == "created"
        and now - one.get("Created", now) > STARTS_WITHIN
    ]
