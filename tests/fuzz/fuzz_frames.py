"""Invariant: whatever the octets and wherever they are cut, the reader yields messages that pack to what they
were read from being, or refuses with BadFrame; it raises nothing else, keeps no more than one frame, and
cutting changes nothing.

Coverage-guided (atheris, libFuzzer). ``python3 -m tests.fuzz.fuzz_frames -max_total_time=600
build/fuzz/frames``; the golden frames are the first corpus.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wire", "msgpack"]):
    from wire import frames
    from wire.messages import Message

LIMIT = 70_000


def read_all(pieces: list[bytes]) -> tuple[list[Message], str]:
    """What a reader makes of a stream cut into these pieces: the messages, and why it stopped."""
    reader, messages = frames.FrameReader(LIMIT), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (message := reader.take()) is not None:
                messages.append(message)
            assert len(reader._kept) <= LIMIT + 4 + len(piece)
    except frames.BadFrame as error:
        return messages, str(error)
    return messages, ""


def one_input(octets: bytes) -> None:
    """One run of the fuzzer: the first octet says where to cut the rest."""
    whole = octets[1:]
    messages, why = read_all([whole])
    step = (octets[0] if octets else 0) + 1
    assert read_all([whole[at : at + step] for at in range(0, len(whole), step)]) == (messages, why)
    for message in messages:
        again = frames.pack(message)
        assert frames.unpack(again[4:]) == message


def seed(corpus: Path) -> None:
    """The golden frames as the corpus's beginning."""
    corpus.mkdir(parents=True, exist_ok=True)
    golden = Path(__file__).resolve().parents[1] / "wire" / "golden.txt"
    for number, line in enumerate(golden.read_text(encoding="utf-8").splitlines()):
        if not line.startswith("#"):
            name, octets = line.split(" ")
            (corpus / f"{name}-{number}").write_bytes(b"\x07" + bytes.fromhex(octets))


def main(arguments: list[str]) -> None:
    """libFuzzer's own arguments, and corpus directories."""
    for corpus in arguments[1:]:
        if not corpus.startswith("-"):
            seed(Path(corpus))
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
