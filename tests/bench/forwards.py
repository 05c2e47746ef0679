"""One connection through the API server to a pod, by several clients and by kubectl: MB/s, round trip, CPU.

    .venv/bin/pip install websockets aiohttp websocket-client     # those compared with; what is missing is left out
    .venv/bin/python -m tests.bench.forwards [--rounds 5] [--mib 128] [--one-way 0.025]

Each round passes through all of them in turn, so that what the machine does meanwhile falls on all alike; figures are
medians, with the best in brackets. CPU is user and system time for each GB: of this process (and of kubectl, where it
is between), and of API server, kubelets and containerds together. It says what the rates of a busy machine do not.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import docker
import yaml

from runner import images as product_images
from runner.kube import portforward
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.forward_core import SPDY, V4
from tests.cluster import cluster as made
from tests.cluster import images as nodes
from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import ensure_image

FAR = (Path(__file__).parents[1] / "e2e/kubernetes/far_end.py").read_text()
PORT = 7001
PIECE = 262_144
TRIPS = 600
SERVERS = ("kube-apiserver", "kubelet", "containerd")
TICK = os.sysconf("SC_CLK_TCK")


class Client(Protocol):
    """One open connection to the far end."""

    async def send(self, octets: bytes) -> None: ...
    async def receive(self) -> int: ...
    async def close(self) -> None: ...


class Ours:
    """What the runner uses, with this choice of protocols."""

    def __init__(self, cluster: Cluster, namespace: str, offered: tuple[str, ...]) -> None:
        self._cluster, self._namespace, self._offered = cluster, namespace, offered

    async def open(self) -> Ours:
        portforward.OFFERED = self._offered
        self._stream = await portforward.forward(self._cluster, self._namespace, "far", PORT)
        return self

    async def send(self, octets: bytes) -> None:
        self._stream.writer.write(octets)
        await self._stream.writer.drain()

    async def receive(self) -> int:
        return len(await self._stream.reader.read(PIECE))

    async def close(self) -> None:
        self._stream.writer.close()


class V4Client:
    """A plain client of v4.channel.k8s.io, by a library's own calls; messages of 64 KiB."""

    def __init__(self, library: str, url: str, tls: ssl.SSLContext) -> None:
        self._library, self._url, self._tls = library, url, tls

    async def open(self) -> V4Client:
        self._socket: Any
        if self._library == "websockets":
            from websockets.asyncio.client import connect as dial

            self._socket = await dial(
                self._url,
                ssl=self._tls,
                subprotocols=[V4],
                compression=None,
                max_size=None,
                write_limit=1 << 20,
            )
        else:
            import aiohttp

            self._session = aiohttp.ClientSession()
            self._socket = await self._session.ws_connect(
                self._url, ssl=self._tls, protocols=[V4], max_msg_size=0, compress=0
            )
        for _ in range(2):  # the ports
            await self.receive()
        return self

    async def send(self, octets: bytes) -> None:
        say = self._socket.send if self._library == "websockets" else self._socket.send_bytes
        for at in range(0, len(octets), 65_536):
            await say(b"\0" + octets[at : at + 65_536])

    async def receive(self) -> int:
        if self._library == "websockets":
            return len(await self._socket.recv()) - 1
        return len((await self._socket.receive()).data) - 1

    async def close(self) -> None:
        if self._library == "websockets":
            self._socket.transport.abort()
        else:
            await self._session.close()


class Threaded:
    """websocket-client, which blocks: the same, in a thread. A call for each message would be its thread's cost."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url, self._tls = url, tls

    async def open(self) -> Threaded:
        import websocket

        def dial() -> Any:
            one = websocket.create_connection(
                self._url, sslopt={"context": self._tls}, subprotocols=[V4], skip_utf8_validation=True
            )
            one.recv(), one.recv()
            return one

        self._socket = await asyncio.to_thread(dial)
        return self

    async def send(self, octets: bytes) -> None:
        for at in range(0, len(octets), 65_536):
            self._socket.send_binary(b"\0" + octets[at : at + 65_536])

    async def receive(self) -> int:
        return len(self._socket.recv()) - 1

    async def close(self) -> None:
        self._socket.sock.close()


class Through:
    """A socket to kubectl port-forward."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> Through:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE)
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def send(self, octets: bytes) -> None:
        self._writer.write(octets)
        await self._writer.drain()

    async def receive(self) -> int:
        return len(await self._reader.read(PIECE))

    async def close(self) -> None:
        self._writer.close()


BETWEEN: list[int] = []
"""Processes that are the client too: our kubectl."""


def seconds(*names: str) -> float:
    """CPU time that processes of these names have used."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (folder / "cmdline").read_bytes().split(b"\0")[:3]
            if {os.path.basename(word).decode(errors="replace") for word in words} & set(names):
                total += used(folder)
    return total / TICK


def ours() -> float:
    times = os.times()
    return times.user + times.system + sum(used(Path(f"/proc/{pid}")) for pid in BETWEEN) / TICK


def used(folder: Path) -> int:
    """Ticks of a process (proc(5), stat, utime and stime)."""
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def bulk(client: Client, size: int, *, down: bool) -> dict[str, float]:
    way = "down" if down else "up"
    mine, servers, began = ours(), seconds(*SERVERS), time.perf_counter()
    await client.send(f"{way} {size}\n".encode())
    if down:
        left = size
        while left > 0:
            left -= await client.receive()
    else:
        piece = bytes(PIECE)
        for _ in range(size // PIECE):
            await client.send(piece)
        assert await client.receive() == 1
    took = time.perf_counter() - began
    await client.close()
    cpu = {
        f"{way} client": (ours() - mine) * 1e9 / size,
        f"{way} servers": (seconds(*SERVERS) - servers) * 1e9 / size,
    }
    return {f"{way} MB/s": size / 1e6 / took} | cpu


async def trips(client: Client, count: int) -> dict[str, float]:
    await client.send(b"echo\n")
    took = []
    for _ in range(count):
        began = time.perf_counter()
        await client.send(bytes(64))
        left = 64
        while left:
            left -= await client.receive()
        took.append(time.perf_counter() - began)
    await client.close()
    return {"p50 ms": statistics.median(took[count // 10 :]) * 1e3}


@contextlib.contextmanager
def far_end(kubectl: Kubectl) -> Iterator[str]:
    """A pod with the server in it; its namespace."""
    client = docker.from_env(timeout=120)
    image = ensure_image(client, product_images.base(client, lambda line: None))
    client.close()
    nodes.load([image])
    namespace = f"mrb-forwards-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", namespace)
    container = {
        "name": "far",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", FAR, str(PORT)],
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "far"}, "spec": spec}, namespace=namespace
    )
    try:
        kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/far", "--timeout=60s", patience=70)
        while "listening" not in kubectl("-n", namespace, "logs", "far"):
            time.sleep(0.1)
        yield namespace
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


@contextlib.contextmanager
def kubectl_forward(kubectl: Kubectl, kubeconfig: str, namespace: str) -> Iterator[tuple[int, int]]:
    """Its port, its pid."""
    command = [
        kubectl.program,
        "--kubeconfig",
        kubeconfig,
        "-n",
        namespace,
        "port-forward",
        "pod/far",
        f":{PORT}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kubectl.environment()) as process:
        assert process.stdout is not None
        line = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 7001
        try:
            yield int(line.split("->")[0].rpartition(":")[2]), process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def way(kubectl: Kubectl, one_way: float) -> Iterator[str]:
    """A kubeconfig: the cluster's, or one that goes a longer way, which is a process of its own."""
    if not one_way:
        yield str(kubectl.kubeconfig)
        return
    whole = yaml.safe_load(kubectl.kubeconfig.read_text())
    server = whole["clusters"][0]["cluster"]
    host, _, port = server["server"].removeprefix("https://").partition(":")
    command = [sys.executable, "-m", "tests.net.delay", f"{host}:{port}", "--one-way", str(one_way)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as relay:
        assert relay.stdout is not None
        server |= {"server": f"https://127.0.0.1:{int(relay.stdout.readline())}", "tls-server-name": host}
        with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
            yaml.safe_dump(whole, file)
            file.flush()
            yield file.name
        relay.terminate()


def tls(kubeconfig: str) -> ssl.SSLContext:
    """As the administrator, for the libraries' own clients."""
    whole = yaml.safe_load(Path(kubeconfig).read_text())
    server, user = whole["clusters"][0]["cluster"], whole["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(server["certificate-authority-data"]).decode()
    )
    context.check_hostname = "tls-server-name" not in server
    with tempfile.NamedTemporaryFile() as file:
        file.write(
            base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


def there(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


async def measure(rounds: int, size: int, one_way: float) -> dict[str, dict[str, tuple[float, float]]]:
    kubectl = made.kubectl()
    seen: dict[str, list[dict[str, float]]] = {}
    with far_end(kubectl) as namespace, way(kubectl, one_way) as kubeconfig:
        cluster = await connect(KubeOptions(kubeconfig), {}, Path("/nonexistent"))
        url = cluster.server.replace("https", "wss")
        url += f"/api/v1/namespaces/{namespace}/pods/far/portforward?ports={PORT}"
        context = tls(kubeconfig)
        with kubectl_forward(kubectl, kubeconfig, namespace) as (port, pid):
            clients: dict[str, Any] = {"kubectl port-forward": Through(port)}
            clients["mirror-run: picows, SPDY"] = Ours(cluster, namespace, (SPDY, V4))
            clients["mirror-run: picows, v4"] = Ours(cluster, namespace, (V4,))
            for library in ("websockets", "aiohttp"):
                if there(library):
                    clients[f"{library}, v4"] = V4Client(library, url, context)
            if there("websocket"):
                clients["websocket-client, v4"] = Threaded(url, context)
            for _ in range(rounds):
                for name, client in clients.items():
                    BETWEEN[:] = [pid] if isinstance(client, Through) else []
                    found = await bulk(await client.open(), size, down=True)
                    found |= await bulk(await client.open(), size, down=False)
                    found |= await trips(await client.open(), 30 if one_way else TRIPS)
                    seen.setdefault(name, []).append(found)
        await cluster.close()
    return {
        name: {key: (statistics.median(values), best(key, values)) for key, values in columns(each).items()}
        for name, each in seen.items()
    }


def columns(each: list[dict[str, float]]) -> dict[str, list[float]]:
    return {key: [found[key] for found in each] for key in each[0]}


def best(key: str, values: list[float]) -> float:
    return max(values) if "MB/s" in key else min(values)


def table(rows: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: median (best)."""
    keys = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(keys)} |", f"|---|{'---:|' * len(keys)}"]
    for name, row in rows.items():
        cells = [f"{pair[0]:.{places}f} ({pair[1]:.{places}f})" for pair, places in _digits(row)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _digits(row: dict[str, tuple[float, float]]) -> list[tuple[tuple[float, float], int]]:
    return [(pair, 0 if "MB/s" in key else 2 if "p50" in key else 1) for key, pair in row.items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=128)
    parser.add_argument("--one-way", type=float, default=0.0, help="seconds added to each direction")
    given = parser.parse_args()
    print(table(asyncio.run(measure(given.rounds, given.mib << 20, given.one_way))))
