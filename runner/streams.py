"""The app's standard streams: this process's stdin, stdout and stderr joined to the engine's attached connection.

Two threads copy, so that bulk data never waits for the event loop and a regular file, a pipe and a terminal
are alike. They are daemons: one may sit in a read of the terminal when the run is over. A terminal is raw
while the app has one, and is put back as it was whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import termios
import threading
import tty
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from runner.multiplexed import STDERR, Pieces

log = logging.getLogger(__name__)

CHUNK = 262_144


class AppStreams:
    """Copies from ``start`` on. ``drained`` is done when the app's output has ended and all of it was written."""

    def __init__(self, sock: socket.socket, *, stdin: bool, terminal: bool) -> None:
        self._sock = sock
        self._stdin = stdin
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._stop_reading, self._stop = os.pipe()
        self.drained: asyncio.Future[None] = self._loop.create_future()
        self.unread: asyncio.Future[None] = self._loop.create_future()
        """Done when nobody reads our stdout any more (EPIPE)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stop, b".")
        # Not close(): the other thread may be in recv() on it; shutdown wakes that one.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def start(self) -> None:
        """Begin to copy. The connection must be attached already; the app may start at once after."""
        self._sock.setblocking(True)
        if self._stdin:
            threading.Thread(target=self._feed, name="stdin", daemon=True).start()
        threading.Thread(target=self._drain, name="stdout", daemon=True).start()

    def _feed(self) -> None:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._stop_reading, select.POLLIN)
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        try:
            while True:
                ready = dict(poll.poll())
                if self._stop_reading in ready:
                    return
                count = os.readv(0, [buffer])
                if count == 0:
                    break
                self._sock.sendall(view[:count])
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:  # the app is gone, or our stdin is: neither is the other's business
            log.debug("stdin: %s", error)
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def _drain(self) -> None:
        pieces = None if self._terminal else Pieces()
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        try:
            while count := self._sock.recv_into(buffer):
                octets = view[:count]
                if pieces is None:
                    _write(1, octets)
                else:
                    for stream, payload in pieces.feed(octets):
                        _write(2 if stream == STDERR else 1, payload)
        except BrokenPipeError:
            self._tell(self.unread)
        except OSError as error:
            log.debug("stdout: %s", error)
        self._tell(self.drained)

    def _tell(self, future: asyncio.Future[None]) -> None:
        def set_it() -> None:
            if not future.done():
                future.set_result(None)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(set_it)


def _write(fd: int, octets: memoryview) -> None:
    while octets:
        try:
            octets = octets[os.write(fd, octets) :]
        except BlockingIOError:  # somebody else made the open file non-blocking
            select.select([], [fd], [])


@contextlib.contextmanager
def raw_terminal(fd: int = 0) -> Iterator[None]:
    """Every key goes to the app (tty(4) raw mode) until the block ends."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal itself is gone (hung up)
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def terminal_size(fd: int = 1) -> tuple[int, int] | None:
    """(rows, columns), or None if it is not known."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return None
    return size.lines, size.columns
