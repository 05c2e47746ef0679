"""One session: the links that proved its secret, coupled to what it does with the targets it takes part in.

It lives as long as its founder's link and the patience that was asked for; until then another link of the founder's
takes it over (``agent.founder``). What the runner asks is answered in ``agent.answers``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.account import Account, used
from agent.answers import Answers
from agent.chosen import Choosing
from agent.data_link import DataLink
from agent.engine import Engine, LinkCut, LinkGone
from agent.founder import Founder, tell
from agent.gates import Gates
from agent.got import Got
from agent.mirrored import Mirrored
from agent.stolen import Owner, Thieving
from agent.target import Target
from agent.targets import Targets
from agent.warrants import Refused, Warrant
from links.link import Link
from wire.messages import AppPort, Hello, Listening, Message, Steal, TargetGone, Welcome

log = logging.getLogger(__name__)

LINKS = 8
"""Control links of one session at most: its founder's, its bridge's, and what is left of those before a cut."""

REPORTED_WITHIN = 5.0
"""Seconds that telling of a session's end may take."""


class Session:
    """Made by its founder's Hello. Everything runs on the event loop's thread."""

    def __init__(self, engine: Engine, gates: Gates, number: int, hello: Hello, warrant: Warrant) -> None:
        self.name = hello.session
        self.namespace = hello.namespace
        self.number = number
        self._engine = engine
        self._secret = hello.secret
        self._warrant = warrant
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._links: set[Link] = set()
        self._founder = Founder(self.name, hello.patience, self.end)
        self._began = asyncio.get_running_loop().time()
        self._used: set[str] = set()
        self._account: Account | None = None
        self._targets = Targets(
            engine,
            number,
            warrant,
            changed=self._target_changed,
            ended=lambda index: self._founder.notice(TargetGone(index)),
        )
        self._got = Got(self._targets, warrant)
        self.author = warrant.author or hello.author
        owner = Owner(number, self.name, self.author)
        self._stealing = Thieving(
            engine, gates, owner, warrant, self._targets, self._founder.notice, self._got.steals
        )
        self._choosing = Choosing(
            engine, number, warrant, self._targets, self._founder.notice, self._choice_changed
        )
        self._answers = Answers(
            engine,
            number,
            self._targets,
            warrant,
            self._stealing,
            self._choosing,
            self._used.add,
            self._founder.noticed,
        )
        self._mirrored = Mirrored(
            engine,
            number,
            self._targets,
            self._may_take_part,
            self._founder.notice,
            self._got.mirrors,
            self._others,
            self._choosing.look,
        )
        self._data = DataLink(engine, number, self.name, self._mirrored.anew)
        self._files = DataLink(engine, number, self.name, lambda: None, files=True)
        engine.session_add(number)
        engine.limits(
            number,
            outgoing="outgoing" in warrant.rights,
            metadata=warrant.limits.metadata_addresses,
            # 0 is no limit; else the lower of what may be and what is wished.
            mirror_rate=min(filter(None, (warrant.limits.bytes_per_second, hello.mirror_rate)), default=0),
            outgoing_rate=warrant.limits.bytes_per_second,
            connections=warrant.limits.connections,
        )

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
        self._account = self._counted_up(reason)
        self._stealing.close()
        self._engine.session_del(self.number)
        self._data.close()
        self._files.close()
        self._founder.close()
        self._targets.close()
        for link in list(self._links):
            await link.close(reason)

    def end(self, reason: str) -> None:
        """Now; ``live`` does it."""
        if not self._over.done():
            self._over.set_result(reason)

    def _counted_up(self, reason: str) -> Account:
        mirrored, outgoing = self._engine.counters(self.number), self._engine.outgoing(self.number)
        seconds = asyncio.get_running_loop().time() - self._began
        asked = self._used | self._engine.files_used(self.number)
        return Account(reason, seconds, used(asked, mirrored, outgoing), mirrored, outgoing)

    async def report(self) -> None:
        """After ``live``: to who gave the warrant."""
        assert self._account is not None
        try:
            async with asyncio.timeout(REPORTED_WITHIN):
                await self._warrant.ended(self._account)
        except Exception:
            log.exception("session %s: its end could not be reported", self.name)

    async def _hold(self) -> None:
        self.end(await self._warrant.void())

    async def serve_founder(self, link: Link, patience: float) -> None:
        """Until this link of the runner's ends; the one before it is told that it was taken over."""
        former = self._founder.came(link, patience)
        async with self._counted(link):
            try:
                if former is not None:
                    log.info("session %s: another link of the runner's takes over", self.name)
                    await former.close("another link of the runner took over")
                    self._say_anew()
                async for message in link.incoming():
                    await self._answer(link, message)
            finally:
                if not self.over:
                    self._founder.left(link)

    def _say_anew(self) -> None:
        """What could not be told while nobody was there, and what may have been lost with the link before."""
        for index in sorted(self._targets.gone):
            self._founder.notice(TargetGone(index))
        self._mirrored.say_anew()
        self._stealing.say_anew()
        self._choosing.say_anew()

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
                    self._mirrored.miss(link, 0 if link.dismissed else self._founder.patience)

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

    async def take_files_link(self, sock: socket.socket, hello: Hello, welcome: Welcome) -> None:
        """The same, of the link that carries files alone. Refused to a session that is held to a rate: files and
        packets share that, and so they share a link."""
        if self._warrant.limits.bytes_per_second:
            raise Refused("this session's files go by its data link")
        await self._files.take(sock, hello, welcome)

    def heard(self, event: LinkGone | LinkCut) -> None:
        """The engine told so of a data link of the session's. The bridge may dial another."""
        for link in (self._data, self._files):
            match event:
                case LinkGone():
                    link.gone(event.link, event.reason)
                case LinkCut():
                    link.was_cut(event.link, event.reason)

    def _target_changed(self, index: int) -> None:
        self._mirrored.changed(index)
        self._stealing.changed(index)
        self._choosing.changed(index)
        self._got.changed(index)

    def _choice_changed(self) -> None:
        self._mirrored.anew()

    def _may_take_part(self) -> bool:
        return self._data.there and (self._stealing.asked or "mirror" in self._warrant.rights)

    def _others(self, target: Target, chosen: tuple[AppPort, ...]) -> tuple[AppPort, ...]:
        left = self._stealing.take(target, chosen)
        return left if "mirror" in self._warrant.rights else ()

    async def _answer(self, link: Link, message: Message) -> None:
        call = getattr(message, "call", None)
        if call is None:
            log.warning(
                "session %s: a notice that is not for an agent: %s", self.name, type(message).__name__
            )
            return
        await tell(link, await self._answers.to(message, call, lambda: self._obeys(link)))
        if isinstance(message, Steal):
            self._mirrored.look()

    def _obeys(self, link: Link) -> bool:
        return self._founder.is_by(link) and not self.over
