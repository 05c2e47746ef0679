"""The runner's side of one agent through cuts, agents that forgot, and successors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from links.link import CallFailed
from runner.errors import Refusal
from runner.kube import founding
from runner.kube.agent_side import AgentSide
from runner.kube.agents import AgentPod
from runner.kube.founding import Founding
from wire import messages as m

from .fakes import FakeAgent, FakeAgents, pod

NOBODY = Founding(cast("Any", None), "")

CUT = "link to node a cut: connections wait up to 60 s"


@dataclass
class Scene:
    agents: FakeAgents
    side: AgentSide
    first: FakeAgent
    said: asyncio.Queue[str]
    heard: asyncio.Queue[m.Message]
    moved: list[AgentPod] = field(default_factory=list)


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    agents = FakeAgents(tmp_path)
    monkeypatch.setattr(founding, "forward", agents.forward)
    said: asyncio.Queue[str] = asyncio.Queue()
    heard: asyncio.Queue[m.Message] = asyncio.Queue()
    moved: list[AgentPod] = []
    where = await agents.agent("one", "a")
    theirs = Founding(cast("Any", None), "ann", 5)
    side = AgentSide(0, where, agents, theirs, heard.put_nowait, said.put_nowait, moved.append)
    await side.open()
    keeping = asyncio.create_task(side.keep())
    yield Scene(agents, side, agents.made["one"], said, heard, moved)
    keeping.cancel()
    await side.close()
    await agents.close()


async def test_it_founds_the_session_and_asks_for_patience(scene: Scene) -> None:
    (hello,) = scene.first.hellos
    assert (hello.session, hello.secret, hello.author) == ("s1", b"x" * 32, "ann")
    assert hello.founder
    assert (hello.patience, hello.resumes, hello.mirror_rate) == (60, False, 5)


async def test_notices_are_heard(scene: Scene) -> None:
    await scene.first.tell(m.TargetGone(3))
    assert await scene.heard.get() == m.TargetGone(3)


async def test_a_session_taken_over_is_not_attached_again(scene: Scene) -> None:
    await scene.side.attach(0, pod("x"))
    scene.first.cut()
    assert await scene.said.get() == CUT
    assert await scene.said.get() == "link to node a is back, nothing was lost"
    assert scene.first.hellos[1].resumes
    await scene.side.attach(1, pod("y"))
    assert [one.target for one in scene.first.asked if isinstance(one, m.Attach)] == [0, 1]


async def test_an_agent_that_forgot_is_told_everything_again(scene: Scene) -> None:
    await scene.side.attach(0, pod("x"))
    await scene.side.attach(2, pod("y"))
    scene.first.counters = m.Counters(connections=3)
    assert (await scene.side.counters()).connections == 3
    scene.first.forget()
    scene.first.counters = m.Counters(connections=4)
    scene.first.cut()
    assert await scene.said.get() == CUT
    assert await scene.said.get() == "link to node a is back, its connections were reset"
    assert scene.first.attached == {0: "id-x", 2: "id-y"}
    assert (await scene.side.counters()).connections == 7
    assert {scene.heard.get_nowait() for _ in range(2)} == {m.TargetGone(0), m.TargetGone(2)}


async def test_a_successor_is_found_and_told_everything(scene: Scene) -> None:
    await scene.side.attach(0, pod("x"))
    heir = await scene.agents.agent("two", "a")
    scene.agents.heirs["one"] = heir
    scene.first.dead = True
    scene.first.cut()
    await scene.said.get()
    assert await scene.said.get() == "link to node a is back, its connections were reset"
    assert scene.moved == [heir]
    assert scene.agents.made["two"].attached == {0: "id-x"}


async def test_an_agent_that_takes_a_link_and_says_nothing_is_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pod is just going: the port-forward is taken, and never served."""
    monkeypatch.setattr(founding, "ANSWERS_WITHIN", 0.1)
    scene.agents.heirs["one"] = await scene.agents.agent("two", "a")
    scene.first.silent = True
    scene.first.cut()
    assert await scene.said.get() == CUT
    assert await scene.said.get() == "link to node a is back, its connections were reset"
    assert len(scene.first.hellos) == 2


async def test_a_way_is_not_back_before_the_bridge_has_both_its_links(scene: Scene) -> None:
    """The successor knows nothing of the bridge yet: its links come a moment later, and are waited for."""
    words = scene.side.words
    words.bridged()
    scene.agents.heirs["one"] = await scene.agents.agent("two", "a")
    scene.first.dead = True
    scene.first.cut()
    assert await scene.said.get() == CUT
    await scene.side.attach(0, pod("x"))  # is answered by the successor
    assert scene.said.empty()
    scene.side.told(words.data_back(resumed=False))
    assert scene.said.empty()
    scene.side.told(words.control_back())
    assert scene.said.get_nowait() == "link to node a is back, its connections were reset"


async def test_what_is_asked_during_a_cut_waits(scene: Scene) -> None:
    scene.first.dead = True
    scene.first.cut()
    assert await scene.said.get() == CUT
    asking = asyncio.create_task(scene.side.attach(1, pod("x")))
    scene.first.dead = False
    assert (await asking).target == 1


async def test_what_is_gone_during_a_cut_is_not_attached_again(scene: Scene) -> None:
    await scene.side.attach(0, pod("x"))
    scene.first.dead = True
    scene.first.cut()
    assert await scene.said.get() == CUT
    assert not await scene.side.forget(0)
    scene.first.forget()
    scene.first.dead = False
    assert (await scene.said.get()).endswith("reset")
    assert scene.first.attached == {}


async def test_an_agent_that_cannot_attach_says_why(scene: Scene) -> None:
    with pytest.raises(CallFailed, match="no container broken"):
        await scene.side.attach(0, pod("x", container="broken"))


async def test_an_agent_that_does_not_take_the_session_back(scene: Scene) -> None:
    scene.first.says_no = "somebody deleted it"
    scene.first.cut()
    assert await scene.said.get() == CUT
    assert "does not take the session back (somebody deleted it)" in await scene.said.get()
    scene.first.says_no = ""
    assert (await scene.said.get()).endswith("its connections were reset")


async def test_an_agent_that_says_no_at_first_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = FakeAgents(tmp_path)
    monkeypatch.setattr(founding, "forward", agents.forward)
    where = await agents.agent("one", "a")
    agents.made["one"].says_no = "nobody judged it"
    side = AgentSide(0, where, agents, NOBODY, lambda _: None, lambda _: None)
    with pytest.raises(Refusal, match="nobody judged it"):
        await side.open()
    assert len(agents.made["one"].hellos) == 1
    await agents.close()


async def test_an_orderly_end_says_goodbye(scene: Scene) -> None:
    await scene.side.close("the session is over")
    link = scene.first._links[0]
    assert await link.ended == "the session is over"


async def test_it_waits_for_a_program_that_does_not_listen_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = FakeAgents(tmp_path)
    monkeypatch.setattr(founding, "forward", agents.forward)
    agents.made["late"] = late = FakeAgent(tmp_path / "late")
    where = AgentPod("late", "a", "agents", "late", 7)
    side = AgentSide(0, where, agents, NOBODY, lambda _: None, lambda _: None)
    opening = asyncio.create_task(side.open())
    await asyncio.sleep(0)
    await late.listen()
    await opening
    assert len(late.hellos) == 1
    await side.close()
    await late.close()
