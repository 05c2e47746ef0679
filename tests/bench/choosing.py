"""What a mirror with a filter costs those whose requests it does not copy: beside the server alone, the same mirror
that copies all, and goreplay with the same filter.

    client ──veth── target: nginx ← looked at from here by who copies; the filter's header is in no request

Where two CPUs are all there is, client and server have one and who copies the other. The copier's CPU is that of its
processes; what the kernel does to give it the packets is done where they are, and is the client's and server's to feel.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import gate, machine, peers, product, routers
from tests.bench.mirroring import (
    TARGET,
    counted,
    counting,
    machine_packet_sockets,
    settled,
    split_cpus,
    stage,
)
from tests.bench.routers import BODY, HEADER, SERVER
from tests.bench.rows import load
from tests.bench.spaces import Space
from tests.bench.stealing import CONNECTIONS, RATE, RATED, Pinned, most
from tests.bench.table import Figure

ALONE, FILTER, ALL, PEER = "without", "filter", "all copied", "goreplay, filter"

Runs = dict[tuple[str, str], list[float]]
Copier = Callable[[Space, str], contextlib.AbstractContextManager[list[int]]]
"""In that namespace, on those CPUs: the pids of what looks at the requests."""


@contextlib.contextmanager
def nobody(where: Space, cpus: str) -> Iterator[list[int]]:
    yield []


@contextlib.contextmanager
def chosen(where: Space, cpus: str) -> Iterator[list[int]]:
    """mirror-run, whose filter no request has."""
    ports = (f"{SERVER}:{SERVER}",)
    with product.session(where, TARGET, ports, cpus, filters=gate.by_header(HEADER)) as made:
        yield [made.agent.pid]
    assert made.agent.stdout is not None
    if not (said := re.search(r"seen (\d+)", made.agent.stdout.read())) or int(said[1]) < RATE:
        raise RuntimeError("the filter was not asked")


@contextlib.contextmanager
def everything(where: Space, cpus: str) -> Iterator[list[int]]:
    """mirror-run without a filter."""
    with (
        product.session(where, TARGET, (f"{SERVER}:{SERVER}",), cpus) as made,
        counting(made.app, "http-serve", SERVER, cpus) as app,
    ):
        yield [made.agent.pid]
        if (copies := counted(app)[0]) < RATE:
            raise RuntimeError(f"the app has {copies} requests")


@contextlib.contextmanager
def goreplay(where: Space, cpus: str) -> Iterator[list[int]]:
    """Its own filter by header; to a port that nobody is sent to."""
    words = ["taskset", "-c", cpus, str(peers.go_program(peers.GOREPLAY))]
    words += ["--input-raw", f"{TARGET}:{SERVER}", "--http-allow-header", f"{HEADER}: ."]
    words += ["--output-http", "http://127.0.0.1:1"]
    before, until = machine_packet_sockets(where), time.monotonic() + 10
    gor = subprocess.Popen(where.command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while machine_packet_sockets(where) == before and time.monotonic() < until:
            time.sleep(0.05)  # it says nothing when it captures; its packet socket does
        yield [gor.pid]
    finally:
        gor.terminate()
        gor.wait()


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """All rows. What others used meanwhile is told to ``others``."""
    routers.installed()
    seen: list[float] = getattr(others, "seen", [])
    ways: dict[str, Copier] = {ALONE: nobody, FILTER: chosen, ALL: everything}
    if not options.no_go:
        ways[PEER] = goreplay
    runs: Runs = defaultdict(list)
    for number in range(options.runs):
        for name, way in ways.items():
            machine.wait_for_idle(options.patience)
            meanwhile = machine.Others()
            try:
                one(name, way, options.seconds, runs)
            except RuntimeError as error:
                print(f"mirror by filter, {name}, run {number + 1}: {error}", file=sys.stderr)
            seen.append(meanwhile.used())
    return table(list(ways), runs)


def one(name: str, way: Copier, seconds: float, runs: Runs) -> None:
    """One way, once: a constant rate, and as much as there is."""
    own, other = split_cpus()
    with stage() as (client, target), routers.server(target, own), way(target, other) as pids:
        pinned = Pinned(client.name, own)
        drive = (str(RATE), str(max(RATED, seconds)), str(CONNECTIONS), str(BODY))
        before = used(pids)
        with machine.ahead(), machine.awake():
            sent, _, failed, p50, p99, _ = load(pinned, "http-drive", TARGET, str(SERVER), *drive)
        if failed:
            raise RuntimeError(f"{failed:.0f} of {sent:.0f} requests failed")
        settled(lambda: machine.cpu_seconds(pids))
        cost = used(pids) - before
        runs[name, "p50"].append(p50)
        runs[name, "p99"].append(p99)
        if pids:
            runs[name, "CPU"].append(cost / sent / 1000)
        with machine.ahead():
            runs[name, "most"].append(most(pinned, SERVER, seconds))


def used(pids: list[int]) -> int:
    """Nanoseconds that all threads of these have run so far: finer than the ticks of /proc/PID/stat."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def table(ways: list[str], runs: Runs) -> list[Figure]:
    """Rows: each against the server alone."""
    made = []
    for figure, title, unit, better in (
        ("p50", f"{RATE:,.0f} requests/s, p50", "µs", "less"),
        ("p99", f"{RATE:,.0f} requests/s, p99", "µs", "less"),
        ("most", "most requests", "1/s", "more"),
        ("CPU", f"CPU of the copier for a request, at {RATE:,.0f}/s", "µs", "less"),
    ):
        alone = runs.get((ALONE, figure))
        for name in ways:
            if not (values := runs.get((name, figure))):
                continue
            against = (ALONE, statistics.median(alone)) if alone and name != ALONE else ("", None)
            reach = "<= 1.05" if name == FILTER and better == "less" and alone else ""
            row = f"bystander of a mirror, {title}: {name}"
            made.append(Figure(row, unit, tuple(values), better, *against, reach))
    return made
