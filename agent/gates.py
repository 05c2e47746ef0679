"""The gates of an agent, one for each target network that somebody steals from, and what all sessions want of them.

``agent.claims`` decides who gets a port, ``agent.gate`` is the process. A gate is started with the first claim and
ended by its drain after the last. A session that wants nothing just now keeps it: its app may be asked already.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import claims, table_comment
from agent.claims import Wish
from agent.engine import Engine, EngineFault
from agent.gate import PROGRAM, Gate
from agent.gate_words import Applied, Counts, Drained, Failed, Ready, Rule, Said, Thief, Want
from wire.messages import AppPort, Filter, Probe

log = logging.getLogger(__name__)

AGAIN_AFTER = 5.0
"""Seconds until a gate that could not begin, or died, is started again: another agent may have left the target."""

DRAINS_AFTER = 1.0
"""Seconds after which a gate that has not ended is said to drain: most have no connection left, and end at once."""

LOOKS_WITHIN = 5.0
"""Seconds for a gate that is started only to see whether it can be."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is stolen from now on for a claim. ``refused``: why something of it is not; empty when all is."""

    ports: tuple[AppPort, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one session wants of one target: TCP ports, whole or by filter. ``who`` is its author, ``name`` the
    session's; ``of``: what the target is called; ``drain``: seconds."""

    thief: Thief
    who: str
    name: str
    of: str
    target: int
    ports: tuple[AppPort, ...]
    filters: tuple[Filter, ...] = ()
    nodes: tuple[bytes, ...] = ()
    probes: tuple[Probe, ...] = ()
    drain: int = 600
    mesh_uids: tuple[int, ...] = ()

    @property
    def since(self) -> str:
        """The wall clock when its session began, as a person would say it."""
        return time.strftime("%H:%M", time.localtime(self.thief.since))


@dataclass(slots=True)
class Part:
    """A claim in its place, and whom to tell what becomes of it."""

    claim: Claim
    told: Callable[[Outcome], None]
    counted: Callable[[Counts], None]
    drains: Callable[[bool], None]
    outcome: Outcome | None = None
    applied: bool = False  # of this claim, as it is
    wrong: str = ""  # why its gate does not take it


@dataclass(slots=True)
class Network:
    """One target network: its parts by session and target index, in the order in which they came."""

    netns: int  # a descriptor
    parts: dict[tuple[int, int], Part] = field(default_factory=dict)
    wishes: dict[Wish, None] = field(default_factory=dict)  # in the order in which they came
    gate: Gate | None = None
    comment: str = ""  # of its table
    ready: bool = False
    asked: dict[int, set[tuple[int, int]]] = field(default_factory=dict)  # by serial: whose claims it was of
    counted: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # by session and port: for whom
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.TimerHandle | None = None
    drain: int = 600
    left: list[Callable[[bool], None]] = field(default_factory=list)  # the last parts', to be told of its drain
    lasts: asyncio.TimerHandle | None = None  # until they are


class Gates:
    """``kind``: what this agent is, for other agents' users. ``changed``: called when a gate begins or ends."""

    def __init__(
        self,
        engine: Engine,
        kind: str = "",
        program: str = PROGRAM,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._program = program
        self._changed = changed
        self._networks: dict[int, Network] = {}

    @property
    def alive(self) -> int:
        """Gates that run, those that drain too: the agent stays as long."""
        return sum(network.gate is not None for network in self._networks.values())

    def claim(
        self,
        netns: int,
        claim: Claim,
        told: Callable[[Outcome], None],
        counted: Callable[[Counts], None],
        drains: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """From now on, in the place of what this session wanted of this target. ``netns`` stays the caller's.
        ``drains``: whether clients' connections go on through its gate after the release of its last claims."""
        key = (claim.thief.number, claim.target)
        network = self._network(netns)
        former = network.parts.get(key)
        if former is not None and former.claim == claim:
            return
        network.parts[key] = Part(claim, told, counted, drains, former.outcome if former else None)
        self._settle(network)

    def release(self, session: int, target: int | None = None) -> None:
        """All it wanted of this target, or of all. Nothing is told of it any more."""
        for network in list(self._networks.values()):
            keys = [key for key in network.parts if key[0] == session and target in (None, key[1])]
            for key in keys:
                part = network.parts.pop(key)
                network.drain = part.claim.drain
                if not network.parts:
                    network.left.append(part.drains)
                network.counted = {what: whose for what, whose in network.counted.items() if whose != key}
            if keys:
                self._settle(network)

    async def look(self, netns: int, comment: str) -> tuple[str, str]:
        """Why a gate could not begin in this namespace, and whose table is there already; "" each. What it finds out it
        finds by trying: a gate that is told to steal nothing, and ends at once."""
        there = self._networks.get(os.fstat(netns).st_ino)
        if there is not None and there.gate is not None:
            return "", there.comment
        over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def heard(gate: Gate, said: Said) -> None:
            if isinstance(said, Ready):
                gate.drain(0)

        def ended(_: Gate, why: str) -> None:
            if not over.done():
                over.set_result(why)

        gate = Gate(self._engine, heard, ended)
        try:
            gate.start(netns, comment, self._program)
            async with asyncio.timeout(LOOKS_WITHIN):
                why = await over
        except (OSError, EngineFault, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                gate.drain(0)
            return _reason(error), ""
        return ("", why) if gate.said_errno == errno.EEXIST else (why, "")

    async def settled(self, within: float) -> None:
        """Until every gate does what is wanted of it, ``within`` seconds at most."""
        try:
            async with asyncio.timeout(within):
                for network in list(self._networks.values()):
                    await network.settled.wait()
        except TimeoutError:
            log.warning("a gate has not taken what it was told within %g s", within)

    async def close(self, within: float) -> None:
        """Nothing is wanted any more; gates end when their connections have, or after so long."""
        for network in list(self._networks.values()):
            network.parts.clear()
            network.drain = int(within)
            self._settle(network)
            if network.gate is not None:
                network.gate.drain(int(within))
        deadline = asyncio.get_running_loop().time() + within + 1
        while self.alive and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 the end of all
            await asyncio.sleep(0.02)
        for network in self._networks.values():
            self._stay(network)

    # --- what is wanted ---

    def _network(self, netns: int) -> Network:
        """By the inode, which is the namespace's for as long as somebody holds it; and we do, with a descriptor."""
        inode = os.fstat(netns).st_ino
        if inode not in self._networks:
            self._networks[inode] = Network(os.dup(netns))
        return self._networks[inode]

    def _settle(self, network: Network) -> None:
        rules, thieves = self._rules(network)
        if network.gate is None:
            if not rules:
                self._forget(network)
                return
            if network.again is None:
                self._start(network)
            return
        if not network.ready:
            return
        if network.parts:
            self._want(network, rules, thieves)
        elif not network.gate.draining:
            network.gate.drain(network.drain)
            network.lasts = asyncio.get_running_loop().call_later(DRAINS_AFTER, self._drains, network)

    def _drains(self, network: Network) -> None:
        network.lasts = None
        for told in network.left:
            told(True)

    def _drains_no_more(self, network: Network) -> None:
        """It has ended, or is wanted again."""
        if network.lasts is not None:
            network.lasts.cancel()
        elif network.gate is not None and network.gate.draining:
            for told in network.left:
                told(False)
        network.lasts = None
        network.left.clear()

    def _rules(self, network: Network) -> tuple[list[Rule], list[Thief]]:
        """What the gate shall do; who is refused is told so."""
        wished = {
            Wish(key[0], port.target, not part.claim.filters): None
            for key, part in network.parts.items()
            for port in part.claim.ports
            if not part.wrong
        }
        network.wishes = {wish: None for wish in [*network.wishes, *wished] if wish in wished}
        found = claims.settle(network.wishes)
        rules: dict[tuple[int, int], Rule] = {}
        thieves: dict[int, Thief] = {}
        for part in sorted(
            network.parts.values(), key=lambda one: (one.claim.thief.since, one.claim.thief.number)
        ):
            claim = part.claim
            got = tuple(
                port
                for port in claim.ports
                if Wish(claim.thief.number, port.target, not claim.filters) in found.granted
                and not part.wrong
            )
            refused = part.wrong or self._refusal(network, claim, found)
            if not got:
                self._tell(part, Outcome((), refused))
            thieves[claim.thief.number] = claim.thief
            for port in got:
                network.counted.setdefault((claim.thief.number, port.target), (claim.thief.number, claim.target))
                rules.setdefault(
                    (claim.thief.number, port.target),
                    Rule(claim.thief.number, claim.target, port.target, port.app, claim.filters),
                )
        return list(rules.values()), list(thieves.values())

    def _refusal(self, network: Network, claim: Claim, found: claims.Settled) -> str:
        for wish, holder in found.holders.items():
            if wish.session != claim.thief.number:
                continue
            theirs = next(part.claim for key, part in network.parts.items() if key[0] == holder.session)
            who = theirs.who or "somebody"
            if holder.whole:
                how, ask = "whole", f"ask {who} to steal by a filter (--http-header), as you may then too"
            else:
                how, ask = "by a filter", "one of your own (--http-header) can stand beside it"
            since = f"since {theirs.since} (session {theirs.name})"
            return f"port {wish.port} of {claim.of} is stolen {how} by {who} {since}: {ask}"
        return ""

    def _want(self, network: Network, rules: list[Rule], thieves: list[Thief]) -> None:
        assert network.gate is not None
        self._drains_no_more(network)
        parts = network.parts.values()
        wanted = Want(
            tuple(thieves),
            tuple(rules),
            tuple(dict.fromkeys(ip for part in parts for ip in part.claim.nodes)),
            tuple(dict.fromkeys(probe for part in parts for probe in part.claim.probes)),
            tuple(dict.fromkeys(uid for part in parts for uid in part.claim.mesh_uids)),
        )
        try:
            serial = network.gate.want(wanted)
        except ValueError as error:
            self._wrong(network, str(error))
            return
        network.settled.clear()
        network.asked[serial] = {(rule.session, rule.target) for rule in rules}
        network.asked[serial] |= {key for key, part in network.parts.items() if not part.claim.ports}

    def _wrong(self, network: Network, sentence: str) -> None:
        """The gate does not take what is wanted: it is what came last that it cannot do."""
        network.asked.clear()
        network.settled.set()
        new = [part for part in network.parts.values() if not part.applied and not part.wrong]
        for part in new:
            part.wrong = sentence
        if new:
            self._settle(network)
        else:
            log.warning("a gate does not do what it did before: %s", sentence)

    # --- the process ---

    def _start(self, network: Network) -> None:
        first = next(iter(network.parts.values())).claim
        gate = Gate(self._engine, self._heard, self._ended)
        network.ready = False
        network.comment = table_comment.stolen(
            first.of, first.who or "somebody", first.since, first.name, self._kind
        )
        network.settled.clear()
        try:
            gate.start(network.netns, network.comment, self._program)
        except (OSError, EngineFault) as error:
            self._failed(network, f"stealing cannot begin: {_reason(error)}")
            return
        network.gate = gate
        self._changed()

    def _heard(self, gate: Gate, said: Said) -> None:
        network = next(one for one in self._networks.values() if one.gate is gate)
        match said:
            case Ready():
                network.ready = True
                self._settle(network)
            case Applied(serial=serial):
                self._in_force(network, serial)
            case Failed(sentence=sentence) if network.ready and network.asked:
                self._wrong(network, sentence)
            case Failed():
                pass  # it ends with that
            case Counts():
                key = network.counted.get((said.session, said.port))
                if key in network.parts:
                    network.parts[key].counted(said)
            case Drained(reset=reset) if reset:
                log.warning("a gate had to reset %d connections that had not ended", reset)

    def _in_force(self, network: Network, serial: int) -> None:
        assert network.gate is not None
        network.gate.sessions()
        whose = network.asked.pop(serial, set())
        if not network.asked:
            network.settled.set()
        found = claims.settle(network.wishes)
        for key in whose & network.parts.keys():
            part = network.parts[key]
            part.applied = True
            number, whole = part.claim.thief.number, not part.claim.filters
            got = tuple(
                port for port in part.claim.ports if Wish(number, port.target, whole) in found.granted
            )
            self._tell(part, Outcome(got, self._refusal(network, part.claim, found)))

    def _ended(self, gate: Gate, why: str) -> None:
        network = next(one for one in self._networks.values() if one.gate is gate)
        began = network.ready
        self._drains_no_more(network)
        network.gate = None
        network.ready = False
        network.asked.clear()
        network.settled.set()
        for part in network.parts.values():
            part.applied = False
        if why and network.parts:
            self._failed(network, why if began else _not_begun(gate, why))
        else:
            self._settle(network)
        self._changed()

    def _failed(self, network: Network, sentence: str) -> None:
        """Everybody's traffic is the target's. Tried again after a while, if it is still wanted."""
        network.settled.set()
        for part in network.parts.values():
            self._tell(part, Outcome((), sentence))
        self._stay(network)
        network.again = asyncio.get_running_loop().call_later(AGAIN_AFTER, self._try_again, network)

    def _try_again(self, network: Network) -> None:
        network.again = None
        self._settle(network)

    def _stay(self, network: Network) -> None:
        if network.again is not None:
            network.again.cancel()
            network.again = None

    def _forget(self, network: Network) -> None:
        """Nobody wants anything of it, and there is no gate."""
        self._stay(network)
        network.settled.set()
        for inode, one in list(self._networks.items()):
            if one is network:
                del self._networks[inode]
                os.close(network.netns)

    def _tell(self, part: Part, outcome: Outcome) -> None:
        if part.outcome != outcome:
            part.outcome = outcome
            part.told(outcome)


def _reason(error: OSError | EngineFault) -> str:
    if isinstance(error, EngineFault):
        return error.reason
    if isinstance(error, TimeoutError):
        return f"a gate has not begun within {LOOKS_WITHIN:g} s"
    return error.strerror or str(error)


def _not_begun(gate: Gate, why: str) -> str:
    """Another agent's table says whose it is, in that agent's words."""
    if gate.said_errno == errno.EEXIST:
        return table_comment.in_the_way(why)
    return f"stealing cannot begin: {why}"
