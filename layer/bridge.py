"""One session's bridge: couples the engine, the kernel's rules, the agent's links and the door, in the order
that a start needs.

Decides nothing by itself: what the ports mean is ``layer.ports``'s, what the kernel is told
``layer.rules``'s. Reports of the engine come in one at a time and are answered in full before the next.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from layer import identity, ports, rules, tun, ways
from layer.agent_links import dial
from layer.agents import Agents
from layer.data_link import Introduction, LinkEngine
from layer.door import Door
from layer.former import Former
from layer.nft import Nft
from layer.ports import Listener, Wishes
from layer.relay import Relays
from wire.messages import (
    Address,
    AppListens,
    Configure,
    FilesMode,
    FilesRead,
    FilesRefused,
    Identity,
    Listening,
    Message,
    Proto,
    Start,
)

log = logging.getLogger(__name__)

LISTEN_INTERVAL = 50
"""Milliseconds between two looks at what the app listens on."""

FIRST_LOOK = 2.0
"""Seconds that the engine has to say what listens before the app does; it takes a millisecond."""


class FilesCounters(Protocol):
    """As ``layer.netstack.engine.FilesCounters``."""

    @property
    def files(self) -> int: ...
    @property
    def octets(self) -> int: ...
    @property
    def without_layer(self) -> int: ...


class Engine(LinkEngine, Protocol):
    """What the bridge uses of ``layer.netstack.engine.Netstack``."""

    def run(self) -> None:
        """Until ``stop``; in a thread of its own."""

    def stop(self) -> None:
        """From any thread."""

    def close(self) -> None:
        """Not while it runs."""

    def listeners(self, interval_ms: int) -> None:
        """Report what listens in this namespace."""

    def addresses(self, ips: list[bytes]) -> None:
        """The target's own addresses."""

    def files(self, uid: int, gid: int, *, writes: bool) -> None:
        """Serves the target's files and their door in this namespace; the target's own are shown as this user's."""

    def files_device(self) -> int:
        """st_dev of what is served."""

    def files_counters(self) -> FilesCounters:
        """What of them was read."""

    def fileno(self) -> int:
        """Readable while a report waits."""

    def pull(self) -> list[object] | None:
        """One report, or None."""


class Bridge:
    """From ``async with`` on a configured session; leaving it ends the app (by the door), then the links,
    then tun0.
    """

    def __init__(self, engine: Callable[[int], Engine], tell: Callable[[Message], Awaitable[None]]) -> None:
        self._make_engine = engine
        self._tell = tell
        self._stack = AsyncExitStack()
        self._nft = Nft()
        self._sockets = rules.Sockets()
        self._listeners: frozenset[Listener] = frozenset()
        self._said = Listening(())
        self._reported = AppListens(())
        self._before: frozenset[Listener] | None = None
        self._looked = asyncio.Event()
        self._serves_files = False
        self._former = Former()
        self._stack.callback(self._former.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def configure(self, asked: Configure) -> None:
        """Everything, in order. OSError, NftError or LinkEnded with the sentence that the runner shows."""
        self._wishes = Wishes(asked.mapped, asked.ignored, asked.declared)
        me = Introduction(asked.session, asked.secret, asked.keeps, files=asked.files != FilesMode.NONE)
        dialled = asyncio.create_task(dial(asked.agent_socket, me), name="dial the agent")
        await asyncio.sleep(0)  # both Hellos are on their way while the kernel is set up
        try:
            identity.write(asked.identity)
            tun_fd = tun.make()
            self._engine = self._make_engine(tun_fd)
            rules_of_layer = await self._files(asked)
            ways.prepare(asked.identity.addresses)
            self._ground(asked.identity)
            self._nft.apply(rules.whole(self._grounds, self._sockets))
            self._relays = await self._stack.enter_async_context(Relays())
            links = await dialled
        except BaseException:
            dialled.cancel()
            raise
        self._agents = Agents(me, self._engine, self._tell)
        self._start_engine()
        self._stack.push_async_callback(self._agents.close)
        await self._agents.take(0, asked.agent_socket, links)
        self._agents.primary(0, 0)
        self._engine.listeners(LISTEN_INTERVAL)
        async with asyncio.timeout(FIRST_LOOK):
            await self._looked.wait()
        start = Start(asked.argv, asked.environ, asked.user, asked.cwd, rules_of_layer)
        await self._stack.enter_async_context(Door(start))

    async def _files(self, asked: Configure) -> bytes:
        """The target's files are served, if that was asked for. The rules as the layer reads them: before them, by
        which device it knows what is the target's. Where files are the optional part of a session, it goes without."""
        if asked.files == FilesMode.NONE:
            return b""
        try:
            # privileged CAP_SYS_ADMIN: a FUSE file system is made, and mounted where no path leads.
            self._engine.files(asked.user.uid, asked.user.gid, writes=asked.files == FilesMode.WRITE)
        except OSError as error:
            if not asked.files_optional:
                raise
            await self._tell(FilesRefused(str(error.strerror or error)))
            return b""
        self._serves_files = True
        return b"MRFILES1" + struct.pack("=Q", self._engine.files_device()) + asked.rules

    def files_read(self, call: int) -> FilesRead:
        """What the app has had of the target's files until now."""
        if not self._serves_files:
            return FilesRead(call)
        counted = self._engine.files_counters()
        return FilesRead(call, counted.files, counted.octets, counted.without_layer)

    async def add_agent(self, number: int, path: str) -> None:
        """One more. LinkEnded when it cannot be had."""
        await self._agents.add(number, path)

    async def remove_agent(self, number: int) -> None:
        """One less; what the app had open there is reset."""
        await self._agents.remove(number)

    async def retarget(self, new: Identity, agent: int, target: int) -> None:
        """The primary has other addresses, and may be another agent's. Its name and files stay as the app has
        seen them: a process cannot change its own.
        """
        self._former.back(ways.carried(new.addresses))
        gone = ways.replace(self._addresses, new.addresses)
        self._ground(new)
        self._nft.apply(rules.whole(self._grounds, self._sockets))
        self._former.add(gone)
        self._agents.primary(agent, target)

    def _ground(self, who: Identity) -> None:
        self._addresses: tuple[Address, ...] = ways.carried(who.addresses)
        own = tuple(address.ip for address in self._addresses)
        self._has_v6 = any(len(ip) == 16 for ip in own)
        self._grounds = rules.Ground(own, identity.resolvers(who.resolv_conf))
        self._engine.addresses(list(own))

    def _start_engine(self) -> None:
        thread = threading.Thread(target=self._engine.run, name="engine", daemon=True)
        thread.start()
        self._stack.callback(self._end_engine, thread)
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._engine.fileno(), arrived.set)
        self._stack.callback(loop.remove_reader, self._engine.fileno())
        task = asyncio.create_task(self._attend(arrived), name="engine's reports")
        self._stack.callback(task.cancel)

    def _end_engine(self, thread: threading.Thread) -> None:
        self._engine.stop()
        thread.join(1.0)
        if thread.is_alive():
            log.error("the engine does not stop")
        else:
            self._engine.close()

    async def _attend(self, arrived: asyncio.Event) -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            while (report := self._engine.pull()) is not None:
                try:
                    await self._heard(report)
                except Exception:
                    log.exception("a report of the engine could not be acted upon: %s", report[0])

    async def _heard(self, report: list[object]) -> None:
        match report:
            case ["listening", list() as found]:
                await self._listening(frozenset(Listener(*one) for one in found))
            case ["self", int(port)]:
                # Somebody listens by now: the set is mended at once, and the SYN's repetition stays here.
                await self._listening(self._listeners | {Listener(Proto.TCP, port, False, 10)})
            case ["link-gone", int(link), str(reason)]:
                if not self._agents.reported(link, reason, gone=True):
                    self._engine.link_del(link)
            case ["link-cut", int(link), str(reason)]:
                self._agents.reported(link, reason, gone=False)
            case ["refused", int(number), *where]:
                log.info("a connect inside the target failed with errno %d: %s", number, where)
            case ["files-refused", str(why)]:
                await self._tell(FilesRefused(why))
            case ["failed", str(what)]:
                log.error("%s", what)
            case _:
                log.debug("the engine said %s", report)

    async def _listening(self, found: frozenset[Listener]) -> None:
        """Rules first, then the agent: whoever is sent traffic must be able to get it.

        What listened before the app was there is not the app's: an engine's name server in an attached
        network.
        """
        if self._before is None:
            self._before = found
            self._looked.set()
        found -= self._before
        own = set(self._relays.ports.values())
        found = frozenset(one for one in found if not (one.proto == Proto.TCP and one.port in own))
        self._listeners = found
        for port, destination in ports.relay_needs(found, self._has_v6).items():
            await self._relays.stand_in(port, destination)
        sockets = ports.sockets(found, self._relays.ports, self._has_v6, self._sockets)
        if sockets != self._sockets:
            self._nft.apply(rules.ports(sockets))
            self._sockets = sockets
        said = Listening(ports.wanted(found, self._wishes))
        if said != self._said:
            self._said = said
            await self._agents.listening(said)
        reported = AppListens(ports.reported(found))
        if reported != self._reported:
            self._reported = reported
            await self._tell(reported)
