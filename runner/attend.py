"""While the command runs: the engine's events and the links' notices are heard and acted upon, until one says the end.

The command's own end gives the exit code. Nothing that happens to the target, or to the agent, ends the command.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from links.link import CallFailed, Link, LinkEnded
from runner import plan, tally
from runner.config import RunOptions
from runner.engine import Engine, EngineError, Subscription
from runner.errors import Refusal
from runner.follow import AttachTo, Followed, Leave, Say, Step
from runner.mirrored import Mirrored
from runner.screen import Screen
from runner.streams import AppStreams, raw_terminal, terminal_size
from runner.targets import Target
from wire import messages as m

log = logging.getLogger(__name__)

SETTLES_WITHIN = 0.1
"""Seconds in which the notices of a target's several containers are gathered into one line."""

COUNTED_WITHIN = 0.5
"""Seconds for the agent's last count; a run does not end later for it."""

ENDED_BY_INIT = 137
"""Exit code of mirror-init when the bridge has left it; also of a command that was killed by somebody."""

BRIDGE_ENDS_WITHIN = 0.5
"""Seconds in which the end of a bridge is heard of after that of the command it took along."""

LAST_WORDS_WITHIN = 4.0
"""Seconds for the app's end to be reported once the bridge has ended (mirror-init gives the app 2)."""


@dataclass(slots=True)
class Attention:
    """Everything of a run that is attended to. ``app`` is the app container's id; ``bridge_said`` the
    bridge's last lines."""

    engine: Engine
    screen: Screen
    options: RunOptions
    target: Target
    agent: Link
    agent_container: str
    bridge: Link
    bridge_said: list[str]
    events: Subscription
    app: str
    app_exit: asyncio.Future[int]
    streams: AppStreams
    terminal: bool
    _followed: Followed = field(init=False)
    _mirrored: Mirrored = field(init=False)
    _steps: asyncio.Queue[Step] = field(init=False, default_factory=asyncio.Queue)
    _engine_gone: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._followed = Followed(self.target)
        self._mirrored = Mirrored(self.target.name)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear and act inside the block."""
        tasks = [
            asyncio.create_task(self._hear_engine(), name="engine events"),
            asyncio.create_task(self._hear_agent(), name="agent's notices"),
            asyncio.create_task(self._hear_bridge(), name="bridge's notices"),
            asyncio.create_task(self._carry_out(), name="following the target"),
            asyncio.create_task(self._count(), name="counting"),
        ]
        try:
            yield
            await self._sum_up()
        finally:
            for task in tasks:
                task.cancel()
            for task, result in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                if isinstance(result, Exception):
                    log.error("%s: %r", task.get_name(), result)

    async def start(self) -> None:
        """Start the app's container; its terminal has the size of ours before the command runs."""
        await self.engine.start(self.app)
        if self.terminal:
            await self._resize()

    async def command(self) -> int:
        """Carry the streams until the command's end; the exit code."""
        if not self.terminal:
            self.streams.start()
            return await self._end()
        with raw_terminal():
            self.screen.raw = True
            loop = asyncio.get_running_loop()
            try:
                loop.add_signal_handler(signal.SIGWINCH, self._resized)
                await self._resize()  # it may have changed meanwhile
                self.streams.start()
                return await self._end()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)
                self.screen.raw = False

    async def _end(self) -> int:
        gone = asyncio.create_task(self._engine_gone.wait(), name="engine gone")
        unread = self.streams.unread
        try:
            ends: list[asyncio.Future[Any]] = [self.app_exit, self.bridge.ended, unread, gone]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self.app_exit.done() and self.app_exit.result() == ENDED_BY_INIT:
                await asyncio.wait([self.bridge.ended], timeout=BRIDGE_ENDS_WITHIN)
            by_itself = self.app_exit.done() and self.app_exit.result() != ENDED_BY_INIT
            if self.bridge.ended.done() and not by_itself and not gone.done():
                await asyncio.wait(
                    [ends[0], gone], timeout=LAST_WORDS_WITHIN, return_when=asyncio.FIRST_COMPLETED
                )
                said = "\n".join(self.bridge_said[-5:])
                raise Refusal(
                    f"the bridge ended, and the command with it: {self.bridge.ended.result()}\n{said}".rstrip()
                )
            if self.app_exit.done():
                await asyncio.wait([self.streams.drained])
                return self.app_exit.result()
            if unread.done():
                return 128 + signal.SIGPIPE
            raise Refusal(
                "the engine went away, and the session with it", "`docker info` says whether it is back"
            )
        finally:
            gone.cancel()

    # --- what is heard ---------------------------------------------------------------------------------------------

    async def _hear_engine(self) -> None:
        async for event in self.events:
            if event.container == self.app:
                if event.action == "die" and not self.app_exit.done():
                    self.app_exit.set_result(event.exit_code)
                continue
            if event.container == self.agent_container and event.action == "die":
                await self.agent.close("the agent ended")  # its stream alone does not always tell
                continue
            match event.action:
                case "start":
                    steps = self._followed.started(
                        event.container, event.labels.get("name", ""), event.labels
                    )
                case "die":
                    steps = self._followed.died(event.container)
                case "destroy":
                    steps = self._followed.destroyed(event.container)
                case _:
                    steps = []
            for step in steps:
                self._steps.put_nowait(step)
        self._engine_gone.set()

    async def _hear_agent(self) -> None:
        flush: asyncio.TimerHandle | None = None
        async for message in self.agent.incoming():
            match message:
                case m.Mirroring():
                    self._mirrored.notice(message.target, message.ports)
                    if flush is not None:
                        flush.cancel()
                    flush = asyncio.get_running_loop().call_later(SETTLES_WITHIN, self._say_mirrored)
                case m.TargetGone():
                    self._mirrored.gone(message.target)
                    log.debug("the agent lost %s", self._followed.name(message.target))
                case _:
                    log.debug("the agent says %s, which is not known here", type(message).__name__)
        self.screen.warn(
            f"the link to the agent ended ({self.agent.ended.result()}): "
            "your command keeps running, without the target's network and traffic"
        )

    async def _hear_bridge(self) -> None:
        async for message in self.bridge.incoming():
            match message:
                case m.AppListens():
                    log.debug("the app listens on %s", message.ports)
                case m.LinkLost():
                    log.info("the bridge's link to the agent ended: %s", message.reason)
                case _:
                    log.debug("the bridge says %s, which is not known here", type(message).__name__)

    async def _count(self) -> None:
        seen = m.Counters()
        with suppress(LinkEnded, CallFailed):  # whoever hears the agent says that it is gone
            while True:
                await asyncio.sleep(tally.LOOKS_EVERY)
                now = await self._counters()
                if said := tally.complaint(seen, now):
                    self.screen.warn(said)
                seen = now

    async def _sum_up(self) -> None:
        with suppress(LinkEnded, CallFailed, TimeoutError):
            async with asyncio.timeout(COUNTED_WITHIN):
                if said := tally.summary(await self._counters()):
                    self.screen.notice(said)

    async def _counters(self) -> m.Counters:
        answer = await self.agent.call(m.GetCounters(0))
        assert isinstance(answer, m.CountersAre)
        return answer.counters

    def _say_mirrored(self) -> None:
        if line := self._mirrored.line():
            self.screen.notice(line)

    # --- what is done ----------------------------------------------------------------------------------------------

    async def _carry_out(self) -> None:
        while True:
            step = await self._steps.get()
            try:
                await self._do(step)
            except (CallFailed, LinkEnded) as error:
                self.screen.warn(f"following {self.target.name}: {error.reason}")

    async def _do(self, step: Step) -> None:
        match step:
            case Say(text):
                self.screen.notice(text)
            case Leave(index, name):
                await self.agent.call(m.Detach(0, index))
                self._mirrored.gone(index)
                log.info("%s is gone", name)
            case AttachTo(index, container, name, again):
                attached = await self.agent.call(m.Attach(0, index, container))
                assert isinstance(attached, m.Attached)
                if index == 0:
                    await self.bridge.call(m.Retarget(0, plan.with_hosts(attached.identity, self.options)))
                self.screen.notice(
                    f"{name} is back, and followed" if again else f"{name} is new, and takes part"
                )

    def _resized(self) -> None:
        task = asyncio.create_task(self._resize(), name="resize")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _resize(self) -> None:
        if size := terminal_size():
            with suppress(EngineError):  # the app has just ended
                await self.engine.resize(self.app, *size)
