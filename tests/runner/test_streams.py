"""Docker's multiplexed stream taken apart, the app's streams carried whole, and what the SDK returns made a socket."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from runner import multiplexed
from runner.hijack import as_socket
from runner.multiplexed import STDERR, STDOUT, Pieces


def piece(stream: int, payload: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(payload)) + payload


@given(
    pieces=st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40))),
    cuts=st.lists(st.integers(1, 17), min_size=1),
)
def test_any_cut_gives_the_same_octets(pieces: list[tuple[int, bytes]], cuts: list[int]) -> None:
    whole = b"".join(piece(*one) for one in pieces)
    reader, found, at, turn = Pieces(), {STDOUT: b"", STDERR: b""}, 0, 0
    while at < len(whole):
        step = cuts[turn % len(cuts)]
        for stream, payload in reader.feed(memoryview(whole[at : at + step])):
            found[stream] += bytes(payload)
        at, turn = at + step, turn + 1
    for stream in (STDOUT, STDERR):
        assert found[stream] == b"".join(payload for which, payload in pieces if which == stream)


async def test_asyncio_streams_of_a_multiplexed_socket() -> None:
    ours, theirs = socket.socketpair()
    said: list[bytes] = []
    reader, writer = await multiplexed.streams(ours, said.append)
    theirs.sendall(piece(STDERR, b"warning\n") + piece(STDOUT, b"answer"))
    assert await reader.readexactly(6) == b"answer"
    assert said == [b"warning\n"]
    writer.write(b"question")
    await writer.drain()
    assert theirs.recv(100) == b"question"
    theirs.close()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


CARRIER = """
import asyncio, socket, sys
from runner.streams import AppStreams

async def main():
    with AppStreams(socket.socket(fileno=int(sys.argv[1])), stdin=True, terminal=sys.argv[2] == "tty") as streams:
        streams.start()
        done, _ = await asyncio.wait([streams.drained, streams.unread], return_when=asyncio.FIRST_COMPLETED)
        sys.exit(3 if streams.unread in done else 0)

asyncio.run(main())
"""
"""A process whose standard streams are the app's; it ends with them: 0 when the output ended, 3 when nobody read it."""


@contextmanager
def carrier(terminal: str = "") -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    ours, engine = socket.socketpair()
    with ours, engine:
        process = subprocess.Popen(
            [sys.executable, "-c", CARRIER, str(ours.fileno()), terminal],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[ours.fileno()],
        )
        ours.close()
        with process:
            yield process, engine


def test_the_app_s_streams_are_carried_whole_and_half_closed() -> None:
    sent, answer = os.urandom(3_000_000), os.urandom(3_000_000)
    took = bytearray()

    def be_the_engine(engine: socket.socket) -> None:
        while octets := engine.recv(65536):
            took.extend(octets)
        for at in range(0, len(answer), 50_000):
            engine.sendall(piece(STDOUT, answer[at : at + 50_000]))
        engine.sendall(piece(STDERR, b"done\n"))
        engine.close()

    with carrier() as (process, engine):
        thread = threading.Thread(target=be_the_engine, args=[engine])
        thread.start()
        out, err = process.communicate(sent, timeout=30)
        thread.join(30)
    assert (process.returncode, bytes(took) == sent, out == answer, err) == (0, True, True, b"done\n")


def test_output_ends_the_carrier_although_stdin_stays_open() -> None:
    with carrier("tty") as (process, engine):
        engine.sendall(b"raw output")
        engine.close()
        assert process.stdout is not None
        assert process.stdout.read() == b"raw output"
        assert process.wait(30) == 0


def test_a_reader_that_left_is_told() -> None:
    with carrier("tty") as (process, engine):
        assert process.stdout is not None
        process.stdout.close()
        engine.sendall(b"x")
        assert process.wait(30) == 3


def test_a_connection_of_the_sdk_s_becomes_a_socket_of_ours() -> None:
    one, other = socket.socketpair()
    raw = one.makefile("rwb", buffering=0)
    ours = as_socket(raw)
    one.close()
    other.sendall(b"hello")
    assert ours.recv(5) == b"hello"
    ours.shutdown(socket.SHUT_WR)
    assert other.recv(1) == b""
    ours.close()
    other.close()
    raw.close()


def test_what_is_no_socket_is_copied() -> None:
    class Channel:  # as of ssh and TLS: recv and sendall, and no descriptor to share
        def __init__(self, sock: socket.socket) -> None:
            self.recv, self.sendall, self.close = sock.recv, sock.sendall, sock.close

    one, other = socket.socketpair()
    with other, as_socket(Channel(one)) as ours:
        ours.sendall(b"question")
        assert other.recv(100) == b"question"
        other.sendall(b"answer")
        assert ours.recv(100) == b"answer"
        other.close()
        assert ours.recv(1) == b""
    for thread in threading.enumerate():
        if thread.name.startswith("stream "):
            thread.join(30)
