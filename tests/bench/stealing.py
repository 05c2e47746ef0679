"""What a gate costs those whose requests it does not take: beside the server alone, and beside proxies that route by a
header.

    client ──veth── [ nft redirect → gate → lo → ] nginx      the gate's way, the server seeing the client's own address
    client ──veth── proxy → lo → nginx                        a peer's

Where two CPUs are all there is, client and server have one and what is between the other.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator

from tests.bench import gate, machine, peers, routers
from tests.bench.gate import Rule
from tests.bench.mirroring import TARGET, split_cpus, stage
from tests.bench.routers import BODY, ROUTERS
from tests.bench.rows import load
from tests.bench.spaces import Space, wait_for_listener
from tests.bench.table import Figure

TRIPS = 10_000
RATE = 1000.0
RATED = 2.0  # s at least: of fewer requests a hundredth is a handful
CONNECTIONS = 32
HELD = 1000
GATE, DIRECT = "gate", "direct"
PEERS = ("HAProxy", "nginx", "Envoy")
BULK = 5400  # of load serve: sink at +2, source at +3

Runs = dict[tuple[str, str], list[float]]


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """All rows. What others used meanwhile is told to ``others``."""
    routers.installed()
    seen: list[float] = getattr(others, "seen", [])
    runs: Runs = defaultdict(list)
    for _ in range(options.runs):
        for name in ROUTERS:
            machine.wait_for_idle(options.patience)
            meanwhile = machine.Others()
            one(name, options.seconds, runs)
            seen.append(meanwhile.used())
        bulk(options.seconds, runs)
        memory(runs)
    return table(runs)


@contextlib.contextmanager
def between(name: str) -> Iterator[tuple[Space, int, str]]:
    """Client's namespace, the port it asks, and its CPUs; the server behind one of the routers."""
    own, other = split_cpus()
    with stage() as (client, target), routers.server(target, own), ROUTERS[name](target, other) as (port, _):
        yield client, port, own


def one(name: str, seconds: float, runs: Runs) -> None:
    """One router, once: round trips, a constant rate, and as much as there is."""
    with between(name) as (client, port, cpus):
        pinned = Pinned(client.name, cpus)
        where = (TARGET, str(port))
        with machine.ahead(), machine.awake():
            p50, p99 = load(pinned, "http-trips", *where, str(TRIPS), str(BODY))
            rated = load(
                pinned, "http-drive", *where, str(RATE), str(max(RATED, seconds)), str(CONNECTIONS), str(BODY)
            )
        sent, _, failed, rated50, rated99, _ = rated
        if failed:
            raise RuntimeError(f"{name}: {failed:.0f} of {sent:.0f} requests failed")
        for figure, value in (("p50", p50), ("p99", p99), ("rated p50", rated50), ("rated p99", rated99)):
            runs[name, figure].append(value)
        with machine.ahead():
            runs[name, "most"].append(most(pinned, port, seconds))


class Pinned(Space):
    """On some CPUs only."""

    def __init__(self, name: str, cpus: str) -> None:
        super().__init__(name)
        object.__setattr__(self, "cpus", cpus)

    def command(self, *words: str) -> list[str]:
        return ["taskset", "-c", getattr(self, "cpus"), *super().command(*words)]  # noqa: B009


def most(where: Space, port: int, seconds: float) -> float:
    """Requests a second by wrk, every answer a 200."""
    words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", f"http://{TARGET}:{port}/"]
    text = subprocess.run(where.command(*words), capture_output=True, text=True, check=True).stdout
    if bad := re.search(r"Non-2xx.*|Socket errors.*", text):
        raise RuntimeError(f"wrk at port {port}: {bad[0]}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found, text
    return float(found[1])


@contextlib.contextmanager
def serving() -> Iterator[tuple[Space, Space]]:
    """Client's and target's namespaces, and in the latter what is no HTTP: load serve at BULK."""
    own, _ = split_cpus()
    with stage() as (client, target):
        words = target.command("taskset", "-c", own, str(peers.load_program()), "serve", str(BULK))
        process = subprocess.Popen(words)
        try:
            wait_for_listener(target, BULK)
            yield client, target
        finally:
            process.kill()
            process.wait()


def filtered(*ports: int) -> list[Rule]:
    """Of what comes to these ports the gate gives away what has a header that nothing has."""
    return [Rule(gate.NUMBER, 0, port, port, gate.by_header(routers.HEADER)) for port in ports]


def bulk(seconds: float, runs: Runs) -> None:
    """One stream that is not HTTP, each way, straight and through the gate's splice."""
    own, other = split_cpus()
    with serving() as (client, target):
        pinned = Pinned(client.name, own)
        for name in (DIRECT, GATE):
            rules = filtered(BULK + 2, BULK + 3) if name == GATE else []
            between = gate.gate(target, other, *rules) if rules else contextlib.nullcontext()
            with between, machine.ahead():
                for figure, mode, port in (("up", "push", BULK + 2), ("down", "pull", BULK + 3)):
                    runs[name, figure].append(load(pinned, mode, TARGET, str(port), str(seconds))[0])


def memory(runs: Runs) -> None:
    """What 1,000 connections of bystanders cost the gate, each of which has said something and been answered."""
    _, other = split_cpus()
    with serving() as (client, target), gate.gate(target, other, *filtered(BULK)) as made:
        before = machine.rss_mb([made.pid])
        words = client.command(str(peers.load_program()), "hold", TARGET, str(BULK), str(HELD))
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
            assert held.stdout is not None
            assert held.stdout.readline().split() == ["held", str(HELD)]
            runs[GATE, "held"].append(machine.rss_mb([made.pid]) - before)
            held.communicate()


def table(runs: Runs) -> list[Figure]:
    """Rows: the gate against the best of its peers, and against the server alone."""
    made = []
    for figure, title, unit, better in (
        ("p50", "one connection, p50", "µs", "less"),
        ("p99", "one connection, p99", "µs", "less"),
        ("rated p50", f"{RATE:,.0f} requests/s, p50", "µs", "less"),
        ("rated p99", f"{RATE:,.0f} requests/s, p99", "µs", "less"),
        ("most", "most requests", "1/s", "more"),
    ):
        pick = min if better == "less" else max
        best = pick(PEERS, key=lambda name: statistics.median(runs[name, figure]))
        baseline = statistics.median(runs[best, figure])
        for name in ROUTERS:
            values = tuple(runs[name, figure])
            aim = (best, baseline, "<= 1" if better == "less" else ">= 1") if name == GATE else ("", None, "")
            made.append(Figure(f"bystander, {title}: {name}", unit, values, better, *aim))
    straight = statistics.median(runs[DIRECT, "most"])
    title, through = "bystander, most requests, of direct", tuple(runs[GATE, "most"])
    made.append(Figure(title, "1/s", through, "more", DIRECT, straight, ">= 0.5"))
    for figure in ("up", "down"):
        plain = tuple(runs[DIRECT, figure])
        made.append(Figure(f"bystander, not HTTP, one stream {figure}: direct", "Gbit/s", plain))
        ours = tuple(runs[GATE, figure])
        title = f"bystander, not HTTP, one stream {figure}: gate"
        made.append(Figure(title, "Gbit/s", ours, "more", DIRECT, statistics.median(plain), ">= 0.5"))
    held = tuple(runs[GATE, "held"])
    made.append(Figure(f"gate: memory of {HELD:,} connections", "MB", held, "less", "aim", 15.0, "<= 1"))
    return made
