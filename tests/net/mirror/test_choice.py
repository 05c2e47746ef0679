"""A filter chooses: whole requests that match come to the app, and nothing of the others; what cannot be read ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.net.mirror.conftest import Start
from tests.net.mirror.http import ANSWER, answer_each, serve
from tests.net.mirror.lab import ROOT, TARGET4, TARGET6, TCP, Lab, Mirror

HEADER, PATH, METHOD = 0, 1, 2
OURS = [[(HEADER, "^x-for: anna$")]]


def asks(path: str, *headers: str, body: bytes = b"", method: str = "GET") -> bytes:
    lines = [f"{method} /{path} HTTP/1.1", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ours(path: str, *headers: str, body: bytes = b"", method: str = "GET") -> bytes:
    return asks(path, "X-For: anna", *headers, body=body, method=method)


class Talk:
    """One client and one server of ours; both say what the test says, and each waits for the other's octets."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server

    def up(self, octets: bytes) -> None:
        self._say(self.client, self.server, octets)

    def down(self, octets: bytes = ANSWER) -> None:
        self._say(self.server, self.client, octets)

    def request(self, octets: bytes) -> None:
        self.up(octets)
        self.down()

    @staticmethod
    def _say(speaker: socket.socket, listener: socket.socket, octets: bytes) -> None:
        done = threading.Thread(target=speaker.sendall, args=(octets,))
        done.start()
        got = bytearray()
        while len(got) < len(octets):
            part = listener.recv(1 << 20)
            assert part
            got += part
        done.join()
        assert got == octets


@contextmanager
def talk(lab: Lab, port: int, *, address: str = TARGET4) -> Iterator[Talk]:
    with lab.listen(address, port) as listener, lab.connect(address, port) as client:
        server, _ = listener.accept()
        with server:
            server.settimeout(20)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Talk(client, server)


def free_port(lab: Lab) -> int:
    with lab.listen() as listener:
        return int(listener.getsockname()[1])


def chooses(mirror: Start, port: int, app: str = "take", filters: object = None) -> Mirror:
    made = mirror(app)
    assert made.choose(filters or OURS) == ""  # type: ignore[arg-type]
    made.ports((TCP, port, port))
    return made


def test_keep_alive_with_alternating_matches(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port)
    with talk(lab, port, address=TARGET6) as to:
        for number in range(6):
            to.request((ours if number % 2 else asks)(str(number)))
    (seen,) = made.seen()
    assert (seen["seen"], seen["matched"], seen["last"]) == (6, 3, "GET /5 HTTP/1.1")
    counted = made.counters()
    assert (counted["connections"], counted["dropped"]) == (1, 0)
    (shown,) = made.end()
    assert shown.data == ours("1") + ours("3") + ours("5")
    assert shown.end == "eof"
    assert shown.source.startswith("[fd00:")


def test_what_was_seen_is_known_when_the_port_is_mirrored_no_more(lab: Lab, mirror: Start) -> None:
    """An app stops listening before its session is summed up; and one that listens again goes on counting."""
    port = free_port(lab)
    made = chooses(mirror, port)
    for turn in (1, 2):
        made.ports((TCP, port, port))
        with talk(lab, port) as to:
            to.request(ours("a"))
            to.request(asks("b"))
        made.counters()
        made.ports()
        (seen,) = made.seen()
        assert (seen["seen"], seen["matched"]) == (2 * turn, turn)


def test_a_connection_without_a_match_is_never_opened(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port)
    for _ in range(3):
        with talk(lab, port) as to:
            to.request(asks("a"))
            to.request(asks("b", "Content-Length: 5", body=b"hello", method="POST"))
    (seen,) = made.seen()
    assert (seen["seen"], seen["matched"]) == (6, 0)
    assert made.end() == []


def test_bodies_go_with_their_requests(lab: Lab, mirror: Start) -> None:
    """What is in another's body is no request, and a chunked one ends where it ends."""
    port = free_port(lab)
    made = chooses(mirror, port)
    big = ours("not-a-request") * 40_000
    chunks = b"".join(b"%x;q=1\r\n%s\r\n" % (len(part), part) for part in (b"a" * 100_000, ours("nor-this")))
    chunked = chunks + b"0\r\nTrailer: x\r\n\r\n"
    theirs = asks("1", f"Content-Length: {len(big)}", body=big, method="PUT")
    mine = ours("2", f"Content-Length: {len(big)}", body=big, method="PUT")
    also = ours("4", "Transfer-Encoding: chunked", body=chunked, method="POST")
    with talk(lab, port) as to:
        to.request(theirs)
        to.request(mine)
        to.request(asks("3", "Transfer-Encoding: chunked", body=chunked, method="POST"))
        to.request(also)
    (shown,) = made.end()
    assert shown.data == mine + also
    assert shown.end == "eof"


def test_pipelined_in_one_segment_and_in_many(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port)
    whole = b"".join((ours if number % 3 else asks)(str(number)) for number in range(12))
    wanted = b"".join(ours(str(number)) for number in range(12) if number % 3)
    with talk(lab, port) as to:
        to.up(whole)
        for _ in range(12):
            to.down()
    with talk(lab, port) as to:
        for at in range(0, len(whole), 7):
            to.up(whole[at : at + 7])
        for _ in range(12):
            to.down()
    assert [one.data for one in made.end()] == [wanted, wanted]


def test_a_whole_connection_in_one_look(lab: Lab, mirror: Start) -> None:
    """Short ones may be over for client and target before anything of them is looked at."""
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made = chooses(mirror, port)
        for number in range(50):
            with lab.connect(TARGET4, port) as client:
                client.sendall((ours if number % 2 else asks)(str(number)))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
        shown = made.end()
    assert sorted(one.data for one in shown) == sorted(ours(str(number)) for number in range(1, 50, 2))
    assert {one.end for one in shown} == {"eof"}


def upgrade(path: str, *headers: str) -> bytes:
    return asks(path, "Upgrade: websocket", "Connection: Upgrade", *headers)


SWITCHES = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def test_after_an_upgrade_everything_or_nothing(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port)
    mine = upgrade("mine", "X-For: anna")
    for head in (upgrade("theirs"), mine):
        with talk(lab, port) as to:
            to.up(head)
            to.down(SWITCHES)
            to.up(b"\x81\x85\1\2\3\4hello")
            to.up(ours("no-request"))
    (shown,) = made.end()
    assert shown.data == mine + b"\x81\x85\1\2\3\4hello" + ours("no-request")


def test_an_upgrade_that_is_refused_is_a_request_as_any(lab: Lab, mirror: Start) -> None:
    """Some clients offer h2c with their first request, always."""
    port = free_port(lab)
    made = chooses(mirror, port)
    with talk(lab, port) as to:
        to.request(upgrade("0"))
        to.request(ours("1"))
        to.request(upgrade("2", "X-For: anna"))
        to.request(asks("3"))
        to.request(ours("4"))
    (shown,) = made.end()
    assert shown.data == ours("1") + upgrade("2", "X-For: anna") + ours("4")
    assert shown.end == "eof"


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03secret", "tls"),
        (b"*1\r\n$4\r\nPING\r\n", "other"),
        (b"GET / HTTP/1.1\nHost: x\nX-For: anna\n\n", "other"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 65536 + b"\r\nX-For: anna\r\n\r\n", "other"),
    ],
)
def test_what_is_no_http_is_not_shown(lab: Lab, mirror: Start, octets: bytes, what: str) -> None:
    port = free_port(lab)
    made = chooses(mirror, port)
    with talk(lab, port) as to:
        to.up(octets)
        to.down(b"+PONG\r\n")
        to.up(ours("later"))
        to.down(ANSWER)
        to.up(ours("later"))
    (seen,) = made.seen()
    assert (seen[what], seen["seen"], seen["tls"] + seen["other"]) == (1, 0, 1)
    assert made.end() == []


def test_what_two_servers_could_read_in_two_ways_ends_the_copy(lab: Lab, mirror: Start) -> None:
    """The app keeps what was whole, and gets no more of this connection."""
    port = free_port(lab)
    made = chooses(mirror, port)
    with talk(lab, port) as to:
        to.request(ours("1"))
        to.request(ours("2", "Content-Length: 3", "Content-Length: 5", body=b"abc"))
        to.request(ours("3"))
    with talk(lab, port) as to:
        to.request(ours("1"))
        to.up(ours("2", "Transfer-Encoding: chunked", body=b"3\nabc\r\n0\r\n\r\n"))
    assert made.seen()[0]["other"] == 2
    first, second = made.end()
    assert (first.data, first.end) == (ours("1"), "eof")
    assert second.data.startswith(ours("1"))
    assert isinstance(second.end, int)  # in the middle of a request, so a reset


def test_an_app_that_ends_after_each_answer(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port, "close")
    with talk(lab, port) as to:
        for number in range(6):
            to.request((ours if number % 2 else asks)(str(number)))
            made.counters()  # the app has heard of it
    assert [one.data for one in made.end()] == [ours("1"), ours("3"), ours("5")]


def test_an_app_that_refuses_is_asked_again_with_the_next_match(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port, "refuse")
    with talk(lab, port) as to:
        for number in range(4):
            to.request((ours if number % 2 else asks)(str(number)))
            made.counters()
    assert len(made.end()) == 2


def test_a_slow_app_gets_all_of_it_in_the_end_or_a_reset(lab: Lab, mirror: Start) -> None:
    """It takes 1 MiB and no more: what is behind waits, and then the connection ends without a wrong octet."""
    port = free_port(lab)
    made = chooses(mirror, port, "stall")
    body = b"b" * 1_500_000
    with talk(lab, port) as to:
        to.request(asks("0"))
        to.request(ours("1", f"Content-Length: {len(body)}", body=body, method="PUT"))
        to.request(ours("2"))
        made.counters()
    (shown,) = made.end()
    assert ours("1", f"Content-Length: {len(body)}", body=body, method="PUT")[: len(shown.data)] == shown.data
    assert len(shown.data) == 1 << 20


def test_joined_at_a_request(lab: Lab, mirror: Start) -> None:
    """An older connection: from the next request on that can be told from a body."""
    port = free_port(lab)
    with talk(lab, port) as to:
        to.request(ours("before"))
        made = chooses(mirror, port)
        to.request(ours("first"))
        for number in range(4):
            to.request((ours if number % 2 else asks)(str(number)))
        assert made.counters()["joined"] == 1
    (shown,) = made.end()
    assert shown.data == ours("1") + ours("3")


def test_path_and_method(lab: Lab, mirror: Start) -> None:
    port = free_port(lab)
    made = chooses(mirror, port, filters=[[(PATH, "^/api/"), (METHOD, "^POST$")], [(PATH, "^/other$")]])
    wanted = [asks("api/x", "Content-Length: 0", method="POST"), asks("other?q=1")]
    with talk(lab, port) as to:
        for one in (asks("api/x"), wanted[0], asks("xapi/", method="POST"), wanted[1]):
            to.request(one)
    (shown,) = made.end()
    assert shown.data == b"".join(wanted)


def test_a_filter_that_cannot_be_is_refused(mirror: Start) -> None:
    assert "refused" in mirror().choose([[(PATH, "(")]])


@contextmanager
def cart(name: str, *inside: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A gRPC service at a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    words = [*inside, sys.executable, "-m", "tests.net.gate.cart", "serve", name, str(port)]
    with subprocess.Popen(
        words, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield port, server
        finally:
            server.terminate()


BIG = 1 << 17  # more than a window
EACH = {"get 1 3 1", f"get 1 {BIG} 1", "list 1 2 1", f"put 3 {3 * BIG} 1", "fail 1 0 1"}


def test_grpc(lab: Lab, mirror: Start) -> None:
    """All calls are the target's, of one connection; the app has those that match, whole, by another encoder's
    blocks and in its own windows, and two chats go on all the while."""
    inside = ("ip", "netns", "exec")
    with cart("target", *inside, lab.target) as (port, _), cart("app") as (app, heard):
        made = chooses(mirror, port, str(app), filters=[[(HEADER, "^x-mine: 1$")]])
        words = [*inside, lab.client, sys.executable, "-m", "tests.net.gate.cart"]
        asked = [*words, "ask", TARGET4, str(port), "target", str(BIG)]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
        assert made.counters()["dropped"] == 0
        (seen,) = made.seen()
        assert (seen["seen"], seen["matched"]) == (2 * (1 + 25) + 1 + 5, (1 + 25) + 1 + 5)
        assert seen["last"] == "POST /shop.Cart/Fail HTTP/2"
        assert heard.stdout is not None
        said = [heard.stdout.readline().strip() for _ in range(31)]
        assert {one: said.count(one) for one in EACH} == dict.fromkeys(EACH, 6)
        assert said.count("chat 5 5 1") == 1
        assert made.counters()["connections"] == 1
        (shown,) = made.end()
        assert shown.data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
