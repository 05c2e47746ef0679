"""An agent on a port as in a pod, a container as its pod's, and a bridge whose way to the agent is cut and mended.

Everything is as it is: processes, engines in C, namespaces. The test is the runner, with the relay that a runner is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import docker
from docker.models.containers import Container
from pyroute2 import netns

from links.handshake import greet
from links.link import HEARTBEAT, Link
from tests.net import ready
from tests.net.delay import Delay
from tests.net.layer.space import Space
from tests.net.layer.stage import Stage
from wire.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL,
    Attach,
    Attached,
    Configure,
    Configured,
    Hello,
    Identity,
    LinkBack,
    LinkKind,
    Message,
    User,
    Welcome,
)

ROOT = Path(__file__).resolve().parents[3]
CHUNK = 1 << 16


def container_of_a_pod(client: docker.DockerClient, base: str, uid: str) -> Container:
    """Sleeping, with its cgroup where the kubelet would put it."""
    systemd = client.info().get("CgroupDriver") == "systemd"
    parent = f"kubepods-pod{uid.replace('-', '_')}.slice" if systemd else f"/kubepods/pod{uid}"
    made = client.containers.run(
        base,
        ["sleep", "3600"],
        name=f"agentpy-{secrets.token_hex(4)}",
        cgroup_parent=parent,
        detach=True,
        init=False,
    )
    made.reload()
    return made


class Legs:
    """What the runner does for the bridge: a Unix socket, each connection of which goes on over a way of its own."""

    def __init__(self, path: str, port: int) -> None:
        self.path = path
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._join, self.path)
        return self

    async def __aexit__(self, *about: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed by the loop's next turn

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            ends.append(back)
            both = [asyncio.create_task(_pour(reader, back)), asyncio.create_task(_pour(there, writer))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.wait(both)
        except OSError:
            pass  # the way is cut: so is this one
        finally:
            for end in ends:
                end.transport.abort()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while octets := await source.read(CHUNK):
            sink.write(octets)
            await sink.drain()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Place:
    """``way`` is between the test (as the runner) and the agent; ``stage`` has the bridge."""

    def __init__(self, container: Container, uid: str, tmp: Path) -> None:
        self.container, self.uid, self.tmp = container, uid, tmp
        self.secret = secrets.token_bytes(32)
        self.port = free_port()
        self.way = Delay("127.0.0.1", self.port)
        self.path = str(tmp / "0.sock")
        self.agent: asyncio.subprocess.Process
        self.stage: Stage
        self.runner: Link
        self.identity: Identity

    async def start_agent(self) -> None:
        """With the capabilities of its pod. Ready when it says that it listens."""
        self.agent = await asyncio.create_subprocess_exec(
            "setpriv",
            "--inh-caps=-all",
            "--bounding-set=-all,+sys_admin,+sys_ptrace,+net_admin,+net_raw",
            sys.executable,
            *("-m", "agent.main", "--port", str(self.port), "--pod-uid", self.uid),
            *("--secret-hash", hashlib.sha256(self.secret).hexdigest()),
            *("--first", "60", "--idle", "60"),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
        )
        await ready.says(self.agent.stderr, f"listening on port {self.port}")

    async def kill_agent(self) -> None:
        if self.agent.returncode is None:
            self.agent.kill()
        await self.agent.wait()

    async def found(self, patience: int = 60) -> tuple[Link, Welcome]:
        """A founder's link, entered by the caller."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.way.port)
        hello = Hello(
            PROTOCOL,
            OLDEST_PROTOCOL,
            "test 1",
            LinkKind.CONTROL,
            "k7f2",
            self.secret,
            founder=True,
            patience=patience,
        )
        try:
            welcome = await greet(reader, writer, hello)
        except BaseException:
            writer.transport.abort()
            raise
        return Link(reader, writer, name="the agent", heartbeat=HEARTBEAT), welcome

    async def attach(self, runner: Link) -> None:
        attached = await runner.call(Attach(0, 0, self.container.id, "web-1"))
        assert isinstance(attached, Attached)
        self.identity = attached.identity

    async def configure(self) -> None:
        """The bridge, as the target."""
        asked = Configure(
            0,
            "k7f2",
            self.secret,
            self.path,
            self.identity,
            (b"true",),
            (),
            User(0, 0),
            "/",
            log_level=20,
            keeps=True,
        )
        assert isinstance(await self.stage.runner.call(asked), Configured)

    def inside_target(self, *address: Any, client: bool = False) -> socket.socket:
        """A socket in the container's namespace: a listener, or connected."""
        netns.pushns(f"/proc/{self.container.attrs['State']['Pid']}/ns/net")
        try:
            sock = socket.socket()
        finally:
            netns.popns()
        sock.setblocking(False)
        if not client:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen()
        return sock

    def app_socket(self) -> socket.socket:
        """Of the app's, beside the bridge."""
        with self.stage.space.inside():
            sock = socket.socket()
        sock.setblocking(False)
        return sock

    async def out(self, stack: contextlib.AsyncExitStack) -> tuple[socket.socket, socket.socket]:
        """The app's connection to a server beside the target, and that server's end of it."""
        loop = asyncio.get_running_loop()
        listener = stack.enter_context(self.inside_target("127.0.0.1", 0))
        app = stack.enter_context(self.app_socket())
        connecting = asyncio.create_task(loop.sock_connect(app, listener.getsockname()))
        async with asyncio.timeout(10):
            served, _ = await loop.sock_accept(listener)
            await connecting
        return app, stack.enter_context(served)

    async def told(self, *kinds: type[Message]) -> Message:
        """The bridge's next notice of one of these kinds."""
        async with asyncio.timeout(40):
            while not isinstance(message := await anext(self.stage._notices), kinds):
                pass
        return message

    async def back(self, *, data: bool) -> LinkBack:
        """That link of the bridge's is up again."""
        while True:
            message = await self.told(LinkBack)
            assert isinstance(message, LinkBack)
            if message.data == data:
                return message


@contextlib.asynccontextmanager
async def placed(container: Container, uid: str, tmp: Path) -> AsyncIterator[Place]:
    """Founded, attached, configured. The founder's link is ``place.runner``."""
    place = Place(container, uid, tmp)
    async with contextlib.AsyncExitStack() as stack:
        await place.start_agent()
        stack.push_async_callback(place.kill_agent)
        await stack.enter_async_context(place.way)
        await stack.enter_async_context(Legs(place.path, place.way.port))
        runner, welcome = await place.found()
        assert not welcome.resumed
        place.runner = await stack.enter_async_context(runner)
        await place.attach(place.runner)
        space = Space()
        stack.callback(space.close)
        place.stage = Stage(space, SimpleNamespace(path=place.path), tmp)  # type: ignore[arg-type]
        await place.stage.start(scripted=False)
        stack.callback(place.stage.engine.close)
        await stack.enter_async_context(place.stage.runner)
        await place.configure()
        yield place
        await place.stage.runner.close()
        async with asyncio.timeout(3):
            await place.stage.process.wait()


@contextlib.contextmanager
def target(client: docker.DockerClient, base: str) -> Iterator[tuple[Container, str]]:
    uid = str(uuid.uuid4())
    container = container_of_a_pod(client, base, uid)
    try:
        yield container, uid
    finally:
        container.remove(force=True)
        with contextlib.suppress(OSError):
            for controller in Path("/sys/fs/cgroup").glob(f"*/kubepods/pod{uid}"):
                os.rmdir(controller)
