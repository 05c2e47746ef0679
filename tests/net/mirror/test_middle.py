"""Connections older than the mirror, and those that the app has left while they go on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.net.mirror.conftest import Start
from tests.net.mirror.http import answer_each, ask, request, serve
from tests.net.mirror.lab import TARGET4, TCP, Lab, Mirror


@contextmanager
def conversation(lab: Lab) -> Iterator[tuple[int, socket.socket, socket.socket]]:
    """A connection without a mirror, both ends ours: the port, the client, the server."""
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            server.settimeout(20)
            yield port, client, server


def say(speaker: socket.socket, listener: socket.socket, octets: bytes) -> None:
    """Sent, and read: so both sides' next packets come after it."""
    speaker.sendall(octets)
    got = b""
    while len(got) < len(octets):
        got += listener.recv(65536)
    assert got == octets


def started(mirror: Start, port: int, app: str = "take") -> Mirror:
    made = mirror(app)
    made.ports((TCP, port, port))
    return made


def test_keep_alive_is_joined_at_a_request(lab: Lab, mirror: Start) -> None:
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        with lab.connect(TARGET4, port) as client:
            ask(client, "before")
            made = started(mirror, port)
            ask(client, "first-seen")  # of what came before it nothing is known
            ask(client, "second")
            ask(client, "third")
        counted = made.counters()
    assert (counted["joined"], counted["connections"], counted["skipped"]) == (1, 1, 0)
    (seen,) = made.end()
    assert seen.data == request("second") + request("third")
    assert seen.end == "eof"


def test_begun_in_the_middle_of_an_upload(lab: Lab, mirror: Start) -> None:
    """A body that looks like a request is none: the target has not answered before it."""
    with conversation(lab) as (port, client, server):
        say(client, server, b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        made = started(mirror, port)
        say(client, server, request("smuggled"))
        say(client, server, request("again"))
        say(server, client, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        say(client, server, request("true"))
        made.counters()
    (seen,) = made.end()
    assert seen.data == request("true")


def test_an_interim_answer_is_no_boundary(lab: Lab, mirror: Start) -> None:
    with conversation(lab) as (port, client, server):
        say(client, server, b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 60\r\n")
        made = started(mirror, port)
        say(client, server, b"\r\n")
        say(server, client, b"HTTP/1.1 100 Continue\r\n\r\n")
        say(client, server, request("body"))
        say(server, client, b"HTTP/1.1 204 No Content\r\n\r\n")
        say(client, server, request("true"))
        made.counters()
    assert [one.data for one in made.end()] == [request("true")]


def test_an_upgraded_connection_is_never_joined(lab: Lab, mirror: Start) -> None:
    with conversation(lab) as (port, client, server):
        say(client, server, b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n")
        made = started(mirror, port)
        say(client, server, b"\r\n")
        say(server, client, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        say(client, server, request("not-http-any-more"))
        say(server, client, b"HTTP/1.1 200 OK\r\n\r\n")
        say(client, server, request("nor-this"))
        assert made.counters()["skipped"] == 1
    assert made.end() == []


def test_other_protocols_are_skipped_and_counted_once(lab: Lab, mirror: Start) -> None:
    with conversation(lab) as (port, client, server):
        say(client, server, b"PING\r\n")
        made = started(mirror, port)
        for _ in range(5):
            say(client, server, b"PING\r\n")
            say(server, client, b"+PONG\r\n")
        assert made.counters()["skipped"] == 1
    with conversation(lab) as (port, client, server):
        made.ports((TCP, port, port))
        say(client, server, b"\x17\x03\x03\x00\x05secre")
        say(server, client, b"\x17\x03\x03\x00\x05secre")
        assert made.counters()["skipped"] == 2
    assert made.end() == []


def test_an_app_that_ends_after_each_answer(lab: Lab, mirror: Start) -> None:
    """HTTP/1.0 in the app, keep-alive in the target: each request is a connection of its own."""
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made = started(mirror, port, "close")
        with lab.connect(TARGET4, port) as client:
            for number in range(5):
                ask(client, str(number))
                made.counters()  # the app's answer came before the next request
        counted = made.counters()
    assert (counted["connections"], counted["joined"], counted["dropped"]) == (5, 0, 0)
    assert [one.data for one in made.end()] == [request(str(number)) for number in range(5)]


def test_an_app_that_refuses_costs_nobody_anything(lab: Lab, mirror: Start) -> None:
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        serve(listener, answer_each)
        made = started(mirror, port, "refuse")
        with lab.connect(TARGET4, port) as client:
            for number in range(3):
                ask(client, str(number))
                made.counters()
        counted = made.counters()
    assert (counted["dropped"], counted["bytes"]) == (0, 0)
    assert [one.data for one in made.end()] == [b"", b"", b""]  # asked again at each request


def test_an_app_that_takes_nothing_is_cut_off_alone(lab: Lab, mirror: Start) -> None:
    with conversation(lab) as (port, client, server):
        pass
    with lab.listen(port=port) as listener:
        made = started(mirror, port, "stall")
        small = [(lab.connect(TARGET4, port), listener.accept()[0]) for _ in range(20)]
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            for number in range(400):
                say(client, server, b"x" * 65536)
                if number % 16 == 0:
                    made.counters()  # it keeps up: what the ring loses is another test's
        assert made.counters()["dropped"] == 1
        for one, other in small:
            say(one, other, b"still here")
            one.close()
            other.close()
        assert made.counters()["dropped"] == 1
    seen = made.end()
    assert [one.data for one in seen[:20]] == [b"still here"] * 20
    assert {one.end for one in seen[:20]} == {"eof"}
    assert seen[20].end == 104
    assert set(seen[20].data) == {ord("x")}


def test_a_port_left_out_keeps_what_is_open(lab: Lab, mirror: Start) -> None:
    """A server that stops listening after its first connection is no reason to cut that one; then the ring goes."""
    with lab.listen() as listener:
        port = listener.getsockname()[1]
        made = started(mirror, port)
        with lab.connect(TARGET4, port) as client, listener.accept()[0] as server:
            say(client, server, b"one ")
            with_ring = made.counters()["resident"]
            made.ports()
            say(client, server, b"two")
            with lab.connect(TARGET4, port) as later, listener.accept()[0] as other:
                say(later, other, b"not wanted")
            assert made.counters()["connections"] == 1
        after = made.counters()["resident"]
    assert with_ring - after > 11 * 1024 * 1024
    (seen,) = made.end()
    assert (seen.data, seen.end) == (b"one two", "eof")
