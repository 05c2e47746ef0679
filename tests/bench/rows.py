"""What is measured on a way from the app to the server, one number (or a few) each."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench import machine, peers
from tests.bench.carriers import Carried
from tests.bench.spaces import Space, wait_for_listener

PORT = 5201  # load serve: echo here, once at +1, sink at +2, source at +3
WORKERS = 8  # of churn


@dataclass(frozen=True, slots=True)
class Seen:
    """One run's figures for one carrier: name to value."""

    figures: dict[str, float]
    others: float  # CPUs that other processes used meanwhile


@contextlib.contextmanager
def server(host: Space) -> Iterator[None]:
    """The server of every row, in ``host``."""
    process = subprocess.Popen(host.command(str(peers.load_program()), "serve", str(PORT)))
    try:
        wait_for_listener(host, PORT)
        yield
    finally:
        process.kill()
        process.wait()


def load(space: Space, mode: str, *words: str, patience: float = 60) -> list[float]:
    """Run the load program inside a namespace; the numbers it prints."""
    done = subprocess.run(
        space.command(str(peers.load_program()), mode, *words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience,
    )
    if done.returncode:
        raise RuntimeError(f"load {mode} in {space.name}: {done.stderr.strip() or done.stdout.strip()}")
    return [float(word) for word in done.stdout.split() if word != "held"]


def bulk(way: Carried, seconds: float) -> Seen:
    """One stream, up and then down: Gbit/s, and the carrier's CPU seconds per GB (its own processes; not the
    kernel's threads).
    """
    others, figures = machine.Others(), {}
    for name, mode, plus in (("up", "push", 2), ("down", "pull", 3)):
        before = machine.cpu_seconds(way.pids)
        rate, octets = load(way.app, mode, way.server, str(PORT + plus), str(seconds))
        figures[name] = rate
        if way.pids:
            figures[f"{name} CPU"] = (machine.cpu_seconds(way.pids) - before) / (octets / 1e9)
    return Seen(figures, others.used())


def round_trip(way: Carried, count: int) -> Seen:
    """One octet there and back, µs, the CPUs kept awake."""
    others = machine.Others()
    with machine.awake():
        p50, p99 = load(way.app, "rtt", way.server, str(PORT), str(count))
        return Seen({"p50": p50, "p99": p99}, others.used())


def churn(way: Carried, seconds: float) -> Seen:
    """Connect, request, answer, end: connections per second, by WORKERS at once."""
    others = machine.Others()
    rate, failed = load(way.app, "churn", way.server, str(PORT + 1), str(seconds), str(WORKERS))
    if failed:
        raise RuntimeError(f"{failed:.0f} connections failed")
    return Seen({"churn": rate}, others.used())


def memory(way: Carried, count: int) -> Seen:
    """Resident memory of the carrier, MB: idle, and with ``count`` connections that are open and idle."""
    idle = machine.rss_mb(way.pids)
    others = machine.Others()
    with held(way, count):
        return Seen({"idle": idle, "held": machine.rss_mb(way.pids)}, others.used())


def crowd(way: Carried, count: int, round_trips: int) -> Seen:
    """What one round trip costs beside ``count`` idle connections: µs, µs of the carrier's CPU; and its memory, MB."""
    with held(way, count), machine.awake():
        others, before = machine.Others(), machine.cpu_seconds(way.pids)
        p50, p99 = load(way.app, "rtt", way.server, str(PORT), str(round_trips))
        cost = (machine.cpu_seconds(way.pids) - before) / (round_trips * 1.1) * 1e6  # a tenth more warms up
        return Seen({"p50": p50, "p99": p99, "CPU": cost, "held": machine.rss_mb(way.pids)}, others.used())


@contextlib.contextmanager
def held(way: Carried, count: int) -> Iterator[None]:
    """``count`` connections through the carrier, each with one round trip behind it, idle from then on."""
    holding = subprocess.Popen(
        way.app.command(str(peers.load_program()), "hold", way.server, str(PORT), str(count)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holding.stdout is not None
        said = holding.stdout.readline()
        if said != b"held %d\n" % count:
            raise RuntimeError(f"{count} connections: {said.decode().strip()}")
        yield
    finally:
        holding.communicate()
