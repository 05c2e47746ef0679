"""The agent's house: who comes in by its doors proves a session's secret, and is led to that session.

A founder's Hello makes a session, if there is a warrant for it, or takes over the one that its secret opens; every
other link must show that secret. Whoever cannot is told the same sentence whatever the reason.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace

from agent import VERSION
from agent.doors import Door
from agent.engine import Engine, EngineFault
from agent.gates import Gates
from agent.lifetime import Lifetime
from agent.session import Session
from agent.threshold import Threshold
from agent.warrants import Refused, Unproved, Warrant
from links.handshake import adopt, meet, send_frame
from links.link import HEARTBEAT, Link, LinkEnded
from wire.messages import Goodbye, Hello, LinkKind, Welcome

log = logging.getLogger(__name__)

PRODUCT = f"mirror-run {VERSION}"

HELLO_WITHIN = 10.0
"""Seconds in which a connection must have said who it is."""

NOT_PROVED = "no session of that name has that secret"
"""Said whether or not there is such a session."""

SESSIONS = 256
"""At once: more than a node has pods (the kubelet's maxPods is 110), fewer than descriptors are to be had for."""

GATES = 0
"""Stands for all gates where the agent's needs are counted; sessions are numbered from 1."""

DRAINS_WITHIN = 8.0
"""Seconds for the connections that go through gates when the agent is ended by a signal: an engine waits 10."""

ACCEPTS_AGAIN = 0.1
"""Seconds until the next attempt when this process has no descriptor left."""


class Server:
    """Serves until it is no longer needed, or ``stop``."""

    def __init__(
        self, engine: Engine, lifetime: Lifetime, kind: str = "", drain: float = DRAINS_WITHIN
    ) -> None:
        """``kind``: what this agent is, for users of others (``a Job of its own``). ``drain``: seconds for what goes
        through gates, when the agent is stopped."""
        self._drain = drain
        self._engine = engine
        self._lifetime = lifetime
        self._gates = Gates(engine, kind, changed=self._gates_changed)
        self._sessions: dict[int, Session] = {}
        self._living: set[asyncio.Task[None]] = set()
        self._links: set[asyncio.Task[None]] = set()
        self._threshold = Threshold()
        self._numbers = 0
        self._changed = asyncio.Event()
        self._stopped = ""

    def stop(self, reason: str) -> None:
        """Ends all sessions in order; ``serve`` returns."""
        self._stopped = reason
        self._changed.set()

    async def serve(self, doors: Sequence[Door]) -> None:
        """On these doors, which stay the caller's to close."""
        level = logging.WARNING if any(door.far for door in doors) else logging.INFO  # a pod's log says its port
        log.log(level, "listening on %s", ", ".join(door.name for door in doors))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.outbox, self._engine_told)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                accepting = [
                    tasks.create_task(self._accept(one, door), name=f"accept on {door.name}")
                    for door in doors
                    for one in door.sockets
                ]
                await self._until_done()
                for task in accepting:
                    task.cancel()
                for session in self._sessions.values():
                    session.end(self._stopped or "the agent has ended")
                if self._living:
                    await asyncio.wait(self._living)
                await self._gates.close(self._drain)
                for link in self._links:
                    link.cancel()
        finally:
            loop.remove_reader(self._engine.outbox)

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

    # --- a connection ---

    async def _accept(self, listener: socket.socket, door: Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor is left, or the peer has gone already
                log.warning("%s: %s", door.name, error.strerror)
                await asyncio.sleep(ACCEPTS_AGAIN)
                continue
            self._begin(self._links, self._greet(sock, door), "link")

    def _begin(self, among: set[asyncio.Task[None]], work: Coroutine[None, None, None], name: str) -> None:
        task = self._tasks.create_task(work, name=name)
        among.add(task)
        task.add_done_callback(among.discard)

    async def _greet(self, sock: socket.socket, door: Door) -> None:
        """Owns the socket until a session has it."""
        sock.setblocking(False)
        warrant: Warrant | None = None

        async def prove(hello: Hello) -> None:
            nonlocal warrant
            self._threshold.leave()
            warrant = await self._proved(hello, door)

        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._threshold.enter()
            try:
                hello, welcome = await meet(sock, PRODUCT, HELLO_WITHIN, prove)
            finally:
                self._threshold.leave()
            await self._lead(sock, hello, welcome, warrant, far=door.far)
        except Unproved:
            if await self._threshold.failed(f"at {door.name}"):
                await _say(sock, NOT_PROVED)
        except Refused as refused:
            log.warning("refused a link: %s", refused)
            await _say(sock, str(refused))
        except LinkEnded as ended:
            log.info("a link ended: %s", ended.reason)
        except (OSError, EngineFault) as error:
            log.warning("a link failed: %s", error)
        except Exception:
            # Ours, but one link's: what somebody sends must not end the sessions of others.
            log.exception("a bug, which ends this link")
        finally:
            if sock.fileno() >= 0:
                sock.close()

    async def _proved(self, hello: Hello, door: Door) -> Warrant | None:
        """A warrant for a new session; None for a link of one that there is. Unproved, Refused."""
        if hello.founder and door.warrants is None:
            raise Refused("no session begins here: a runner comes by the agent's own container")
        if self._session(hello) is not None:
            return None
        if not hello.founder or door.warrants is None:
            raise Unproved
        return await door.warrants.warrant(hello)

    def _session(self, hello: Hello) -> Session | None:
        """That this secret opens. Names are the dialler's to choose, so two sessions may share one."""
        opened = [one for one in self._sessions.values() if one.proves(hello.secret) and not one.over]
        return next((one for one in opened if one.name == hello.session), None)

    async def _lead(
        self, sock: socket.socket, hello: Hello, welcome: Welcome, warrant: Warrant | None, *, far: bool
    ) -> None:
        """To its session, which is made if need be: another link may have made it, or it may have ended, meanwhile."""
        kind = LinkKind(hello.kind)
        if hello.founder and kind != LinkKind.CONTROL:
            raise Refused("a session begins with a control link")
        session = self._session(hello)
        if session is None:
            if warrant is None:
                raise Refused("the session has ended")
            session = self._found(hello, warrant)
        elif hello.founder:
            welcome = replace(welcome, resumed=True)
        if kind == LinkKind.DATA:
            await session.take_data_link(sock, hello, welcome)
            return
        if kind == LinkKind.FILES:
            await session.take_files_link(sock, hello, welcome)
            return
        session.check_room()
        await send_frame(sock, welcome)
        whose = "runner" if hello.founder else "bridge"
        name = f"the {whose} of {session.name}"
        link = Link(*await adopt(sock), name=name, heartbeat=HEARTBEAT if far else 0)
        if hello.founder:
            await session.serve_founder(link, hello.patience)
        else:
            await session.serve_bridge(link)

    # --- sessions ---

    def _found(self, hello: Hello, warrant: Warrant) -> Session:
        if not hello.session:
            raise Refused("a session has a name")
        if len(self._sessions) >= SESSIONS:
            raise Refused(f"this agent serves {SESSIONS} sessions already")
        there = [(one.namespace, one.name) for one in self._sessions.values() if not one.over]
        if (hello.namespace, hello.session) in there:
            raise Refused(f"there is a session {hello.session!r} already")
        self._numbers += 1
        session = Session(self._engine, self._gates, self._numbers, hello, warrant)
        self._sessions[session.number] = session
        self._lifetime.session_began(session.number)
        log.info("session %s: founded by %s", session.name, session.author or "nobody named")
        self._begin(self._living, self._live(session), f"session {session.name}")
        return session

    async def _live(self, session: Session) -> None:
        try:
            await session.live()
        finally:
            del self._sessions[session.number]
            self._lifetime.session_ended(session.number, asyncio.get_running_loop().time())
            self._changed.set()
        await session.report()
        if not self._sessions:
            self._engine.rest()

    def _gates_changed(self) -> None:
        """The agent stays as long as a gate does: connections of the target's clients go through it."""
        if self._gates.alive:
            self._lifetime.session_began(GATES)
        else:
            self._lifetime.session_ended(GATES, asyncio.get_running_loop().time())
        self._changed.set()

    def _engine_told(self) -> None:
        for event in self._engine.events():
            if session := self._sessions.get(event.session):
                session.heard(event)


async def _say(sock: socket.socket, last_words: str) -> None:
    with suppress(OSError):
        await send_frame(sock, Goodbye(last_words))
