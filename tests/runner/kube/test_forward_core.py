"""What a port-forward puts into WebSocket messages, and what it makes of those that come."""

from __future__ import annotations

import asyncio
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.kube.forward_core import (
    SPDY,
    V4,
    BadForward,
    ChannelFraming,
    Complained,
    Ended,
    Event,
    Reply,
    SpdyFraming,
    framing,
)
from runner.kube.pile import Pile


def heard(one: ChannelFraming | SpdyFraming, *messages: bytes) -> list[object]:
    """The data of each message, if there are any, and what else it says."""
    found: list[object] = []
    for message in messages:
        data = Pile(8)
        events: list[Event] = one.received(memoryview(message), data)
        taken = Taken()
        data.give(taken)
        found += taken.octets
        found += events
    return found


class Taken(asyncio.Protocol):
    def __init__(self) -> None:
        self.octets: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.octets.append(data)


def test_which() -> None:
    assert isinstance(framing(SPDY, 80), SpdyFraming)
    assert isinstance(framing(V4, 80), ChannelFraming)
    assert isinstance(framing("", 80), ChannelFraming)


# --- v4 -------------------------------------------------------------------------------------------------------------

PORTS = (b"\0\x5b\x1b", b"\1\x5b\x1b")  # 7003, little-endian, on both channels


def test_channels() -> None:
    one = ChannelFraming(7003)
    assert one.opening() == one.closing() == []
    assert one.message(memoryview(b"abc")) == b"\0abc"
    assert heard(one, *PORTS, b"\0hello", b"\0", b"", b"\1no such luck \n") == [
        b"hello",
        Complained("no such luck"),
    ]


@pytest.mark.parametrize("messages", [(b"\2x",), (b"\0\1\1",), (*PORTS, b"\7x")])
def test_what_is_no_channel(messages: tuple[bytes, ...]) -> None:
    with pytest.raises(BadForward):
        heard(ChannelFraming(7003), *messages)


# --- SPDY -----------------------------------------------------------------------------------------------------------


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(body)) + body


def data(stream: int, octets: bytes, flags: int = 0) -> bytes:
    return struct.pack(">II", stream, flags << 24 | len(octets)) + octets


FIN = 1
REPLIES = control(2, struct.pack(">I", 1) + b"headers") + control(2, struct.pack(">I", 3) + b"headers")


def test_two_streams_are_opened_as_kubectl_does() -> None:
    """Read as the far end does: frames, and the header blocks through one zlib stream."""
    (octets,) = SpdyFraming(7003).opening()
    inflate = zlib.decompressobj()
    opened = []
    at = 0
    while at < len(octets):
        first, length = struct.unpack_from(">II", octets, at)
        flags, length = length >> 24, length & 0xFFFFFF
        body = octets[at + 8 : at + 8 + length]
        at += 8 + length
        if first == 0x80030001:
            stream, other, priority, slot = struct.unpack_from(">IIBB", body)
            assert (other, priority, slot, flags) == (0, 0, 0, 0)
            opened.append((stream, fields(inflate.decompress(body[10:]))))
        else:
            assert (first, flags, body) == (1, FIN, b""), "nothing is said on the error stream"
    assert opened == [
        (1, {"streamtype": "error", "port": "7003", "requestid": "0"}),
        (3, {"streamtype": "data", "port": "7003", "requestid": "0"}),
    ]


def fields(block: bytes) -> dict[str, str]:
    (count,), at = struct.unpack_from(">I", block), 4
    texts = []
    for _ in range(count * 2):
        (length,) = struct.unpack_from(">I", block, at)
        texts.append(block[at + 4 : at + 4 + length].decode())
        at += 4 + length
    assert at == len(block)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def test_data_both_ways_and_the_end() -> None:
    one = SpdyFraming(80)
    assert one.message(memoryview(b"abc")) == data(3, b"abc")
    assert one.closing() == [data(3, b"", FIN)]
    messages = (REPLIES, data(3, b"hello") + data(3, b""), data(3, b"b") + data(3, b"ye", FIN))
    assert heard(one, *messages) == [b"hello", b"bye"]
    assert heard(one, data(1, b"", FIN)) == [Ended()]
    assert heard(one, control(7, bytes(8))) == [], "there is one end"


def test_the_data_end_before_the_reason_comes() -> None:
    """Seen with Kubernetes 1.35 when nobody listens on the port."""
    one = SpdyFraming(80)
    assert heard(one, REPLIES, data(3, b"", FIN)) == []
    assert heard(one, data(1, b"connection "), data(1, b"refused\n"), data(1, b"", FIN)) == [
        Complained("connection refused")
    ]


def test_resets_pings_and_what_is_not_for_us() -> None:
    one = SpdyFraming(80)
    theirs, ours = control(6, struct.pack(">I", 2)), control(6, struct.pack(">I", 1))
    assert heard(one, theirs, ours, control(4, bytes(4)), control(9, bytes(8))) == [Reply(theirs)]
    assert heard(one, data(5, b"of another stream")) == []
    assert heard(one, control(3, struct.pack(">II", 3, 5))) == [Complained("the far end reset the stream")]
    assert heard(SpdyFraming(80), control(7, bytes(8))) == [Ended()]


def test_what_is_no_spdy() -> None:
    with pytest.raises(BadForward):
        heard(SpdyFraming(80), b"\x80\x02\0\1\0\0\0\4abcd")  # version 2
    with pytest.raises(BadForward):
        heard(SpdyFraming(80), b"\x80\x03\0\1\0\xff\xff\xff")  # 16 MiB of headers


def test_an_endless_complaint_is_cut() -> None:
    one = SpdyFraming(80)
    (complaint,) = heard(one, *[data(1, b"x" * 60_000)] * 9, data(1, b"", FIN))
    assert isinstance(complaint, Complained)
    assert len(complaint.sentence) == 16_384


@given(st.data())
def test_frames_in_any_pieces(drawn: st.DataObject) -> None:
    """The messages' borders mean nothing."""
    payloads = drawn.draw(st.lists(st.binary(max_size=40), max_size=12))
    stream = REPLIES + b"".join(data(3, payload) + data(1, b"") for payload in payloads) + data(3, b"", FIN)
    stream += data(1, b"", FIN)
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    events = heard(SpdyFraming(80), *pieces)
    assert b"".join(event for event in events if isinstance(event, bytes)) == b"".join(payloads)
    assert [event for event in events if not isinstance(event, bytes)] == [Ended()]


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_anything_else_is_an_error_or_nothing(messages: list[bytes]) -> None:
    for one in (SpdyFraming(80), ChannelFraming(80)):
        try:
            heard(one, *messages)
        except BadForward:
            continue
