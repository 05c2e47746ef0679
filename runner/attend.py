"""While the command runs: its streams, its terminal, and whatever may end it. The command's own end gives the exit
code; what becomes of the target is the place's to attend to.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from runner import telling
from runner.engine import Engine, EngineError, Subscription
from runner.errors import Refusal
from runner.pair import Pair
from runner.place import Place
from runner.screen import Screen
from runner.streams import raw_terminal, terminal_size
from runner.together import background
from wire import messages as m

log = logging.getLogger(__name__)

ENDED_BY_INIT = 137
"""Exit code of mirror-init when the bridge has left it; also of a command that was killed by somebody."""

BRIDGE_ENDS_WITHIN = 0.5
"""Seconds in which the end of a bridge is heard of after that of the command it took along, where there is time."""

LAST_WORDS_WITHIN = 4.0
"""Seconds for the app's end to be reported once the bridge has ended (mirror-init gives the app 2)."""


@dataclass(slots=True)
class Attention:
    """From ``listening`` on. ``app_exit`` is set when the engine says that the command ended."""

    engine: Engine
    screen: Screen
    place: Place
    pair: Pair
    events: Subscription
    app_exit: asyncio.Future[int]
    _engine_gone: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear and act inside the block."""
        work = {"engine events": self._hear_engine(), "bridge's notices": self._hear_bridge()}
        async with background(work), self.place.attended(self.pair.bridge):
            yield
            await telling.files_read(self.pair.bridge, self.screen)

    async def start(self) -> None:
        """Start the app's container; its terminal has the size of ours before the command runs."""
        await self.engine.start(self.pair.app)
        if self.pair.carried.terminal:
            await self._resize()

    async def command(self) -> int:
        """Carry the streams until the command's end; the exit code."""
        if not self.pair.carried.terminal:
            self.pair.streams.start()
            return await self._end()
        with raw_terminal():
            self.screen.raw = True
            loop = asyncio.get_running_loop()
            try:
                loop.add_signal_handler(signal.SIGWINCH, self._resized)
                await self._resize()  # it may have changed meanwhile
                self.pair.streams.start()
                return await self._end()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)
                self.screen.raw = False

    async def _end(self) -> int:
        gone = asyncio.create_task(self._engine_gone.wait(), name="engine gone")
        revoked = asyncio.create_task(self.place.revoked(), name="revoked")
        unread = self.pair.streams.unread
        try:
            ends: list[asyncio.Future[Any]] = [self.app_exit, self.pair.bridge.ended, unread, gone, revoked]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self.app_exit.done() and self.app_exit.result() == ENDED_BY_INIT:
                await self._hear_whether_the_bridge_ended()
            by_itself = self.app_exit.done() and self.app_exit.result() != ENDED_BY_INIT
            if self.pair.bridge.ended.done() and not by_itself and not gone.done():
                await asyncio.wait(
                    [ends[0], gone], timeout=LAST_WORDS_WITHIN, return_when=asyncio.FIRST_COMPLETED
                )
                said = "\n".join(self.pair.last_words()[-5:])
                raise Refusal(
                    f"the bridge ended, and the command with it: {self.pair.bridge.ended.result()}\n{said}".rstrip()
                )
            if self.app_exit.done():
                await asyncio.wait([self.pair.streams.drained])
                return self.app_exit.result()
            if unread.done():
                return 128 + signal.SIGPIPE
            if revoked.done():
                raise Refusal(revoked.result(), "the command was ended with it")
            raise Refusal(
                "the engine went away, and the session with it", "`docker info` says whether it is back"
            )
        finally:
            gone.cancel()
            revoked.cancel()

    async def _hear_whether_the_bridge_ended(self) -> None:
        """Its link's end may be read after the engine's word on the command: then the engine is asked."""
        ended: list[asyncio.Future[Any]] = [self.pair.bridge.ended]
        done, _ = await asyncio.wait(ended, timeout=BRIDGE_ENDS_WITHIN)
        if not done and not await self._bridge_runs():
            await asyncio.wait(ended, timeout=LAST_WORDS_WITHIN)

    async def _bridge_runs(self) -> bool:
        try:
            return bool((await self.engine.inspect(self.pair.bridge_id))["State"]["Running"])
        except EngineError as error:
            log.debug("%s", error)  # it is removed already, or the engine has gone away
            return False

    # --- what is heard ---------------------------------------------------------------------------------------------

    async def _hear_engine(self) -> None:
        async for event in self.events:
            if event.container != self.pair.app:
                self.place.happened(event)
            elif event.action == "die" and not self.app_exit.done():
                self.app_exit.set_result(event.exit_code)
        self._engine_gone.set()

    async def _hear_bridge(self) -> None:
        async for message in self.pair.bridge.incoming():
            match message:
                case m.AppListens():
                    log.debug("the app listens on %s", message.ports)
                case m.LinkLost() | m.LinkBack():
                    self.place.linked(message)
                case m.FilesRefused(reason=reason):
                    self.screen.warn(f"no files of the target: {reason}")
                case _:
                    log.debug("the bridge says %s, which is not known here", type(message).__name__)

    def _resized(self) -> None:
        task = asyncio.create_task(self._resize(), name="resize")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _resize(self) -> None:
        if size := terminal_size():
            with suppress(EngineError):  # the app has just ended
                await self.engine.resize(self.pair.app, *size)
