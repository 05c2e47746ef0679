"""One session: the links that proved its secret, the targets it takes part in, and what is mirrored from them.

It lives exactly as long as its founder's link. The engine acts; ``ports.mirrored`` decides.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket

from agent import ports
from agent.containers import NotHere
from agent.engine import Engine, EngineFault
from agent.target import Target
from links.link import Link, LinkEnded
from wire.messages import (
    AppPort,
    Attach,
    Attached,
    CountersAre,
    Detach,
    Done,
    Environ,
    Failure,
    GetCounters,
    GetEnviron,
    Listening,
    Message,
    Mirroring,
    TargetGone,
)

log = logging.getLogger(__name__)

LOOKS_EVERY = 0.5
"""Seconds between two looks at what the targets listen on, while the app wants ports."""

TARGETS = 64
"""Targets of one session at most: a guard against a peer that counts, well above any compose scale."""


class Session:
    """Made by its founder's Hello. Everything runs on the event loop's thread."""

    def __init__(self, engine: Engine, number: int, name: str, secret: bytes) -> None:
        self.name = name
        self.number = number
        self._engine = engine
        self._secret = secret
        self._founder: Link | None = None
        self._links: set[Link] = set()
        self._targets: dict[int, Target] = {}
        self._wanted: dict[Link, tuple[AppPort, ...]] = {}
        self._mirrored: dict[int, tuple[AppPort, ...]] = {}
        self._data_link: int | None = None
        self._notices: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        engine.session_add(number)

    def proves(self, secret: bytes) -> bool:
        """Whether this is the session's secret; takes the same time whatever it is."""
        return hmac.compare_digest(self._secret, secret)

    async def serve_founder(self, link: Link) -> None:
        """Until the runner's link ends."""
        self._founder = link
        self._links.add(link)
        async with link, asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_at_ports(), name=f"session {self.name} ports")
            async for message in link.incoming():
                await self._answer(link, message)
            looking.cancel()
        log.info("session %s: %s", self.name, link.ended.result())

    async def serve_bridge(self, link: Link) -> None:
        """A control link of the bridge's, until it ends: it says what the app accepts on."""
        self._links.add(link)
        try:
            async with link:
                async for message in link.incoming():
                    if isinstance(message, Listening):
                        self._wanted[link] = message.ports
                        self._look.set()
                    else:
                        await self._answer(link, message)
        finally:
            self._links.discard(link)
            self._wanted.pop(link, None)
            self._look.set()

    def take_data_link(self, sock: socket.socket) -> None:
        """The socket is C's from now on. What is mirrored begins anew: its channels belonged to the link before."""
        self._data_link = self._engine.link_add(self.number, sock.detach())
        self._mirrored.clear()
        self._look.set()

    def data_link_ended(self, link: int, reason: str) -> None:
        """The engine told so. The bridge may dial another."""
        if link == self._data_link:
            log.info("session %s: data link: %s", self.name, reason)
            self._data_link = None
            self._mirrored.clear()

    async def end(self, reason: str) -> None:
        """Traffic first, then the targets, then the links, which are told why."""
        self._engine.session_del(self.number)
        for target in self._targets.values():
            self._let_go(target)
        self._targets.clear()
        for link in list(self._links):
            await link.close(reason)

    # --- calls ---

    async def _answer(self, link: Link, message: Message) -> None:
        call = getattr(message, "call", None)
        if call is None:
            log.warning(
                "session %s: a notice that is not for an agent: %s", self.name, type(message).__name__
            )
            return
        try:
            answer = await self._done(link, message)
        except (EngineFault, NotHere, ValueError, OSError) as error:
            reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            answer = Failure(call, reason, getattr(error, "errno", None) or 0)
        await _tell(link, answer)

    async def _done(self, link: Link, message: Message) -> Message:
        if link is not self._founder:
            raise ValueError(f"{type(message).__name__} is the runner's to ask")
        match message:
            case Attach(call=call, target=index, container=container):
                target = await self._attach(index, container)
                return Attached(call, index, target.pid, target.identity)
            case Detach(call=call, target=index):
                self._detach(index)
                return Done(call)
            case GetEnviron(call=call, target=index):
                if index not in self._targets:
                    raise ValueError(f"there is no target {index}")
                variables, cwd = self._targets[index].environ()
                return Environ(call, variables, cwd)
            case GetCounters(call=call):
                return CountersAre(call, self._engine.counters(self.number))
            case _:
                raise ValueError(f"{type(message).__name__} is not a question for an agent")

    async def _attach(self, index: int, container: str) -> Target:
        if index not in self._targets and len(self._targets) >= TARGETS:
            raise ValueError(f"a session takes part in at most {TARGETS} targets")
        target = await Target.find(index, container)
        try:
            self._engine.target_set(self.number, index, target.netns)
        except BaseException:
            target.close()
            raise
        if index in self._targets:
            self._let_go(self._targets[index])
        self._targets[index] = target
        self._mirrored.pop(index, None)
        asyncio.get_running_loop().add_reader(target.pidfd, self._target_ended, target)
        self._look.set()
        log.info("session %s: target %d is pid %d", self.name, index, target.pid)
        return target

    def _detach(self, index: int) -> None:
        target = self._targets.pop(index, None)
        if target is not None:
            self._engine.target_del(self.number, index)
            self._let_go(target)
            self._mirrored.pop(index, None)

    def _target_ended(self, target: Target) -> None:
        if self._targets.get(target.index) is target:
            self._detach(target.index)
            self._notice(TargetGone(target.index))

    def _let_go(self, target: Target) -> None:
        asyncio.get_running_loop().remove_reader(target.pidfd)
        target.close()

    # --- what is mirrored ---

    async def _look_at_ports(self) -> None:
        """At once when something changed here, and every LOOKS_EVERY while the app wants ports."""
        while True:
            waits = LOOKS_EVERY if self._wanted else None
            try:
                async with asyncio.timeout(waits):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            if self._data_link is not None:
                for index in sorted(self._targets):
                    self._apply(self._targets[index])

    def _apply(self, target: Target) -> None:
        """A fault is told once and not tried again until what is wanted changes."""
        wanted = [port for ports_of_link in self._wanted.values() for port in ports_of_link]
        try:
            chosen = ports.mirrored(wanted, target.listening() if wanted else ())
        except EngineFault as fault:
            log.warning("session %s: what target %d listens on: %s", self.name, target.index, fault.reason)
            return
        before = self._mirrored.get(target.index, ())
        if chosen == before:
            return
        self._mirrored[target.index] = chosen
        try:
            self._engine.mirror_ports(self.number, target.index, chosen)
        except EngineFault as fault:
            log.warning("session %s: target %d cannot be mirrored: %s", self.name, target.index, fault.reason)
            return
        self._notice(Mirroring(target.index, chosen))

    def _notice(self, message: Message) -> None:
        """To the founder. Bounded by its own pace: ports change by hand, and a link that takes nothing ends."""
        if self._founder is None or self._founder.ended.done():
            return
        task = asyncio.create_task(_tell(self._founder, message), name=f"session {self.name} notice")
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)


async def _tell(link: Link, message: Message) -> None:
    """A link that has ended meanwhile says so where it is read."""
    try:
        await link.send(message)
    except LinkEnded as ended:
        log.debug("not told %s: %s", type(message).__name__, ended.reason)
