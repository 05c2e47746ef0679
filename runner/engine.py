"""The container engine: its calls, each in a thread, so that calls may overlap.

What the engine answers is given as it came (its API's JSON); what it refuses becomes an EngineError with its own
sentence. Paths name no version of the API: an engine then speaks the newest that it knows, and 1.41 has all of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from runner import engine_sdk
from runner.contexts import Endpoint
from runner.engine_dial import Dialler, unreachable
from runner.engine_events import Event, Subscription
from runner.engine_http import Exchange, Refused, quoted
from runner.errors import Refusal
from runner.hijack import as_socket

__all__ = ["Engine", "EngineError", "Event", "Json", "Subscription", "connect"]

log = logging.getLogger(__name__)

Json = dict[str, Any]

NO_DETACHING = "ctrl-@,ctrl-@,ctrl-@"
"""An empty detachKeys would mean docker's default, ctrl-p ctrl-q, which would then never reach the app."""


class EngineError(Exception):
    """The engine said no. ``status`` is HTTP's; 0 when the connection itself failed."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409


class Engine:
    """One engine, that answered."""

    def __init__(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = exchange
        self._asked: set[asyncio.Future[Any]] = set()

    @cached_property
    def api(self) -> Any:
        """The SDK's low-level client, for what images need. Blocks."""
        return engine_sdk.client(self.endpoint)

    def close(self) -> None:
        """The connections kept for more calls; none may be under way."""
        self._http.close()

    async def settled(self) -> None:
        """Every call has come back, those too whose asker was cancelled: what they made is there to be seen."""
        while self._asked:
            await asyncio.wait(self._asked)

    async def info(self) -> Json:
        found: Json = await self._get("info", "/info")
        return found

    async def version(self) -> Json:
        found: Json = await self._get("version", "/version")
        return found

    async def inspect(self, container: str) -> Json:
        found: Json = await self._get(f"inspect {container}", f"/containers/{quoted(container)}/json")
        return found

    async def inspect_image(self, image: str) -> Json:
        found: Json = await self._get(f"inspect image {image}", f"/images/{quoted(image)}/json")
        return found

    async def images(self, reference: str = "") -> list[Json]:
        """Summaries of all images, or of those whose name fits ("mirror-run/*")."""
        filters = {"reference": [reference]} if reference else {}
        found: list[Json] = await self._get("images", "/images/json", {"filters": filters})
        return found

    async def containers(self, *labels: str, everything: bool = False) -> list[Json]:
        """Summaries of running containers (or all) that have each of the labels ("key" or "key=value")."""
        filters = {"label": list(labels)} if labels else {}
        found: list[Json] = await self._get(
            "list", "/containers/json", {"all": everything, "filters": filters}
        )
        return found

    async def processes(self, container: str) -> list[tuple[str, str]]:
        """Of a running container, as the engine's machine shows them: name and command line."""
        words = "-eo pid,comm,args"  # whatever the order, an engine looks for the column PID (docker top)
        found: Json = await self._get(
            f"top {container}", f"/containers/{quoted(container)}/top", {"ps_args": words}
        )
        return [(row[1], row[2]) for row in found["Processes"] or ()]

    async def create(self, name: str, config: Json, platform: str = "") -> str:
        """Create a container; returns its id."""
        query = {"name": name, "platform": platform}
        made = await self._call(f"create {name}", "POST", "/containers/create", query, config)
        for warning in made.get("Warnings") or ():
            log.debug("engine, creating %s: %s", name, warning)
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start it. Nothing happens if it runs already."""
        await self._call(f"start {container}", "POST", f"/containers/{quoted(container)}/start")

    async def signal(self, container: str, name: str) -> None:
        where = f"/containers/{quoted(container)}/kill"
        await self._call(f"signal {container} {name}", "POST", where, {"signal": name})

    async def sweep_volumes(self, label: str) -> None:
        """Remove the volumes with this label that no container has: an engine that is restarted removes `--rm`
        containers without their anonymous volumes (seen with 20.10)."""
        filters = {"dangling": ["true"], "label": [label]}
        found = await self._get(f"dangling volumes {label}", "/volumes", {"filters": filters})
        for volume in found.get("Volumes") or ():
            with contextlib.suppress(EngineError):  # another runner was faster, or uses it by now
                await self._call("remove a volume", "DELETE", f"/volumes/{quoted(volume['Name'])}")

    async def remove(self, container: str) -> None:
        """Kill and remove it with its anonymous volumes; fine if it is gone or going already."""
        query = {"v": True, "force": True}
        try:
            await self._call(f"remove {container}", "DELETE", f"/containers/{quoted(container)}", query)
        except EngineError as error:
            if not (error.missing or error.conflict):
                raise
            if error.conflict:
                await self.gone(container)

    async def gone(self, container: str) -> None:
        """Wait until it is removed (by whoever is removing it)."""
        where, query = f"/containers/{quoted(container)}/wait", {"condition": "removed"}
        with contextlib.suppress(EngineError):  # 404: it is
            await self._ask(f"wait {container}", lambda: self._http.octets("POST", where, query, limit=None))

    async def resize(self, container: str, rows: int, columns: int) -> None:
        where = f"/containers/{quoted(container)}/resize"
        await self._call(f"resize {container}", "POST", where, {"h": rows, "w": columns})

    async def put(self, container: str, folder: str, tar: bytes) -> None:
        """Unpack a tar archive into a folder of the container."""
        where = f"/containers/{quoted(container)}/archive"
        await self._ask(
            f"put into {container}",
            lambda: self._http.octets("PUT", where, {"path": folder}, tar, "application/x-tar"),
        )

    async def get(self, container: str, path: str) -> bytes:
        """A file or folder of the container, as a tar archive."""
        where = f"/containers/{quoted(container)}/archive"
        found: bytes = await self._ask(
            f"get {path} of {container}", lambda: self._http.octets("GET", where, {"path": path})
        )
        return found

    async def attach(self, container: str, *, stdin: bool) -> socket.socket:
        """Attach to a created container's streams; see ``runner.multiplexed`` for what is read when it has
        no terminal."""
        where = f"/containers/{quoted(container)}/attach"
        query = {"stream": 1, "stdin": stdin, "stdout": 1, "stderr": 1, "detachKeys": NO_DETACHING}
        found: socket.socket = await self._ask(
            f"attach to {container}", lambda: as_socket(self._http.stream(where, query))
        )
        return found

    async def execute(self, container: str, argv: Sequence[str]) -> socket.socket:
        """Run a program in a running container, its stdin, stdout and stderr on the socket returned."""
        streams = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}

        def run() -> socket.socket:
            where = f"/containers/{quoted(container)}/exec"
            made = self._http.json("POST", where, None, {"Cmd": list(argv), **streams})
            begin = {"Detach": False, "Tty": False}
            return as_socket(self._http.stream(f"/exec/{made['Id']}/start", None, begin))

        found: socket.socket = await self._ask(f"exec {argv[0]} in {container}", run)
        return found

    async def pull(self, image: str, platform: str, progress: Callable[[str], None]) -> None:
        """Pull an image, telling of each layer."""

        def fetch(api: Any) -> None:
            for line in engine_sdk.pull(api, image, platform):
                if "error" in line:
                    raise EngineError(str(line["error"]))
                progress(" ".join(str(line[key]) for key in ("id", "status") if line.get(key)))

        await self.work(f"pull {image}", fetch)

    async def build(
        self, folder: str, dockerfile: str, tag: str, platform: str, progress: Callable[[str], None]
    ) -> None:
        """Build an image of a folder, as `docker build` with the classic builder does."""

        def make(api: Any) -> None:
            for line in engine_sdk.build(api, folder, dockerfile, tag, platform):
                if "error" in line:
                    raise EngineError(str(line["error"]))
                if text := str(line.get("stream", "")).strip():
                    progress(text)

        await self.work(f"build {folder}", make)

    async def work(self, what: str, task: Callable[[Any], Any]) -> Any:
        """A longer piece of work with ``api``, in a thread; what the engine refuses meanwhile is an EngineError."""
        return await self._ask(what, lambda: engine_sdk.translated(lambda: task(self.api)))

    async def subscribe(self) -> Subscription:
        """Follow the containers' events; those after the return of this call are all seen."""
        query = {"filters": {"type": ["container"], "event": ["start", "die", "destroy"]}}
        return Subscription(await self._ask("events", lambda: self._http.lines("/events", query)))

    async def _get(self, what: str, path: str, query: Json | None = None) -> Any:
        return await self._call(what, "GET", path, query)

    async def _call(
        self, what: str, method: str, path: str, query: Json | None = None, body: Json | None = None
    ) -> Any:
        return await self._ask(what, lambda: self._http.json(method, path, query, body))

    def _done(self, asked: asyncio.Future[Any]) -> None:
        self._asked.discard(asked)
        if not asked.cancelled() and (error := asked.exception()) is not None:
            log.debug("engine: %s", error)  # its asker has it too, unless it was cancelled

    async def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        asked = asyncio.ensure_future(asyncio.to_thread(_translated, call))
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
            return await asyncio.to_thread(_open, endpoint)
        except Refusal as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _open(endpoint: Endpoint) -> Engine:
    exchange = Exchange(Dialler(endpoint))
    try:
        exchange.octets("GET", "/_ping")
    except Refused as error:
        exchange.close()
        raise Refusal(
            f"the engine at {endpoint.url} ({endpoint.said_by}) cannot be used: {error.sentence}",
            "`docker info` should say more",
        ) from error
    except OSError as error:
        raise unreachable(endpoint, error) from error
    return Engine(exchange, endpoint)


def _translated(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Refused as error:
        raise EngineError(error.sentence, error.status) from error
    except OSError as error:
        raise EngineError(f"the engine does not answer: {error}") from error
