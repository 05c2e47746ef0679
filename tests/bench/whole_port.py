"""What a port that is stolen whole costs the way from a client to the app, in Docker: beside HAProxy in the target's
network with the same app in a container behind it, and beside that container asked directly.

    client ──docker0── target: redirect → gate ┄ engine ┄ link ┄ bridge → tun0 → app
    client ──docker0── target: HAProxy ──docker0── app

Where two CPUs are all there is, client and app have one and what is between the other. Left to the scheduler the same
way takes 22 µs or 90, as its parts happen to lie.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.models.containers import Container

from runner.base import ensure_base
from runner.labels import ROLE, TARGET
from tests.bench import machine, peers, routers
from tests.bench.mirroring import split_cpus
from tests.bench.spaces import Space, checked
from tests.bench.start import LOAD, MIRROR_RUN
from tests.bench.table import Figure

PORT, HAPROXY_PORT = 8080, 8020
TRIPS = 5000
BODY = 2  # octets of what `load http-serve` answers
DIRECT, HAPROXY, STOLEN = "direct", "HAProxy", "stolen"

CONFIGURATION = """
frontend f
  bind :{port}
  default_backend app
backend app
  http-reuse always
  server s {address}:{app}
"""


def figures(options: argparse.Namespace, others: object) -> list[Figure]:
    """All ways in turn, ``options.runs`` times; the session and HAProxy are up all the while."""
    routers.installed()
    seen: list[float] = getattr(others, "seen", [])
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with stage() as (client, ways):
        for _ in range(options.runs):
            for name, (address, port) in ways.items():
                machine.wait_for_idle(options.patience)
                meanwhile = machine.Others()
                with machine.awake():
                    took[name].append(trips(client, address, port))
                seen.append(meanwhile.used())
    return table(took)


@contextlib.contextmanager
def stage() -> Iterator[tuple[Container, dict[str, tuple[str, int]]]]:
    """The client, and where it asks for each of the ways."""
    with contextlib.ExitStack() as stack:
        engine = docker.from_env(timeout=600)
        stack.callback(engine.close)
        image = ensure_base(engine.api, lambda text: print(f"images: {text}"))

        own, other = split_cpus()

        def container(*words: str) -> Container:
            return stack.enter_context(running(engine, image, own, *words))

        serving = ("http-serve", str(PORT))
        client, app, target = container("serve", "5400"), container(*serving), container(*serving)
        target_at = address_of(target)
        stack.enter_context(haproxy(target, address_of(app), other))
        stack.enter_context(stolen(target))
        pin(engine, str(target.name), own, other)
        ways = {
            DIRECT: (address_of(app), PORT),
            HAPROXY: (target_at, HAPROXY_PORT),
            STOLEN: (target_at, PORT),
        }
        yield client, ways


@contextlib.contextmanager
def running(engine: docker.DockerClient, image: str, cpus: str, *words: str) -> Iterator[Container]:
    """The load program in a container."""
    made = engine.containers.run(
        image,
        [LOAD, *words],
        name=f"mr-bench-{uuid.uuid4().hex[:8]}",
        volumes={str(peers.load_program()): {"bind": LOAD, "mode": "ro"}},
        cpuset_cpus=cpus,
        init=True,
        detach=True,
    )
    try:
        made.reload()
        yield made
    finally:
        made.remove(force=True, v=True)


def address_of(container: Container) -> str:
    """On the engine's default network."""
    return str(container.attrs["NetworkSettings"]["IPAddress"])


@contextlib.contextmanager
def haproxy(target: Container, app: str, cpus: str) -> Iterator[None]:
    """In the target's network, the app behind it."""
    where = Space(f"mr-bench-{uuid.uuid4().hex[:8]}")
    checked(["ip", "netns", "attach", where.name, str(target.attrs["State"]["Pid"])])
    try:
        with tempfile.TemporaryDirectory(prefix="mr-bench-haproxy-") as folder:
            page = Path(folder, "haproxy.cfg")
            page.write_text(
                routers.HAPROXY_ALONE + CONFIGURATION.format(port=HAPROXY_PORT, address=app, app=PORT)
            )
            with routers.started(where, cpus, HAPROXY_PORT, "haproxy", "-f", str(page)):
                yield
    finally:
        checked(["ip", "netns", "del", where.name])


@contextlib.contextmanager
def stolen(target: Container) -> Iterator[None]:
    """A session whose app has the target's port; at its end all that was asked must have come to the app."""
    words = [
        MIRROR_RUN,
        "--target",
        f"container/{target.name}",
        "--steal",
        "-v",
        f"{peers.load_program()}:{LOAD}:ro",
    ]
    words += ["--", LOAD, "http-serve", str(PORT)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if f"stealing {PORT}" in line:
                    break
            else:
                raise RuntimeError(f"mirror-run did not steal: {''.join(said)[-800:]}")
            yield
        finally:
            counted, complaint = ended(process)
    if int(counted or 0) < TRIPS:
        raise RuntimeError(f"the app has seen {counted!r} requests: {complaint[-800:]}")


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still said, asked to end; one that is building images may not listen."""
    process.terminate()
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def pin(engine: docker.DockerClient, target: str, own: str, other: str) -> None:
    """The session's app to the client's CPUs; its bridge and its agent, with the gate, to the others."""

    def part(role: str) -> Container:
        all_of_role = engine.containers.list(filters={"label": f"{ROLE}={role}"})
        (found,) = [one for one in all_of_role if target in one.labels.get(TARGET, "")]
        return found

    bridge = part("bridge")
    agent = engine.containers.get(bridge.attrs["HostConfig"]["VolumesFrom"][0].partition(":")[0])
    part("app").update(cpuset_cpus=own)
    for between in (bridge, agent):
        between.update(cpuset_cpus=other)


def trips(client: Container, address: str, port: int) -> tuple[float, float]:
    """p50 and p99 of one connection's round trips, µs."""
    words = ["docker", "exec", str(client.id), LOAD, "http-trips", address, str(port), str(TRIPS), str(BODY)]
    p50, p99 = map(float, checked(words).split())
    return p50, p99


def table(took: dict[str, list[tuple[float, float]]]) -> list[Figure]:
    """Rows: what is stolen against HAProxy's hop."""
    made = []
    for at, figure in enumerate(("p50", "p99")):
        values = {name: tuple(pair[at] for pair in pairs) for name, pairs in took.items()}
        for name in (DIRECT, HAPROXY, STOLEN):
            row = Figure(f"whole port, client to app in Docker, {figure}: {name}", "µs", values[name], "less")
            made.append(row)
    hop = statistics.median(pair[0] for pair in took[HAPROXY])
    ours = tuple(pair[0] for pair in took[STOLEN])
    made.append(
        Figure(
            "whole port, client to app in Docker, of HAProxy's hop",
            "µs",
            ours,
            "less",
            HAPROXY,
            hop,
            "<= 1.5",
        )
    )
    return made
