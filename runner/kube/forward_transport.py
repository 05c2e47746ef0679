"""A forwarded connection as asyncio sees it: a transport that its protocol writes to, over one WebSocket.

What was written waits here up to a bound, and what comes is not read while the protocol does not want it: zero credit
stops this connection alone.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from runner.kube.forward_core import MESSAGE, V4, BadForward, Complained, Ended, Framing, Reply, framing
from runner.kube.pile import Pile
from runner.kube.sockets import keep_alive

log = logging.getLogger(__name__)

UNSENT = 1024 * 1024
"""Octets that may wait here before the writer is told to wait: 8 ms of 1 Gbit/s. What the kernel takes is beside it."""
ALONE = 4096
"""Octets that do not wait for what else the same turn of the loop brings."""
TAKEN = 320 * 1024
"""Octets that one turn of the loop brings, about: picows' buffer, which is read into until the socket has no more."""
LAST_WORDS = 30.0
"""Seconds that what was written before the close may still take to leave: a way that is dead takes it never."""


class ForwardEnded(ConnectionResetError):
    """The forward was cut. ``strerror`` is the sentence."""


class ForwardRefused(ConnectionRefusedError):
    """Nobody listens on that port of the pod: yet, or any more."""


class ForwardTransport(asyncio.Transport):
    """What a protocol writes to. All of its calls come from the event loop it was made in."""

    def __init__(self, port: int, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._port = port
        self._protocol = protocol
        self._websocket: WSTransport | None = None
        self._framing: Framing = framing(V4, port)
        self._made = False  # the protocol knows of us
        self._closing = False
        self._lost = False
        self._taken = Pile(TAKEN)
        self._overdue: asyncio.TimerHandle | None = None
        self.gone = asyncio.get_running_loop().create_future()
        """Done when its socket is closed, which is later than connection_lost."""

    @property
    def opened(self) -> bool:
        """The WebSocket's handshake was made."""
        return self._websocket is not None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._websocket is None:
            return
        view = memoryview(data).cast("B")
        for at in range(0, len(view), MESSAGE):
            self._send(self._framing.message(view[at : at + MESSAGE]))

    def close(self) -> None:
        """What was written still leaves, if the way takes it within LAST_WORDS; connection_lost(None) follows."""
        if self._closing or self._websocket is None:
            return
        self._closing = True
        for message in self._framing.closing():
            self._send(message)
        self._websocket.disconnect()
        if not self._lost:
            self._overdue = asyncio.get_running_loop().call_later(LAST_WORDS, self.abort)

    def abort(self) -> None:
        self._closing = True
        if self._websocket is not None:
            self._websocket.disconnect(graceful=False)

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """What is in the read buffer still comes: READ_BUFFER octets, or one message."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        if not self._closing:
            self._below.resume_reading()

    def is_reading(self) -> bool:
        return not self._closing and self._below.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    @property
    def _below(self) -> asyncio.Transport:
        assert self._websocket is not None
        return self._websocket.underlying_transport

    def _send(self, message: bytes) -> None:
        assert self._websocket is not None
        self._websocket.send(WSMsgType.BINARY, message)

    def connected(self, websocket: WSTransport) -> None:
        """The WebSocket is open."""
        self._websocket = websocket
        chosen = websocket.response.headers.get("Sec-WebSocket-Protocol", "")
        log.debug("port-forward to %d by %s", self._port, chosen)
        self._framing = framing(chosen, self._port)
        self.set_write_buffer_limits(high=UNSENT)
        keep_alive(self.get_extra_info("socket"))
        # Octets may follow at once: the node has taken the request, and waiting for its SYN_REPLY is one more way there
        # and back that says nothing of the port.
        for message in self._framing.opening():
            self._send(message)
        self._made = True
        self._protocol.connection_made(self)

    def received(self, message: memoryview) -> None:
        """The view is picows' buffer. A server's messages are 16 KiB or less: what one turn of the loop brings goes on
        in one piece, since each costs a system call and wakes somebody up; what is small and alone goes on at once."""
        begun = self._taken.size
        try:
            events = self._framing.received(message, self._taken)
        except BadForward as error:
            self._end(ForwardEnded(errno.EPROTO, f"the API server sent {error}"))
            return
        if not begun and self._taken.size:
            if self._taken.size <= ALONE:
                self._pass_on()
            else:
                asyncio.get_running_loop().call_soon(self._pass_on)
        for event in events:
            if self._lost:
                return
            match event:
                case Complained(sentence):
                    self._end(_complaint(sentence))
                case Reply(octets):
                    self._send(octets)
                case Ended():
                    self._end(None)

    def _pass_on(self) -> None:
        if not self._lost:
            self._taken.give(self._protocol)

    def disconnected(self, *, orderly: bool) -> None:
        """The WebSocket is closed. v4 has no other end than this."""
        if not self.gone.done():
            self.gone.set_result(None)
        fine = self._closing or orderly
        self._end(None if fine else ForwardEnded(errno.ECONNRESET, "the port-forward was cut"))

    def pause_writing(self) -> None:
        if self._made:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._made:
            self._protocol.resume_writing()

    def _end(self, error: OSError | None) -> None:
        if self._lost:
            return
        self._pass_on()
        self._lost = True
        if self._overdue is not None:
            self._overdue.cancel()
        if not self._closing and self._websocket is not None:
            self._closing = True
            self._websocket.disconnect(graceful=error is None)
        if self._made:
            if error is None:
                self._protocol.eof_received()
            self._protocol.connection_lost(error)


_DATA = (WSMsgType.BINARY, WSMsgType.CONTINUATION)


class Listener(WSListener):
    """What picows calls; it passes on to its transport."""

    def __init__(self, transport: ForwardTransport) -> None:
        self._transport = transport
        self._received = transport.received

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport.connected(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in _DATA:
            self._received(frame.get_payload_as_memoryview())
        elif kind == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._transport.disconnected(orderly=transport.close_handshake is not None)

    def pause_writing(self) -> None:
        self._transport.pause_writing()

    def resume_writing(self) -> None:
        self._transport.resume_writing()


_REFUSED = re.compile(r"connection refused", re.IGNORECASE)


def _complaint(sentence: str) -> OSError:
    """The node's words, as an error that says whether dialling again may help."""
    if _REFUSED.search(sentence):
        return ForwardRefused(errno.ECONNREFUSED, f"nobody listens there in the pod ({sentence})")
    return ForwardEnded(errno.ECONNRESET, f"the node ended the port-forward: {sentence}")
