"""A gate in a target's namespace, with this process as its agent: the other end of its control and of its hand-over."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from images.build_native import GATE_LIBRARIES, GATE_SOURCES, HTTP_REGEX
from tests.net.mirror.lab import CLIENT4, CLIENT6, TARGET4, TARGET6, Lab, run

__all__ = [
    "CLIENT4",
    "CLIENT6",
    "TARGET4",
    "TARGET6",
    "Gate",
    "Lab",
    "Offer",
    "Refused",
    "Rule",
    "Session",
    "build",
]

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "build" / "tests" / "gate"


def build(name: str, flags: tuple[str, ...]) -> Path:
    """The program, compiled here: the one of the image is built by images/build_native.py from the same files."""
    OUT.mkdir(parents=True, exist_ok=True)
    program, regex = OUT / name, OUT / f"{name}.pattern.o"
    common = ["-g", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ROOT}", f"-I{ROOT / 'native'}"]
    subprocess.run(["g++", "-std=c++17", *common, "-c", str(ROOT / HTTP_REGEX), "-o", str(regex)], check=True)
    sources = [str(file) for pattern in GATE_SOURCES for file in sorted(ROOT.glob(pattern))]
    command = [
        "gcc",
        "-std=gnu11",
        "-D_GNU_SOURCE",
        "-Wshadow",
        *common,
        *sources,
        str(regex),
        *GATE_LIBRARIES,
    ]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


@dataclass(frozen=True, slots=True)
class Session:
    """As docs/plan-steal.md has it."""

    number: int = 1
    since: int = 1_000
    on_app_gone: int = 0
    link_lost_after: int = 5_000
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A port of the target's, for a session: whole, or by filter."""

    port: int
    app_port: int = 8080
    session: int = 1
    target: int = 0
    filter: Any = None


class Refused(Exception):
    """The gate has said [18, errno, sentence]."""


class App(socket.socket):
    """The engine's end of a pair. That it ends in order is said too: else it would look as if the engine had died."""

    def __init__(self, offer: Offer, fd: int) -> None:
        super().__init__(fileno=fd)
        self._offer = offer
        self._said = False

    def shutdown(self, how: int) -> None:
        super().shutdown(how)
        if how != socket.SHUT_RD:
            self._ends()

    def close(self) -> None:
        if self.fileno() >= 0:
            self._ends()
        super().close()

    def vanish(self) -> None:
        """As when the engine dies."""
        self._said = True
        self.close()

    def _ends(self) -> None:
        if not self._said:
            self._said = True
            with suppress(OSError):
                self._offer.gate.hand_over([20, self._offer.conn])


class Offer:
    """One connection handed over, seen by the engine."""

    def __init__(self, gate: Gate, words: list[Any], fd: int) -> None:
        self.gate = gate
        self.conn, self.session, self.target = words[1:4]
        self.client = (str(ipaddress.ip_address(words[4])), words[5])
        self.own, self.app_port = str(ipaddress.ip_address(words[6])), words[7]
        self.sock = App(self, fd)
        self.sock.settimeout(20)

    def accept(self) -> socket.socket:
        """The app has taken it; the octets' socket."""
        self.gate.hand_over([16, self.conn])
        return self.sock

    def refuse(self, errno: int = 111) -> None:
        self.gate.hand_over([17, self.conn, errno])
        self.sock.vanish()

    def reset(self, errno: int = 104) -> None:
        self.gate.hand_over([18, self.conn, errno])
        self.sock.vanish()


class Gate:
    """A running mirror-gate. What it says is read as it is asked for."""

    def __init__(self, program: Path, lab: Lab, comment: str = "anna since 14:02 (session k3f)") -> None:
        self.lab = lab
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.handed, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        netns = os.open(f"/run/netns/{lab.target}", os.O_RDONLY)
        given = [control.detach(), handed.detach(), netns]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in given]
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(high, start=3)]
        environ = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1"}
        self.pid = os.posix_spawn(program, [str(program), comment], environ, file_actions=actions)
        for fd in (*given, *high):
            os.close(fd)
        self.ended = False
        self.serial = 0
        self.counts: dict[tuple[int, int], list[Any]] = {}
        self.control.settimeout(20)
        self.handed.settimeout(20)
        self.offers: list[Offer] = []
        self.aborted: list[int] = []
        try:
            self.heard(16)
        except BaseException:
            self.kill()
            self.control.close()
            self.handed.close()
            raise

    # --- control ------------------------------------------------------------------------------------------------------

    def heard(self, tag: int) -> list[Any]:
        """The next message of this tag; counts on the way are kept, and a failure is raised."""
        while True:
            packet = self.control.recv(65536)
            assert packet, "the gate has ended"
            message: list[Any] = msgpack.unpackb(packet)
            if message[0] == 19:
                self.counts[message[1], message[2]] = message[3:]
            if message[0] == tag:
                return message
            if message[0] == 18:
                raise Refused(message[1], message[2])

    def want(
        self,
        *rules: Rule,
        sessions: Iterable[Session] = (Session(),),
        nodes: Iterable[str] = (),
        probes: Iterable[list[Any]] = (),
        meshes: Iterable[int] = (),
    ) -> None:
        """These and no others, in force when this returns."""
        self.serial += 1
        wanted = [[s.number, s.since, s.on_app_gone, s.link_lost_after, s.flags] for s in sessions]
        ruled = [[r.session, r.target, r.port, r.app_port, r.filter] for r in rules]
        packed = [ipaddress.ip_address(node).packed for node in nodes]
        self.control.sendall(
            msgpack.packb([1, self.serial, wanted, ruled, packed, list(probes), list(meshes)])
        )
        assert self.heard(17)[1] == self.serial

    def door(self, port: int) -> int:
        """Where the gate listens for what asks for this stolen port: as the rules have it."""
        listed = json.loads(
            run(
                "ip",
                "netns",
                "exec",
                self.lab.target,
                "nft",
                "-j",
                "list",
                "map",
                "inet",
                "mirror-run",
                "doors",
            )
        )
        elements = next(item["map"]["elem"] for item in listed["nftables"] if "map" in item)
        return dict(elements)[port]

    def drain(self, seconds: int = 60) -> None:
        """Begins it."""
        self.control.sendall(msgpack.packb([2, seconds]))

    def called(self) -> str:
        """Its name among processes."""
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    def drained(self) -> int:
        """How many had to be reset; the process has ended."""
        reset: int = self.heard(20)[1]
        self.wait()
        return reset

    # --- hand-over ----------------------------------------------------------------------------------------------------

    def hand_over(self, message: list[Any]) -> None:
        self.handed.sendall(msgpack.packb(message))

    def link(self, up: bool, session: int = 1) -> None:
        """The session's link is there, or is not."""
        self.hand_over([19, session, up])

    def offered(self) -> Offer:
        """The next connection that is handed over."""
        while True:
            packet, fds, _, _ = socket.recv_fds(self.handed, 65536, 1)
            assert packet, "the gate has ended"
            message: list[Any] = msgpack.unpackb(packet)
            if message[0] == 1:
                self.offers.append(Offer(self, message, fds[0]))
                return self.offers[-1]
            self.aborted.append(message[1])

    def abort(self) -> int:
        """The connection that is aborted next."""
        message: list[Any] = msgpack.unpackb(self.handed.recv(65536))
        assert message[0] == 2
        conn: int = message[1]
        return conn

    @contextmanager
    def app(self, serve: Callable[[socket.socket], None]) -> Iterator[None]:
        """An app that accepts all, and has each connection served by a thread of its own."""

        def run() -> None:
            with suppress(AssertionError, OSError):
                while True:
                    offer = self.offered()
                    threading.Thread(target=one, args=(offer.accept(),), daemon=True).start()

        def one(sock: socket.socket) -> None:
            with sock, suppress(OSError):
                serve(sock)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.handed.shutdown(socket.SHUT_RDWR)
            thread.join(20)

    # --- its end ------------------------------------------------------------------------------------------------------

    def wait(self, seconds: float = 20) -> None:
        """Its end, which must be in order."""
        deadline = time.monotonic() + seconds
        pidfd = os.pidfd_open(self.pid)
        try:
            assert select.select([pidfd], [], [], max(0, deadline - time.monotonic()))[0], (
                "the gate does not end"
            )
        finally:
            os.close(pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.ended = True
        assert status == 0, f"the gate ended with {status}"

    def kill(self, sign: int = signal.SIGKILL) -> None:
        """At once; nothing if it has ended."""
        if not self.ended:
            os.kill(self.pid, sign)
            os.waitpid(self.pid, 0)
            self.ended = True

    def close(self) -> None:
        """In order: the agent goes, and nobody is connected any more. A sanitizer's finding is an end out of order."""
        for offer in self.offers:
            offer.sock.close()
        if not self.ended:
            self.control.sendall(msgpack.packb([2, 0]))
            self.control.close()
            self.wait()
        self.control.close()
        self.handed.close()
