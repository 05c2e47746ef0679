"""What a mirror costs the target and what it loses: a server, its clients across a veth, and a copy of every
request elsewhere.

    client ──veth── target: server ← copied from here → link → bridge ⇄ app (counts)
    client ──veth── target: server ← goreplay ──────────── HTTP ────────→ a counting server

Where two CPUs are all there is, server and clients have one and the copying the other: what is measured is
whether copying is felt, not whether a third CPU is missing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.bench import peers, product
from tests.bench.rows import load
from tests.bench.spaces import Space, space, wait_for_listener

TARGET = "198.18.2.2"
CLIENT = "198.18.2.1"
PORT = 80
CONNECTIONS = 64
SINK_PORT = 8080


@dataclass(frozen=True, slots=True)
class Requests:
    """One drive: what clients sent, what came back, how late, and what the copy holds."""

    sent: int
    failed: int
    p99: float  # µs
    copied: int

    @property
    def share(self) -> float:
        """How much of the answered requests the copy has, 1 for all."""
        return self.copied / (self.sent - self.failed)


def split_cpus() -> tuple[str, str]:
    """The CPU list of server and clients, and that of the copying."""
    cpus = sorted(os.sched_getaffinity(0))
    half = max(1, len(cpus) // 2)
    return ",".join(map(str, cpus[:half])), ",".join(map(str, cpus[half:] or cpus))


@contextlib.contextmanager
def stage() -> Iterator[tuple[Space, Space]]:
    """Client and target namespaces with a veth between them."""
    with space("mr-bench-client") as client, space("mr-bench-target") as target:
        words = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", target.name]
        client.run(*words)
        for one, address in ((client, CLIENT), (target, TARGET)):
            one.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            one.run("ip", "link", "set", "eth0", "up")
        yield client, target


@contextlib.contextmanager
def counting(where: Space, mode: str, port: int, cpus: str) -> Iterator[subprocess.Popen[str]]:
    """A load program that counts until SIGTERM (``counted``); up when its port answers."""
    words = where.command("taskset", "-c", cpus, str(peers.load_program()), mode, str(port))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        wait_for_listener(where, port)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def counted(process: subprocess.Popen[str]) -> list[int]:
    """End it; the numbers it saw."""
    process.terminate()
    out, _ = process.communicate(timeout=20)
    return [int(word) for word in out.split()]


def settled(read: Any, patience: float = 10) -> None:
    """Until ``read()`` gives the same twice in a row, 200 ms apart: what is under way has arrived."""
    before, until = read(), time.monotonic() + patience
    while time.monotonic() < until:
        time.sleep(0.2)
        now = read()
        if now == before:
            return
        before = now


def cpu_of(process: subprocess.Popen[str]) -> Any:
    """A reader of what a process has cost: it stands still once the process has nothing more to take."""
    from tests.bench import machine

    return lambda: machine.cpu_seconds([process.pid])


def drive(client: Space, rate: float, seconds: float, cpus: str) -> tuple[int, int, float]:
    """Requests at this rate, open loop: sent, failed, p99 in µs from when each was due."""
    pinned = _Pinned(client.name, cpus)
    sent, _, failed, _, p99, _ = load(
        pinned,
        "http-drive",
        TARGET,
        str(PORT),
        str(rate),
        str(seconds),
        str(CONNECTIONS),
        patience=seconds + 30,
    )
    return int(sent), int(failed), p99


@dataclass(frozen=True, slots=True)
class _Pinned(Space):
    cpus: str = "0"

    def command(self, *words: str) -> list[str]:
        return ["taskset", "-c", self.cpus, *Space(self.name).command(*words)]


def unmirrored(rate: float, seconds: float) -> Requests:
    """The same drive without any session: what p99 is compared with."""
    own, _ = split_cpus()
    with stage() as (client, target), counting(target, "http-serve", PORT, own) as server:
        sent, failed, p99 = drive(client, rate, seconds, own)
        return Requests(sent, failed, p99, counted(server)[0])


def mirrored(rate: float, seconds: float) -> Requests:
    """The product: agent on the target, bridge and counting app elsewhere."""
    own, other = split_cpus()
    with stage() as (client, target), counting(target, "http-serve", PORT, own):
        made = product.session(target, TARGET, (f"{PORT}:{PORT}",), other)
        with made as session, counting(session.app, "http-serve", PORT, other) as app:
            sent, failed, p99 = drive(client, rate, seconds, own)
            settled(cpu_of(app))
            return Requests(sent, failed, p99, counted(app)[0])


def replayed(rate: float, seconds: float) -> Requests:
    """goreplay: captures on the target's interface, sends anew to a counting server in the same namespace."""
    own, other = split_cpus()
    program = peers.go_program(peers.GOREPLAY)
    with (
        stage() as (client, target),
        counting(target, "http-serve", PORT, own),
        counting(target, "http-serve", SINK_PORT, other) as sink,
    ):
        words = ["taskset", "-c", other, str(program), "--input-raw", f"{TARGET}:{PORT}"]
        words += ["--output-http", f"http://127.0.0.1:{SINK_PORT}", "--output-http-workers", "16"]
        gor = subprocess.Popen(target.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            before = machine_packet_sockets(target)
            until = time.monotonic() + 10
            while machine_packet_sockets(target) == before and time.monotonic() < until:
                time.sleep(0.05)  # it says nothing when it captures; its packet socket does
            sent, failed, p99 = drive(client, rate, seconds, own)
            settled(cpu_of(sink))
        finally:
            gor.terminate()
            gor.wait()
        return Requests(sent, failed, p99, counted(sink)[0])


def machine_packet_sockets(where: Space) -> int:
    """How many AF_PACKET sockets a namespace has."""
    return len(where.run("cat", "/proc/net/packet").splitlines())


def bulk(gbit: float, seconds: float) -> tuple[float, float]:
    """An upload of this rate to the target, mirrored: Gbit/s that the target took, and the share that the app
    has.
    """
    own, other = split_cpus()
    with stage() as (client, target):
        server = subprocess.Popen(
            ["taskset", "-c", own, *target.command(str(peers.load_program()), "serve", str(PORT))]
        )
        try:
            wait_for_listener(target, PORT)
            upload = PORT + 2
            made = product.session(target, TARGET, (f"{upload}:{upload}",), other)
            with made as session, counting(session.app, "count", upload, other) as app:
                pinned = _Pinned(client.name, own)
                rate, octets = load(pinned, "push", TARGET, str(upload), str(seconds), str(gbit))
                settled(cpu_of(app))
                return rate, counted(app)[0] / octets
        finally:
            server.kill()
            server.wait()
