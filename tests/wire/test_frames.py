"""The codec on its own: what it refuses, in whose name, in which words; and that cutting a stream changes
nothing.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import strategies
from tests.wire.examples import EXAMPLES, IDENTITY, SECRET, USER
from wire import frames, messages
from wire.frames import BadFrame, FrameReader, Unsendable
from wire.messages import (
    AppPort,
    Attach,
    Configure,
    Data,
    Done,
    Environ,
    Failure,
    Goodbye,
    Hello,
    LinkKind,
    Listening,
    Message,
    Ping,
)


def body(*plain: Any) -> bytes:
    return bytes(msgpack.packb(plain))


def read(octets: bytes) -> Message | None:
    """A message, or None for what the codec refuses in its own way; anything else it raises fails the test."""
    try:
        return frames.unpack(octets)
    except BadFrame:
        return None


@given(strategies.messages())
def test_what_is_packed_is_unpacked(message: Message) -> None:
    frame = frames.pack(message)
    assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4
    assert frames.unpack(frame[4:]) == message


@given(st.binary(max_size=400))
def test_any_octets_are_a_message_or_a_bad_frame(octets: bytes) -> None:
    if (message := read(octets)) is not None:
        assert read(frames.pack(message)[4:]) == message


@settings(max_examples=60)
@given(st.sampled_from(sorted(frames.BY_TAG)), st.lists(strategies.plain(), max_size=14))
def test_any_values_behind_a_known_tag_are_a_message_or_a_bad_frame(tag: int, values: list[Any]) -> None:
    if (message := read(body(tag, *values))) is not None:
        assert tag == message.TAG


@given(st.sampled_from(EXAMPLES), st.data())
def test_one_octet_changed_is_a_message_or_a_bad_frame(message: Message, data: st.DataObject) -> None:
    octets = bytearray(frames.pack(message)[4:])
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    if (other := read(bytes(octets))) is not None:
        assert read(frames.pack(other)[4:]) == other


@given(st.lists(st.sampled_from(EXAMPLES), max_size=6), st.data())
def test_where_the_stream_is_cut_does_not_matter(said: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(frames.pack, said))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader, seen = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        reader.feed(stream[start:end])
        while (message := reader.take()) is not None:
            seen.append(message)
    assert seen == said
    assert not reader.in_frame


def test_a_broken_stream_stays_broken_after_its_good_messages() -> None:
    reader = FrameReader()
    reader.feed(frames.pack(Done(1)) + struct.pack(">I", 2) + body(99) + frames.pack(Done(2)))
    assert reader.take() == Done(1)
    for _ in range(2):
        with pytest.raises(BadFrame, match="unknown tag 99"):
            reader.take()


def test_a_long_frame_is_refused_at_its_length_word() -> None:
    reader = FrameReader(limit=100)
    reader.feed(struct.pack(">I", 100))
    assert reader.take() is None
    assert reader.in_frame
    reader = FrameReader(limit=100)
    reader.feed(struct.pack(">I", 101))
    with pytest.raises(BadFrame, match="101 octets, where 100 are the most"):
        reader.take()


def test_the_reader_keeps_no_more_than_the_last_frame() -> None:
    reader, frame = FrameReader(), frames.pack(Data(1, bytes(60_000)))
    for _ in range(50):
        reader.feed(frame)
        assert reader.take() == Data(1, bytes(60_000))
    assert len(reader._kept) <= len(frame)


def test_unknown_trailing_fields_are_ignored_also_in_parts() -> None:
    assert frames.unpack(body(5, 1, b"", "from the future", [1, [2]], None, 1.5)) == Done(1)
    assert frames.unpack(body(15, [[6, 8080, 80, False, "x"]])) == Listening((AppPort(6, 8080, 80),))


def test_missing_trailing_fields_have_their_defaults() -> None:
    assert frames.unpack(body(4, 1, "no")) == Failure(1, "no", 0)
    assert frames.unpack(body(15, [[6, 8080, 80]])) == Listening((AppPort(6, 8080, 80, False),))
    short = frames.unpack(body(1, 1, 1, "mirror-run 0.1.0", 1, "s", SECRET))
    assert short == Hello(1, 1, "mirror-run 0.1.0", 1, "s", SECRET, "", False)


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        ((99,), "a message with the unknown tag 99"),
        ((), "a frame that is not an array with a tag"),
        ((True, 1), "a frame that is not an array with a tag"),
        (("1",), "a frame that is not an array with a tag"),
        ((5,), "a bad Done: it ends before its field 'call'"),
        ((5, True), "a bad Done: call: a bool where an integer belongs"),
        ((5, 1.0), "a bad Done: call: a float where an integer belongs"),
        ((5, -1), "a bad Done: call: -1 is not within 0..4294967295"),
        ((5, 2**32), "a bad Done: call: 4294967296 is not within 0..4294967295"),
        ((5, None), "a bad Done: call: nil where an integer belongs"),
        ((3, b"bytes"), "a bad Goodbye: reason: octets where text belongs"),
        ((3, "nul\0"), "a bad Goodbye: reason: text with a NUL in it"),
        ((3, "é" * 2049), "a bad Goodbye: reason: text longer than 4096 octets"),
        ((66, 1, "text"), "a bad Data: payload: text where octets belong"),
        ((64, 1, 1, 0, b"123", 1, b"", 0), "a bad Open: source: 3 octets where 4 or 16 belong"),
        ((64, 1, 1, 0, b"1234", 65536, b"", 0), "a bad Open: source_port: 65536 is not within 0..65535"),
        ((15, [[6, 1]]), "a bad Listening: ports: it ends before its field 'target'"),
        ((15, [[6, 1, 2, 0]]), "a bad Listening: ports: declared: an integer where true or false belongs"),
        ((15, [7]), "a bad Listening: ports: an integer where the array of one AppPort belongs"),
        ((15, 7), "a bad Listening: ports: an integer where an array belongs"),
        ((5, 1, {}), "a frame with a map, which no message has"),
        ((5, 1, msgpack.ExtType(5, b"x")), "a frame with a msgpack extension (5), which no message has"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(plain: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(BadFrame) as error:
        frames.unpack(body(*plain))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xc1",
        b"\x92\x05",
        b"\x92\x05\x01\x00",
        b"\x92\x03\xa2\xff\xfe",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
    ids=["empty", "reserved", "short", "long", "not UTF-8", "huge array", "deep"],
)
def test_what_is_not_msgpack_is_a_bad_frame(octets: bytes) -> None:
    with pytest.raises(BadFrame):
        frames.unpack(octets)


def test_a_surrogate_is_not_text() -> None:
    with pytest.raises(BadFrame, match="UnicodeDecodeError"):
        frames.unpack(b"\x92\x03\xa3\xed\xa0\x80")


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (Done(-1), "Done: call: -1 is not within 0..4294967295"),
        (Done(True), "Done: call: a bool where an integer belongs"),
        (Ping("1"), "Ping: call: text where an integer belongs"),  # type: ignore[arg-type]
        (Hello(1, 1, "x", 1, "s", b"short"), "Hello: secret: 5 octets where 32 belong"),
        (Attach(1, 0, "\udcff"), "Attach: container: text that is not Unicode: surrogates not allowed"),
        (Attach(1, 0, "a\0"), "Attach: container: text with a NUL in it"),
        (Attach(1, 0, "a" * 256), "Attach: container: text longer than 255 octets"),
        (Data(1, bytearray(3)), "Data: payload: a bytearray where bytes belong"),  # type: ignore[arg-type]
        (Data(1, bytes(65_537)), "Data: payload: 65537 octets where at most 65536 belong"),
        (Environ(1, [b"A=1"], "/"), "Environ: variables: an array where a tuple belongs"),  # type: ignore[arg-type]
        (Environ(1, (b"",) * 65_537, "/"), "Environ: variables: 65537 elements where at most 65536 belong"),
        (Listening((IDENTITY,)), "Listening: ports: a Identity where one AppPort belongs"),  # type: ignore[arg-type]
        (Listening((AppPort(6, 1, 1, 1),)), "Listening: ports: declared: an integer where a bool belongs"),  # type: ignore[arg-type]
        (Message(), "Message has no tag"),
    ],
    ids=lambda value: str(value).partition(" object at ")[0][:40],
)
def test_our_own_mistakes_are_not_sent(message: Message, sentence: str) -> None:
    with pytest.raises(Unsendable) as error:
        frames.pack(message)
    assert str(error.value) == sentence


def test_an_error_can_always_be_told() -> None:
    told = frames.unpack(frames.pack(Goodbye("é" * 5000 + "\0"))[4:])
    assert told == Goodbye("é" * 2048)
    assert frames.unpack(frames.pack(Failure(1, "odd \udcff, nul \0"))[4:]) == Failure(1, "odd ?, nul ?")


def test_a_control_frame_holds_no_more_than_its_limit() -> None:
    big = Configure(1, "s", SECRET, "/a", IDENTITY, (), (bytes(131_072),) * 128, USER, "/")
    with pytest.raises(Unsendable, match="16777216"):
        frames.pack(big)
    fits = dataclasses.replace(big, environ=(bytes(131_072),) * 127)
    assert frames.unpack(frames.pack(fits)[4:]) == fits


def test_the_largest_data_frame_fits_and_a_longer_one_is_refused() -> None:
    frame = frames.pack(Data(0xFFFFFFFF, bytes(65_536)))
    assert len(frame) - 4 <= frames.DATA_FRAME
    with pytest.raises(BadFrame, match="65664 are the most"):
        frames.unpack(body(67, 1, 1, bytes(66_000)))


def test_enumerations_travel_as_numbers() -> None:
    read = frames.unpack(frames.pack(Hello(1, 1, "x", LinkKind.DATA, "s", SECRET))[4:])
    assert type(read.kind) is int  # type: ignore[attr-defined]


def test_tags_are_used_once() -> None:
    tagged = [cls for cls in vars(messages).values() if isinstance(cls, type) and issubclass(cls, Message)]
    assert sorted(cls.TAG for cls in tagged if cls is not Message) == sorted(frames.BY_TAG)
