"""One session: the links that proved its secret, and the targets it takes part in.

It lives as long as its founder's link and the patience that was asked for; until then another link of the founder's
takes it over.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.containers import NotHere
from agent.data_link import DataLink
from agent.engine import Engine, EngineFault, LinkCut, LinkGone
from agent.mirrored import Mirrored
from agent.targets import Targets
from agent.warrants import NotAllowed, Refused, Warrant
from links.link import Link, LinkEnded
from wire.messages import (
    Attach,
    Attached,
    Counters,
    CountersAre,
    Detach,
    Done,
    Environ,
    Failure,
    GetCounters,
    GetEnviron,
    Hello,
    Listening,
    Message,
    TargetGone,
    Welcome,
)

log = logging.getLogger(__name__)

LINKS = 8
"""Control links of one session at most: its founder's, its bridge's, and what is left of those before a cut."""

PATIENCE = 60.0
"""Seconds that a session outlives its founder's link at most."""

FOUNDED_WITHIN = 10.0
"""Seconds from its founder's Hello to that link, of a session without patience."""

REPORTED_WITHIN = 5.0
"""Seconds that telling of a session's end may take."""


class Session:
    """Made by its founder's Hello. Everything runs on the event loop's thread."""

    def __init__(self, engine: Engine, number: int, hello: Hello, warrant: Warrant) -> None:
        self.name = hello.session
        self.namespace = hello.namespace
        self.number = number
        self._engine = engine
        self._secret = hello.secret
        self._warrant = warrant
        self._founder: Link | None = None
        self._orphaned: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._links: set[Link] = set()
        self._patience = min(hello.patience, PATIENCE)
        self._notices: set[asyncio.Task[None]] = set()
        self._account = "the session has not ended", Counters()
        self._targets = Targets(
            engine,
            number,
            warrant,
            changed=self._target_changed,
            ended=lambda index: self._notice(TargetGone(index)),
        )
        self._mirrored = Mirrored(engine, number, self._targets, self._may_mirror, self._notice)
        self._data = DataLink(engine, number, self.name, self._mirrored.anew)
        engine.session_add(number)
        engine.limits(
            number,
            outgoing="outgoing" in warrant.rights,
            metadata=warrant.limits.metadata_addresses,
            # 0 is no limit; else the lower of what may be and what is wished.
            mirror_rate=min(filter(None, (warrant.limits.bytes_per_second, hello.mirror_rate)), default=0),
            connections=warrant.limits.connections,
        )
        self._expect_founder(self._patience or FOUNDED_WITHIN)

    def proves(self, secret: bytes) -> bool:
        """Whether this is the session's secret; takes the same time whatever it is."""
        return hmac.compare_digest(self._secret, secret)

    # --- its life ---

    @property
    def over(self) -> bool:
        """Nobody comes in any more."""
        return self._over.done()

    async def live(self) -> None:
        """Until ``end``, its founder's, or its warrant's. Traffic stops first, then the targets are let go, then the
        links are told why.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                looking = tasks.create_task(self._mirrored.keep(), name=f"session {self.name} ports")
                holding = tasks.create_task(self._hold(), name=f"session {self.name} warrant")
                await asyncio.wait([self._over])
                looking.cancel()
                holding.cancel()
        except Exception:
            log.exception("session %s: a bug; other sessions go on", self.name)
            self.end("the agent has a bug, which its log tells of")
        reason = self._over.result()
        log.info("session %s: %s", self.name, reason)
        self._account = reason, self._engine.counters(self.number)
        self._engine.session_del(self.number)
        self._data.close()
        self._founder_is_here()
        self._targets.close()
        for link in list(self._links):
            await link.close(reason)

    def end(self, reason: str) -> None:
        """Now; ``live`` does it."""
        if not self._over.done():
            self._over.set_result(reason)

    async def report(self) -> None:
        """After ``live``: to who gave the warrant."""
        try:
            async with asyncio.timeout(REPORTED_WITHIN):
                await self._warrant.ended(*self._account)
        except Exception:
            log.exception("session %s: its end could not be reported", self.name)

    async def _hold(self) -> None:
        self.end(await self._warrant.void())

    async def serve_founder(self, link: Link, patience: float) -> None:
        """Until this link of the runner's ends; the one before it is told that it was taken over."""
        former, self._founder = self._founder, link
        self._patience = min(patience, PATIENCE)
        self._founder_is_here()
        async with self._counted(link):
            try:
                if former is not None:
                    log.info("session %s: another link of the runner's takes over", self.name)
                    await former.close("another link of the runner took over")
                    self._say_anew()
                async for message in link.incoming():
                    await self._answer(link, message)
            finally:
                if self._founder is link and not self.over:
                    self._orphan(link)

    def _orphan(self, link: Link) -> None:
        """A runner that says goodbye has ended; one that says nothing may have been cut off."""
        if link.dismissed or not self._patience:
            self.end("the session has ended")
            return
        log.info("session %s: waiting %g s for its runner", self.name, self._patience)
        self._expect_founder(self._patience)

    def _expect_founder(self, patience: float) -> None:
        self._orphaned = asyncio.get_running_loop().call_later(
            patience, self.end, f"the runner did not come back within {patience:g} s"
        )

    def _founder_is_here(self) -> None:
        if self._orphaned is not None:
            self._orphaned.cancel()
            self._orphaned = None

    def _say_anew(self) -> None:
        """What could not be told while nobody was there, and what may have been lost with the link before."""
        for index in sorted(self._targets.gone):
            self._notice(TargetGone(index))
        self._mirrored.say_anew()

    # --- the bridge's links ---

    async def serve_bridge(self, link: Link) -> None:
        """A control link of the bridge's, until it ends: it says what the app accepts on."""
        async with self._counted(link):
            try:
                async for message in link.incoming():
                    if isinstance(message, Listening):
                        self._mirrored.want(message.ports, link)
                    else:
                        await self._answer(link, message)
            finally:
                if not self.over:
                    self._mirrored.miss(link, 0 if link.dismissed else self._patience)

    @asynccontextmanager
    async def _counted(self, link: Link) -> AsyncIterator[None]:
        """Read inside, and told when the session ends; it may have, while the link was being made."""
        async with link:
            self._links.add(link)
            try:
                if self.over:
                    await link.close(self._over.result())
                yield
            finally:
                self._links.discard(link)

    def check_room(self) -> None:
        """Refused when there are as many control links as a session may have."""
        if len(self._links) >= LINKS:
            raise Refused(f"a session has at most {LINKS} links")

    async def take_data_link(self, sock: socket.socket, hello: Hello, welcome: Welcome) -> None:
        """The socket is C's from now on, and what was mirrored goes on or begins anew. OSError, EngineFault."""
        await self._data.take(sock, hello, welcome)

    def heard(self, event: LinkGone | LinkCut) -> None:
        """The engine told so of the session's data link. The bridge may dial another."""
        match event:
            case LinkGone():
                self._data.gone(event.link, event.reason)
            case LinkCut():
                self._data.was_cut(event.link, event.reason)

    def _target_changed(self, index: int) -> None:
        self._mirrored.changed(index)

    def _may_mirror(self) -> bool:
        return self._data.there and "mirror" in self._warrant.rights

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
        except (EngineFault, NotHere, NotAllowed, ValueError, OSError) as error:
            reason = str(error.strerror or error) if isinstance(error, OSError) else str(error)
            answer = Failure(call, reason, getattr(error, "errno", None) or 0)
        await _tell(link, answer)

    async def _done(self, link: Link, message: Message) -> Message:
        if link is not self._founder:
            raise ValueError(f"{type(message).__name__} is the runner's to ask")
        match message:
            case Attach(call=call, target=index):
                target = await self._targets.attach(message, lambda: link is self._founder and not self.over)
                return Attached(call, index, target.pid, target.identity)
            case Detach(call=call, target=index):
                self._targets.detach(index)
                return Done(call)
            case GetEnviron(call=call, target=index):
                if "env" not in self._warrant.rights:
                    raise NotAllowed(f"no environment: {self._warrant.lacking('env')}")
                if index not in self._targets:
                    raise ValueError(f"there is no target {index}")
                variables, cwd = self._targets[index].environ()
                return Environ(call, variables, cwd)
            case GetCounters(call=call):
                return CountersAre(call, self._engine.counters(self.number))
            case _:
                raise ValueError(f"{type(message).__name__} is not a question for an agent")

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
