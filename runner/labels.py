"""The labels by which our containers are known; a container with a role is never a target."""

from __future__ import annotations

from dataclasses import dataclass

from runner import VERSION

SESSION = "mirror-run.dev/session"
ROLE = "mirror-run.dev/role"  # agent, bridge, app
IMAGE = "mirror-run.dev/image"  # base, agent, bridge: on images only, and inherited by what is built FROM them
TARGET = "mirror-run.dev/target"
RELEASE = "mirror-run.dev/version"
AUTHOR = "mirror-run.dev/author"


@dataclass(frozen=True, slots=True)
class Marks:
    """What is written on all containers of one session."""

    session: str
    target: str
    author: str

    def of(self, role: str) -> dict[str, str]:
        return {
            SESSION: self.session,
            ROLE: role,
            TARGET: self.target,
            RELEASE: VERSION,
            AUTHOR: self.author,
        }
