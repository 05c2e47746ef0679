"""The corpus of HTTP/1 through a real gate, and past it: what the target receives is the same, octet for octet."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.native.corpus import Case, Corpus
from tests.net.gate.conftest import Start
from tests.net.gate.lab import TARGET4, Gate, Lab, Rule
from tests.net.gate.test_filters import exactly

pytestmark = pytest.mark.net

HEADER = 0
ANNA = [[[HEADER, "^x-for: anna$"]]]
NOBODY = [[[HEADER, "^x-for: nobody$"]]]
IN_A_ROW = 24
STRIDE = 37
"""No divisor in common with the corpus's length: every request is met, beside ever other ones."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


def through(lab: Lab, port: int, listener: socket.socket, octets: bytes) -> bytes:
    """What the target has received of a client that says this and ends."""
    with lab.connect(TARGET4, port) as caller:
        caller.sendall(octets)
        caller.shutdown(socket.SHUT_WR)
        with listener.accept()[0] as server:
            got = b"".join(iter(lambda: server.recv(65536), b""))
            server.shutdown(socket.SHUT_WR)
            assert caller.recv(1) == b""
    return got


def test_what_nobody_wants_arrives_as_it_was_sent(lab: Lab, gate: Start, corpus: Corpus) -> None:
    made = gate()
    with lab.listen() as stolen, lab.listen() as direct:
        port = stolen.getsockname()[1]
        made.want(Rule(port=port, filter=NOBODY))
        for octets in [*(case.octets for case in corpus.plain), *corpus.odd]:
            assert through(lab, port, stolen, octets) == octets
            assert through(lab, direct.getsockname()[1], direct, octets) == octets
        assert not made.offers


@contextmanager
def saying(sock: socket.socket, octets: bytes, piece: int) -> Iterator[None]:
    """All of it, in pieces, while the body of the statement runs."""

    def say() -> None:
        for at in range(0, len(octets), piece):
            sock.sendall(octets[at : at + piece])

    thread = threading.Thread(target=say)
    thread.start()
    yield
    thread.join(20)


@pytest.mark.parametrize("piece", [100_000, 97])
def test_pipelined_to_either_in_order(lab: Lab, gate: Start, corpus: Corpus, piece: int) -> None:
    made = gate()
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made.want(Rule(port=port, filter=ANNA))
        for first in range(len(corpus.plain) // IN_A_ROW):
            cases = [corpus.plain[(first + i * STRIDE) % len(corpus.plain)] for i in range(IN_A_ROW)]
            with lab.connect(TARGET4, port) as caller, listener.accept()[0] as target:
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with saying(caller, b"".join(case.octets for case in cases), piece):
                    answer_all(cases, target, made, caller)


def answer_all(cases: list[Case], target: socket.socket, made: Gate, caller: socket.socket) -> None:
    """Each is heard whole by the one whose it is, and by nobody before; then answered."""
    app: socket.socket | None = None
    for case in cases:
        if case.ours and app is None:
            app = made.offered().accept()
        heard = app if case.ours and app is not None else target
        assert exactly(heard, len(case.octets)) == case.octets
        heard.sendall(case.answer)
        assert exactly(caller, len(case.answer)) == case.answer
    if app is not None:
        app.close()
