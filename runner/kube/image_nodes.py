"""Nodes that are containers of this very engine (kind, k3d, minikube) get the agent's image straight from it.

There is no registry that both would know: what is built here is `docker save`d into the node's own container engine,
as `kind load docker-image` does. A node is known by its container's name, which all three give it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Any

from runner import multiplexed
from runner.engine import Engine, EngineError
from runner.errors import Refusal
from runner.hijack import as_socket

log = logging.getLogger(__name__)

MARKS = ("io.x-k8s.kind.cluster", "app=k3d", "name.minikube.sigs.k8s.io")
"""Labels of node containers; only minikube's docker driver has the last."""

HAS = (
    'if [ -S /var/run/cri-dockerd.sock ]; then docker image inspect "$0"; '
    'elif command -v ctr; then [ -n "$(ctr -n k8s.io images ls -q "name==$1")" ]; '
    'else podman image exists "$0"; fi'
)
"""$0 is the reference, $1 the same as containerd calls it. minikube's node has a Docker, and CRI-O beside podman."""

LOAD = (
    "if [ -S /var/run/cri-dockerd.sock ]; then exec docker load -q; "
    "elif command -v ctr >/dev/null; then exec ctr -n k8s.io images import -; "
    "else exec podman load -q; fi"
)
"""Reads a docker archive on stdin. The namespace is the one in which the kubelet's images are."""

READ = 65_536


async def node_containers(engine: Engine) -> dict[str, str]:
    """By node's name: the id of the running container that it is."""
    found = await asyncio.gather(*(engine.containers(mark) for mark in MARKS))
    return {str(one["Names"][0]).removeprefix("/"): str(one["Id"]) for several in found for one in several}


async def provide(engine: Engine, image: str, nodes: Collection[str], say: Callable[[str], None]) -> None:
    """Have ``image``, if this engine has it, on those of ``nodes`` that are its containers. Refusal when one of them
    does not take it. Nodes that are none of ours are left to pull."""
    ours = await node_containers(engine)
    wanted = {node: ours[node] for node in nodes if node in ours}
    if not wanted:
        return
    try:
        await engine.inspect_image(image)
    except EngineError as error:
        if error.missing:
            log.info("%s is not on the engine: the nodes pull it", image)
            return
        raise
    await asyncio.gather(*(_provide(engine, image, node, one, say) for node, one in wanted.items()))


async def _provide(engine: Engine, image: str, node: str, container: str, say: Callable[[str], None]) -> None:
    full = containerds_name(image)
    try:
        code, _ = await engine.work(
            "image of a node", lambda api: run(api, container, ["sh", "-c", HAS, image, full])
        )
        if code == 0:
            return
        say(f"loading {image} into node {node}, a container of this engine")
        code, said = await engine.work(
            "load into a node",
            lambda api: run(api, container, ["sh", "-c", LOAD], api.get_image(image)),
        )
    except EngineError as error:
        code, said = 1, error.sentence
    if code:
        raise Refusal(
            f"node {node} did not take {image}: {said.strip() or f'code {code}'}",
            f"load it as your cluster's tool does: `kind load docker-image {image}`, `k3d image import {image}`, "
            f"`minikube image load {image}`",
        )


def containerds_name(image: str) -> str:
    """With the registry that a name without one stands for (distribution/reference, "familiar names")."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def run(api: Any, container: str, argv: list[str], stdin: Iterator[bytes] | None = None) -> tuple[int, str]:
    """A program in a container, fed with ``stdin``: its exit code and what it said on stdout and stderr. Blocks."""
    made = api.exec_create(container, argv, stdin=stdin is not None)
    sock = as_socket(api.exec_start(made["Id"], socket=True))
    with sock:
        sock.settimeout(None)
        try:
            for chunk in stdin or ():
                sock.sendall(chunk)
            if stdin is not None:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended early; what it said and its code tell why
        said = _heard(sock)
    return int(api.exec_inspect(made["Id"])["ExitCode"] or 0), said


def _heard(sock: socket.socket) -> str:
    pieces, said = multiplexed.Pieces(), bytearray()
    while octets := sock.recv(READ):
        for _, piece in pieces.feed(memoryview(octets)):
            said += piece
    return said.decode(errors="replace")
