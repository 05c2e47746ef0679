"""The bridge with several agents, over links that are cut: what it says to them, to its engine and to its runner.

Agents and engine are played; the daemon is as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from links.link import CallFailed
from tests.net.layer.stage import OWN, FakeAgent, Stage
from wire.messages import (
    AddAgent,
    Address,
    AppListens,
    AppPort,
    Configured,
    Done,
    FilesMode,
    Identity,
    LinkBack,
    LinkKind,
    LinkLost,
    Listening,
    Port,
    RemoveAgent,
    Retarget,
)

pytestmark = pytest.mark.net

NOW = Listening((AppPort(6, 80, 80),))


@contextlib.asynccontextmanager
async def further(path: Path) -> AsyncIterator[FakeAgent]:
    """One more agent, behind a socket of its own."""
    agent = FakeAgent(str(path))
    serving = asyncio.create_task(agent.run())
    await asyncio.sleep(0)  # it listens
    try:
        yield agent
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def soon(queue: asyncio.Queue[object]) -> object:
    async with asyncio.timeout(5):
        return await queue.get()


async def listening(stage: Stage) -> None:
    """Configured with links that keep, and the app listens."""
    assert isinstance(await stage.runner.call(stage.configure(keeps=True)), Configured)
    stage.report("listening", [[6, 80, False, 10]])
    assert await stage.told() == AppListens((Port(6, 80),))


async def test_every_agent_is_told_what_the_app_listens_on(stage: Stage, tmp_path: Path) -> None:
    await listening(stage)
    async with further(tmp_path / "1.sock") as second:
        assert isinstance(await stage.runner.call(AddAgent(0, 1, second.path)), Done)
        assert await soon(second.heard) == NOW
        assert {hello.kind for hello in second.hellos} == {LinkKind.CONTROL, LinkKind.DATA}
        assert [hello.keeps for hello in second.hellos if hello.kind == LinkKind.DATA] == [True]
        stage.report("listening", [])
        for agent, said in ((stage.agent, [Listening(()), NOW, Listening(())]), (second, [Listening(())])):
            assert [await soon(agent.heard) for _ in said] == said


async def test_new_connections_go_where_the_primary_is(stage: Stage, tmp_path: Path) -> None:
    await listening(stage)
    assert (await stage.called("link_primary"))[1:] == [1, 0]
    async with further(tmp_path / "1.sock") as second:
        await stage.runner.call(AddAgent(0, 1, second.path))
        assert (await stage.called("link_add"))[1:] == [2, True]
        other = Identity("api-2", (Address(socket.inet_aton("198.18.5.9"), 16),), b"", b"")
        assert isinstance(await stage.runner.call(Retarget(0, other, 1, 7)), Done)
        assert (await stage.called("link_primary"))[1:] == [2, 7]
        # The former primary's link, should it be made anew, is not the primary's any more; the new one's is again.
        stage.report("link-gone", 1, "cut")
        assert (await stage.called("link_del"))[1:] == [1]
        assert (await stage.called("link_add"))[1:] == [3, True]
        stage.report("link-gone", 2, "cut")
        assert (await stage.called("link_del"))[1:] == [2]
        assert (await stage.called("link_add"))[1:] == [4, True]
        assert (await stage.called("link_primary"))[1:] == [4, 7]


async def test_an_agent_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    await listening(stage)
    with pytest.raises(CallFailed, match=r"the agent: .*nowhere: No such file"):
        await stage.runner.call(AddAgent(0, 1, str(tmp_path / "nowhere")))
    with pytest.raises(CallFailed, match="there is no agent 1"):
        await stage.runner.call(Retarget(0, Identity("api", (OWN,), b"", b""), 1, 0))
    assert isinstance(await stage.runner.call(RemoveAgent(0, 1)), Done)


async def test_one_that_is_removed_is_not_dialled_again(stage: Stage, tmp_path: Path) -> None:
    await listening(stage)
    async with further(tmp_path / "1.sock") as second:
        await stage.runner.call(AddAgent(0, 1, second.path))
        control = await soon(second.controls)
        assert isinstance(await stage.runner.call(RemoveAgent(0, 1)), Done)
        assert (await stage.called("link_del"))[1:] == [2]
        async with asyncio.timeout(5):
            await control.ended  # type: ignore[attr-defined]
        assert len(second.hellos) == 2
        # And may come back under the same number.
        await stage.runner.call(AddAgent(0, 1, second.path))
        assert (await stage.called("link_add"))[1:] == [3, True]


async def test_one_that_says_nothing_holds_up_nobody(stage: Stage, tmp_path: Path) -> None:
    """Its tunnel may still have to be made."""
    await listening(stage)
    async with further(tmp_path / "1.sock") as second:
        second.answers = False
        adding = asyncio.create_task(stage.runner.call(AddAgent(0, 1, second.path)))
        same = Identity("api", (OWN,), b"", b"")
        assert isinstance(await stage.runner.call(Retarget(0, same, 0, 0)), Done)
        assert not adding.done()
        assert isinstance(await stage.runner.call(RemoveAgent(0, 1)), Done)
        with pytest.raises(CallFailed, match="not wanted any more"):
            await adding


async def test_a_cut_data_link_is_resumed(stage: Stage) -> None:
    await listening(stage)
    stage.agent.resumes = 4321
    stage.report("link-cut", 1, "reset by peer")
    assert await stage.told() == LinkLost("the agent's data link: reset by peer", 0, data=True)
    assert (await stage.called("link_resume"))[1:] == [1, 4321]
    assert await stage.told() == LinkBack(0, data=True, resumed=True)
    last = stage.agent.hellos[-1]
    assert (last.resumes, last.received, last.keeps) == (True, 1000, True)
    # And once more.
    stage.report("link-cut", 1, "again")
    assert await stage.told() == LinkLost("the agent's data link: again", 0, data=True)
    assert (await stage.called("link_resume"))[1:] == [1, 4321]


async def test_an_agent_that_knows_nothing_of_it_gets_a_new_link(stage: Stage) -> None:
    await listening(stage)
    stage.report("link-cut", 1, "the agent's pod is another")
    assert isinstance(await stage.told(), LinkLost)
    assert (await stage.called("link_del"))[1:] == [1]
    assert (await stage.called("link_add"))[1:] == [2, True]
    assert (await stage.called("link_primary"))[1:] == [2, 0]
    assert await stage.told() == LinkBack(0, data=True, resumed=False)
    assert stage.agent.hellos[-1].resumes


async def test_what_does_not_keep_is_not_resumed(stage: Stage) -> None:
    await stage.runner.call(stage.configure())
    stage.agent.resumes = 4321
    stage.report("link-gone", 1, "cut")
    assert isinstance(await stage.told(), LinkLost)
    assert await stage.told() == LinkBack(0, data=True, resumed=False)
    last = stage.agent.hellos[-1]
    assert (last.resumes, last.keeps) == (False, False)


async def test_each_cut_is_told_once(stage: Stage) -> None:
    """However often it dials in vain."""
    await listening(stage)
    control = await soon(stage.agent.controls)
    stage.agent.refuses = True
    await control.close()  # type: ignore[attr-defined]
    lost = await stage.told()
    assert isinstance(lost, LinkLost)
    assert (lost.agent, lost.data) == (0, False)
    dialled = len(stage.agent.hellos)
    async with asyncio.timeout(10):
        while len(stage.agent.hellos) < dialled + 4:  # noqa: ASYNC110 the agent's end is played, it has no event
            await asyncio.sleep(0.01)
    stage.agent.refuses = False
    assert await stage.told() == LinkBack(0, data=False)


async def with_files(stage: Stage) -> None:
    """Configured, and a Configured says so: links that keep, and the target's files."""
    assert isinstance(await stage.runner.call(stage.configure(keeps=True, files=FilesMode.READ)), Configured)


async def test_files_have_a_link_of_their_own(stage: Stage) -> None:
    """Which is resumed as the other is; the runner, who tells of connections, is told nothing of it."""
    await with_files(stage)
    assert {hello.kind for hello in stage.agent.hellos} == set(LinkKind)
    assert (await stage.called("files_link_add"))[1:] == [2, True]
    assert (await stage.called("link_primary"))[1:] == [1, 0, "no files"]
    assert (await stage.called("link_primary"))[1:] == [2, 0]
    stage.agent.resumes = 4321
    stage.report("link-cut", 2, "reset by peer")
    assert (await stage.called("link_resume"))[1:] == [2, 4321]
    last = stage.agent.hellos[-1]
    assert (last.kind, last.resumes, last.received, last.keeps) == (LinkKind.FILES, True, 2000, True)
    stage.report("link-cut", 1, "reset by peer")
    assert await stage.told() == LinkLost("the agent's data link: reset by peer", 0, data=True)


async def test_files_of_an_agent_without_such_a_link_go_by_the_other(stage: Stage) -> None:
    """Until an agent that has one takes its place."""
    stage.agent.has_files = False
    await with_files(stage)
    assert (await stage.called("link_primary"))[1:] == [1, 0]
    stage.agent.has_files = True
    stage.report("link-gone", 1, "the agent's pod is another")
    assert (await stage.called("link_add"))[1:] == [2, True]
    assert (await stage.called("link_primary"))[1:] == [2, 0]
    assert (await stage.called("files_link_add"))[1:] == [3, True]
    assert (await stage.called("link_primary"))[1:] == [2, 0, "no files"]
    assert (await stage.called("link_primary"))[1:] == [3, 0]
    # And one without takes its place.
    stage.agent.has_files = False
    stage.report("link-gone", 3, "the agent's pod is another")
    assert (await stage.called("link_primary"))[1:] == [2, 0]
