"""A bridge daemon on a stage: its runner is the test, its agent is played, its engine is played or the real
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from links.handshake import adopt, meet, send_frame
from links.link import Link
from tests.net.layer.space import Space
from wire.messages import Address, Configure, Goodbye, Hello, Identity, LinkKind, Message, User

PYTHON = "/usr/bin/python3"
"""The distribution's, with the distribution's nftables module: as in the image."""

SECRET = bytes(range(32))
OWN = Address(socket.inet_aton("198.18.5.2"), 16)
IDENTITY = Identity("api", (OWN,), b"127.0.0.1 localhost\n198.18.5.2 api\n", b"nameserver 127.0.0.11\n")


class FakeAgent:
    """Answers Hello with Welcome and keeps what it was told."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hellos: list[Hello] = []
        self.heard: asyncio.Queue[Message] = asyncio.Queue()
        self.controls: asyncio.Queue[Link] = asyncio.Queue()
        self.datas: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.resumes: int | None = None  # octets it says have come; None: it knows of no link that was cut
        self.answers = True  # else it keeps who comes waiting
        self.refuses = False
        self.has_files = True  # else it knows no links for files alone

    async def run(self) -> None:
        """Until it is cancelled; then nothing of it is open."""
        async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.setblocking(False)
            listener.bind(self.path)
            listener.listen()
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                stack.enter_context(sock)
                group.create_task(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        hello, welcome = await meet(sock, "fake agent", 5)
        self.hellos.append(hello)
        refuses = self.refuses or (hello.kind == LinkKind.FILES and not self.has_files)
        if refuses:
            await send_frame(sock, Goodbye("no session of that name has that secret"))
            sock.close()
        if refuses or not self.answers:
            return
        if hello.resumes and self.resumes is not None:
            welcome = replace(welcome, resumed=True, received=self.resumes)
        await send_frame(sock, welcome)
        if hello.kind != LinkKind.CONTROL:
            self.datas.put_nowait(sock)
            return
        async with Link(*await adopt(sock), name="the bridge") as link:
            self.controls.put_nowait(link)
            async for message in link.incoming():
                self.heard.put_nowait(message)


class Stage:
    """A started daemon: ``runner`` is its runner's link, ``engine`` the test's end of the scripted engine."""

    def __init__(self, space: Space, agent: FakeAgent, tmp: Path) -> None:
        self.space, self.agent, self.tmp = space, agent, tmp
        self.runner: Link
        self.process: asyncio.subprocess.Process
        self.engine: socket.socket

    def configure(self, **changes: Any) -> Configure:
        fields: dict[str, Any] = {
            "call": 0,
            "session": "k7f2",
            "secret": SECRET,
            "agent_socket": self.agent.path,
            "identity": IDENTITY,
            "argv": (b"true",),
            "environ": (b"A=1",),
            "user": User(1000, 1000, (), "ada", "/home/ada"),
            "cwd": "/",
        }
        return Configure(**(fields | changes))

    def report(self, *words: object) -> None:
        """The engine says so."""
        self.engine.send(msgpack.packb(words))

    async def called(self, name: str) -> list[Any]:
        """The next call of this name on the engine; others are skipped."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            while (words := msgpack.unpackb(await loop.sock_recv(self.engine, 65536)))[0] != name:
                pass
        return list(words)

    async def told(self) -> Message:
        """The next notice to the runner."""
        async with asyncio.timeout(5):
            return await anext(self._notices)

    async def start(self, scripted: bool) -> None:
        """Starts the process; ``scripted``: with the engine that the test plays."""
        for name in ("hosts", "resolv.conf"):
            (self.tmp / name).write_bytes(b"# before, and longer than what comes after it" * 20)
        mounts = "".join(
            f"mount --bind {self.tmp / name} /etc/{name} && " for name in ("hosts", "resolv.conf")
        )
        self.engine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.engine.setblocking(False)
        if scripted:
            self.report("listening", [[6, 40953, True, 4]])  # as an engine's name server, before the app
        module = f"tests.net.layer.fake_bridge {theirs.fileno()}" if scripted else "layer.main"
        shell = f"{mounts} exec {PYTHON} -m {module}"
        net = f"--net=/proc/{os.getpid()}/fd/{self.space.fd}"
        self.process = await asyncio.create_subprocess_exec(
            *("nsenter", net, "--", "unshare", "--mount", "--", "sh", "-c", shell),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.runner = Link(self.process.stdout, self.process.stdin, name="the bridge")
        self._notices = self.runner.incoming()
