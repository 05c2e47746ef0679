"""What the rows of pods are measured on: a server in a pod, the agents installed, and two ways to the server.

The cluster is that of `make cluster`; the agents are installed in it for as long as this measures. kubectl
port-forward carries the same load to the same pod. Target and server are on one node, so that both ways have as many
hops between the API server and the server.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import yaml

from runner import images as product
from runner.base import ensure_base
from tests.bench import machine, peers, start
from tests.bench.rows import PORT
from tests.cluster import cluster as made
from tests.cluster import images as nodes
from tests.cluster.kubectl import Json, Kubectl

LOAD = start.LOAD
SINK, SOURCE = PORT + 2, PORT + 3
ONE_WAY = 0.025
"""Seconds added to each direction for the rows of a longer way."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A namespace with deploy/cart (the target) and the server behind a Service, both on one node."""

    kubectl: Kubectl
    namespace: str
    server: str  # the Service's address
    agent: str  # its image, on the engine and on the nodes


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    made.up(lambda text: print(f"cluster: {text}"), renew=False)
    kubectl = made.kubectl()
    client = docker.from_env(timeout=600)
    base = ensure_base(client.api, lambda text: print(f"images: {text}"))
    agent = product.ensure(client, lambda text: print(f"images: {text}")).agent
    client.close()
    nodes.load([base, agent])
    namespace = f"mr-bench-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", namespace)
    try:
        installed(kubectl, "install", "--image", agent)
        node = kubectl.items("get", "nodes")[0]["metadata"]["name"]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "far"},
            "spec": {
                "selector": {"app": "far"},
                "ports": [{"name": f"p{port}", "port": port} for port in (PORT, SINK, SOURCE)],
            },
        }
        kubectl.apply(served("far", base, node), served("cart", base, node), service, namespace=namespace)
        for name in ("far", "cart"):
            kubectl("-n", namespace, "rollout", "status", f"deploy/{name}", "--timeout=60s", patience=70)
        address = kubectl.json("-n", namespace, "get", "service", "far")["spec"]["clusterIP"]
        yield Stage(kubectl, namespace, address, agent)
    finally:
        installed(kubectl, "uninstall")
        kubectl("delete", "namespace", namespace, "--wait=false")


def served(name: str, image: str, node: str) -> Json:
    """The load server in a pod on this node, whose files are this machine's."""
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "command": [LOAD, "serve", str(PORT)],
        "volumeMounts": [{"name": "load", "mountPath": LOAD}],
    }
    spec = {
        "nodeName": node,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "load", "hostPath": {"path": str(peers.load_program()), "type": "File"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


def installed(kubectl: Kubectl, *words: str) -> None:
    done = subprocess.run(
        [start.MIRROR_RUN, *words], env=kubectl.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"mirror-run {words[0]}: {done.stderr[-600:]}")


# --- quiet between two loads ------------------------------------------------------------------------------------------

ON_THE_WAY = (b"kube-apiserver", b"kubelet", b"containerd", b"kubectl")
"""Programs that go on carrying, for nobody, what a load that has ended had asked for: a forward has no window. Seen:
who loads right after a kubectl's download loses half a second of two CPUs."""
AT_REST = 0.15
"""CPUs that these together use in a cluster with nothing to do, at most: 0.03 to 0.08 were seen."""
LOOK = 0.2
"""Seconds of one look. There is no event for "idle": it takes a while to see."""


PATIENCE = 5.0
"""Seconds. On a machine that others use it may never be quiet."""


def settle() -> None:
    """Return when nothing of the load before is left: no connection to the server, and nobody on the way at work."""
    until = time.monotonic() + PATIENCE
    while connections() and time.monotonic() < until:
        time.sleep(LOOK / 10)
    while True:
        pids = programs(*ON_THE_WAY)
        before, began = machine.cpu_seconds(pids), time.monotonic()
        time.sleep(LOOK)
        used = (machine.cpu_seconds(pids) - before) / (time.monotonic() - began)
        if used < AT_REST or time.monotonic() > until:
            return


def connections() -> int:
    """How many sink or source just now: the server has a process for each (load.c), whose parent serves too."""
    serving = set(programs(b"serve"))
    table = machine.processes()
    return sum(table[pid].parent in serving for pid in serving if pid in table)


def programs(*words: bytes) -> list[int]:
    """The pids, as this machine counts them, of what has one of these in the first words of its command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            line = (folder / "cmdline").read_bytes().split(b"\0")[:3]
            if any(os.path.basename(word) in words for word in line):
                found.append(int(folder.name))
    return found


# --- the two ways ---------------------------------------------------------------------------------------------------


class App:
    """A session whose app runs the load program as often as it is told: words in, its numbers out."""

    SCRIPT = f"echo ready; while read -r words; do {LOAD} $words </dev/null || echo failed; done"

    def __init__(self, stage: Stage, kubeconfig: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [*session(stage), "-v", f"{peers.load_program()}:{LOAD}:ro", "--", "sh", "-c", self.SCRIPT],
            env=stage.kubectl.environment() | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> App:
        if (line := self._line()) != "ready":
            raise RuntimeError(f"mirror-run: exit {self._process.wait(60)}, {line!r}")
        return self

    def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def numbers(self) -> list[float]:
        return [float(word) for word in self._line().split()]

    def load(self, *words: object) -> list[float]:
        self.tell(*words)
        return self.numbers()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def session(stage: Stage) -> list[str]:
    return [
        start.MIRROR_RUN, "-q", "-n", stage.namespace, "--target", "deploy/cart", "--agent", "daemonset",
    ]  # fmt: skip


@contextlib.contextmanager
def app(stage: Stage, kubeconfig: Path | None = None) -> Iterator[App]:
    made_one = App(stage, kubeconfig)
    try:
        yield made_one.ready()
    finally:
        made_one.close()


@contextlib.contextmanager
def forwarded(stage: Stage, kubeconfig: Path | None = None) -> Iterator[dict[int, int]]:
    """kubectl port-forward to the server's pod: its port to ours."""
    words = [
        "-n",
        stage.namespace,
        "port-forward",
        "deploy/far",
        *(f":{port}" for port in (PORT, SINK, SOURCE)),
    ]
    kubectl = Kubectl(stage.kubectl.program, kubeconfig or stage.kubectl.kubeconfig)
    with subprocess.Popen(
        kubectl.command(*words), stdout=subprocess.PIPE, text=True, env=kubectl.environment()
    ) as process:
        assert process.stdout is not None
        ports: dict[int, int] = {}
        try:
            while len(ports) < 3:  # Forwarding from 127.0.0.1:40123 -> 5201
                here, _, there = process.stdout.readline().partition(" -> ")
                if here.startswith("Forwarding from 127."):
                    ports[int(there)] = int(here.rpartition(":")[2])
            yield ports
        finally:
            process.terminate()


def carried(port: int, mode: str, *words: object) -> list[float]:
    """The load program on this machine, through a forwarded port."""
    done = subprocess.run(
        [str(peers.load_program()), mode, "127.0.0.1", str(port), *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()]


@contextlib.contextmanager
def relayed(stage: Stage, one_way: float) -> Iterator[Path]:
    """A kubeconfig by which the API server is reached through a relay, ``one_way`` seconds farther away."""
    whole = yaml.safe_load(stage.kubectl.kubeconfig.read_text())
    cluster = whole["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    words = [sys.executable, "-m", "tests.net.delay", f"{host}:{port}", "--one-way", str(one_way)]
    with (
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=start.ROOT
        ) as relay,
        tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file,
    ):
        assert relay.stdout is not None
        listens = relay.stdout.readline().split()[-1].rpartition(":")[2]
        cluster |= {"server": f"https://127.0.0.1:{listens}", "tls-server-name": host}
        yaml.safe_dump(whole, file)
        file.flush()
        try:
            yield Path(file.name)
        finally:
            relay.terminate()
