"""An agent for each pod, however it comes to be there: made for the session (Jobs, ephemeral containers) or installed.

What a place asks of them is the Protocol here; which kind it is shows in nothing but what they say to the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from runner.errors import Refusal
from runner.kube.pod import Pod
from runner.plan import AGENT_FILES_CAPABILITIES
from wire.record import record

PORTS = range(61_000, 65_536)
"""For agents on loopback: outside of ip_local_port_range (32768 to 60999, ip-sysctl), so that no connection has it."""

Provide = Callable[[Collection[str]], Awaitable[None]]
"""Has the agent's image on these nodes, where that is in our hands (``image_nodes``)."""


@record
class AgentPod:
    """A pod in which an agent runs, and the port on that pod's loopback where it listens. ``key`` is its own among a
    session's agents; a successor has another.

    Its container runs, but its program may need another half second until it listens: who dials tries again.
    """

    key: str
    node: str
    namespace: str
    pod: str
    port: int


@record
class FounderSays:
    """What the founder's Hello tells an agent: the session, the 32 octets that prove it, and the namespace of its
    MirrorSession ("" where there is none)."""

    session: str
    secret: bytes = field(repr=False)
    namespace: str = ""


@record
class AgentWishes:
    """How agents made for a session are to be: the user's configuration. ``labels`` and ``annotations`` are added to
    what is made, ``pull_secrets`` are names of secrets in the agent's namespace, ``ttl`` is seconds that a finished Job
    stays to be looked at."""

    image: str
    namespace: str = ""  # of Jobs; "": the target's
    pull_secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ttl: int = 30
    log_level: str = "WARNING"
    drain: int = 0  # seconds that an agent which stole may go on, for connections that go through it
    files: bool = False  # the session has the target's files

    def capabilities(self, usual: Sequence[str]) -> list[str]:
        """Of its container."""
        return [*usual, *AGENT_FILES_CAPABILITIES] if self.files else list(usual)


class Agents(Protocol):
    """The agents of one session."""

    founder: FounderSays

    @property
    def serves_files(self) -> bool:
        """Once prepared: whether the session may have the target's files."""

    async def prepare(self) -> None:
        """Look whether it can work (rights, admission, installed version) before anything is made. Refusal."""

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        """The agent of each pod, by the pod's uid; makes what is missing, and waits until it runs. Refusal."""

    async def again(self, agent: AgentPod) -> AgentPod:
        """A link to it ended: itself if its container still runs, else its successor. Refusal."""

    async def keep(self, uids: Collection[str]) -> None:
        """These pods are followed, and no others: agents that none of them needs are ended."""

    async def revoked(self) -> str:
        """Returns when those who run the cluster have ended the session, with the sentence."""

    async def close(self) -> None:
        """What was made for the session is deleted; bounded, and said where it failed."""


def agent_of(task: asyncio.Task[AgentPod]) -> AgentPod:
    """What the making of an agent came to, once it is done. What was given up because nobody follows its pod is no
    cancellation of whoever waits for it: Refusal."""
    if task.cancelled():
        raise Refusal("its pod is not followed any more")
    return task.result()


def failed(task: asyncio.Task[AgentPod]) -> bool:
    """Whether it came to nothing, so that it may be tried anew."""
    return task.done() and (task.cancelled() or task.exception() is not None)
