"""An agent's end of a data link, played by the test: what the bridge says is taken in order, and answered."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from wire.frames import DATA_FRAME, FrameReader, pack
from wire.messages import Data, Datagram, Eof, Grant, Message, Open, Opened, Reset

M = TypeVar("M", bound=Message)
WINDOW = 1 << 20


class FarEnd:
    """One link. ``take`` waits for the next message; grants are counted apart, since they come when they like."""

    def __init__(self) -> None:
        self._sock, self.bridge_end = socket.socketpair()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._came: queue.Queue[Message | None] = queue.Queue()
        self.granted: dict[int, int] = {}
        self._lock = threading.Condition()
        self._even = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        reader = FrameReader(DATA_FRAME)
        while True:
            try:
                octets = self._sock.recv(1 << 18)
            except OSError:
                octets = b""
            if not octets:
                self._came.put(None)
                return
            reader.feed(octets)
            while (message := reader.take()) is not None:
                if isinstance(message, Grant):
                    with self._lock:
                        self.granted[message.channel] = self.granted.get(message.channel, 0) + message.octets
                        self._lock.notify_all()
                else:
                    self._came.put(message)

    def send(self, *messages: Message) -> None:
        """In one piece."""
        self._sock.sendall(b"".join(pack(message) for message in messages))

    def take(self, kind: type[M], timeout: float = 5) -> M:
        """The next message, which must be of this kind."""
        message = self._came.get(timeout=timeout)
        assert isinstance(message, kind), f"expected {kind.__name__}, came {message}"
        return message

    def ended(self, timeout: float = 5) -> bool:
        """Whether the next thing that comes is the end."""
        return self._came.get(timeout=timeout) is None

    def quiet(self) -> bool:
        """Whether nothing is waiting to be taken."""
        return self._came.empty()

    def octets(self, channel: int, count: int) -> bytes:
        """So many octets of a channel, which may be cut anyhow; they are granted again."""
        got = bytearray()
        while len(got) < count:
            data = self.take(Data)
            assert data.channel == channel
            got += data.payload
            self.send(Grant(channel, len(data.payload)))
        assert len(got) == count, f"{len(got)} octets instead of {count}"
        return bytes(got)

    def wait_granted(self, channel: int, octets: int, timeout: float = 10) -> None:
        """Until the bridge has granted so much."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.granted.get(channel, 0) >= octets, timeout), self.granted

    def accept(self) -> Open:
        """The next thing is an OPEN, and it is answered."""
        opened = self.take(Open)
        self.send(Opened(opened.channel, WINDOW))
        return opened

    def open(self, make: Callable[[int], Open]) -> Open:
        """The agent opens a channel, with the next number of its own."""
        self._even += 2
        message = make(self._even)
        self.send(message)
        return message

    def close(self) -> None:
        """Cuts the link."""
        self._sock.close() if self._sock.fileno() < 0 else self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


__all__ = ["Data", "Datagram", "Eof", "FarEnd", "Grant", "Open", "Opened", "Reset"]
