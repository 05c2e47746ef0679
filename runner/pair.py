"""The two containers of a session on the engine, bridge and app: made, known by their labels, and removed.

What is said to them, and when, is the session's.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from links.link import Link
from runner import agents, app_image, config, init_file, multiplexed, plan, users, worktree
from runner.config import Caller, RunOptions
from runner.engine import Engine, EngineError, Json
from runner.images import Images
from runner.labels import ROLE, SESSION, Marks
from runner.screen import Screen
from runner.streams import AppStreams
from runner.together import together
from wire import messages as m

ENDS_WITHIN = 5.0
"""Seconds for the end of a run; what is left then is named."""


@dataclass(slots=True)
class Pair:
    """``hostname`` and ports of the bridge are ``likeness``'s, in docker's words (Config)."""

    engine: Engine
    options: RunOptions
    caller: Caller
    traits: plan.EngineTraits
    ours: Images
    bridge_image: str  # its id
    image: app_image.AppImage
    likeness: Json
    tree: worktree.WorkTree
    carried: plan.Streams
    names: plan.Names
    marks: Marks
    bridge: Link = field(init=False)
    bridge_id: str = field(init=False)
    app: str = field(init=False)
    user: m.User = field(init=False)
    streams: AppStreams = field(init=False)
    _words: agents.Words = field(init=False)
    _links: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def make(self, way: Json) -> None:
        """The bridge, running and linked; the app, created and its streams attached."""
        made: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await together(self._make_bridge(way, made), self._make_app(made))

    async def _make_bridge(self, way: Json, made: asyncio.Future[str]) -> None:
        body = plan.bridge(self.ours.bridge, way, self.options, self.likeness, self.traits, self.marks)
        self.bridge_id = await self.engine.create(self.names.bridge, body)
        made.set_result(self.bridge_id)
        sock = await self.engine.attach(self.bridge_id, stdin=True)
        self._words = agents.Words("bridge")
        reader, writer = await multiplexed.streams(sock, self._words)
        await self.engine.start(self.bridge_id)
        self.bridge = await self._links.enter_async_context(Link(reader, writer, name="the bridge"))

    async def _make_app(self, bridge: asyncio.Future[str]) -> None:
        body = plan.app(
            self.image.reference,
            self.names.bridge,
            self.options,
            self.caller,
            self.tree,
            self.carried,
            self.marks,
        )
        self.app = await self.engine.create(self.names.app, body, self.options.platform)
        init = await init_file.archive(self.engine, self.bridge_image, bridge, config.cache_folder())
        await self.engine.put(self.app, "/", init)
        self.user = await self._app_user()
        sock = await self.engine.attach(self.app, stdin=self.carried.stdin)
        self.streams = AppStreams(sock, stdin=self.carried.stdin, terminal=self.carried.terminal)

    async def _app_user(self) -> m.User:
        asked = self.options.user
        if not asked:
            if user := users.default(self.caller, rootless=self.traits.rootless):
                return user
            asked = self.image.config.get("User") or ""
        if not users.needs_files(asked):
            return users.ROOT
        passwd, group = await together(self._file("/etc/passwd"), self._file("/etc/group"))
        return users.named(asked, passwd, group)

    async def _file(self, path: str) -> bytes:
        try:
            return init_file.unpacked(await self.engine.get(self.app, path))
        except EngineError as error:
            if error.missing:
                return b""
            raise

    def last_words(self) -> list[str]:
        """What the bridge wrote last to its stderr."""
        return self._words.last

    async def close(self) -> None:
        """The bridge's link, which keeps it alive."""
        await self._links.aclose()


async def remove(engine: Engine, session: str, screen: Screen, *, at_once: bool) -> bool:
    """The app's container, then the bridge's; or both ``at_once``. Bounded; false if something was left, which is said.

    By their label, not by name: a name may be somebody else's, which is why the engine refused to give it to us.
    """
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            await engine.settled()
            roles: dict[str, list[str]] = {"app": [], "bridge": []}
            for summary in await engine.containers(f"{SESSION}={session}", everything=True):
                roles[summary["Labels"][ROLE]].append(summary["Id"])
            in_order = roles["app"] + roles["bridge"]
            if at_once:
                await together(*(engine.remove(one) for one in in_order))
            else:
                for one in in_order:
                    await engine.remove(one)
    except (TimeoutError, EngineError) as error:
        reason = str(error) or f"not gone after {ENDS_WITHIN:g} s"
        screen.warn(f"containers of session {session} could not be removed: {reason}")
        screen.warn(f"  `docker ps -aq --filter label={SESSION}={session} | xargs docker rm -f` removes them")
        return False
    return True
