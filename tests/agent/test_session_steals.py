"""A session that steals: what its runner asks, what its bridge says, and what is told; its gate is played."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from agent import gates
from agent.gate_words import Counts, Drained, Failed, Ready, Rule, Said
from agent.warrants import RIGHTS, Warrant
from links.link import CallFailed, Link
from tests.agent import stage as played
from tests.agent.stage import CONTAINER, Stage, staged
from tests.agent.test_gates import MADE, PlayedGate
from tests.agent.test_server import HTTP, NarrowWarrants, heard, until
from wire.messages import (
    AppPort,
    Attach,
    Hello,
    LetGo,
    Listening,
    LookAtStealing,
    Mirroring,
    Port,
    Probe,
    Proto,
    Steal,
    Stealing,
    StealingLooked,
    Stolen,
)

pytestmark = pytest.mark.native

DNS = AppPort(Proto.UDP, 53, 53)


@pytest.fixture(autouse=True)
def played_gates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    MADE.clear()
    monkeypatch.setattr(gates, "Gate", PlayedGate)
    yield
    for target in played.FOUND:
        os.close(target.netns)
    played.FOUND.clear()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(monkeypatch) as made:
        yield made
        for gate in MADE:  # none outlives the agent
            gate.ended(gate, "")


async def begun(stage: Stage, runner: Link, bridge: Link, *ports: AppPort) -> PlayedGate:
    """The session steals from its one target, and its gate is ready."""
    await runner.call(Steal(0))
    await runner.call(Attach(0, 0, CONTAINER))
    target = played.FOUND[-1]
    target.netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    target.listens = frozenset({Port(Proto.TCP, 80), Port(Proto.UDP, 53)})
    await bridge.send(Listening(ports))
    await until(lambda: MADE)
    MADE[0].says(Ready(4000))
    return MADE[0]


async def test_tcp_is_stolen_and_udp_mirrored(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        gate = await begun(stage, runner, bridge, HTTP, DNS)
        assert gate.wants[-1].rules == (Rule(1, 0, 80, 8080),)
        assert await heard(runner) == Mirroring(0, (DNS,))
        assert stage.engine.mirrored == [(1, 0, (DNS,))]
        gate.applies()
        assert await heard(runner) == Stealing(0, (HTTP,))
        gate.says(Counts(1, 80, 7, 4, 4, 0, 0, "GET / HTTP/1.1"))
        assert await heard(runner) == Stolen(0, 80, 7, 4, 4, 0, 0, "GET / HTTP/1.1")


async def test_who_lets_go_is_answered_when_the_app_has_answered(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        gate = await begun(stage, runner, bridge, HTTP)
        gate.applies()
        assert await heard(runner) == Stealing(0, (HTTP,))
        stage.engine.waits = [0, 2, 3]
        asked = asyncio.create_task(runner.call(LetGo(0, 5000)))
        await until(lambda: not gate.wants[-1].rules)
        assert not gate.drained
        gate.applies()
        await asyncio.wait_for(asked, 5)
        assert not stage.engine.waits
        assert stage.engine.hushed == [1]
        assert gate.drained == [600]


async def test_the_end_of_a_session_is_the_end_of_its_claims(stage: Stage) -> None:
    async with await stage.control(founder=True) as runner, await stage.control() as bridge:
        await stage.data()
        gate = await begun(stage, runner, bridge, HTTP)
        gate.applies()
        await runner.close("over")
        await until(lambda: gate.drained)


async def test_without_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, NarrowWarrants()) as stage, await stage.founder() as runner:
        with pytest.raises(CallFailed) as failed:
            await runner.call(Steal(0))
        assert failed.value.reason == "no stealing: you lack create mirrorsessions/steal in shop"


class Vouched(NarrowWarrants):
    """Knows who a session was given to, as an API server does."""

    async def warrant(self, hello: Hello) -> Warrant:
        given = await super().warrant(hello)
        given.rights, given.author = RIGHTS, "anna"
        return given


@pytest.mark.parametrize(("warrants", "who"), [(Vouched(), "anna"), (None, "mallory")])
async def test_whose_it_is_is_said_by_who_knows(
    monkeypatch: pytest.MonkeyPatch, warrants: NarrowWarrants | None, who: str
) -> None:
    """Others read it in the table, and in refusals: not what a founder calls himself, where somebody vouches."""
    async with staged(monkeypatch, warrants) as stage:
        async with await stage.founder(author="mallory") as runner, await stage.control() as bridge:
            await stage.data()
            gate = await begun(stage, runner, bridge, HTTP)
            assert f"is stolen by {who} since" in gate.comment
        await until(lambda: gate.drained)
        gate.ended(gate, "")


async def looked(stage: Stage, *says: Said, why: str = "") -> StealingLooked:
    """What a session is told that only looks; its gate says this, and ends."""
    async with await stage.founder() as runner:
        await runner.call(Attach(0, 0, CONTAINER))
        played.FOUND[-1].netns = os.open("/proc/self/ns/net", os.O_RDONLY)
        asked = asyncio.create_task(runner.call(LookAtStealing(0, 0)))
        await until(lambda: MADE)
        (gate,) = MADE
        for one in says:
            gate.says(one)
        assert not gate.wants
        gate.ended(gate, why)
        MADE.clear()
        told = await asked
        assert isinstance(told, StealingLooked)
        return told


async def test_a_look_makes_a_gate_that_steals_nothing(stage: Stage) -> None:
    told = await looked(stage, Ready(4000), Drained(0))
    assert (told.refused, told.taken) == ("", "")


async def test_a_look_says_what_stands_in_the_way(stage: Stage) -> None:
    told = await looked(stage, Failed(95, "stealing needs Linux 5.12"), why="stealing needs Linux 5.12")
    assert (told.refused, told.taken) == ("stealing needs Linux 5.12", "")
    told = await looked(stage, Failed(17, "cart is stolen by anna"), why="cart is stolen by anna")
    assert (told.refused, told.taken) == ("", "cart is stolen by anna")


async def test_a_look_where_this_agent_steals(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        gate = await begun(stage, runner, bridge, HTTP)
        told = await runner.call(LookAtStealing(0, 0))
        assert isinstance(told, StealingLooked)
        assert told.taken == gate.comment
        with pytest.raises(CallFailed, match="there is no target 7"):
            await runner.call(LookAtStealing(0, 7))
    await until(lambda: gate.drained)


async def test_a_look_without_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(monkeypatch, NarrowWarrants()) as stage, await stage.founder() as runner:
        with pytest.raises(CallFailed, match="no stealing: you lack create mirrorsessions/steal in shop"):
            await runner.call(LookAtStealing(0, 0))


async def test_a_port_whose_probe_only_connects_is_stolen_while_the_target_listens(stage: Stage) -> None:
    """Whoever else names it: the gate would accept in the target's place."""
    declared = AppPort(Proto.TCP, 8080, 80, declared=True)
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        gate = await begun(stage, runner, bridge, declared)
        gate.applies()
        await runner.call(Steal(0, probes=(Probe(80, 1),)))
        await until(lambda: gate.wants[-1].probes)
        assert gate.wants[-1].rules
        played.FOUND[-1].listens = frozenset()
        await until(lambda: not gate.wants[-1].rules)
        await runner.call(Steal(0, probes=(Probe(80, 1),), steal_probes=True))
        await until(lambda: bool(gate.wants[-1].rules))
