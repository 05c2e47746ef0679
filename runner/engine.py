"""The container engine, asked through the Docker SDK; each call in a thread, so that calls may overlap.

What the engine answers is given as it came (its API's JSON); what it refuses becomes an EngineError with its own
sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from runner import engine_sdk
from runner.contexts import Endpoint
from runner.engine_events import Event, Subscription
from runner.engine_sdk import EngineError, translated
from runner.errors import Refusal
from runner.hijack import as_socket

__all__ = ["Engine", "EngineError", "Event", "Json", "Subscription", "connect"]

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Engine:
    """One engine. ``api`` is the SDK's low-level client, for what images need."""

    def __init__(self, api: Any, endpoint: Endpoint) -> None:
        self.api = api
        self.endpoint = endpoint
        self._asked: set[asyncio.Future[Any]] = set()

    def close(self) -> None:
        """Its connections; no call may be under way."""
        self.api.close()

    async def settled(self) -> None:
        """Every call has come back, those too whose asker was cancelled: what they made is there to be seen."""
        while self._asked:
            await asyncio.wait(self._asked)

    async def info(self) -> Json:
        found: Json = await self._ask("info", self.api.info)
        return found

    async def version(self) -> Json:
        found: Json = await self._ask("version", lambda: self.api.version(api_version=False))
        return found

    async def inspect(self, container: str) -> Json:
        found: Json = await self._ask(f"inspect {container}", lambda: self.api.inspect_container(container))
        return found

    async def inspect_image(self, image: str) -> Json:
        found: Json = await self._ask(f"inspect image {image}", lambda: self.api.inspect_image(image))
        return found

    async def images(self, reference: str = "") -> list[Json]:
        """Summaries of all images, or of those whose name fits ("mirror-run/*")."""
        found: list[Json] = await self._ask("images", lambda: self.api.images(name=reference or None))
        return found

    async def containers(self, *labels: str, everything: bool = False) -> list[Json]:
        """Summaries of running containers (or all) that have each of the labels ("key" or "key=value")."""
        filters = {"label": list(labels)} if labels else {}
        found: list[Json] = await self._ask(
            "list", lambda: self.api.containers(all=everything, filters=filters)
        )
        return found

    async def processes(self, container: str) -> list[tuple[str, str]]:
        """Of a running container, as the engine's machine shows them: name and command line."""
        words = "-eo pid,comm,args"  # whatever the order, an engine looks for the column PID (docker top)
        found: Json = await self._ask(f"top {container}", lambda: self.api.top(container, words))
        return [(row[1], row[2]) for row in found["Processes"] or ()]

    async def create(self, name: str, config: Json, platform: str = "") -> str:
        """Create a container; returns its id."""
        made = await self._ask(
            f"create {name}", lambda: self.api.create_container_from_config(config, name, platform or None)
        )
        for warning in made.get("Warnings") or ():
            log.debug("engine, creating %s: %s", name, warning)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start it. Nothing happens if it runs already."""
        await self._ask(f"start {container}", lambda: self.api.start(container))

    async def signal(self, container: str, name: str) -> None:
        await self._ask(f"signal {container} {name}", lambda: self.api.kill(container, name))

    async def sweep_volumes(self, label: str) -> None:
        """Remove the volumes with this label that no container has: an engine that is restarted removes `--rm`
        containers without their anonymous volumes (seen with 20.10)."""

        wanted = {"dangling": True, "label": label}
        found = await self._ask(f"dangling volumes {label}", lambda: self.api.volumes(filters=wanted))
        for volume in found.get("Volumes") or ():
            with contextlib.suppress(EngineError):  # another runner was faster, or uses it by now
                await self._ask("remove a volume", partial(self.api.remove_volume, volume["Name"]))

    async def remove(self, container: str) -> None:
        """Kill and remove it with its anonymous volumes; fine if it is gone or going already."""
        try:
            await self._ask(
                f"remove {container}", lambda: self.api.remove_container(container, v=True, force=True)
            )
        except EngineError as error:
            if not (error.missing or error.conflict):
                raise
            if error.conflict:
                await self.gone(container)

    async def gone(self, container: str) -> None:
        """Wait until it is removed (by whoever is removing it)."""
        with contextlib.suppress(EngineError):  # 404: it is
            await self._ask(f"wait {container}", lambda: self.api.wait(container, condition="removed"))

    async def resize(self, container: str, rows: int, columns: int) -> None:
        await self._ask(f"resize {container}", lambda: self.api.resize(container, height=rows, width=columns))

    async def put(self, container: str, folder: str, tar: bytes) -> None:
        """Unpack a tar archive into a folder of the container."""
        await self._ask(f"put into {container}", lambda: self.api.put_archive(container, folder, tar))

    async def get(self, container: str, path: str) -> bytes:
        """A file or folder of the container, as a tar archive."""

        def fetch() -> bytes:
            chunks, _ = self.api.get_archive(container, path)
            return b"".join(chunks)

        found: bytes = await self._ask(f"get {path} of {container}", fetch)
        return found

    async def attach(self, container: str, *, stdin: bool) -> socket.socket:
        """Attach to a created container's streams; see ``runner.multiplexed`` for what is read when it has
        no terminal."""
        # An empty detachKeys would mean docker's default, ctrl-p ctrl-q, which would then never reach the app.
        params = {
            "stream": 1,
            "stdin": int(stdin),
            "stdout": 1,
            "stderr": 1,
            "detachKeys": "ctrl-@,ctrl-@,ctrl-@",
        }
        found: socket.socket = await self._ask(
            f"attach to {container}", lambda: as_socket(self.api.attach_socket(container, params=params))
        )
        return found

    async def execute(self, container: str, argv: Sequence[str]) -> socket.socket:
        """Run a program in a running container, its stdin, stdout and stderr on the socket returned."""

        def run() -> socket.socket:
            made = self.api.exec_create(container, list(argv), stdin=True)
            return as_socket(self.api.exec_start(made["Id"], socket=True))

        found: socket.socket = await self._ask(f"exec {argv[0]} in {container}", run)
        return found

    async def pull(self, image: str, platform: str, progress: Callable[[str], None]) -> None:
        """Pull an image, telling of each layer."""

        def fetch() -> None:
            for line in self.api.pull(image, stream=True, decode=True, platform=platform or None):
                if "error" in line:
                    raise EngineError(str(line["error"]))
                progress(" ".join(str(line[key]) for key in ("id", "status") if line.get(key)))

        await self._ask(f"pull {image}", fetch)

    async def build(
        self, folder: str, dockerfile: str, tag: str, platform: str, progress: Callable[[str], None]
    ) -> None:
        """Build an image of a folder, as `docker build` with the classic builder does."""

        def make() -> None:
            options = {
                "path": folder,
                "tag": tag,
                "rm": True,
                "decode": True,
                "dockerfile": dockerfile or None,
            }
            for line in self.api.build(**options, platform=platform or None):
                if "error" in line:
                    raise EngineError(str(line["error"]))
                if text := str(line.get("stream", "")).strip():
                    progress(text)

        await self._ask(f"build {folder}", make)

    async def work(self, what: str, task: Callable[[Any], Any]) -> Any:
        """A longer piece of work with ``api``, in a thread; what the engine refuses meanwhile is an EngineError."""
        return await self._ask(what, lambda: task(self.api))

    async def subscribe(self) -> Subscription:
        """Follow the containers' events; those after the return of this call are all seen."""
        filters = {"type": "container", "event": ["start", "die", "destroy"]}
        stream = await self._ask("events", lambda: self.api.events(decode=True, filters=filters))
        return Subscription(stream)

    def _done(self, asked: asyncio.Future[Any]) -> None:
        self._asked.discard(asked)
        if not asked.cancelled() and (error := asked.exception()) is not None:
            log.debug("engine: %s", error)  # its asker has it too, unless it was cancelled

    async def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        asked = asyncio.ensure_future(asyncio.to_thread(translated, call))
        self._asked.add(asked)
        asked.add_done_callback(self._done)
        try:
            return await asyncio.shield(asked)
        finally:
            log.debug("engine: %s: %.0f ms", what, (time.monotonic() - began) * 1e3)


async def connect(endpoints: Sequence[Endpoint]) -> Engine:
    """The first engine that answers. Refusal if none does, or if it may not be used."""
    refusal: Refusal | None = None
    for endpoint in endpoints:
        try:
            return Engine(await asyncio.to_thread(engine_sdk.client, endpoint), endpoint)
        except Refusal as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal
