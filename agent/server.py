"""The agent's door: a Unix socket, a handshake on each connection, and the session that it belongs to.

A founder's Hello makes a session with its secret; every other link must show that secret. Whoever cannot is told the
same sentence whether the session exists or not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress

from agent import VERSION
from agent.engine import Engine, EngineFault
from agent.lifetime import Lifetime
from agent.session import Session
from links.handshake import adopt, meet, send_frame
from links.link import Link, LinkEnded
from wire.messages import Goodbye, Hello, LinkKind, Welcome

log = logging.getLogger(__name__)

PRODUCT = f"mirror-run {VERSION}"

HELLO_WITHIN = 10.0
"""Seconds in which a connection must have said who it is."""

BACKLOG = 128


class Refused(Exception):
    """This link does not begin; ``args[0]`` is the sentence for the peer."""


class Server:
    """Serves until it is no longer needed, or ``stop``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, Session] = {}
        self._links: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._lifetime = Lifetime(asyncio.get_running_loop().time())
        self._changed = asyncio.Event()
        self._stopped = ""

    def stop(self, reason: str) -> None:
        """Ends all sessions in order; ``serve`` returns."""
        self._stopped = reason
        self._changed.set()

    async def serve(self, path: str, founders: str = "") -> None:
        """On Unix sockets that only this process's user may connect to: ``path``, and ``founders`` if given.

        Every bridge reaches ``path``, which lies in a volume they share; with ``founders`` sessions begin there
        alone, where only who may execute in the agent's own container comes.
        """
        paths = {path: not founders} | ({founders: True} if founders else {})
        listeners = {one: _listen(one) for one in paths}
        log.info("listening on %s", ", ".join(paths))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.outbox, self._engine_told)
        try:
            async with asyncio.TaskGroup() as tasks:
                accepting = [
                    tasks.create_task(self._accept(listeners[one], may_found, tasks), name=f"accept on {one}")
                    for one, may_found in paths.items()
                ]
                await self._until_done()
                for task in accepting:
                    task.cancel()
                for session in list(self._sessions.values()):
                    await session.end(self._stopped or "the agent has ended")
                for link in list(self._links):
                    link.cancel()
        finally:
            loop.remove_reader(self._engine.outbox)
            for one, listener in listeners.items():
                listener.close()
                with suppress(FileNotFoundError):
                    os.unlink(one)

    async def _until_done(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            deadline = self._lifetime.deadline()
            if deadline is not None and loop.time() >= deadline:
                log.info("no session is left")
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            self._changed.clear()

    async def _accept(self, listener: socket.socket, may_found: bool, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            link = tasks.create_task(self._greet(sock, may_found), name="link")
            self._links.add(link)
            link.add_done_callback(self._links.discard)

    async def _greet(self, sock: socket.socket, may_found: bool) -> None:
        """Owns the socket until a session has it."""
        sock.setblocking(False)
        try:
            hello, welcome = await meet(sock, PRODUCT, HELLO_WITHIN)
            await self._begin(sock, hello, welcome, may_found)
        except LinkEnded as ended:
            log.info("a link ended: %s", ended.reason)
        except Refused as refused:
            log.warning("refused a link: %s", refused)
            with suppress(OSError):
                await send_frame(sock, Goodbye(str(refused)))
        except (OSError, EngineFault) as error:
            log.warning("a link failed: %s", error)
        finally:
            if sock.fileno() >= 0:
                sock.close()

    async def _begin(self, sock: socket.socket, hello: Hello, welcome: Welcome, may_found: bool) -> None:
        if hello.founder:
            if not may_found:
                raise Refused("no session begins here: a runner comes by the agent's own container")
            await self._found(sock, hello, welcome)
            return
        session = self._proved(hello)
        await send_frame(sock, welcome)
        match LinkKind(hello.kind):
            case LinkKind.DATA:
                session.take_data_link(sock)
            case LinkKind.CONTROL:
                await session.serve_bridge(await _link(sock, f"the bridge of {session.name}"))

    async def _found(self, sock: socket.socket, hello: Hello, welcome: Welcome) -> None:
        if hello.kind != LinkKind.CONTROL:
            raise Refused("a session begins with a control link")
        if not hello.session or hello.session in self._sessions:
            raise Refused(f"there is a session {hello.session!r} already")
        self._numbers += 1
        session = Session(self._engine, self._numbers, hello.session, hello.secret)
        self._sessions[session.name] = session
        self._lifetime.session_began(session.name)
        log.info("session %s: founded by %s", session.name, hello.author or "nobody named")
        try:
            await send_frame(sock, welcome)
            await session.serve_founder(await _link(sock, f"the runner of {session.name}"))
        finally:
            del self._sessions[session.name]
            await session.end("the session has ended")
            self._lifetime.session_ended(session.name, asyncio.get_running_loop().time())
            self._changed.set()

    def _proved(self, hello: Hello) -> Session:
        """The session of a link that is not a founder's. An unknown one takes as long as a wrong secret."""
        session = self._sessions.get(hello.session)
        if session is None or not session.proves(hello.secret):
            raise Refused("no session of that name has that secret")
        return session

    def _engine_told(self) -> None:
        by_number = {session.number: session for session in self._sessions.values()}
        for event in self._engine.events():
            if session := by_number.get(event.session):
                session.data_link_ended(event.link, event.reason)


async def _link(sock: socket.socket, name: str) -> Link:
    return Link(*await adopt(sock), name=name)


def _listen(path: str) -> socket.socket:
    """A socket that an earlier agent left behind in the volume is nobody's: containers of this kind run one agent."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setblocking(False)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener
