"""One run: from the first question to the engine until the last container is gone.

Every deed's undo is registered before it, and undone in reverse: the target gets its traffic back first,
then the app ends, then the bridge. A ``kill -9`` of this process does the same by itself: the agent's link
and the bridge's stdin end, mirror-init sees the door close, and every container is `--rm`.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

from links.link import CallFailed, LinkEnded
from runner import (
    agents,
    app_image,
    config,
    contexts,
    docker_words,
    environ,
    images,
    pair,
    places,
    plan,
    ports,
    stealing,
    worktree,
)
from runner.attend import Attention
from runner.config import Caller, RunOptions
from runner.engine import Engine, EngineError, Json, Subscription, connect
from runner.errors import Refusal
from runner.files import asked as files_asked
from runner.files import kept
from runner.kube import expansion
from runner.labels import ROLE, Marks, forgotten
from runner.place import Founded, Place, Proof
from runner.refusals import translated
from runner.screen import Screen
from runner.signals import ENDING, TWICE_WITHIN, Signals
from runner.together import together
from wire import messages as m

ENDS_OR_STAYS = 5.0
"""Seconds after a signal to the command; one that still runs then is taken to go on, and steals again."""


@dataclass(slots=True)
class Session:
    """A run's parts, filled in as they come to be."""

    options: RunOptions
    caller: Caller
    screen: Screen
    proof: Proof = field(init=False)
    app_exit: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stuck: bool = False
    """Something of the end did not end: threads may still sit in calls of the engine."""

    _forwarding: set[asyncio.Task[None]] = field(default_factory=set)

    engine: Engine = field(init=False)
    events: Subscription = field(init=False)
    forgotten: list[str] = field(init=False)
    place: Place = field(init=False)
    founded: Founded = field(init=False)
    pair: pair.Pair = field(init=False)
    table: bytes = field(init=False)

    wishes: environ.Wishes = field(init=False)
    given: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        options = self.options
        self.wishes = environ.wishes(
            options.env_include, options.env_exclude, options.env_mapped, options.env_unset
        )
        self.proof = Proof(secrets.token_hex(4), secrets.token_bytes(32), self.caller.name)

    async def play(self, signals: Signals) -> int:
        """The whole run; the exit code."""
        async with AsyncExitStack() as undo:
            await self._look(undo)
            undo.push_async_callback(self._end)
            await self._make()
            undo.enter_context(self.pair.streams)
            attention = Attention(self.engine, self.screen, self.place, self.pair, self.events, self.app_exit)
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
            if ends := self.options.steal and number in ENDING:
                await self.place.let_go()  # first, so that the command leaves nobody's request unanswered
            with suppress(EngineError):  # it has just ended
                await self.engine.signal(self.pair.app, number.name)
            if ends and not (await asyncio.wait([self.app_exit], timeout=ENDS_OR_STAYS))[0]:
                await self.place.steal_again()

        task = asyncio.create_task(give(), name=f"forward {number.name}")
        self._forwarding.add(task)
        task.add_done_callback(self._forwarding.discard)

    # --- look: who is who, nothing is made yet ---------------------------------------------------------------------

    async def _look(self, undo: AsyncExitStack) -> None:
        self._understand()
        seeker = places.Seeker(self.options, self.caller, self.screen, self.proof, undo)
        seeker.begin()
        found = contexts.choose(self.caller.environ, self.caller.home, self.options.docker_context)
        self.engine = await connect(found)
        undo.callback(self.engine.close)
        seeker.engine.set_result(self.engine)
        tree = worktree.around(self.caller.cwd, self.caller.home)
        names = plan.names(self.proof.session, self.options)
        listed = asyncio.ensure_future(self.engine.containers(everything=True))
        self.place, self.table, info, built, self.events, summaries = await together(
            seeker.find(listed),
            self._table(),
            self.engine.info(),
            images.present(self.engine),
            self.engine.subscribe(),
            asyncio.wait_for(listed, None),
        )
        if not self.place.serves_files:
            self.options = files_asked.without(self.options)
        self.forgotten = forgotten(summaries, time.time())
        traits = plan.traits(info, same_host=self.engine.endpoint.same_host)
        if not traits.same_host:
            why = "the engine is on another machine: nothing of this one is mounted"
            tree = worktree.WorkTree(None, why)
        ours = built or await self.engine.work("images", partial(images.ensure, progress=self.screen.step))
        bridge_image, image = await together(
            self.engine.inspect_image(ours.bridge),
            app_image.settle(self.engine, self.options, self.caller, self.place.original, self.screen.step),
        )
        self.pair = pair.Pair(
            self.engine,
            self.options,
            self.caller,
            traits,
            ours,
            bridge_image["Id"],
            image,
            self.place.original.config,
            tree,
            plan.streams(self.options, self.caller),
            names,
            Marks(
                self.proof.session,
                self.place.name,
                self.caller.name,
                self.place.where,
                "steal" if self.options.steal else "mirror",
            ),
        )
        self.screen.step(f"starting beside {self.place.name}")

    def _understand(self) -> None:
        """What says nothing is refused before anything is looked for."""
        options = self.options
        stealing.wish(options)
        docker_words.understood(options, self.caller)
        self.given = environ.given(options.env, options.env_files, self.caller.environ)

    # --- make: containers and links, as much of it at once as can be -----------------------------------------------

    async def _make(self) -> None:
        for _ in range(agents.TRIES):
            way = await self.place.way(
                self.pair.ours, self.pair.traits, files=plan.serves_files(self.options)
            )
            try:
                self.founded, *_ = await together(
                    self.place.open(),
                    self._pair(way),
                    *(self.engine.remove(one) for one in self.forgotten),
                    self.engine.sweep_volumes(f"{ROLE}=agent"),
                )
                return
            except (LinkEnded, EngineError) as error:
                if not await self.place.lost_race(error):
                    raise _refused(error) from error
                await self._remove_containers()
        raise Refusal("the engine's agent ended each time we came", "`mirror-run doctor` may say why")

    async def _table(self) -> bytes:
        """Of the rules for files; beside everything else, if this machine has to make it."""
        if not plan.serves_files(self.options):
            return b""
        rules = files_asked.rules(self.options, self.caller)
        return await asyncio.to_thread(kept.table, rules, config.cache_folder())

    def _rules(self) -> bytes:
        home = self.pair.user.home
        return files_asked.rules(self.options, self.caller, self.founded.mounts, home).packed(self.table)

    async def _pair(self, way: Json) -> None:
        """Bridge and app; without the target's files if the engine will not have a bridge that serves them."""
        try:
            await self.pair.make(way)
        except EngineError as error:
            if not plan.serves_files(self.options) or not files_asked.FORBIDDEN.search(error.sentence):
                raise
            why = f"the engine says {error.sentence}"
            self.options = self.pair.options = files_asked.refused(self.options, why)
            self.screen.warn(f"no files of the target: {why}")
            await self._remove_containers()
            await self.pair.make(way)

    # --- configure: who the target is, told to the bridge ----------------------------------------------------------

    async def _configure(self) -> None:
        chosen = environ.choose(
            self.founded.environ,
            self.given,
            self.wishes,
            environ.configured(self.pair.image.config.get("Env")),
        )
        try:
            await self.pair.bridge.call(await self._configuration(chosen.variables))
        except (CallFailed, LinkEnded) as error:
            said = "\n".join(self.pair.last_words())
            without = "leave the target's files out: --fs-mode local" if "FUSE" in error.reason else ""
            raise Refusal(
                f"the bridge could not be set up: {error.reason}\n{said}".rstrip(), without
            ) from error
        self.place.configured()
        self.screen.notice(
            f"as {self.place.name}: {chosen.kept} of its variables, {chosen.left_out} left out as the container's own"
        )
        if self.pair.tree.why:
            self.screen.notice(self.pair.tree.why)

    async def _configuration(self, variables: tuple[bytes, ...]) -> m.Configure:
        options, image = self.options, self.pair.image
        files = files_asked.served(options)
        argv = plan.command(options, image.config)
        if self.place.original.expands and not options.command and not options.entrypoint:
            argv = expansion.of_words(argv, self.founded.environ)
        cwd = plan.working_directory(
            options,
            self.caller,
            self.pair.tree,
            image.config.get("WorkingDir") or "/",
            commanded=bool(options.command or options.entrypoint),
        )
        return m.Configure(
            call=0,
            session=self.founded.session,
            secret=self.founded.secret,
            agent_socket=await self.place.lead(self.pair.bridge_id),
            identity=plan.with_hosts(self.founded.identity, options),
            argv=tuple(word.encode(errors="surrogateescape") for word in argv),
            environ=variables,
            user=self.pair.user,
            cwd=cwd,
            mapped=ports.mapped(options.map_ports),
            ignored=options.ignore_ports,
            declared=ports.declared(self.place.original.config.get("ExposedPorts")),
            log_level=options.log_level,
            keeps=self.place.keeps,
            files=files,
            rules=self._rules() if files else b"",
            files_optional=not files_asked.named(options),
        )

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """The target gets its traffic back, then the app ends, then the bridge, which its link keeps alive."""
        await self.place.close()
        await self._remove_containers()
        await self.pair.close()

    async def _remove_containers(self) -> None:
        """At once when the app has ended by itself."""
        gone = await pair.remove(self.engine, self.proof.session, self.screen, at_once=self.app_exit.done())
        self.stuck = self.stuck or not gone


def _refused(error: LinkEnded | EngineError) -> Refusal:
    if isinstance(error, LinkEnded):
        return Refusal(f"the agent: {error.reason}", "`mirror-run doctor` looks at its parts")
    return translated(error.sentence)
