"""The octets of every message never change: golden.txt, read here and by the C tests."""

from __future__ import annotations

import pytest

from tests.wire.examples import EXAMPLES, GOLDEN, golden_text
from wire import frames
from wire.messages import Message

LINES = [
    line.split(" ") for line in GOLDEN.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
]


def test_the_file_is_what_the_examples_make() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == golden_text(), (
        "python3 -m tests.wire.examples, if that was meant"
    )


def test_every_message_has_an_example() -> None:
    assert {name for name, _ in LINES} == {cls.__name__ for cls in frames.BY_TAG.values()}


@pytest.mark.parametrize(
    ("line", "message"), list(zip(LINES, EXAMPLES, strict=True)), ids=lambda value: str(value)[:60]
)
def test_octets_and_message_are_each_other(line: list[str], message: Message) -> None:
    name, octets = line[0], bytes.fromhex(line[1])
    assert type(message).__name__ == name
    assert frames.pack(message) == octets
    assert frames.unpack(octets[4:]) == message


def test_one_frame_by_hand() -> None:
    """The codec does not only agree with itself: Grant(channel=1, octets=65535) as msgpack's specification
    has it.
    """
    by_hand = b"\x00\x00\x00\x06" + b"\x93" + b"\x43" + b"\x01" + b"\xcd\xff\xff"
    assert frames.unpack(by_hand[4:]) == frames.BY_TAG[67](1, 65535)  # type: ignore[call-arg]
    assert by_hand.hex() in {octets for _, octets in LINES}
