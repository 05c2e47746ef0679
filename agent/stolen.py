"""What of a session's targets is stolen: TCP ports that app and target listen on, once the runner has asked for it.

``ports.mirrored`` decides as for mirroring, the gates act, the founder is told. UDP stays mirrored.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from agent import engine, table_comment
from agent.engine import Engine, EngineFault
from agent.gate_words import Counts, Thief
from agent.gates import Claim, Gates, Outcome
from agent.target import Target
from agent.warrants import NotAllowed, Warrant
from wire.messages import AppPort, Message, Proto, Steal, Stealing, Stolen

log = logging.getLogger(__name__)

LOOKS_EVERY = 0.02
"""Seconds between two looks at whether the app has answered what it was given, at the end."""

PARTS_WITHIN = 0.2
"""Seconds for clients that are idle to end their connections, once the app has."""

TCP_PROBE = 1
"""As Probe has it."""

MACHINE = "/proc/1/ns/net"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose session it is, for others to read."""

    number: int
    name: str
    author: str


class Thieving:
    """``targets`` by their index, which stay the session's. ``steals``: called with what is stolen of one from now
    on."""

    def __init__(
        self,
        session_engine: Engine,
        gates: Gates,
        owner: Owner,
        warrant: Warrant,
        targets: Mapping[int, Target],
        notice: Callable[[Message], None],
        steals: Callable[[int, tuple[AppPort, ...]], None],
    ) -> None:
        self._engine = session_engine
        self._gates = gates
        self._owner = owner
        self._warrant = warrant
        self._targets = targets
        self._notice = notice
        self._steals = steals
        self._asked: Steal | None = None
        self._nodes: tuple[bytes, ...] = ()
        self._thief = Thief(owner.number, int(time.time()))
        self._said: dict[int, Stealing] = {}
        self._over = False

    @property
    def asked(self) -> bool:
        """TCP ports are to be stolen."""
        return self._asked is not None

    def begin(self, asked: Steal) -> None:
        """From the next look at the targets on. NotAllowed."""
        self._check()
        self._asked = asked
        self._over = False
        self._thief = replace(
            self._thief,
            on_app_gone=asked.on_app_gone,
            link_lost_after=asked.link_lost_after,
            probes=asked.steal_probes,
            local=asked.steal_local,
            existing=asked.steal_existing,
        )
        self._nodes = tuple(dict.fromkeys((*asked.nodes, *_machine()))) if asked.nodes else ()

    async def look(self, index: int) -> tuple[str, str]:
        """Why nothing could be stolen of this target, and who does so already; "" each. NotAllowed, ValueError."""
        self._check()
        target = self._targets.get(index)
        if target is None:
            raise ValueError(f"there is no target {index}")
        name, who = target.identity.hostname or "the target", self._owner.author or "somebody"
        return await self._gates.look(target.netns, table_comment.looked_at(name, who, self._owner.name))

    def _check(self) -> None:
        if "steal" not in self._warrant.rights:
            raise NotAllowed(f"no stealing: {self._warrant.lacking('steal')}")

    def take(self, target: Target, chosen: tuple[AppPort, ...]) -> tuple[AppPort, ...]:
        """Of the ports that take part: those that are left to be mirrored, the others being claimed."""
        if self._asked is None:
            return chosen
        asked = self._asked
        ports = tuple(port for port in chosen if port.proto == Proto.TCP and self._answers(target, port.target))
        if self._over:
            ports = ()
        if ports or target.index in self._said:
            index = target.index
            claim = Claim(
                self._thief,
                self._owner.author,
                self._owner.name,
                target.identity.hostname or "the target",
                index,
                ports,
                self._asked.filters,
                self._nodes,
                self._asked.probes,
                self._asked.drain,
                self._asked.mesh_uids,
            )
            try:
                self._gates.claim(
                    target.netns,
                    claim,
                    lambda outcome: self._told(index, outcome),
                    lambda now: self._counted(index, now),
                    lambda yes: self._warrant.drains(target.container, yes, asked.drain),
                )
            except OSError as error:
                log.warning("session %s: target %d: %s", self._owner.name, index, error.strerror)
        return tuple(port for port in chosen if port.proto != Proto.TCP)

    def _answers(self, target: Target, port: int) -> bool:
        """A gate accepts before it asks the target, so a probe by tcpSocket would succeed for a target that listens no
        more: a port that has one is stolen only while the target listens, whoever else named it."""
        assert self._asked is not None
        if self._asked.steal_probes or all(
            probe.port != port or probe.kind != TCP_PROBE for probe in self._asked.probes
        ):
            return True
        return any(one.port == port and one.proto == Proto.TCP for one in target.listening())

    def changed(self, index: int) -> None:
        """This target is another by now, or gone."""
        self._gates.release(self._owner.number, index)
        self._said.pop(index, None)

    def say_anew(self) -> None:
        """To a founder that may not have heard."""
        for said in self._said.values():
            self._notice(said)

    async def let_go(self, within: float) -> None:
        """Nothing more is stolen; returns when the app has answered what it was given, or after so many seconds."""
        deadline = asyncio.get_running_loop().time() + within
        self._over = True
        for index in list(self._said):
            if target := self._targets.get(index):
                self.take(target, ())
        await self._gates.settled(within)
        answered = 0
        while answered < 2 and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOKS_EVERY)
            answered = answered + 1 if self._engine.unanswered(self._owner.number) == 0 else 0
        await self._part_from_idle(min(deadline, asyncio.get_running_loop().time() + PARTS_WITHIN))
        self._gates.release(self._owner.number)

    async def _part_from_idle(self, deadline: float) -> None:
        """Clients that keep a connection and say nothing on it see the app end it, and have until then to do so too."""
        self._engine.hush(self._owner.number)
        left = self._engine.stolen_open(self._owner.number)
        while left and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(LOOKS_EVERY)
            left = self._engine.stolen_open(self._owner.number)

    def close(self) -> None:
        """The session is over."""
        self._over = True
        self._gates.release(self._owner.number)

    def _told(self, index: int, outcome: Outcome) -> None:
        log.info(
            "session %s: target %d: stealing %s %s", self._owner.name, index, outcome.ports, outcome.refused
        )
        self._said[index] = Stealing(index, outcome.ports, outcome.refused)
        self._notice(self._said[index])
        self._steals(index, outcome.ports)

    def _counted(self, index: int, now: Counts) -> None:
        self._notice(Stolen(index, now.port, now.seen, now.matched, now.stolen, now.older, now.tls, now.last))


def _machine() -> tuple[bytes, ...]:
    """The addresses from which the kubelet's probes may come: those of this machine, its bridges' too, as its first
    process has them. In an ephemeral container that is the target's own: there the gateway's has to do."""
    gateway = _gateway()
    try:
        if os.readlink(MACHINE) == os.readlink("/proc/self/ns/net"):
            return gateway
        # privileged CAP_SYS_PTRACE: /proc/1/ns of another user's process (proc(5)).
        netns = os.open(MACHINE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        log.info("the machine's own addresses are not to be had: %s", error.strerror)
        return gateway
    try:
        return (*(address.ip for address in engine.addresses(netns)), *gateway)
    except EngineFault as fault:
        log.info("the machine's own addresses are not to be had: %s", fault.reason)
        return gateway
    finally:
        os.close(netns)


def _gateway() -> tuple[bytes, ...]:
    """Of this container's default routes by IPv4: the node's own address, where its pods hang on a bridge. As proc(5)
    has it: hexadecimal words of the machine's order."""
    try:
        with open("/proc/self/net/route", encoding="ascii") as file:
            routes = [line.split() for line in file.readlines()[1:]]
    except OSError:
        return ()
    found = (int(fields[2], 16) for fields in routes if len(fields) > 2 and fields[1] == "00000000")
    return tuple(gateway.to_bytes(4, sys.byteorder) for gateway in found if gateway)
