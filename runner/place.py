"""Where the target is, and what a session asks of it there: containers of the same engine, or pods of a cluster.

A place finds the target, founds the session at its agents, keeps to the target while the command runs, and lets go of
it first at the end. It knows nothing of the app's streams, nor of when a run is over.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import Any, Protocol

from links.link import Link
from runner.engine import Event
from runner.images import Images
from runner.plan import EngineTraits
from wire import messages as m
from wire.record import record

Json = dict[str, Any]


@record
class Proof:
    """What makes a session ours: its name, the 32 octets that prove it to an agent, and who is its author."""

    session: str
    secret: bytes = field(repr=False)
    author: str


@record
class Original:
    """What a container here is made like. ``config`` speaks docker's words (`docker inspect`, Config): Hostname,
    Domainname, ExposedPorts, Entrypoint, Cmd, User, WorkingDir.

    ``pull`` names the image for an engine that may not have it, the best name first; ``config`` then holds only what
    the target says over its image. When ``pull`` is empty the image is here, and ``config`` is whole.
    ``expands``: $(NAME) in Entrypoint and Cmd stands for a variable, as a pod's spec has it.
    """

    image: str
    config: Json
    pull: tuple[str, ...] = ()
    expands: bool = False


@record
class Founded:
    """The session exists at its agents: who the primary is, its variables (b"NAME=value"), and what the bridge shows
    them: the session's name there and its 32 octets."""

    identity: m.Identity
    environ: tuple[bytes, ...] = field(repr=False)
    session: str
    secret: bytes = field(repr=False)
    mounts: tuple[str, ...] = ()  # where the primary has volumes, secrets, config maps


class Place(Protocol):
    """One target of one session, found. Calls come in the order in which they stand here."""

    @property
    def name(self) -> str:
        """What the user calls the target, in full: container/api, deploy/cart."""

    @property
    def where(self) -> str:
        """Which namespace and context that is in; "" for the engine's own."""

    @property
    def original(self) -> Original: ...

    @property
    def keeps(self) -> bool:
        """Whether the way to the agents may be cut, so that data links are kept and resumed."""

    @property
    def serves_files(self) -> bool:
        """Whether the session may have the target's files; where not, that has been said."""

    async def way(self, ours: Images, traits: EngineTraits, *, files: bool) -> Json:
        """What of a bridge's HostConfig lets it reach the agents. ``files``: the session has the target's."""

    async def open(self) -> Founded:
        """Found the session, attach all of the target. LinkEnded, EngineError, Refusal."""

    async def lost_race(self, error: Exception) -> bool:
        """Whether ``error`` came of an agent that ended as we came, so that ``way`` and ``open`` may do it."""

    async def lead(self, bridge: str) -> str:
        """The bridge's container runs: the path in it at which the first agent will be found."""

    def configured(self) -> None:
        """The bridge knows its session: from now on it may be told more. Inside ``attended``."""

    def attended(self, bridge: Link) -> AbstractAsyncContextManager[None]:
        """Follow the target and tell the user inside the block; what was mirrored is summed up at its end."""

    def happened(self, event: Event) -> None:
        """An event of the engine's that is not about the app."""

    def linked(self, notice: m.LinkLost | m.LinkBack) -> None:
        """The bridge's word about its link to an agent."""

    async def revoked(self) -> str:
        """Returns when those who run the target's machines have ended the session, with the sentence: the command ends
        with it. A way that is cut is no such thing."""

    async def let_go(self) -> None:
        """Ahead of the end: what is stolen goes to the target again, and the app answers what it was given, if it does
        so soon. Nothing where nothing is stolen."""

    async def steal_again(self) -> None:
        """It was not the end: the command goes on."""

    async def close(self) -> None:
        """Let go of the target. Also after a failure of ``open``, or when nothing was begun."""
