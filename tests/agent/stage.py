"""The agent's server on a port of this machine's loopback; its engine and its targets are played."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest

from agent import targets
from agent.account import Outgoing
from agent.containers import NotHere
from agent.doors import Door, on_port
from agent.engine import EngineFault, LinkCut, LinkGone
from agent.lifetime import Lifetime
from agent.server import Server
from agent.warrants import Pinned, Warrants
from links.handshake import greet
from links.link import Link
from wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL,
    AppPort,
    Chosen,
    Counters,
    Hello,
    Identity,
    LinkKind,
    Port,
    Proto,
    Welcome,
)

SECRET = bytes(range(32))
CONTAINER = "c0" * 32
IDENTITY = Identity("web-1", (), b"", b"")


@dataclass
class PlayedLink:
    """A data link as C keeps it: ``received`` is what the test says has come."""

    number: int
    sock: socket.socket | None
    keeps: bool
    received: int = 0
    peer_received: int = 0


class PlayedEngine:
    """What ``agent.engine.Engine`` is asked, remembered; ``report`` is what C would tell."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._reports: list[LinkGone | LinkCut] = []
        self._numbers = 0
        self.sessions: dict[int, PlayedLink | None] = {}
        self.filing: dict[int, PlayedLink | None] = {}
        """By session: the link that carries files alone."""
        self.allowed: dict[int, dict[str, object]] = {}
        self.targets: dict[tuple[int, int], int] = {}
        self.files: dict[tuple[int, int], tuple[int, bool]] = {}
        self.mirrored: list[tuple[int, int, tuple[AppPort, ...]]] = []
        self.forgets = False
        self.chosen: list[tuple[int, bytes]] = []
        self.refuses = ""
        self.saw: list[Chosen] = []
        self.hushed: list[int] = []
        self.waits: list[int] = []
        """Stolen connections that wait for an answer, at each look; the last comes first."""
        self.counted = Counters(connections=1)
        self.went = Outgoing()
        self.read: frozenset[str] = frozenset()
        self.rested = 0

    @property
    def outbox(self) -> int:
        return self._ours.fileno()

    def report(self, one: LinkGone | LinkCut) -> None:
        self._reports.append(one)
        self._theirs.send(b"!")

    def events(self) -> list[LinkGone | LinkCut]:
        self._ours.recv(100)
        told, self._reports = self._reports, []
        return told

    def session_add(self, session: int) -> None:
        self.sessions[session] = self.filing[session] = None

    def session_del(self, session: int) -> None:
        for files in (False, True):
            self.link_del(session, files=files)
        del self.sessions[session], self.filing[session]

    def rest(self) -> None:
        self.rested += 1
        assert not self.sessions

    def limits(self, session: int, **limits: object) -> None:
        self.allowed[session] = limits

    def _links(self, files: bool) -> dict[int, PlayedLink | None]:
        return self.filing if files else self.sessions

    def link_add(self, session: int, fd: int, *, keeps: bool = False, files: bool = False) -> int:
        self.link_del(session, files=files)
        self._numbers += 1
        self._links(files)[session] = PlayedLink(self._numbers, socket.socket(fileno=fd), keeps)
        return self._numbers

    def link_cut(self, session: int, *, files: bool = False) -> tuple[int, int]:
        link = self._links(files)[session]
        if link is None or not link.keeps:
            raise EngineFault("there is no link that keeps")
        if link.sock is not None:
            link.sock.close()
            link.sock = None
        return link.number, link.received

    def link_resume(self, session: int, fd: int, received: int, *, files: bool = False) -> None:
        sock = socket.socket(fileno=fd)
        link = self._links(files)[session]
        assert link is not None
        if self.forgets:
            sock.close()
            raise EngineFault("the peer claims what was never sent")
        link.sock, link.peer_received = sock, received

    def link_del(self, session: int, *, files: bool = False) -> None:
        link = self._links(files)[session]
        if link is not None and link.sock is not None:
            link.sock.close()
        self._links(files)[session] = None

    def target_set(self, session: int, target: int, netns: int) -> None:
        self.targets[session, target] = netns

    def target_files(self, session: int, target: int, pid: int, pidfd: int, *, writes: bool) -> None:
        self.files[session, target] = pid, writes

    def target_del(self, session: int, target: int) -> None:
        del self.targets[session, target]

    def mirror_ports(self, session: int, target: int, ports: tuple[AppPort, ...]) -> None:
        self.mirrored.append((session, target, ports))

    def choose(self, session: int, filters: bytes) -> None:
        if self.refuses:
            raise EngineFault(self.refuses)
        self.chosen.append((session, filters))

    def seen(self, session: int, target: int) -> tuple[Chosen, ...]:
        return tuple(one for one in self.saw if one.target == target and (session, target) in self.targets)

    def hush(self, session: int) -> None:
        self.hushed.append(session)

    def stolen_open(self, session: int) -> int:
        return 0

    def unanswered(self, session: int) -> int:
        return self.waits.pop() if self.waits else 0

    def counters(self, session: int) -> Counters:
        return self.counted

    def outgoing(self, session: int) -> Outgoing:
        return self.went

    def files_used(self, session: int) -> frozenset[str]:
        return self.read

    def close(self) -> None:
        for one in (self._ours, self._theirs):
            one.close()


@dataclass(eq=False)
class PlayedTarget:
    """A container whose one process is the test's to end, by ``end``."""

    index: int
    container: str
    pod: str
    pid: int = 4711
    netns: int = -1
    identity: Identity = IDENTITY
    pidfd: int = field(init=False)

    listens: frozenset[Port] = frozenset({Port(Proto.TCP, 80)})

    def __post_init__(self) -> None:
        self.pidfd, self._end = os.pipe()

    @classmethod
    async def find(cls, index: int, container: str, pod: str = "") -> PlayedTarget:
        if container != CONTAINER:
            raise NotHere(f"no process of container {container[:12]} is running on this machine")
        made = cls(index, container, pod)
        FOUND.append(made)
        return made

    @contextmanager
    def service(self) -> Iterator[tuple[int, int]]:
        yield self.pid + 1, self.pidfd

    def end(self) -> None:
        os.close(self._end)
        self._end = -1

    def listening(self) -> frozenset[Port]:
        return self.listens

    def environ(self) -> tuple[tuple[bytes, ...], str]:
        return (b"SECRET=1",), "/srv"

    def close(self) -> None:
        os.close(self.pidfd)
        if self._end >= 0:
            os.close(self._end)


FOUND: list[PlayedTarget] = []


class Anything(Pinned):
    """Whose containers may be entered is another test's matter."""

    async def warrant(self, hello: Hello) -> object:  # type: ignore[override]
        found = await super().warrant(hello)
        found.may_enter = _always  # type: ignore[method-assign]
        return found


async def _always(container: str, pod: str) -> None:
    """Yes."""


@dataclass
class Stage:
    """The server at ``port``, and who comes."""

    engine: PlayedEngine
    server: Server
    port: int
    serving: asyncio.Task[None]
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    def hello(self, kind: LinkKind, **more: object) -> Hello:
        fields: dict[str, object] = {"session": "k7f2", "secret": SECRET} | more
        return Hello(PROTOCOL, OLDEST_PROTOCOL, "test 1", kind, **fields)  # type: ignore[arg-type]

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        return reader, writer

    async def control(self, **more: object) -> Link:
        """A control link, entered by the caller. LinkEnded."""
        reader, writer = await self.streams()
        try:
            await greet(reader, writer, self.hello(LinkKind.CONTROL, **more))
        except BaseException:
            writer.close()
            raise
        return Link(reader, writer, name="agent")

    async def founder(self, patience: int = 0, **more: object) -> Link:
        return await self.control(founder=True, patience=patience, **more)

    async def data(
        self, kind: LinkKind = LinkKind.DATA, **more: object
    ) -> tuple[Welcome, asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self.streams()
        return await greet(reader, writer, self.hello(kind, **more)), reader, writer

    def link(self) -> PlayedLink:
        """Of the one session."""
        (link,) = self.engine.sessions.values()
        assert link is not None
        return link


@asynccontextmanager
async def staged(
    monkeypatch: pytest.MonkeyPatch, warrants: Warrants | None = None, doors: Iterable[Door] = ()
) -> AsyncIterator[Stage]:
    """``warrants``: a secret's hash and any container, unless others are given."""
    monkeypatch.setattr(targets, "Target", PlayedTarget)
    FOUND.clear()
    engine = PlayedEngine()
    door = on_port(0, warrants or Anything(hashlib.sha256(SECRET).digest(), ()))  # type: ignore[arg-type]
    server = Server(engine, Lifetime(asyncio.get_running_loop().time(), 60, 60))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve([door, *doors]))
    made = Stage(engine, server, door.sockets[0].getsockname()[1], serving)
    try:
        yield made
    finally:
        for writer in made.opened:
            writer.transport.abort()
        await asyncio.sleep(0)
        server.stop("the test is over")
        await asyncio.wait_for(serving, 10)
        door.close()
        engine.close()
