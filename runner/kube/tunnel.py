"""The bridge's legs joined to port-forwards of one agent: octets both ways until either end is over, and both are.

It knows no frame: resuming is the business of bridge and agent. A leg whose agent cannot be reached is closed, and the
bridge dials again. Each leg is alone with its two connections; what one side does not take, the other is not asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from runner.errors import Refusal
from runner.kube.errors import KubeError
from runner.kube.pile import Borrower
from runner.kube.sockets import hold

if TYPE_CHECKING:
    from runner.kube.api import Cluster

log = logging.getLogger(__name__)

UNSENT = 1024 * 1024
"""Octets that wait for the bridge to read before the agent is not asked for more; the same stand towards the agent."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds that a leg waits before its agent is dialled, doubled with each that failed in a row: the API server is not
to be asked faster than this. One that failed is closed at once: the bridge is to hear of a cut when the runner does, or
one that is over would be told as another."""


class Place(Protocol):
    """Where an agent listens: on this port of this pod's loopback."""

    @property
    def namespace(self) -> str: ...
    @property
    def pod(self) -> str: ...
    @property
    def port(self) -> int: ...


class Tunnel:
    """The legs to one agent. ``where`` is asked for each leg, since an agent may have a successor.

    ``up`` and ``down`` count octets towards the agent and back; ``last_error`` is why the newest leg that failed did,
    and empty again once an agent has answered."""

    def __init__(self, cluster: Cluster, where: Callable[[], Awaitable[Place]], name: str) -> None:
        self.name = name
        self.up = 0
        self.down = 0
        self.last_error = ""
        self._cluster = cluster
        self._where = where
        self._legs: set[Leg] = set()
        self._failures = 0
        self._closed = False

    @property
    def legs(self) -> int:
        """How many there are just now."""
        return len(self._legs)

    def leg(self) -> Leg:
        """The protocol of a connection with the bridge: give it to create_unix_server and the like."""
        return Leg(self)

    def cut(self) -> None:
        """End every leg at once: the agent is another one now."""
        self._failures = 0
        for leg in list(self._legs):
            leg.abort()

    async def close(self) -> None:
        """No leg is left, and none begins."""
        self._closed = True
        legs = list(self._legs)
        for leg in legs:
            leg.abort()
        await asyncio.gather(*(leg.ended() for leg in legs))

    def began(self, leg: Leg) -> bool:
        """Whether it may go on."""
        if not self._closed:
            self._legs.add(leg)
        return not self._closed

    def over(self, leg: Leg) -> None:
        self._legs.discard(leg)

    def answered(self) -> None:
        self._failures = 0
        self.last_error = ""

    def failed(self, sentence: str) -> None:
        """Keep the sentence."""
        log.info("%s: %s", self.name, sentence)
        self.last_error = sentence
        self._failures += 1

    def pause(self) -> float:
        """Seconds that the next leg waits."""
        if not self._failures:
            return 0.0
        return min(FIRST_PAUSE * float(1 << min(self._failures - 1, 10)), LONGEST_PAUSE)

    async def dial(self, far: asyncio.Protocol) -> asyncio.Transport:
        """A port-forward to the agent that is one now. KubeError or Refusal."""
        from runner.kube.portforward import open_transport

        place = await self._where()
        return await open_transport(self._cluster, place.namespace, place.pod, place.port, far)


class Leg(asyncio.Protocol):
    """One leg, seen from the bridge's side."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._near: asyncio.Transport | None = None
        self._far: asyncio.Transport | None = None
        self._early = b""
        """What came before the agent was reached: one read of asyncio's at most, since the next is not asked for."""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._near = transport
        if not self._tunnel.began(self):
            transport.abort()
            return
        transport.set_write_buffer_limits(high=UNSENT)
        hold(transport.get_extra_info("socket"), UNSENT)
        transport.pause_reading()
        self._task = asyncio.create_task(self._join(transport), name=f"leg of {self._tunnel.name}")

    async def _join(self, near: asyncio.Transport) -> None:
        await asyncio.sleep(self._tunnel.pause())
        try:
            self._far = await self._tunnel.dial(_FarSide(self))
            if near.is_closing():
                self._far.abort()
                return
            if self._early:
                self._pass_on(self._early)
                self._early = b""
            near.resume_reading()
        except (KubeError, Refusal, OSError) as error:
            self._tunnel.failed(str(error))
            near.close()

    def abort(self) -> None:
        for end in (self._near, self._far):
            if end is not None:
                end.abort()
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Its task is over; the transports end by themselves."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # What comes from the bridge.

    def data_received(self, data: bytes) -> None:
        if self._far is not None:
            self._pass_on(data)
        elif self._near is not None:
            # asyncio of 3.11.2, Debian 12's, forgets a pause that connection_made asks for, and takes it for made: only
            # after a resume is it made. 3.11.7 heeds it.
            self._early += data
            self._near.resume_reading()
            self._near.pause_reading()

    def _pass_on(self, data: bytes) -> None:
        assert self._far is not None
        self._tunnel.up += len(data)
        self._far.write(data)

    def pause_writing(self) -> None:
        if self._far is not None:
            self._far.pause_reading()

    def resume_writing(self) -> None:
        if self._far is not None and not self._far.is_closing():
            self._far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why is the bridge's to tell
        self._tunnel.over(self)
        if self._far is not None:
            self._far.close()
        elif self._task is not None:
            self._task.cancel()

    # What comes from the agent.

    def took(self, octets: memoryview) -> bool:
        """Whether some of them still wait to be written, and may be in the caller's buffer (asyncio keeps views)."""
        if self._near is None or self._near.is_closing():
            return False
        if self._tunnel.last_error:
            self._tunnel.answered()
        self._tunnel.down += len(octets)
        self._near.write(octets)
        return self._near.get_write_buffer_size() > 0

    def wait(self, *, for_agent: bool) -> None:
        """The agent takes no more just now, or takes again."""
        if self._near is not None and not self._near.is_closing():
            if for_agent:
                self._near.pause_reading()
            else:
                self._near.resume_reading()

    def agent_gone(self, error: BaseException | None) -> None:
        if self._near is None or self._near.is_closing():
            return
        if error is not None:
            self._tunnel.failed(getattr(error, "strerror", None) or str(error))
        self._near.close()


class _FarSide(Borrower):
    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    def lent(self, octets: memoryview) -> bool:
        return self._leg.took(octets)

    def pause_writing(self) -> None:
        self._leg.wait(for_agent=True)

    def resume_writing(self) -> None:
        self._leg.wait(for_agent=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leg.agent_gone(exc)
