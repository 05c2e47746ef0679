"""The two ways a port-forward's octets are put into WebSocket messages: octets in; data, events and messages out.

`v4.channel.k8s.io`: the first octet of each message is its channel, 0 data and 1 error text; the first message of each
is the port number (k8s.io/kubelet, pkg/cri/streaming/portforward/websocket.go). Whoever has it at the far end (the
kubelet, containerd) takes masks off octet by octet, so that uploads reach half of what downloads do.

`SPDY/3.1+portforward.k8s.io` (Kubernetes 1.31): the messages are a SPDY/3.1 byte stream with one stream for errors and
one for data, which is what kubectl sends (Kubernetes enhancement 4006). Of SPDY (draft-mbelshe-httpbis-spdy-00, 3.1)
this is what moby/spdystream, the only other end, uses: no flow control, no header that we would read.
"""

from __future__ import annotations

import struct
import zlib
from typing import Protocol

from runner.kube.pile import Pile
from wire.record import record

V4 = "v4.channel.k8s.io"
SPDY = "SPDY/3.1+portforward.k8s.io"

MESSAGE = 65_536
"""Octets of data in one message at most: smaller ones cost the far end more, larger ones gain nothing (measured)."""
COMPLAINT = 16_384
"""Octets of error text kept."""


@record
class Complained:
    """The far end gives up, with its sentence."""

    sentence: str


@record
class Ended:
    """The data are complete."""


@record
class Reply:
    """To be sent."""

    message: bytes


Event = Complained | Ended | Reply
"""What comes beside data. These are added to a pile instead, since they are nearly all there is."""


class BadForward(Exception):
    """The far end does not keep to the protocol."""


class Framing(Protocol):
    """One forwarded connection."""

    def opening(self) -> list[bytes]: ...
    def received(self, message: memoryview, data: Pile) -> list[Event]:
        """Data are added to the pile, and are ahead of the events."""
        ...

    def message(self, octets: memoryview) -> bytes: ...
    def closing(self) -> list[bytes]: ...


def framing(protocol: str, port: int) -> Framing:
    """For what the server chose of ``SPDY`` and ``V4``."""
    return SpdyFraming(port) if protocol == SPDY else ChannelFraming(port)


class ChannelFraming:
    """v4.channel.k8s.io with one port."""

    def __init__(self, port: int) -> None:
        self._port = struct.pack("<H", port)
        self._named: set[int] = set()

    def opening(self) -> list[bytes]:
        return []

    def received(self, message: memoryview, data: Pile) -> list[Event]:
        if not message:
            return []
        channel, octets = message[0], message[1:]
        if channel > 1:
            raise BadForward(f"a message of channel {channel}")
        if channel not in self._named:
            if octets != self._port:
                raise BadForward(f"channel {channel} is for another port")
            self._named.add(channel)
            return []
        if channel == 1:
            return [Complained(_text(bytes(octets)))] if octets else []
        data.put(octets)
        return []

    def message(self, octets: memoryview) -> bytes:
        return b"".join((b"\0", octets))

    def closing(self) -> list[bytes]:
        return []


_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _PING, _GOAWAY = 1, 2, 3, 6, 7
_ERRORS, _DATA = 1, 3
"""Stream numbers: a client's are odd. The error stream is made first, as kubectl does."""
_FIN = 1
_HEAD = 8
_FRAME = struct.Struct(">II")
_CONTROL_LIMIT = 65_536


class SpdyFraming:
    """SPDY/3.1 with one pair of streams. Frames span messages and share them."""

    def __init__(self, port: int) -> None:
        self._port = port
        # SPDY recommends a preset dictionary; a stream without one is as good (RFC 1950, FDICT) and needs none here.
        self._zlib = zlib.compressobj()
        self._head = bytearray()
        self._left = 0  # octets of the data frame under way
        self._stream = 0
        self._flags = 0
        self._control: bytearray | None = None
        self._complaint = bytearray()
        self._finished: set[int] = set()
        self._over = False

    def opening(self) -> list[bytes]:
        streams = self._syn(_ERRORS, "error") + _data_head(_ERRORS, _FIN, 0) + self._syn(_DATA, "data")
        return [streams]

    def message(self, octets: memoryview) -> bytes:
        return b"".join((_data_head(_DATA, 0, len(octets)), octets))

    def closing(self) -> list[bytes]:
        return [_data_head(_DATA, _FIN, 0)]

    def received(self, message: memoryview, data: Pile) -> list[Event]:
        events: list[Event] = []
        at, size = 0, len(message)
        while at < size:
            if self._left:
                part = message[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                if self._stream == _DATA and self._control is None:
                    data.put(part)
                else:
                    self._keep(part)
                if not self._left:
                    self._finish(events)
            elif not self._head and size - at >= _HEAD:
                self._begin(message[at : at + _HEAD], events)
                at += _HEAD
            else:
                part = message[at : at + _HEAD - len(self._head)]
                at += len(part)
                self._head += part
                if len(self._head) == _HEAD:
                    head = bytes(self._head)
                    self._head.clear()
                    self._begin(head, events)
        return events

    def _begin(self, head: bytes | memoryview, events: list[Event]) -> None:
        first, flags_length = _FRAME.unpack(head)
        self._flags, self._left = flags_length >> 24, flags_length & 0xFFFFFF
        if first & 0x80000000:
            if first >> 16 != 0x8003 or self._left > _CONTROL_LIMIT:
                raise BadForward(f"a SPDY control frame {first:08x} of {self._left} octets")
            self._stream, self._control = first & 0xFFFF, bytearray()
        else:
            self._stream, self._control = first, None
        if not self._left:
            self._finish(events)

    def _keep(self, part: memoryview) -> None:
        if self._control is not None:
            self._control += part
        elif self._stream == _ERRORS:
            self._complaint += part[: COMPLAINT - len(self._complaint)]

    def _finish(self, events: list[Event]) -> None:
        """A whole frame has come."""
        if self._control is not None:
            self._finish_control(self._stream, bytes(self._control), events)
        elif self._flags & _FIN:
            self._finish_stream(self._stream, events)

    def _finish_stream(self, stream: int, events: list[Event]) -> None:
        """The data end before the error stream says why, so the end is when both have."""
        self._finished.add(stream)
        if stream == _ERRORS and self._complaint:
            self._end(events, Complained(_text(bytes(self._complaint))))
        elif self._finished >= {_ERRORS, _DATA}:
            self._end(events, Ended())

    def _finish_control(self, kind: int, body: bytes, events: list[Event]) -> None:
        number = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
        if kind == _SYN_REPLY:
            if self._flags & _FIN:
                self._finish_stream(number, events)
        elif kind == _RST_STREAM and number == _DATA:
            self._end(events, Complained("the far end reset the stream"))
        elif kind == _PING and not number & 1:  # theirs: the same back
            events.append(Reply(_FRAME.pack(0x80030000 | _PING, len(body)) + body))
        elif kind == _GOAWAY:
            self._end(events, Ended())

    def _end(self, events: list[Event], how: Complained | Ended) -> None:
        if not self._over:
            self._over = True
            events.append(how)

    def _syn(self, stream: int, kind: str) -> bytes:
        fields = {"streamtype": kind, "port": str(self._port), "requestid": "0"}
        block = struct.pack(">I", len(fields)) + b"".join(
            struct.pack(">I", len(text)) + text.encode() for pair in fields.items() for text in pair
        )
        packed = self._zlib.compress(block) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        head = struct.pack(">IIIIH", 0x80030000 | _SYN_STREAM, 10 + len(packed), stream, 0, 0)
        return head + packed


def _data_head(stream: int, flags: int, length: int) -> bytes:
    return _FRAME.pack(stream, flags << 24 | length)


def _text(octets: bytes) -> str:
    return octets[:COMPLAINT].decode(errors="replace").strip()
