"""Where the gate says that a request ends, others must not say it ends elsewhere: llhttp (by httptools), h11.

The corpus and twenty thousand mutants of it, each followed by a marked request. What another parser refuses is no
difference: that server answers 400, and closes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import h11
import httptools
import pytest

from tests.native.corpus import Corpus

MARK = b"GET /mark HTTP/1.1\r\nHost: m\r\n\r\n"
PIECES = [
    *(bytes([c]) for c in b'\r\n \t:;,0195aFx-_+"\x00\x0b\x7f\x80'),
    *(
        b"\r\n",
        b"\n\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n0\r\n\r\n",
        b"chunked",
    ),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def mutants(whole: list[bytes], count: int) -> Iterator[bytes]:
    """One to three places of a request changed; the same in every run."""
    dice = random.Random(1)
    for _ in range(count):
        octets = bytearray(dice.choice(whole))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(len(octets) + 1)
            octets[at : at + dice.choice((0, 0, 1, 2))] = dice.choice(PIECES)
        yield bytes(octets)


class Counted:
    """httptools' callbacks: how many messages have ended."""

    def __init__(self) -> None:
        self.ended = 0

    def on_message_complete(self) -> None:
        self.ended += 1


def by_llhttp(octets: bytes) -> int | None:
    """The length of the first message, by feeding one octet more each time; None: refused, or not whole."""
    counted = Counted()
    parser = httptools.HttpRequestParser(counted)
    try:
        for at in range(len(octets)):
            parser.feed_data(octets[at : at + 1])
            if counted.ended:
                return at + 1
    except httptools.HttpParserError:
        return None
    return None


def by_h11(octets: bytes) -> int | None:
    """The same; h11 says what it has not used when a message has ended."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(octets)
    try:
        while (event := connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.EndOfMessage):
                return len(octets) - len(connection.trailing_data[0])
    except h11.RemoteProtocolError:
        return None
    return None


@pytest.mark.parametrize("other", [by_llhttp, by_h11])
def test_nobody_ends_a_request_elsewhere(corpus: Corpus, other: Callable[[bytes], int | None]) -> None:
    whole = [case.octets for case in corpus.plain]
    taken = compared = 0
    for octets in [*whole, *mutants(whole, 20000)]:
        length = corpus.delimit(octets + MARK)
        if length <= 0:
            continue
        taken += 1
        theirs = other((octets + MARK)[: length + len(MARK)])
        if theirs is not None:
            compared += 1
            assert theirs == length, octets
    assert taken > 3000
    assert compared > taken * 0.9, (taken, compared)


def test_the_corpus_is_delimited_as_it_was_made(corpus: Corpus) -> None:
    """By the generator's own lengths: the last body of the corpus asks for an upgrade, after which it is not known."""
    for number, octets in enumerate(case.octets for case in corpus.plain):
        upgrade = number // 36 % 9 == 8
        assert corpus.delimit(octets + MARK) == (-2 if upgrade else len(octets)), octets
