"""An agent in this process, and how a session comes to it: what is said to it is kept, and its links can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from links.link import Link
from runner.errors import Refusal
from runner.kube.agents import AgentPod, FounderSays
from runner.kube.errors import KubeError
from runner.kube.pod import Pod
from runner.kube.portforward import Forward
from wire import frames
from wire import messages as m


def pod(name: str, node: str = "a", container: str = "") -> Pod:
    """A ready one."""
    return Pod("shop", name, f"uid-{name}", node, "web", container or f"id-{name}", ready=True, ending=False)


def identity(container: str) -> m.Identity:
    return m.Identity(container, (), b"", b"")


class FakeAgent:
    """Serves a Unix socket. ``attached`` is what the session there knows, ``hellos`` and ``asked`` what was said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hellos: list[m.Hello] = []
        self.asked: list[m.Message] = []
        self.attached: dict[int, str] = {}
        self.counters = m.Counters()
        self.founded = False
        self.dead = False
        self.says_no = ""
        self.silent = False
        self._links: list[Link] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """The links break off without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def forget(self) -> None:
        """The session's patience was over, or another process has taken this one's place."""
        self.founded, self.attached = False, {}

    async def until(self, kind: type[m.Message], count: int) -> None:
        """That many of this kind were asked, Hellos among them."""
        while sum(isinstance(one, kind) for one in [*self.hellos, *self.asked]) < count:
            self._changed.clear()
            await self._changed.wait()

    async def tell(self, message: m.Message) -> None:
        await self._links[-1].send(message)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        length = frames.length_of(await reader.readexactly(4), frames.FIRST_FRAME)
        hello = frames.unpack(await reader.readexactly(length))
        assert isinstance(hello, m.Hello)
        self.hellos.append(hello)
        if self.silent:
            return
        if self.says_no:
            writer.write(frames.pack(m.Goodbye(self.says_no)))
            writer.close()
            return
        writer.write(frames.pack(m.Welcome(m.PROTOCOL, "fake", resumed=self.founded)))
        self.founded = True
        async with Link(reader, writer, name="the runner") as link:
            self._links.append(link)
            self._changed.set()
            async for question in link.incoming():
                self.asked.append(question)
                await link.send(self._answer(question))
                self._changed.set()

    def _answer(self, question: m.Message) -> m.Message:
        match question:
            case m.Attach(call, index, container) if container.startswith("broken"):
                return m.Failure(call, f"there is no container {container}")
            case m.Attach(call, index, container):
                self.attached[index] = container
                return m.Attached(call, index, 1, identity(container))
            case m.Detach(call, index):
                self.attached.pop(index, None)
                return m.Done(call)
            case m.GetCounters(call):
                return m.CountersAre(call, self.counters)
            case m.GetEnviron(call):
                return m.Environ(call, (b"A=1",), "/")
            case _:
                raise AssertionError(f"{question} is not for an agent")


@dataclass
class FakeAgents:
    """One agent for each node. ``heirs`` are who comes after an agent that is gone, by its key."""

    folder: Path
    founder: FounderSays = field(default_factory=lambda: FounderSays("s1", b"x" * 32))
    made: dict[str, FakeAgent] = field(default_factory=dict)  # by key, which is the pod's name too
    kept: list[frozenset[str]] = field(default_factory=list)
    heirs: dict[str, AgentPod] = field(default_factory=dict)
    closed: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def agent(self, key: str, node: str) -> AgentPod:
        if key not in self.made:
            self.made[key] = FakeAgent(self.folder / key)
            await self.made[key].listen()
        return AgentPod(key, node, "agents", key, 7)

    async def forward(self, cluster: object, namespace: str, pod_name: str, port: int) -> Forward:
        """In place of runner.kube.portforward.forward."""
        agent = self.made[pod_name]
        if agent.dead:
            raise KubeError(404, "NotFound", f"pods {pod_name!r} not found")
        try:
            return Forward(*await asyncio.open_unix_connection(agent.path))
        except OSError as error:
            raise KubeError(0, "", f"nobody listens: {error}") from error

    async def prepare(self) -> None:
        """Nothing is needed."""

    async def agent_for(self, pods: Sequence[Pod]) -> dict[str, AgentPod]:
        return {one.uid: await self.agent(f"on-{one.node}", one.node) for one in pods}

    async def again(self, agent: AgentPod) -> AgentPod:
        if agent.key in self.heirs:
            return self.heirs[agent.key]
        if self.made[agent.key].dead:
            raise Refusal(f"no successor of {agent.key}")
        return agent

    async def keep(self, uids: Collection[str]) -> None:
        self.kept.append(frozenset(uids))
        self._changed.set()

    async def until_kept(self, *uids: str) -> None:
        """Just these were the last that were kept."""
        while not self.kept or self.kept[-1] != frozenset(uids):
            self._changed.clear()
            await self._changed.wait()

    async def revoked(self) -> str:
        await asyncio.get_running_loop().create_future()
        return ""

    async def close(self) -> None:
        self.closed = True
        for agent in self.made.values():
            await agent.close()
