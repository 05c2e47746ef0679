"""Docker's multiplexed stream taken apart, the app's streams carried whole, and what the SDK returns made a socket."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import multiplexed
from runner.hijack import as_socket
from runner.multiplexed import STDERR, STDOUT, Pieces
from runner.streams import AppStreams


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


class Redirected:
    """This process's 0, 1 and 2 replaced by pipes, as a shell would."""

    def __init__(self) -> None:
        self.saved = [os.dup(fd) for fd in range(3)]
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        for fd, ours in enumerate((stdin, stdout, stderr)):
            os.dup2(ours, fd)
            os.close(ours)

    def restore(self) -> None:
        for fd, saved in enumerate(self.saved):
            os.dup2(saved, fd)
            os.close(saved)


@pytest.fixture
def pipes(capfd: pytest.CaptureFixture[str]):
    with capfd.disabled():
        made = Redirected()
        yield made
        made.restore()
        for fd in (made.stdout, made.stderr):
            os.close(fd)


async def test_the_app_s_streams_are_carried_whole_and_half_closed(pipes: Redirected) -> None:
    ours, engine = socket.socketpair()
    sent, answer = os.urandom(3_000_000), os.urandom(3_000_000)
    took = bytearray()

    def be_the_engine() -> None:
        while octets := engine.recv(65536):
            took.extend(octets)
        for at in range(0, len(answer), 50_000):
            engine.sendall(piece(STDOUT, answer[at : at + 50_000]))
        engine.sendall(piece(STDERR, b"done\n"))
        engine.close()

    def write() -> None:
        at = 0
        while at < len(sent):
            at += os.write(pipes.stdin, sent[at : at + 65536])
        os.close(pipes.stdin)

    got = bytearray()

    def read() -> None:
        while len(got) < len(answer):
            got.extend(os.read(pipes.stdout, 65536))

    threads = [threading.Thread(target=one) for one in (be_the_engine, write, read)]
    with AppStreams(ours, stdin=True, terminal=False) as streams:
        for thread in threads:
            thread.start()
        streams.start()
        await asyncio.wait_for(streams.drained, 30)
    for thread in threads:
        await asyncio.to_thread(thread.join, 30)
    assert bytes(took) == sent
    assert bytes(got) == answer
    assert os.read(pipes.stderr, 100) == b"done\n"


async def test_a_reader_that_left_is_told(pipes: Redirected) -> None:
    ours, engine = socket.socketpair()
    with AppStreams(ours, stdin=False, terminal=True) as streams:
        streams.start()
        # The other end of our stdout is closed, as `| head` does.
        left = os.dup(pipes.stdout)
        os.close(left)
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        os.close(writer)
        engine.sendall(b"x")
        await asyncio.wait_for(streams.unread, 30)
    engine.close()


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


def test_what_is_no_socket_is_copied() -> None:
    class Channel:  # as of ssh and TLS: recv and sendall, no descriptor to share
        def __init__(self, sock: socket.socket) -> None:
            self.recv, self.sendall, self.close = sock.recv, sock.sendall, sock.close

    one, other = socket.socketpair()
    ours = as_socket(Channel(one))
    ours.sendall(b"question")
    assert other.recv(100) == b"question"
    other.sendall(b"answer")
    assert ours.recv(100) == b"answer"
    other.close()
    assert ours.recv(1) == b""
    ours.close()
