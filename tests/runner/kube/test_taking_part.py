"""Steps of following carried out on agents and a bridge of this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from links.handshake import adopt
from links.link import Link
from runner.kube import agent_side, founding
from runner.kube.agents import AgentPod
from runner.kube.followed_core import Followed
from runner.kube.founding import Founding
from runner.kube.pod import Pod
from runner.kube.reach import Reach
from runner.kube.taking_part import TakingPart
from runner.screen import Screen
from runner.telling import MirroredLine
from wire import messages as m

from .fakes import FakeAgents, pod


@dataclass
class FakeLegs:
    """``log`` is what was asked of it."""

    log: list[str] = field(default_factory=list)

    async def add(self, number: int, agent: AgentPod) -> str:
        self.log.append(f"add {number} {agent.key}")
        return f"/agents/{number}.sock"

    def move(self, number: int, agent: AgentPod) -> None:
        self.log.append(f"move {number} {agent.key}")

    async def remove(self, number: int) -> None:
        self.log.append(f"remove {number}")


class FakeBridge:
    """The bridge's end of the link: it does everything, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[m.Message] = []
        self._changed = asyncio.Event()

    async def serve(self, link: Link) -> None:
        async for question in link.incoming():
            self.asked.append(question)
            await link.send(m.Done(cast("Any", question).call))
            self._changed.set()

    async def until(self, *wanted: m.Message) -> None:
        """All of these were asked (whatever their number)."""
        while not {_uncalled(one) for one in wanted} <= {_uncalled(one) for one in self.asked}:
            self._changed.clear()
            await self._changed.wait()


def _uncalled(message: m.Message) -> m.Message:
    return replace(message, call=0)  # type: ignore[call-arg]


class Heard(Screen):
    """A screen whose lines can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: asyncio.Queue[str] = asyncio.Queue()

    def notice(self, text: str) -> None:
        self.lines.put_nowait(text)

    def warn(self, text: str) -> None:
        self.lines.put_nowait(text)


@dataclass
class Stage:
    agents: FakeAgents
    legs: FakeLegs
    bridge: FakeBridge
    screen: Heard
    followed: Followed
    part: TakingPart
    link: Link

    async def begin(self, *pods: Pod) -> m.Identity:
        found = await self.part.begin(self.followed.first(pods))
        self.part.bridged(self.link)
        self.part.reach.configured.set()
        return found

    def saw(self, one: Pod) -> None:
        self.part.carry_out(self.followed.saw(one))

    def gone(self, one: Pod) -> None:
        self.part.carry_out(self.followed.gone(one.uid))

    def told(self, key: str) -> dict[int, str]:
        return self.agents.made[key].attached


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    agents, screen, legs, bridge = FakeAgents(tmp_path), Heard(), FakeLegs(), FakeBridge()
    monkeypatch.setattr(founding, "forward", agents.forward)
    followed = Followed("deploy/cart")
    mirrored = MirroredLine(screen, "deploy/cart")
    part = TakingPart(
        agents,
        Founding(cast("Any", None), "ann"),
        screen,
        followed,
        Reach(legs, screen.warn),
        mirrored,
        lambda identity: identity,
    )
    ours, theirs = socket.socketpair()
    for one in (ours, theirs):
        one.setblocking(False)
    async with (
        Link(*await adopt(ours), name="the bridge") as link,
        Link(*await adopt(theirs), name="the runner") as far,
    ):
        serving = asyncio.create_task(bridge.serve(far))
        yield Stage(agents, legs, bridge, screen, followed, part, link)
        await part.close()
        serving.cancel()
    await agents.close()


async def test_all_are_attached_and_the_bridge_is_told_the_further_agents(stage: Stage) -> None:
    found = await stage.begin(pod("x", "a"), pod("y", "b"), pod("z", "a"))
    assert found.hostname == "id-x"
    assert stage.told("on-a") == {0: "id-x", 2: "id-z"}
    assert stage.told("on-b") == {1: "id-y"}
    await stage.bridge.until(m.AddAgent(0, 1, "/agents/1.sock"))
    assert stage.legs.log == ["add 1 on-b"]


async def test_the_bridge_is_told_nothing_before_it_is_configured(stage: Stage) -> None:
    x, y = pod("x", "a"), pod("y", "b")
    await stage.begin(x, y)
    stage.part.reach.configured.clear()
    stage.gone(x)
    await stage.agents.made["on-a"].until(m.Detach, 1)
    assert not stage.bridge.asked
    stage.part.reach.configured.set()
    await stage.bridge.until(m.RemoveAgent(0, 0))


async def test_a_pod_on_a_new_node_brings_an_agent(stage: Stage) -> None:
    await stage.begin(pod("x", "a"))
    stage.saw(pod("y", "b"))
    assert await stage.screen.lines.get() == "y is new, and takes part"
    assert stage.told("on-b") == {1: "id-y"}
    await stage.bridge.until(m.AddAgent(0, 1, "/agents/1.sock"))


async def test_two_that_come_to_one_node_share_its_agent(stage: Stage) -> None:
    await stage.begin(pod("x", "a"))
    stage.saw(pod("y", "b"))
    stage.saw(pod("z", "b"))
    said = {await stage.screen.lines.get(), await stage.screen.lines.get()}
    assert said == {"y is new, and takes part", "z is new, and takes part"}
    assert stage.told("on-b") == {1: "id-y", 2: "id-z"}
    assert len(stage.agents.made["on-b"].hellos) == 1


async def test_when_the_primary_goes_the_bridge_is_retargeted_and_its_agent_let_go(stage: Stage) -> None:
    x, y = pod("x", "a"), pod("y", "b")
    await stage.begin(x, y)
    stage.gone(x)
    await stage.bridge.until(m.RemoveAgent(0, 0))
    asked = [_uncalled(one) for one in stage.bridge.asked]
    retarget = m.Retarget(0, m.Identity("id-y", (), b"", b""), 1, 1)
    assert asked.index(retarget) > asked.index(m.AddAgent(0, 1, "/agents/1.sock"))
    assert asked.index(retarget) < asked.index(m.RemoveAgent(0, 0))
    await stage.agents.until_kept("uid-y")
    assert stage.legs.log[-1] == "remove 0"


async def test_while_nobody_is_left_the_last_agent_stays(stage: Stage) -> None:
    x = pod("x", "a")
    await stage.begin(x)
    stage.gone(x)
    assert "no pod of deploy/cart is left" in await stage.screen.lines.get()
    await stage.agents.made["on-a"].until(m.Detach, 1)
    await stage.agents.until_kept("uid-x")
    assert not stage.bridge.asked
    stage.saw(pod("y", "b"))
    await stage.bridge.until(m.Retarget(0, m.Identity("id-y", (), b"", b""), 1, 1), m.RemoveAgent(0, 0))


async def test_a_container_that_is_restarted_is_attached_again(stage: Stage) -> None:
    await stage.begin(pod("x", "a"), pod("y", "a"))
    stage.saw(pod("y", "a", container="id-new"))
    assert await stage.screen.lines.get() == "y is back, and followed"
    assert stage.told("on-a") == {0: "id-x", 1: "id-new"}
    assert not stage.bridge.asked


async def test_a_pod_that_cannot_be_attached_is_said_and_the_rest_goes_on(stage: Stage) -> None:
    await stage.begin(pod("x", "a"))
    stage.saw(pod("y", "b", container="broken"))
    assert await stage.screen.lines.get() == "following y: there is no container broken"
    stage.saw(pod("z", "b"))
    assert await stage.screen.lines.get() == "z is new, and takes part"


async def test_when_the_primary_s_agent_is_given_up_another_leads(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_side, "PATIENCE", 0)
    await stage.begin(pod("x", "a"), pod("y", "b"))
    lost = stage.agents.made["on-a"]
    lost.dead = True
    lost.cut()
    await stage.bridge.until(m.Retarget(0, m.Identity("id-y", (), b"", b""), 1, 1))
    lost.dead = False
    await lost.until(m.Hello, 2)
    lines = [await stage.screen.lines.get() for _ in range(4)]
    assert lines[2] == "the way out is through y now"
    assert lines[3].startswith("link to node a is back")
    assert stage.followed.primary == 1


async def test_when_all_agents_are_out_of_reach_the_primary_stays(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_side, "PATIENCE", 1)  # longer than it takes to hear of both cuts
    await stage.begin(pod("x", "a"), pod("y", "b"))
    for one in stage.agents.made.values():
        one.dead = True
        one.cut()
    lines = [await stage.screen.lines.get() for _ in range(4)]
    assert sum("is still cut" in line for line in lines) == 2
    for one in stage.agents.made.values():
        one.dead = False
    lines = [await stage.screen.lines.get() for _ in range(2)]
    assert all("is back" in line for line in lines)
    assert stage.followed.primary == 0
    assert not [one for one in stage.bridge.asked if isinstance(one, m.Retarget)]


async def test_after_a_successor_mirroring_is_said_again_and_the_way_is_back_when_the_bridge_has_it(
    stage: Stage,
) -> None:
    """With several pods followed, of which others were mirrored all the while."""
    await stage.begin(pod("x", "a"), pod("y", "b"))
    await stage.bridge.until(m.AddAgent(0, 1, "/agents/1.sock"))
    web = (m.AppPort(m.Proto.TCP, 8080, 8080),)
    for index, agent in enumerate(stage.agents.made.values()):
        await agent.tell(m.Mirroring(index, web))
    assert await stage.screen.lines.get() == "mirroring 8080 of deploy/cart (2 containers)"
    stage.agents.heirs["on-b"] = heir = await stage.agents.agent("heir", "b")
    lost = stage.agents.made["on-b"]
    lost.dead = True
    lost.cut()
    assert (await stage.screen.lines.get()).startswith("link to node b cut")
    await stage.agents.made[heir.key].until(m.Attach, 1)
    stage.part.linked(m.LinkBack(1, data=True))
    await stage.agents.made[heir.key].tell(m.Mirroring(1, web))
    assert await stage.screen.lines.get() == "mirroring 8080 of deploy/cart (2 containers)"
    assert stage.screen.lines.empty(), "the bridge's control link is not back"
    stage.part.linked(m.LinkBack(1, data=False))
    assert await stage.screen.lines.get() == "link to node b is back, its connections were reset"


async def test_counters_are_everybodys_also_of_those_that_left(stage: Stage) -> None:
    x, y = pod("x", "a"), pod("y", "b")
    await stage.begin(x, y)
    stage.agents.made["on-a"].counters = m.Counters(connections=2, bytes=10)
    stage.agents.made["on-b"].counters = m.Counters(connections=5, bytes=1)
    assert await stage.part.counters() == m.Counters(connections=7, bytes=11)
    stage.gone(y)
    await stage.bridge.until(m.RemoveAgent(0, 1))
    assert await stage.part.counters() == m.Counters(connections=7, bytes=11)


async def test_the_end_says_goodbye_everywhere(stage: Stage) -> None:
    await stage.begin(pod("x", "a"), pod("y", "b"))
    links = [agent._links[0] for agent in stage.agents.made.values()]
    await stage.part.close()
    assert [await link.ended for link in links] == ["the session is over"] * 2


async def test_who_is_being_prepared_keeps_its_agent_when_the_primary_goes(stage: Stage) -> None:
    """Its agent is being made: were it ended now, the pod would be followed seconds after it is ready."""
    x, y = pod("x", "a"), pod("y", "a")
    await stage.begin(x, y)
    stage.saw(replace(pod("z", "b"), ready=False, container_id=""))
    stage.gone(x)
    await stage.agents.until_kept("uid-y", "uid-z")


async def test_an_agent_that_does_not_answer_yet_holds_up_nobodys_leaving(stage: Stage) -> None:
    x, y = pod("x", "a"), pod("y", "b")
    await stage.begin(x, y)
    await stage.agents.agent("on-c", "c")
    stage.agents.made["on-c"].dead = True
    stage.saw(pod("z", "c"))
    stage.gone(x)
    await stage.bridge.until(m.RemoveAgent(0, 0))
