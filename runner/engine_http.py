"""HTTP/1.1 with one engine: a request, and its answer whole, as lines, or as the bare connection that it becomes.
Blocking: the caller has threads.

Not the Docker SDK: importing it (with requests) takes 65 ms of each start, and each of its calls 2 ms.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from runner.engine_dial import Dialler

CALL_TIMEOUT = 120.0
"""Seconds of silence after which a call is given up (a start on a slow disk takes 10)."""

IDLE = 8
"""Connections kept for the next call; a run makes about as many at once."""

Query = Mapping[str, Any]


class Refused(Exception):
    """The engine said no: HTTP's status, and its own sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class NoHttp(OSError):
    """Whoever answers is no engine."""


class Exchange:
    """Calls to one engine, from any thread. OSError when a connection fails."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler
        self._idle: list[socket.socket] = []

    def close(self) -> None:
        """The connections kept; streams and lines are whose they are."""
        while self._idle:
            self._idle.pop().close()

    def json(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Any:
        """What is answered, decoded; None where that is nothing."""
        octets = None if body is None else json.dumps(body).encode()
        answer = self.octets(method, path, query, octets, "application/json")
        return json.loads(answer) if answer.strip() else None

    def octets(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: bytes | None = None,
        kind: str = "",
        *,
        limit: float | None = CALL_TIMEOUT,
    ) -> bytes:
        """The answer's body, whole. ``limit``: seconds of silence; None for a call that waits for something."""
        sock = self._connection()
        try:
            request = _request(method, path, query, body, self._fixed(kind))
            with self._asked(sock, request, method, limit) as answer:
                whole = _read(answer)
        except BaseException:
            sock.close()
            raise
        if answer.will_close or len(self._idle) >= IDLE:
            sock.close()
        else:
            self._idle.append(sock)
        _accepted(answer, whole)
        return whole

    def lines(self, path: str, query: Query | None = None) -> Iterator[Any]:
        """JSON values, one on each line, for as long as they come. The answer has begun when this returns."""
        sock = self._dialler.dial()
        try:
            answer = self._asked(sock, _request("GET", path, query, None, self._fixed("")), "GET", None)
            _begun(answer)
        except BaseException:
            sock.close()
            raise
        return _lines(sock, answer)

    def stream(self, path: str, query: Query | None = None, body: Any = None) -> socket.socket:
        """The connection itself, once the engine has made it a stream; it is the caller's then."""
        sock = self._dialler.dial()
        octets = b"" if body is None else json.dumps(body).encode()
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}  # Docker Engine API, "Attach to a container"
        request = _request("POST", path, query, octets, self._fixed("application/json") | upgrade)
        try:
            with self._asked(sock, request, "POST", CALL_TIMEOUT, _Unbuffered) as answer:
                _begun(answer)
            sock.settimeout(None)
        except BaseException:
            sock.close()
            raise
        return sock

    def _fixed(self, kind: str) -> dict[str, str]:
        fixed = {"Host": self._dialler.host, "User-Agent": "mirror-run"}
        return fixed | {"Content-Type": kind} if kind else fixed

    @staticmethod
    def _asked(
        sock: socket.socket,
        request: bytes,
        method: str,
        limit: float | None,
        kind: type[http.client.HTTPResponse] = http.client.HTTPResponse,
    ) -> http.client.HTTPResponse:
        """The head of the answer."""
        sock.settimeout(CALL_TIMEOUT)
        sock.sendall(request)
        sock.settimeout(limit)
        answer = kind(sock, method=method)
        try:
            answer.begin()
        except BaseException as error:
            answer.close()
            if isinstance(error, http.client.HTTPException):
                raise _broken(error) from error
            raise
        return answer

    def _connection(self) -> socket.socket:
        while True:
            try:
                sock = self._idle.pop()
            except IndexError:  # of another thread's, since one looked
                return self._dialler.dial()
            if not select.select([sock], [], [], 0)[0]:  # else the engine has closed it meanwhile
                return sock
            sock.close()


class _Unbuffered(http.client.HTTPResponse):
    """Reads nothing beyond the head: what follows is the stream's."""

    def __init__(self, sock: socket.socket, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self.fp.close()
        self.fp = sock.makefile("rb", buffering=0)  # type: ignore[assignment]


def quoted(name: str) -> str:
    """A name as a part of a path; an image's has slashes of its own."""
    return quote(name, safe="/:@")


def _request(
    method: str, path: str, query: Query | None, body: bytes | None, headers: Mapping[str, str]
) -> bytes:
    """Parameters that are empty are left out; a mapping is sent as JSON, as the API wants its filters."""
    given = {name: _parameter(value) for name, value in (query or {}).items() if value not in (None, "", {})}
    where = f"{path}?{urlencode(given)}" if given else path
    lines = [f"{method} {where} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None or method != "GET":
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def _parameter(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read()
    except http.client.HTTPException as error:
        raise _broken(error) from error


def _lines(sock: socket.socket, answer: http.client.HTTPResponse) -> Iterator[Any]:
    with sock, answer:
        try:
            while line := answer.readline():
                if line.strip():
                    yield json.loads(line)
        except (http.client.HTTPException, ValueError) as error:
            raise _broken(error) from error


def _broken(error: Exception) -> OSError:
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return ConnectionResetError("it closed the connection")
    return NoHttp(f"it does not speak the engine's API ({type(error).__name__})")


def _begun(answer: http.client.HTTPResponse) -> None:
    """Refused, with the answer closed, if that is what the head says."""
    if answer.status >= http.HTTPStatus.BAD_REQUEST:
        with answer:
            _accepted(answer, _read(answer))


def _accepted(answer: http.client.HTTPResponse, body: bytes) -> None:
    """Refused, in the engine's words ({"message": …})."""
    if answer.status < http.HTTPStatus.BAD_REQUEST:
        return
    try:
        said = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        said = body.decode(errors="replace").strip()[:400]
    raise Refused(answer.status, said or f"{answer.status} {answer.reason}")
