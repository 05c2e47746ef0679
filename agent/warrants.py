"""What a session may do, and why: found when it is founded, asked whenever it enters a container or wants a right.

Where the answer comes from differs: with plain Docker whoever reaches the founders' socket may do everything, a Job's
agent has its secret's hash and its pods on its command line, a DaemonSet's reads an object in the cluster
(``agent.cluster``). The rest of the agent knows only what is here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from agent import containers
from agent.account import Account
from wire.messages import AppPort, Hello

RIGHTS = frozenset({"mirror", "outgoing", "env", "files", "files-write", "steal"})
"""All there are. In a cluster each is a virtual subresource of MirrorSession, ``mirror`` the resource itself."""


class Unproved(Exception):
    """The secret is not that of any session, or nobody asked for one: the peer is told one sentence for all cases."""


class Refused(Exception):
    """The secret is right, and still no: ``args[0]`` is the sentence for the peer."""


class NotAllowed(Exception):
    """This session may not do this; ``args[0]`` is the sentence for the runner."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one session in one agent; 0: none. How long it may last is said by the warrant's end."""

    connections: int = 0
    bytes_per_second: int = 0  # of what is mirrored; of all else that the app sends; of all that it is sent
    metadata_addresses: bool = True  # 169.254.169.254 and its like may be dialled


class Warrant:
    """What one session may do. This one may do everything, for as long as it lives.

    ``namespace``: where its rights were given, for sentences; empty where there are no namespaces. ``author``: whom it
    was given to, where somebody vouches for that; else empty, and the session's founder is called what he likes.
    """

    namespace: str = ""
    author: str = ""
    rights: frozenset[str] = RIGHTS
    limits: Limits = Limits()

    async def may_enter(self, container: str, pod: str) -> None:
        """NotAllowed unless the session may take part in this container (its full id) of the pod of this name."""

    async def void(self) -> str:
        """Returns when the warrant holds no longer, with the reason: the session ends with it. Cancelled otherwise."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody sets this future")

    def entered(self, container: str, pod: str) -> None:
        """The session takes part in this container from now on. Never waits."""

    def left(self, container: str, pod: str) -> None:
        """It does so no longer. Never waits."""

    def gets(
        self, container: str, pod: str, mirrored: tuple[AppPort, ...], stolen: tuple[AppPort, ...]
    ) -> None:
        """The app gets the traffic of these ports of it from now on, and of no others. Never waits."""

    def drains(self, container: str, yes: bool, within: int) -> None:
        """Clients' connections go on through a gate though nobody steals there any more, ``within`` seconds; or not
        any more. Never waits."""

    async def ended(self, account: Account) -> None:
        """The session is over; its traffic has stopped already."""

    def lacking(self, right: str) -> str:
        """What to say of a right that is missing, in the words of whoever may give it."""
        resource = "mirrorsessions" if right == "mirror" else f"mirrorsessions/{right}"
        return f"you lack create {resource} in {self.namespace}"


class Warrants(Protocol):
    """Where sessions' rights come from."""

    async def warrant(self, hello: Hello) -> Warrant:
        """For a founder's Hello that begins a new session. Unproved, Refused.

        Comparing secrets takes the same time whatever they are. May take its time: others are served meanwhile.
        """

    async def tend(self) -> None:
        """What there is to do besides, until cancelled."""


class Anyone:
    """Whoever can connect may do everything: the socket's permissions are the proof."""

    async def warrant(self, hello: Hello) -> Warrant:  # noqa: ARG002 it is a Warrants
        """Of nobody in particular."""
        return Warrant()

    async def tend(self) -> None:
        """Nothing."""


class Pinned:
    """One secret, by its SHA-256, and the pods whose containers may be entered, by their uids."""

    def __init__(self, secret_hash: bytes, pods: Collection[str]) -> None:
        self._hash = secret_hash
        self._pods = frozenset(pods)

    async def warrant(self, hello: Hello) -> Warrant:
        """Unproved unless the secret is the one."""
        if not hmac.compare_digest(hashlib.sha256(hello.secret).digest(), self._hash):
            raise Unproved
        return PinnedWarrant(self._pods)

    async def tend(self) -> None:
        """Nothing."""


class PinnedWarrant(Warrant):
    """Everything, in the containers of these pods alone."""

    def __init__(self, pods: frozenset[str]) -> None:
        self._pods = pods

    async def may_enter(self, container: str, pod: str) -> None:  # noqa: ARG002 it is a Warrant
        """By the pod's uid in the cgroup that the kubelet made for the container: its name proves nothing.

        ValueError, containers.NotHere.
        """
        uid = containers.pod_of(container)
        if uid not in self._pods:
            whose = f"of pod {uid}" if uid else "of no pod"
            raise NotAllowed(f"container {container[:12]} is {whose}, which is not one this agent was made for")
