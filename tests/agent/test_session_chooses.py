"""A session that mirrors by filter: what its runner asks, what the engine is told, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgpack
import pytest

from agent import chosen
from links.link import CallFailed, Link
from tests.agent import stage as played
from tests.agent.stage import CONTAINER, Stage, staged
from tests.agent.test_server import HTTP, heard, until
from wire.messages import (
    Attach,
    Choose,
    Chosen,
    Condition,
    CountersAre,
    Filter,
    GetCounters,
    Listening,
    Mirroring,
    Port,
    Proto,
)

pytestmark = pytest.mark.native

MINE = (Filter((Condition(0, "^x: 1$"), Condition(2, "^GET$"))), Filter((Condition(1, "/b"),)))
PACKED = msgpack.packb([[[0, "^x: 1$"], [2, "^GET$"]], [[1, "/b"]]])


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(chosen, "TELLS_EVERY", 0.0)
    async with staged(monkeypatch) as made:
        yield made


async def mirrors(stage: Stage, runner: Link, bridge: Link) -> None:
    await runner.call(Attach(0, 0, CONTAINER))
    played.FOUND[-1].listens = frozenset({Port(Proto.TCP, 80)})
    await bridge.send(Listening((HTTP,)))
    assert await heard(runner) == Mirroring(0, (HTTP,))
    assert stage.engine.mirrored[-1] == (1, 0, (HTTP,))


async def test_filters_reach_the_engine_and_ports_are_said_anew(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        await mirrors(stage, runner, bridge)
        await runner.call(Choose(0, MINE))
        assert stage.engine.chosen == [(1, PACKED)]
        assert await heard(runner) == Mirroring(0, (HTTP,))
        assert len(stage.engine.mirrored) == 2
        await runner.call(Choose(0, MINE))  # as after a link that was lost
        assert len(stage.engine.chosen) == 1
        await runner.call(Choose(0))
        assert stage.engine.chosen[-1] == (1, b"")


async def test_what_they_saw_is_told_and_goes_on_counting(stage: Stage) -> None:
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        await runner.call(Choose(0, MINE))
        await mirrors(stage, runner, bridge)
        stage.engine.saw = [Chosen(0, 80, 5, 2, last="GET /a HTTP/1.1")]
        assert await heard(runner) == stage.engine.saw[0]
        stage.engine.saw = [Chosen(0, 80, 1, 1, tls=1, last="GET /b HTTP/1.1")]  # by another data link
        assert await heard(runner) == Chosen(0, 80, 6, 3, tls=1, last="GET /b HTTP/1.1")


async def test_the_last_counts_come_before_the_sum(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "TELLS_EVERY", 3600.0)
    async with await stage.founder() as runner, await stage.control() as bridge:
        await stage.data()
        await runner.call(Choose(0, MINE))
        await mirrors(stage, runner, bridge)
        stage.engine.saw = [Chosen(0, 80, 5, 2)]
        assert isinstance(await runner.call(GetCounters(0)), CountersAre)
        assert await heard(runner) == Chosen(0, 80, 5, 2)


async def test_a_filter_that_is_refused(stage: Stage) -> None:
    async with await stage.founder() as runner:
        stage.engine.refuses = 'the regular expression "(" is refused: missing )'
        with pytest.raises(CallFailed) as failed:
            await runner.call(Choose(0, MINE))
        assert failed.value.reason == stage.engine.refuses
        stage.engine.refuses = ""
        await runner.call(Choose(0, MINE))
        await until(lambda: stage.engine.chosen)
