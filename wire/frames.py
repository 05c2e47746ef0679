"""Frames: a u32 big-endian length and one msgpack array, whose first element is the message's tag.

Sans-io: octets in, messages out, and the other way. What the peer did wrong is ``BadFrame``, whose text is a
sentence that may be sent back in a Goodbye; after it the stream has no meaning left and the link must end.
Nothing else is ever raised by reading, whatever the octets.
"""

from __future__ import annotations

import functools
import struct

import msgpack

from wire import messages
from wire.kinds import CONTROL_FRAME, DATA_FRAME, FIRST_FRAME, MANY
from wire.messages import Message
from wire.shapes import BadValue, Record, Unsendable

__all__ = [
    "BY_TAG",
    "CONTROL_FRAME",
    "DATA_FRAME",
    "FIRST_FRAME",
    "BadFrame",
    "FrameReader",
    "Unsendable",
    "length_of",
    "pack",
    "unpack",
]

FIRST_DATA_TAG = 64
"""Tags from here on belong to data links, with their smaller frames."""

BY_TAG: dict[int, type[Message]] = {
    cls.TAG: cls
    for cls in vars(messages).values()
    if isinstance(cls, type) and issubclass(cls, Message) and cls.TAG
}

_LENGTH = struct.Struct(">I")


class BadFrame(Exception):
    """The peer broke the protocol. ``args[0]`` is a sentence."""


def pack(message: Message) -> bytes:
    """The whole frame of a message, length word included. Unsendable (our bug) if a field breaks its bound."""
    tag = message.TAG
    if tag not in BY_TAG:
        raise Unsendable(f"{type(message).__name__} has no tag")
    try:
        plain = _record(tag).pack(message)
    except Unsendable as error:
        raise Unsendable(f"{type(message).__name__}: {error}") from None
    body: bytes = msgpack.packb([tag, *plain], use_bin_type=True)
    limit = DATA_FRAME if tag >= FIRST_DATA_TAG else CONTROL_FRAME
    if len(body) > limit:
        raise Unsendable(f"{type(message).__name__}: {len(body)} octets where a frame holds at most {limit}")
    return _LENGTH.pack(len(body)) + body


def unpack(body: bytes) -> Message:
    """The message in one frame, given without its length word. BadFrame if there is none."""
    try:
        plain = msgpack.unpackb(
            body,
            use_list=False,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_no_map,
            ext_hook=_no_extension,
            max_array_len=min(MANY, len(body)),
        )
    except BadValue as error:
        raise BadFrame(f"a frame with {error}") from None
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadFrame(f"a frame that is not msgpack ({type(error).__name__})") from None
    if not isinstance(plain, tuple) or not plain or type(plain[0]) is not int:
        raise BadFrame("a frame that is not an array with a tag")
    tag = plain[0]
    if tag not in BY_TAG:
        raise BadFrame(f"a message with the unknown tag {tag}")
    record = _record(tag)
    try:
        message: Message = record.unpack_from(plain, 1)
    except BadValue as error:
        raise BadFrame(f"a bad {record.cls.__name__}: {error}") from None
    if tag >= FIRST_DATA_TAG and len(body) > DATA_FRAME:
        raise BadFrame(f"a {record.cls.__name__} of {len(body)} octets, where {DATA_FRAME} are the most")
    return message


@functools.cache
def _record(tag: int) -> Record:
    """Of a tag there is. Made when it is first wanted: all of them at once would take 5 ms of each start."""
    return Record(BY_TAG[tag])


class FrameReader:
    """The reading side of a stream. Feed it what arrived, then take messages until there is none.

    Holds at most one incomplete frame beside what was fed last; a frame longer than ``limit`` is refused when
    its length word is seen, before anything is kept for it.
    """

    def __init__(self, limit: int = CONTROL_FRAME) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._at = 0
        self._bad: str = ""

    def feed(self, octets: bytes) -> None:
        """More of the stream, cut anywhere."""
        if self._at:
            del self._kept[: self._at]
            self._at = 0
        self._kept += octets

    def take(self) -> Message | None:
        """The next message, or None until more is fed. BadFrame, then and for ever after, where the stream is
        broken.
        """
        if self._bad:
            raise BadFrame(self._bad)
        try:
            return self._next()
        except BadFrame as error:
            self._bad = str(error)
            raise

    def _next(self) -> Message | None:
        start = self._at + _LENGTH.size
        if len(self._kept) < start:
            return None
        length = length_of(self._kept[self._at : start], self._limit)
        if len(self._kept) - start < length:
            return None
        self._at = start + length
        return unpack(bytes(memoryview(self._kept)[start : self._at]))

    @property
    def in_frame(self) -> bool:
        """Whether the stream would end in the middle of a frame if it ended now."""
        return len(self._kept) > self._at


def length_of(head: bytes | bytearray, limit: int) -> int:
    """The length word of a frame, from its four octets, for who reads exactly. BadFrame above ``limit``."""
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise BadFrame(f"a frame of {length} octets, where {limit} are the most")
    return int(length)


def _no_map(_pairs: object) -> object:
    raise BadValue("a map, which no message has")


def _no_extension(code: int, _data: bytes) -> object:
    raise BadValue(f"a msgpack extension ({code}), which no message has")
