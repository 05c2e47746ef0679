"""A small HTTP server that plays an API server where a real one cannot be made to do it, and a CONNECT proxy."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import yaml

Json = dict[str, Any]


@dataclass(slots=True)
class Asked:
    """One request. ``respond`` answers it whole; ``begin``, ``say`` and ``end`` in pieces, ``drop`` breaks off."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    _writer: asyncio.StreamWriter = field(repr=False)
    _state: h11.Connection = field(repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    async def respond(self, status: int, body: Json | str, **headers: str) -> None:
        await self.begin(status, **headers)
        await self.say(body)
        await self.end()

    async def begin(self, status: int, **headers: str) -> None:
        every = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._write(h11.Response(status_code=status, headers=[*every, ("Transfer-Encoding", "chunked")]))
        await self._writer.drain()

    async def say(self, piece: Json | str) -> None:
        self._write(h11.Data((json.dumps(piece) + "\n" if isinstance(piece, dict) else piece).encode()))
        await self._writer.drain()

    async def end(self) -> None:
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def switch(self, **headers: str) -> None:
        """101: to another protocol, which nothing here speaks."""
        every = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._write(h11.InformationalResponse(status_code=101, headers=every))
        await self._writer.drain()

    def drop(self) -> None:
        self._writer.transport.abort()

    def _write(self, event: Any) -> None:
        self._writer.write(self._state.send(event) or b"")


Handle = Callable[[Asked], Awaitable[None]]


@dataclass(slots=True)
class Served:
    """``asked`` is what came, in order."""

    port: int
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder: Path, user: Json | None = None, **cluster: Any) -> str:
        """A file for it; ``user`` as of the kubeconfig's user."""
        path = folder / "kubeconfig"
        server = {"server": self.url} | cluster
        whole = {
            "clusters": [{"name": "here", "cluster": server}],
            "users": [{"name": "me", "user": user or {}}],
            "contexts": [{"name": "one", "context": {"cluster": "here", "user": "me", "namespace": "shop"}}],
            "current-context": "one",
        }
        path.write_text(yaml.safe_dump(whole))
        return str(path)


@asynccontextmanager
async def served(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """``handle`` answers each request; /version is answered here."""
    made = Served(0)
    count = 0

    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        _remember(tasks)
        number, state = count, h11.Connection(h11.SERVER)
        try:
            while (asked := await _request(reader, writer, state, number)) is not None:
                made.asked.append(asked)
                if asked.path == "/version":
                    await asked.respond(200, {"gitVersion": "v1.99"})
                else:
                    await handle(asked)
                if state.our_state is not h11.DONE or state.their_state is not h11.DONE:
                    break
                state.start_next_cycle()
            await _end(writer)
        except (OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await _stop(server, tasks)


def _remember(tasks: set[asyncio.Task[Any]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _stop(server: asyncio.Server, tasks: set[asyncio.Task[Any]]) -> None:
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(3):  # connection_lost of what was aborted
        await asyncio.sleep(0)


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: h11.Connection, number: int
) -> Asked | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = state.next_event()
        if event is h11.NEED_DATA:
            state.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode().lower(): value.decode() for name, value in head.headers}
            return Asked(head.method.decode(), head.target.decode(), headers, body, number, writer, state)
        else:
            return None


def status(code: int, reason: str, message: str) -> Json:
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


@dataclass(slots=True)
class Proxied:
    """``heads`` are the requests for a tunnel, as they came."""

    port: int
    heads: list[str] = field(default_factory=list)


@asynccontextmanager
async def proxy(
    answer: bytes = b"HTTP/1.1 200 ok\r\n\r\n", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Proxied]:
    """A CONNECT proxy. Names it does not look up: what is asked for is dialled at 127.0.0.1 when it is no address."""
    made = Proxied(0)

    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _remember(tasks)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        made.heads.append(head)
        writer.write(answer)
        if not answer.startswith(b"HTTP/1.1 200"):
            await _end(writer)
            return
        host, _, port = head.split()[1].rpartition(":")
        there, back = await asyncio.open_connection(host if host[0].isdigit() else "127.0.0.1", int(port))
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except asyncio.CancelledError:
            pass
        finally:
            back.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await _stop(server, tasks)


@asynccontextmanager
async def socks() -> AsyncIterator[Proxied]:
    """A SOCKS5 proxy without a password (RFC 1928). Names are all 127.0.0.1 to it."""
    made = Proxied(0)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _remember(tasks)
        methods = (await reader.readexactly(2))[1]
        await reader.readexactly(methods)
        writer.write(b"\5\0")
        named = (await reader.readexactly(4))[3] == 3
        size = (await reader.readexactly(1))[0] if named else 4
        octets = await reader.readexactly(size)
        name = octets.decode() if named else socket.inet_ntoa(octets)
        port = int.from_bytes(await reader.readexactly(2), "big")
        made.heads.append(f"{name}:{port}")
        writer.write(b"\5\0\0\1\x7f\0\0\1\0\0")
        there, back = await asyncio.open_connection("127.0.0.1" if named else name, port)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except asyncio.CancelledError:
            pass
        finally:
            back.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        await _stop(server, tasks)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while octets := await reader.read(65_536):
            writer.write(octets)
            await writer.drain()
    writer.close()
