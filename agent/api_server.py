"""The API server as this pod's service account: a few requests on one connection, and one object watched.

HTTP/1.1 by h11 on asyncio's streams. The token is read from its file each time, because the kubelet replaces it every
hour (Kubernetes: "Bound service account tokens"). It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlencode

import h11

Json: TypeAlias = dict[str, Any]

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the kubelet puts a pod's token and the cluster's CA ("Directly accessing the REST API")."""

ANSWERS_WITHIN = 10.0
"""Seconds for a connection, and for each answer that is not a watch's."""

WATCHED = 290
"""Seconds that one watch is asked to last: below the idle limits of usual load balancers (350 s, 600 s)."""

SILENT = 40.0
"""Seconds more than that after which a watch is taken for dead: its end was lost."""

LARGEST = 8 * 1024 * 1024
"""Octets of one answer, or of one event of a watch: etcd keeps objects of at most 1.5 MiB, lists come in pages."""

CHUNK = 65_536


class ApiFault(Exception):
    """What was asked did not come. ``status`` 0: no answer at all; else HTTP's, with the Status's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def missing(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409


@dataclass(slots=True)
class ApiServer:
    """Where it is. ``folder`` holds ``token`` and ``ca.crt``."""

    host: str
    port: int
    folder: str = ACCOUNT
    _tls: tuple[int, ssl.SSLContext] | None = field(default=None, init=False)

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """One connection for a few questions, one after the other. ApiFault if there is none."""
        try:
            context = self._context()
            async with asyncio.timeout(ANSWERS_WITHIN):
                reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        except (OSError, TimeoutError) as error:
            raise ApiFault(0, f"the API server cannot be reached: {error or 'no answer'}") from error
        try:
            yield Talk(self, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                writer.transport.abort()  # nothing is owed: every answer has been read, and a watch has no end

    async def ask(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """One question on a connection of its own."""
        async with self.talk() as talk:
            return await talk.ask(method, path, body, query)

    def _context(self) -> ssl.SSLContext:
        """One for all connections, 100 KiB each otherwise; another when the kubelet has replaced the file."""
        path = f"{self.folder}/ca.crt"
        changed = os.stat(path).st_mtime_ns
        if self._tls is None or self._tls[0] != changed:
            self._tls = changed, ssl.create_default_context(cafile=path)
        return self._tls[1]

    def token(self) -> str:
        """As it is now."""
        try:
            with open(f"{self.folder}/token", encoding="ascii") as file:
                return file.read().strip()
        except OSError as error:
            raise ApiFault(0, f"this pod has no service account's token: {error.strerror}") from error


class Talk:
    """One connection. Not for two tasks at once."""

    def __init__(self, server: ApiServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    async def get(self, path: str, **query: str) -> Json | None:
        """The object; None if there is none."""
        try:
            return await self.ask("GET", path, None, query)
        except ApiFault as fault:
            if fault.missing:
                return None
            raise

    async def ask(
        self, method: str, path: str, body: Json | None = None, query: dict[str, str] | None = None
    ) -> Json:
        """The answer's object. ApiFault for every status above 299."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                status = await self._say(method, path, body, query or {})
                octets = bytearray()
                async for part in self._parts():
                    octets += part
                    if len(octets) > LARGEST:
                        raise ApiFault(0, f"the API server's answer to {method} {path} is too long")
                if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                    self._http.start_next_cycle()
        except TimeoutError:
            raise ApiFault(0, f"the API server did not answer {method} {path}") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise ApiFault(0, f"the API server's answer to {method} {path} broke off: {error}") from error
        return _judged(status, bytes(octets))

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[tuple[str, Json]]:
        """ADDED, MODIFIED, DELETED with the object, from ``version`` on, until the server ends the watch.

        ApiFault with status 410 when the version is too old. The connection is spent afterwards.
        """
        query |= {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCHED)}
        try:
            async with asyncio.timeout(WATCHED + SILENT):
                status = await self._say("GET", path, None, query)
                if status > 299:
                    _judged(status, b"".join([part async for part in self._parts()]))
                line = bytearray()
                async for part in self._parts():
                    line += part
                    *whole, rest = line.split(b"\n")
                    line = bytearray(rest)
                    if len(line) > LARGEST:
                        raise ApiFault(0, "an event of a watch is too long")
                    for one in whole:
                        yield _event(bytes(one))
        except TimeoutError:
            return
        except (OSError, h11.RemoteProtocolError) as error:
            raise ApiFault(0, f"the watch of {path} broke off: {error}") from error

    async def _say(self, method: str, path: str, body: Json | None, query: dict[str, str]) -> int:
        """Sends it whole; the status of the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = [
            ("Host", f"{self._server.host}:{self._server.port}"),
            ("Authorization", f"Bearer {self._server.token()}"),
            ("Accept", "application/json"),
            ("User-Agent", "mirror-run-agent"),
            ("Content-Length", str(len(content))),
        ]
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        target = f"{path}?{urlencode(query)}" if query else path
        out = self._http.send(h11.Request(method=method, target=target, headers=headers)) or b""
        out += self._http.send(h11.Data(data=content)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        await self._writer.drain()
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event.status_code

    async def _parts(self) -> AsyncIterator[bytes]:
        """The rest of the answer, as it comes."""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise h11.RemoteProtocolError("an answer too many")
            self._http.receive_data(await self._reader.read(CHUNK))


def _judged(status: int, octets: bytes) -> Json:
    try:
        said = json.loads(octets)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        said = {"message": octets[:200].decode("utf-8", "replace")}
        status = status if status > 299 else 502
    if status > 299:
        raise ApiFault(status, str(said.get("message") or f"status {status}"))
    return said


def _event(line: bytes) -> tuple[str, Json]:
    """meta/v1 WatchEvent."""
    try:
        said = json.loads(line)
        kind, one = str(said["type"]), said["object"]
    except (ValueError, KeyError, TypeError):
        raise ApiFault(0, "a watch told what is no event") from None
    if kind == "ERROR":
        raise ApiFault(int(one.get("code") or 500), str(one.get("message") or "the watch failed"))
    return kind, one
