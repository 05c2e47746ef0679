"""Standard streams are the app's own: whole, separate, half-closed; and a terminal is a terminal."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.models.containers import Container

from .scene import MIRROR_RUN, PATIENCE, Scene

MANY = 1 << 30


def command(target: Container, *words: str) -> list[str]:
    return [str(MIRROR_RUN), "-q", "--target", f"container/{target.name}", "--", *words]


def test_a_gibibyte_through_stdin_and_back_is_identical(
    scene: Scene, target: Container, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    sent, chunk = hashlib.sha256(), os.urandom(1 << 20)
    with big.open("wb") as file:
        for number in range(MANY >> 20):
            block = number.to_bytes(8, "big") + chunk[8:]
            sent.update(block)
            file.write(block)
    came, size = hashlib.sha256(), 0
    with (
        big.open("rb") as source,
        subprocess.Popen(command(target, "cat"), stdin=source, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        while octets := process.stdout.read(1 << 20):
            came.update(octets)
            size += len(octets)
        assert process.wait(PATIENCE) == 0
    assert (size, came.hexdigest()) == (MANY, sent.hexdigest())


def test_stdout_and_stderr_stay_apart(scene: Scene, target: Container) -> None:
    done = subprocess.run(
        command(target, "sh", "-c", "echo out; echo err >&2"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_the_end_of_stdin_reaches_the_app_and_its_answer_comes_back(scene: Scene, target: Container) -> None:
    done = subprocess.run(command(target, "wc", "-c"), input=b"x" * 12345, capture_output=True, check=True)
    assert done.stdout.strip() == b"12345"


def test_an_app_that_ends_does_not_wait_for_stdin(scene: Scene, target: Container) -> None:
    with subprocess.Popen(
        command(target, "echo", "hi"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b"hi\n"


def test_a_closed_stdin_is_an_empty_one(scene: Scene, target: Container) -> None:
    words = command(target, "sh", "-c", "cat; echo done")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == b"done\n"


def test_a_reader_that_leaves_ends_the_run_as_sigpipe(scene: Scene, target: Container) -> None:
    with subprocess.Popen(
        command(target, "yes"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


@dataclass
class Terminal:
    """A pseudo-terminal whose other side is mirror-run's."""

    fd: int
    process: subprocess.Popen[bytes]
    seen: bytes = b""

    def until(self, wanted: bytes) -> None:
        """Reads until `wanted` was shown; what is before it stays in `seen`."""
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.seen:
            ready = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"{wanted!r} was never shown: {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError as error:
                raise AssertionError(f"the terminal ended before {wanted!r}: {self.seen!r}") from error
        self.seen = self.seen.partition(wanted)[2]

    def type(self, octets: bytes) -> None:
        os.write(self.fd, octets)

    def size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(target: Container, *words: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with subprocess.Popen(
        command(target, *words),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        made = Terminal(ours, process)
        try:
            yield made
            assert termios.tcgetattr(theirs)[3] & termios.ECHO, "the terminal was left raw"
        finally:
            process.terminate()
            os.close(theirs)
            os.close(ours)


@pytest.fixture
def shell(scene: Scene, target: Container) -> Iterator[Terminal]:
    with terminal(target, "sh") as made:
        made.type(b"echo rea''dy\n")
        made.until(b"ready")
        yield made
        made.type(b"exit 5\n")
        assert made.process.wait(PATIENCE) == 5


def test_on_a_terminal_the_app_has_one_of_the_same_size(shell: Terminal) -> None:
    shell.type(b"test -t 0 && test -t 1 && echo is''-terminal; stty size; echo en''d\n")
    shell.until(b"is-terminal")
    shell.until(b"30 100")


def test_a_terminal_resizes(scene: Scene, target: Container) -> None:
    script = "trap 'stty size; exit 5' WINCH; echo rea''dy; while :; do sleep 0.1; done"
    with terminal(target, "sh", "-c", script) as made:
        made.until(b"ready")
        made.size(41, 132)
        made.until(b"41 132")
        assert made.process.wait(PATIENCE) == 5


def test_ctrl_c_is_the_apps(shell: Terminal) -> None:
    # A shell that waits for a command of its own runs the trap only when that has ended, and the key may be quicker
    # than the command's start: it reads itself.
    shell.type(b"trap 'echo inter''rupted' INT; echo trap''ped; read line\n")
    shell.until(b"trapped")
    shell.type(b"\x03")
    shell.until(b"interrupted")


def test_docker_s_detach_keys_are_the_app_s_too(shell: Terminal) -> None:
    shell.type(b"stty raw -echo; printf g''o; dd bs=1 count=2 2>/dev/null | od -An -tx1; stty sane\n")
    shell.until(b"go")
    shell.type(b"\x10\x11")  # ctrl-p ctrl-q
    shell.until(b"10 11")
