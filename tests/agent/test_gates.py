"""All sessions' claims and one gate: what it is asked for, who is told what, and its ends. The gate is played."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from agent import gates
from agent.gate_words import Applied, Counts, Drained, Failed, Ready, Rule, Said, Thief, Want
from agent.gates import Claim, Gates, Outcome
from wire.messages import AppPort, Condition, Filter, Probe, Proto

FILTER = Filter((Condition(0, "x-user: ada"),))


def port(number: int, app: int = 0) -> AppPort:
    return AppPort(Proto.TCP, app or number, number)


def claim(session: int = 1, *ports: int, target: int = 0, **more: Any) -> Claim:
    fields: dict[str, Any] = {"who": f"dev{session}", "name": f"s{session}", "of": "cart"} | more
    wanted = tuple(port(number) for number in ports or (80,))
    return Claim(Thief(session, 1_700_000_000 + session), target=target, ports=wanted, **fields)


@dataclass
class PlayedGate:
    """What the process would be told; ``says`` and ``ends`` are what it would do."""

    engine: Any
    heard: Callable[[Any, Said], None]
    ended: Callable[[Any, str], None]
    wants: list[Want] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    told_sessions: int = 0
    comment: str = ""
    draining: bool = False
    said_errno: int = 0

    def start(self, netns: int, comment: str, program: str) -> None:
        self.comment = comment
        MADE.append(self)
        while BORN:
            BORN.pop().set_result(None)

    def want(self, wanted: Want) -> int:
        self.wants.append(wanted)
        return len(self.wants)

    def sessions(self) -> None:
        self.told_sessions += 1

    def drain(self, seconds: int) -> None:
        self.draining = True
        self.drained.append(seconds)

    def says(self, said: Said) -> None:
        if isinstance(said, Failed):
            self.said_errno = said.errno
        self.heard(self, said)

    def applies(self) -> None:
        self.says(Applied(len(self.wants)))


MADE: list[PlayedGate] = []
BORN: list[asyncio.Future[None]] = []


async def second() -> None:
    """Until another gate was started."""
    BORN.append(asyncio.get_running_loop().create_future())
    await asyncio.wait_for(BORN[-1], 10)


@dataclass
class Session:
    """Who claims; what it was told."""

    outcomes: list[Outcome] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)

    def claims(self, of: Gates, netns: int, wanted: Claim) -> None:
        of.claim(netns, wanted, self.outcomes.append, self.counts.append)


@pytest.fixture
def netns() -> Iterator[int]:
    """Any descriptor: its inode is the namespace's identity."""
    fd = os.open("/proc/self/ns/net", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
async def all_gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    MADE.clear()
    monkeypatch.setattr(gates, "Gate", PlayedGate)
    monkeypatch.setattr(gates, "AGAIN_AFTER", 0.01)
    return Gates(cast("Any", None), "a Job of its own")


async def test_the_first_claim_starts_a_gate_and_the_last_drains_it(all_gates: Gates, netns: int) -> None:
    one = Session()
    one.claims(all_gates, netns, claim(1, nodes=(b"\1\2\3\4",), probes=(Probe(80, 0, "/up"),), drain=7))
    (gate,) = MADE
    assert gate.comment.startswith("cart is stolen by dev1 since ")
    assert gate.comment.endswith("(session s1, a Job of its own)")
    assert (all_gates.alive, gate.wants, one.outcomes) == (1, [], [])
    gate.says(Ready(4000))
    thief = Thief(1, 1_700_000_001)
    assert gate.wants == [Want((thief,), (Rule(1, 0, 80, 80),), (b"\1\2\3\4",), (Probe(80, 0, "/up"),))]
    assert one.outcomes == []
    gate.applies()
    assert one.outcomes == [Outcome((port(80),))]
    assert gate.told_sessions == 1
    all_gates.release(1)
    assert (gate.drained, all_gates.alive) == ([7], 1)
    gate.says(Drained(0))
    gate.ended(gate, "")
    assert all_gates.alive == 0


async def test_filters_are_asked_in_order_of_age(all_gates: Gates, netns: int) -> None:
    for session in (5, 2, 9):
        Session().claims(all_gates, netns, claim(session, filters=(FILTER,)))
    MADE[0].says(Ready(4000))
    assert [rule.session for rule in MADE[0].wants[-1].rules] == [2, 5, 9]
    assert [thief.number for thief in MADE[0].wants[-1].thieves] == [2, 5, 9]


async def test_who_comes_second_is_told_by_whom_and_has_it_afterwards(all_gates: Gates, netns: int) -> None:
    one, two = Session(), Session()
    one.claims(all_gates, netns, claim(1))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    two.claims(all_gates, netns, claim(2, 80, 81))
    assert MADE[0].wants[-1].rules == (Rule(1, 0, 80, 80), Rule(2, 0, 81, 81))
    MADE[0].applies()
    (said,) = two.outcomes
    assert said.ports == (port(81),)
    assert said.refused.startswith("port 80 of cart is stolen whole by dev1 since ")
    assert "(session s1): ask dev1 to steal by a filter" in said.refused
    assert one.outcomes == [Outcome((port(80),))]
    all_gates.release(1)
    MADE[0].applies()
    assert two.outcomes[-1] == Outcome((port(80), port(81)))


async def test_a_claim_that_changes_is_told_and_one_that_does_not_is_not(
    all_gates: Gates, netns: int
) -> None:
    one = Session()
    one.claims(all_gates, netns, claim(1, 80, 81))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    for _ in range(3):
        one.claims(all_gates, netns, claim(1, 80, 81))
    one.claims(all_gates, netns, claim(1, 81))
    assert len(MADE[0].wants) == 2
    MADE[0].applies()
    assert [outcome.ports for outcome in one.outcomes] == [(port(80), port(81)), (port(81),)]


async def test_another_agents_table_is_said_in_its_words_and_tried_again(
    all_gates: Gates, netns: int
) -> None:
    one = Session()
    one.claims(all_gates, netns, claim(1))
    theirs = "cart is stolen by anna since 14:02 (session k3f, a Job of its own)"
    MADE[0].says(Failed(errno.EEXIST, theirs))
    MADE[0].ended(MADE[0], theirs)
    assert one.outcomes == [Outcome((), f"{theirs}; several at once need `mirror-run install`")]
    await second()
    MADE[1].says(Ready(4000))
    MADE[1].applies()
    assert one.outcomes[-1] == Outcome((port(80),))


async def test_a_gate_that_dies_is_told_and_another_takes_its_place(all_gates: Gates, netns: int) -> None:
    one = Session()
    one.claims(all_gates, netns, claim(1))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    MADE[0].ended(MADE[0], "the gate was killed by signal 9")
    assert one.outcomes[-1] == Outcome((), "the gate was killed by signal 9")
    await second()
    MADE[1].says(Ready(4001))
    MADE[1].applies()
    assert one.outcomes[-1] == Outcome((port(80),))


async def test_what_a_gate_cannot_do_is_only_its_askers_trouble(all_gates: Gates, netns: int) -> None:
    one, two = Session(), Session()
    one.claims(all_gates, netns, claim(1, filters=(FILTER,)))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    two.claims(all_gates, netns, claim(2, filters=(Filter((Condition(1, "(?=a)"),)),)))
    MADE[0].says(Failed(errno.EINVAL, "no such thing as (?="))
    assert two.outcomes == [Outcome((), "no such thing as (?=")]
    assert [rule.session for rule in MADE[0].wants[-1].rules] == [1]
    MADE[0].applies()
    assert one.outcomes == [Outcome((port(80),))]


async def test_a_gate_that_drains_is_called_back_or_had_ended(all_gates: Gates, netns: int) -> None:
    one, two = Session(), Session()
    one.claims(all_gates, netns, claim(1))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    all_gates.release(1)
    two.claims(all_gates, netns, claim(2))
    assert [rule.session for rule in MADE[0].wants[-1].rules] == [2]
    MADE[0].ended(MADE[0], "")  # it had drained already as it was told
    MADE[1].says(Ready(4000))
    MADE[1].applies()
    assert two.outcomes == [Outcome((port(80),))]


async def test_a_drain_that_lasts_is_told_and_so_is_its_end(
    all_gates: Gates, netns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends at once, or that is called back before it is told, is not."""
    told: list[tuple[int, bool]] = []
    said = asyncio.Event()

    def claims(session: int) -> None:
        def drains(yes: bool) -> None:
            told.append((session, yes))
            said.set()

        all_gates.claim(netns, claim(session), lambda _: None, lambda _: None, drains)

    claims(1)
    claims(2)
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    all_gates.release(1)
    monkeypatch.setattr(gates, "DRAINS_AFTER", 600)
    all_gates.release(2)
    claims(3)
    MADE[0].draining = False
    MADE[0].applies()
    all_gates.release(3)
    MADE[0].ended(MADE[0], "")
    assert told == []
    monkeypatch.setattr(gates, "DRAINS_AFTER", 0)
    claims(4)
    MADE[1].says(Ready(4000))
    MADE[1].applies()
    all_gates.release(4)
    await asyncio.wait_for(said.wait(), 10)
    assert told == [(4, True)]
    MADE[1].ended(MADE[1], "")
    assert told == [(4, True), (4, False)]


async def test_a_session_that_wants_nothing_just_now_keeps_what_its_app_was_given(
    all_gates: Gates, netns: int
) -> None:
    one = Session()
    one.claims(all_gates, netns, claim(1))
    MADE[0].says(Ready(4000))
    MADE[0].applies()
    nothing = replace(claim(1), ports=())
    one.claims(all_gates, netns, nothing)
    assert (MADE[0].wants[-1].rules, [thief.number for thief in MADE[0].wants[-1].thieves]) == ((), [1])
    assert MADE[0].drained == []
    MADE[0].applies()
    assert one.outcomes[-1] == Outcome(())
    await all_gates.settled(1)


async def test_counts_go_to_whose_port_it_is(all_gates: Gates, netns: int) -> None:
    one, two = Session(), Session()
    one.claims(all_gates, netns, claim(1, filters=(FILTER,)))
    two.claims(all_gates, netns, claim(2, filters=(FILTER,)))
    said = Counts(2, 80, 10, 0, 0, 1, 0, "GET / HTTP/1.1")
    MADE[0].says(Ready(4000))
    MADE[0].says(said)
    assert (one.counts, two.counts) == ([], [said])
