"""One run: from the first question to the engine until the last container is gone.

Every deed's undo is registered before it, and undone in reverse: the target gets its traffic back first,
then the app ends, then the bridge. A ``kill -9`` of this process does the same by itself: the agent's link
and the bridge's stdin end, mirror-init sees the door close, and every container is `--rm`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from links.link import CallFailed, Link, LinkEnded
from runner import (
    agents,
    app_image,
    config,
    contexts,
    environ,
    images,
    init_file,
    multiplexed,
    plan,
    ports,
    targets,
    users,
    worktree,
)
from runner.attend import Attention
from runner.config import Caller, RunOptions
from runner.engine import Engine, EngineError, Json, Subscription, connect
from runner.errors import Refusal
from runner.labels import ROLE, SESSION, Marks, forgotten
from runner.refusals import translated
from runner.screen import Screen
from runner.signals import ENDING, TWICE_WITHIN, Signals
from runner.streams import AppStreams
from runner.together import together
from wire import messages as m

log = logging.getLogger(__name__)

ENDS_WITHIN = 5.0
"""Seconds for the end of a run; what is left then is named."""


@dataclass(slots=True)
class Session:
    """A run's parts, filled in as they come to be."""

    options: RunOptions
    caller: Caller
    screen: Screen
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    app_exit: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stuck: bool = False
    """Something of the end did not end: threads may still sit in calls of the engine."""

    _forwarding: set[asyncio.Task[None]] = field(default_factory=set)

    engine: Engine = field(init=False)
    events: Subscription = field(init=False)
    forgotten: list[str] = field(init=False)
    target: targets.Target = field(init=False)
    inspected: Json = field(init=False)
    image: app_image.AppImage = field(init=False)
    traits: plan.EngineTraits = field(init=False)
    ours: images.Images = field(init=False)
    bridge_image: str = field(init=False)
    tree: worktree.WorkTree = field(init=False)
    carried: plan.Streams = field(init=False)
    names: plan.Names = field(init=False)
    agent_links: AsyncExitStack = field(default_factory=AsyncExitStack)
    bridge_links: AsyncExitStack = field(default_factory=AsyncExitStack)
    agent: Link = field(init=False)
    agent_id: str = field(init=False)
    identity: m.Identity = field(init=False)
    theirs: m.Environ = field(init=False)
    bridge: Link = field(init=False)
    bridge_words: agents.Words = field(init=False)
    bridge_made: asyncio.Future[str] = field(init=False)
    app: str = field(init=False)
    streams: AppStreams = field(init=False)
    user: m.User = field(init=False)

    async def play(self, signals: Signals) -> int:
        """The whole run; the exit code."""
        async with AsyncExitStack() as undo:
            await self._look()
            undo.push_async_callback(self._end)
            await self._make()
            undo.enter_context(self.streams)
            attention = Attention(
                self.engine,
                self.screen,
                self.options,
                self.target,
                self.agent,
                self.agent_id,
                self.bridge,
                self.bridge_words.last,
                self.events,
                self.app,
                self.app_exit,
                self.streams,
                self.carried.terminal,
            )
            await undo.enter_async_context(attention.listening())
            # mirror-init waits for the bridge's door, so its container may start while the bridge is being set up.
            await together(self._configure(), attention.start())
            self.screen.settle()
            signals.running = True
            return await attention.command()

    def forward(self, number: signal.Signals) -> None:
        """Give a signal to the app, whose init passes it on to the command."""
        if number in ENDING:
            self.screen.notice(
                f"{number.name} is given to the command; again within {TWICE_WITHIN:g} s ends it"
            )

        async def give() -> None:
            with suppress(EngineError):  # it has just ended
                await self.engine.signal(self.app, number.name)

        task = asyncio.create_task(give(), name=f"forward {number.name}")
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)

    # --- look: who is who, nothing is made yet ---------------------------------------------------------------------

    async def _look(self) -> None:
        found = contexts.choose(self.caller.environ, self.caller.home, self.options.context)
        self.engine = await connect(found)
        self.tree = worktree.around(self.caller.cwd, self.caller.home)
        self.carried = plan.streams(self.options, self.caller)
        self.names = plan.names(self.id, self.options)
        info, summaries, built, self.events = await together(
            self.engine.info(),
            self.engine.containers(everything=True),
            asyncio.to_thread(images.present, self.engine.api),
            self.engine.subscribe(),
        )
        self.forgotten = forgotten(summaries, time.time())
        self.traits = plan.traits(info, same_host=self.engine.endpoint.same_host)
        if not self.traits.same_host:
            why = "the engine is on another machine: nothing of this one is mounted"
            self.tree = worktree.WorkTree(None, why)
        self.target = targets.resolve(self.options.target, targets.listed(summaries))
        self.ours = built or await asyncio.to_thread(images.ensure, self.engine.api, self.screen.step)
        self.inspected, bridge_image = await together(
            self.engine.inspect(self.target.containers[0].id), self.engine.inspect_image(self.ours.bridge)
        )
        self.bridge_image = bridge_image["Id"]
        self.image = await app_image.settle(
            self.engine, self.options, self.caller, self.inspected, self.screen.step
        )
        self.screen.step(f"starting beside {self.target.name}")

    # --- make: containers and links, as much of it at once as can be -----------------------------------------------

    async def _make(self) -> None:
        marks = Marks(self.id, self.target.name, self.caller.name)
        agent_plan = plan.agent(self.ours.agent, self.traits, self.caller.name)
        for _ in range(agents.TRIES):
            self.bridge_made = asyncio.get_running_loop().create_future()
            self.agent_id = await agents.find(self.engine, self.ours.agent, agent_plan)
            try:
                _, self.bridge, self.app, *_ = await together(
                    self._meet_agent(),
                    self._make_bridge(self.agent_id, marks),
                    self._make_app(marks),
                    *(self.engine.remove(one) for one in self.forgotten),
                    self.engine.sweep_volumes(f"{ROLE}=agent"),
                )
                return
            except (LinkEnded, EngineError) as error:
                if not await agents.ended(self.engine, self.agent_id):
                    raise _refused(error) from error
                log.debug("the agent ended just now: %s", error)
                await self._remove_containers()
        raise Refusal("the engine's agent ended each time we came", "`mirror-run doctor` may say why")

    async def _meet_agent(self) -> None:
        """The session's founding link, the target's containers attached, the primary's environment."""
        link = await agents.dial(self.engine, self.agent_id, self.id, self.secret, self.caller.name)
        self.agent = await self.agent_links.enter_async_context(link)
        questions = [m.Attach(0, i, found.id) for i, found in enumerate(self.target.containers)]
        attached, *_ = [await self._asked(question) for question in questions]
        self.identity = attached.identity
        self.theirs = await self._asked(m.GetEnviron(0, 0))

    async def _asked(self, question: m.Message) -> Any:
        try:
            return await agents.while_alive(self.engine, self.agent_id, self.agent.call(question))
        except CallFailed as error:
            raise Refusal(f"the agent cannot serve {self.target.name}: {error.reason}") from error

    async def _make_bridge(self, agent: str, marks: Marks) -> Link:
        body = plan.bridge(self.ours.bridge, agent, self.options, self.inspected, self.traits, marks)
        bridge = await self.engine.create(self.names.bridge, body)
        self.bridge_made.set_result(bridge)
        sock = await self.engine.attach(bridge, stdin=True)
        self.bridge_words = agents.Words("bridge")
        reader, writer = await multiplexed.streams(sock, self.bridge_words)
        await self.engine.start(bridge)
        return await self.bridge_links.enter_async_context(Link(reader, writer, name="the bridge"))

    async def _make_app(self, marks: Marks) -> str:
        body = plan.app(
            self.image.reference, self.names.bridge, self.options, self.caller, self.tree, self.carried, marks
        )
        app = await self.engine.create(self.names.app, body, self.options.platform)
        init = await init_file.archive(
            self.engine, self.bridge_image, self.bridge_made, config.cache_folder()
        )
        await self.engine.put(app, "/", init)
        self.user = await self._app_user(app)
        sock = await self.engine.attach(app, stdin=self.carried.stdin)
        self.streams = AppStreams(sock, stdin=self.carried.stdin, terminal=self.carried.terminal)
        return app

    async def _app_user(self, app: str) -> m.User:
        asked = self.options.user
        if not asked:
            if user := users.default(self.caller, rootless=self.traits.rootless):
                return user
            asked = self.image.config.get("User") or ""
        if not users.needs_files(asked):
            return users.ROOT
        passwd, group = await together(self._file(app, "/etc/passwd"), self._file(app, "/etc/group"))
        return users.named(asked, passwd, group)

    async def _file(self, container: str, path: str) -> bytes:
        try:
            return init_file.unpacked(await self.engine.get(container, path))
        except EngineError as error:
            if error.missing:
                return b""
            raise

    # --- configure: who the target is, told to the bridge ----------------------------------------------------------

    async def _configure(self) -> None:
        own = environ.given(self.options.env, self.options.env_files, self.caller.environ)
        if not self.theirs.variables:
            self.screen.notice(
                f"{self.target.name}: its process wrote over its environment, so this is the container's configured one"
            )
        chosen = environ.choose(
            self.theirs.variables or environ.configured(self.inspected["Config"].get("Env")),
            own,
            environ.patterns(self.options.env_include),
            environ.patterns(self.options.env_exclude),
        )
        argv = plan.command(self.options, self.image.config)
        cwd = plan.working_directory(
            self.options,
            self.caller,
            self.tree,
            self.image.config.get("WorkingDir") or "/",
            commanded=bool(self.options.command or self.options.entrypoint),
        )
        try:
            await self.bridge.call(
                m.Configure(
                    call=0,
                    session=self.id,
                    secret=self.secret,
                    agent_socket=plan.AGENT_SOCKET,
                    identity=plan.with_hosts(self.identity, self.options),
                    argv=tuple(word.encode(errors="surrogateescape") for word in argv),
                    environ=chosen.variables,
                    user=self.user,
                    cwd=cwd,
                    mapped=ports.mapped(self.options.map_ports),
                    ignored=self.options.ignore_ports,
                    declared=ports.declared(self.inspected["Config"].get("ExposedPorts")),
                    log_level=self.options.log_level,
                )
            )
        except (CallFailed, LinkEnded) as error:
            said = "\n".join(self.bridge_words.last)
            raise Refusal(f"the bridge could not be set up: {error.reason}\n{said}".rstrip()) from error
        self.screen.notice(
            f"as {self.target.name}: {chosen.kept} of its variables, {chosen.left_out} left out as the container's own"
        )
        if self.tree.why:
            self.screen.notice(self.tree.why)

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """The target gets its traffic back, then the app ends, then the bridge, which its link keeps alive."""
        await self.agent_links.aclose()
        await self._remove_containers()
        await self.bridge_links.aclose()

    async def _remove_containers(self) -> None:
        """The app, then the bridge; at once when the app has ended by itself. Bounded, and says what it left.

        By their label, not by name: a name may be somebody else's, which is why the engine refused to give it to us.
        """
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await self.engine.settled()
                ours = await self.engine.containers(f"{SESSION}={self.id}", everything=True)
                roles: dict[str, list[str]] = {"app": [], "bridge": []}
                for summary in ours:
                    roles[summary["Labels"][ROLE]].append(summary["Id"])
                in_order = roles["app"] + roles["bridge"]
                if self.app_exit.done():
                    await together(*(self.engine.remove(one) for one in in_order))
                else:
                    for one in in_order:
                        await self.engine.remove(one)
        except (TimeoutError, EngineError) as error:
            self.stuck = True
            reason = str(error) or f"not gone after {ENDS_WITHIN:g} s"
            self.screen.warn(f"containers of session {self.id} could not be removed: {reason}")
            self.screen.warn(
                f"  `docker ps -aq --filter label={SESSION}={self.id} | xargs docker rm -f` removes them"
            )


def _refused(error: LinkEnded | EngineError) -> Refusal:
    if isinstance(error, LinkEnded):
        return Refusal(f"the engine's agent: {error.reason}", "`mirror-run doctor` looks at its parts")
    return translated(error.sentence)
