"""A target's network namespace, a client's beside it, and a mirror of the first whose bridge notes what it hears."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
from pyroute2 import netns

from images.build_native import HTTP_LIBRARIES, HTTP_REGEX

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "build" / "tests" / "mirror"

TARGET4, CLIENT4 = "198.18.90.1", "198.18.90.2"
TARGET6, CLIENT6 = "fd00:198:18:90::1", "fd00:198:18:90::2"

TCP, UDP = 6, 17
OPTIMIZED = ("-O2",)
SANITIZED = ("-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def run(*command: str, stdin: str = "") -> str:
    """A command that must succeed; its output."""
    return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout


def build(name: str, flags: tuple[str, ...]) -> Path:
    """The harness, compiled with all of the agent's mirror and of native."""
    OUT.mkdir(parents=True, exist_ok=True)
    parts = ["reassembly", "http_edge", "filter", "sniff", "conntrack", "verdict"]
    sources = [ROOT / "agent" / f"{part}.c" for part in parts]
    for pattern in ("agent/mirror*.c", "agent/sieve*.c", "agent/http/*.c", "native/*.c"):
        sources += sorted(ROOT.glob(pattern))
    include = [f"-I{ROOT}", f"-I{ROOT / 'native'}"]
    common = ["-std=gnu11", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    harness = ROOT / "tests" / "net" / "mirror" / "harness.c"
    program, regex = OUT / name, OUT / f"{name}.pattern.o"
    cxx = ["g++", "-std=c++17", "-g", "-Wall", "-Wextra", "-Werror", *flags, f"-I{ROOT}"]
    subprocess.run([*cxx, "-c", str(ROOT / HTTP_REGEX), "-o", str(regex)], check=True)
    words = [
        "gcc",
        *common,
        *flags,
        *include,
        str(harness),
        *map(str, sources),
        str(regex),
        *HTTP_LIBRARIES,
        "-lpthread",
        "-o",
        str(program),
    ]
    subprocess.run(words, check=True)
    return program


class Lab:
    """Two namespaces and a veth pair; made once for a module."""

    def __init__(self) -> None:
        self.target = f"mir-t-{os.getpid()}"
        self.client = f"mir-c-{os.getpid()}"

    def build(self) -> None:
        """Addresses of both families at both ends, usable at once (no duplicate address detection)."""
        for name in (self.target, self.client):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        ends = ("netns", self.target, "type", "veth", "peer", "name", "mir0", "netns", self.client)
        run("ip", "link", "add", "mir0", *ends)
        for name, four, six in ((self.target, TARGET4, TARGET6), (self.client, CLIENT4, CLIENT6)):
            run("ip", "-n", name, "addr", "add", f"{four}/24", "dev", "mir0")
            run("ip", "-n", name, "addr", "add", f"{six}/64", "dev", "mir0", "nodad")
            # Or else the link's own address comes a second later, and with it a route: tests compare routes.
            run("ip", "netns", "exec", name, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/mir0/accept_dad")
            run("ip", "-n", name, "link", "set", "mir0", "up")
        for name in (self.target, self.client):
            while "linkdown" in run("ip", "-n", name, "route", "show", "table", "all"):
                time.sleep(0.01)  # the kernel looks at carriers when it comes to it

    def destroy(self) -> None:
        """Whatever is left of it."""
        for name in (self.target, self.client):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets made here are that namespace's."""
        netns.pushns(name)
        try:
            yield
        finally:
            netns.popns()

    def listen(self, address: str = TARGET4, port: int = 0) -> socket.socket:
        """A listening socket of the target's."""
        with self.inside(self.target):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, port), family=family, backlog=4096)
        listener.settimeout(20)
        return listener

    def connect(self, address: str, port: int, *, where: str = "", timeout: float = 20) -> socket.socket:
        """A connection from the client's namespace, or from `where`."""
        with self.inside(where or self.client):
            return socket.create_connection((address, port), timeout=timeout)

    @contextmanager
    def rules(self, text: str) -> Iterator[None]:
        """nft rules of the target's, in a table named `lab`, for a while."""
        run("ip", "netns", "exec", self.target, "nft", "-f", "-", stdin=text)
        try:
            yield
        finally:
            run("ip", "netns", "exec", self.target, "nft", "delete", "table", "inet", "lab")


@dataclass(slots=True)
class Seen:
    """What the bridge was told of one channel. ``end``: None, "eof", or a reset's errno."""

    kind: int
    source: str
    destination: str
    target: int
    data: bytes = b""
    datagrams: list[bytes] = field(default_factory=list)
    end: str | int | None = None
    octets: int = 0
    wrong: int = 0


def read_record(path: Path) -> list[Seen]:
    """The harness's record, by channel in order of their OPENs."""
    seen: list[Seen] = []
    parts: dict[int, list[bytes]] = {}
    octets = path.read_bytes()
    at = 0
    while at < len(octets):
        kind, number, length = struct.unpack_from("<III", octets, at)
        payload = octets[at + 12 : at + 12 + length]
        at += 12 + length
        match kind:
            case 1:
                words = payload.decode().split()
                seen.append(Seen(int(words[0]), words[1], words[2], int(words[3])))
            case 2:
                parts.setdefault(number, []).append(payload)
            case 3:
                seen[number].end = "eof"
            case 4:
                seen[number].end = struct.unpack("<i", payload)[0]
            case 5:
                seen[number].datagrams.append(payload)
            case 6:
                seen[number].octets, seen[number].wrong = struct.unpack("<QQ", payload)
    for number, pieces in parts.items():
        seen[number].data = b"".join(pieces)
    return seen


class Mirror:
    """A running harness. ``app`` is how its bridge behaves; see harness.c."""

    def __init__(self, program: Path, lab: Lab, record: Path, app: str) -> None:
        self._record = record
        self._process = subprocess.Popen(
            [program, f"/run/netns/{lab.target}", record, app],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._answer()["ready"]
        self.pid = self._process.pid

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the harness has died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str) -> dict[str, Any]:
        """One command and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        return self._answer()

    def ports(self, *ports: tuple[int, int, int]) -> None:
        """(protocol, the target's port, the app's port) of each."""
        words = " ".join(f"{proto} {target} {app}" for proto, target, app in ports)
        assert self.ask(f"ports {words}")["fault"] == ""

    def choose(self, filters: list[list[tuple[int, str]]]) -> str:
        """Any of (all of (what, regular expression)), before any port; why not, or ""."""
        return str(self.ask(f"choose {msgpack.packb(filters).hex()}")["fault"])

    def seen(self) -> list[dict[str, Any]]:
        """By port, after everything that is in the ring has been handled."""
        assert self.ask("settle")["settled"]
        ports: list[dict[str, Any]] = self.ask("seen")["ports"]
        return ports

    def counters(self) -> dict[str, Any]:
        """After everything that is in the ring has been handled."""
        assert self.ask("settle")["settled"]
        return self.ask("counters")

    def end(self) -> list[Seen]:
        """What the bridge heard until everything had settled."""
        self.counters()
        self.close()
        return read_record(self._record)

    def close(self) -> None:
        """In order; a harness that does not end well (a sanitizer's finding, too) has failed."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._process.stdin.write("quit\n")
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert self._process.wait(30) == 0
