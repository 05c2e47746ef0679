"""HTTP/1.1 with one API server: requests on kept connections, the answer's body as it comes. h11 knows the protocol.

Not urllib3 in threads: a thread in a read cannot be cancelled, and a frozen API server would hold up the end of the
run. Not aiohttp: importing it takes 0.14 s of each start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import h11

from runner.kube.credentials import Credential
from runner.kube.errors import KubeError
from runner.kube.server import Server
from wire.record import record

log = logging.getLogger(__name__)

CHUNK = 65_536
IDLE = 8
"""Connections kept for the next request. A session asks about as many things at once."""
BODY = 256 * 1024 * 1024
"""Octets of one answer at most: a list of 500 objects of 1.5 MB (etcd's bound for one) is none that we ask for."""


CLOSED = "Closed"
"""The reason of a KubeError that comes of our own close."""


class ProtocolError(OSError):
    """Whoever answers is no HTTP server."""


class _Line:
    """One connection, and where it is in the protocol."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, credential: Credential
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.certificate = credential.certificate  # the rest is said in each request
        self.state = h11.Connection(h11.CLIENT)
        self.used = False

    @property
    def usable(self) -> bool:
        return not (self.reader.at_eof() or self.writer.is_closing())

    async def event(self) -> object:
        """The next one. EOFError where the answer broke off, ProtocolError where it is none."""
        try:
            while (event := self.state.next_event()) is h11.NEED_DATA:
                self.state.receive_data(await self.reader.read(CHUNK))
        except h11.RemoteProtocolError as error:
            begun = self.state.trailing_data[0]
            if self.reader.at_eof() and (not begun or begun.startswith(b"HTTP/")):
                raise EOFError from error
            raise ProtocolError(f"it does not speak HTTP ({error})") from error
        return event

    def abort(self) -> None:
        self.writer.transport.abort()


@record
class Answer:
    """The head of an answer; ``body`` gives its octets and must be run to its end, or closed (``aclose``)."""

    status: int
    headers: dict[str, str]
    body: AsyncIterator[bytes]
    credential: Credential

    async def read(self) -> bytes:
        whole = bytearray()
        async for octets in self.body:
            whole += octets
            if len(whole) > BODY:
                raise KubeError(0, "", "the API server's answer is larger than 256 MiB")
        return bytes(whole)


class Exchange:
    """Requests to one server. All in one event loop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._idle: list[_Line] = []
        self._busy: set[_Line] = set()
        self._closed = False

    @contextlib.asynccontextmanager
    async def ask(
        self,
        method: str,
        target: str,
        credential: Credential,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> AsyncIterator[Answer]:
        """One request and its answer. KubeError (status 0) when the connection fails, inside the block as well: nothing
        says then whether the server did what was asked."""
        line, event = await self._sent(method, target, credential, body, headers)
        try:
            found = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
            yield Answer(event.status_code, found, self._body(line), credential)
        except (OSError, EOFError) as error:
            if self._closed:
                raise KubeError(0, CLOSED, "the cluster is asked no more") from error
            raise self.server.explained(error) from error
        finally:
            self._done(line)

    def close(self) -> None:
        """Every connection, the busy ones too: who reads from them, or asks later, gets a KubeError."""
        self._closed = True
        for line in [*self._idle, *self._busy]:
            line.abort()
        self._idle.clear()

    async def _sent(
        self,
        method: str,
        target: str,
        credential: Credential,
        body: bytes,
        headers: tuple[tuple[str, str], ...],
    ) -> tuple[_Line, h11.Response]:
        while True:
            if self._closed:
                raise KubeError(0, CLOSED, "the cluster is asked no more")
            line = await self._line(credential)
            self._busy.add(line)
            try:
                every = (*self.server.headers(credential), *headers)
                return line, await self._head(line, method, target, body, every)
            except (OSError, EOFError) as error:
                self._drop(line)
                # A kept connection that the server closed meanwhile: it answered nothing, so it is asked once more on
                # another; for what changes something only where it cannot have been taken.
                if line.used and (method in ("GET", "PUT", "DELETE") or line.reader.at_eof()):
                    log.debug("a kept connection had ended: %s", error)
                    continue
                raise self.server.explained(error) from error
            except BaseException:
                self._drop(line)
                raise

    async def _line(self, credential: Credential) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.usable and line.certificate == credential.certificate:
                return line
            line.abort()
        reader, writer = await self.server.dial(credential)
        return _Line(reader, writer, credential)

    async def _head(
        self, line: _Line, method: str, target: str, body: bytes, headers: tuple[tuple[str, str], ...]
    ) -> h11.Response:
        if body or method in ("POST", "PUT", "PATCH"):
            headers = (*headers, ("Content-Length", str(len(body))))
        target = self.server.address.prefix + target
        request = h11.Request(method=method, target=target, headers=list(headers))
        octets = line.state.send(request) or b""
        if body:
            octets += line.state.send(h11.Data(body)) or b""
        octets += line.state.send(h11.EndOfMessage()) or b""
        line.writer.write(octets)
        await line.writer.drain()
        while True:
            match await line.event():
                case h11.Response() as response:
                    return response
                case h11.ConnectionClosed():
                    raise EOFError

    async def _body(self, line: _Line) -> AsyncIterator[bytes]:
        while True:
            match await line.event():
                case h11.Data() as data:
                    yield bytes(data.data)
                case h11.EndOfMessage():
                    return
                case _:
                    raise EOFError

    def _done(self, line: _Line) -> None:
        """Kept if both sides are through with the exchange."""
        self._busy.discard(line)
        state = line.state
        if (
            state.our_state is h11.DONE
            and state.their_state is h11.DONE
            and line.usable
            and len(self._idle) < IDLE
        ):
            state.start_next_cycle()
            line.used = True
            self._idle.append(line)
        else:
            line.abort()

    def _drop(self, line: _Line) -> None:
        self._busy.discard(line)
        line.abort()
