"""The cluster's part of ``doctor``: everything that a session with a pod needs, looked at one by one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from runner import VERSION
from runner.config import Caller, ClusterOptions
from runner.engine import Engine
from runner.errors import Refusal
from runner.finding import Finding, kernels, of_refusal
from runner.kube import agent_images, agent_rights, draining
from runner.kube.agent_rights import FORWARD, HOLD, SEE, Right
from runner.kube.agent_state import Runs, of_pod
from runner.kube.api import Cluster
from runner.kube.daemonset import Installation, fits, installation
from runner.kube.errors import KubeError
from runner.kube.install_manifests import AGENT, PORT, selector_text
from runner.kube.kinds import GROUP, RIGHTS, SESSIONS
from runner.kube.manifests import CONTAINER
from runner.kube.portforward import forward
from runner.kube.probe import probed
from runner.kube.rights import WORDS
from runner.labels import RELEASE
from runner.screen import Screen

Json = dict[str, Any]

SKEW = 30.0
"""Seconds: half a lease, so that neither side takes a session for lapsed that the other renewed."""

OLDEST = (1, 25)
"""The oldest server that was looked at; sessions with installed agents need the policies of 1.30."""

POLICIES = (1, 30)

LISTED = 50
"""Images that a kubelet tells of, unless it is told otherwise (--node-status-max-images)."""

BULK = "/openapi/v2"
"""The largest thing that everybody may read: some megabytes."""


async def examine(
    cluster: Cluster,
    options: ClusterOptions,
    caller: Caller,
    engine: Engine | None,
    screen: Screen,
    *,
    probe: bool,
) -> AsyncIterator[Finding]:
    """One after the other. ``probe``: also a session as a run would make it, beside any ready pod of the namespace."""
    namespace = options.namespace or cluster.namespace
    yield await _server(cluster, namespace)
    yield await _clock(cluster)
    yield await _way(cluster)
    yield await _kernels(cluster)
    for line in await draining.drains(cluster, namespace):
        yield Finding(True, f"draining: {line}")
    try:
        found = await installation(cluster)
    except Refusal as refusal:
        yield of_refusal("agents", refusal)
        return
    kind = options.agent or ("daemonset" if found else "job")
    if found is not None and kind == "daemonset":
        async for finding in _installed(cluster, found, namespace):
            yield finding
    else:
        async for finding in _made(cluster, options, caller, namespace, kind, installed=found is not None):
            yield finding
    if probe and engine is not None:
        async for finding in probed(cluster, options, caller, engine, screen, namespace):
            yield finding
    else:
        yield Finding(True, "tunnel: its round trip and rate are measured by `mirror-run doctor --probe`")


async def _server(cluster: Cluster, namespace: str) -> Finding:
    user = await cluster.whoami()
    who = f", as {user}" if user else ""
    sentence = f"cluster: {cluster.version} at {cluster.server}, context {cluster.context}, namespace {namespace}{who}"
    number = _number(cluster.version)
    if number < OLDEST:
        return Finding(False, sentence, f"Kubernetes {_text(OLDEST)} is the oldest that is known to work")
    if number < POLICIES:
        return Finding(
            True, sentence, f"agents can be made for sessions; installed ones need {_text(POLICIES)}"
        )
    return Finding(True, sentence)


async def _clock(cluster: Cluster) -> Finding:
    there = await cluster.date()
    if there is None:
        return Finding(True, "clocks: the API server does not say what time it has")
    skew = (datetime.now(UTC) - there).total_seconds()
    skew -= min(max(skew, 0.0), 1.0)  # its header has no fractions
    sentence = f"clocks: {abs(skew):.0f} s apart"
    if abs(skew) <= SKEW:
        return Finding(True, sentence)
    ahead = "ahead" if skew > 0 else "behind"
    return Finding(
        False,
        f"{sentence}: this machine's is {ahead}",
        "set it (`timedatectl set-ntp true`): leases would lapse",
    )


async def _way(cluster: Cluster) -> Finding:
    """Round trip and rate of calls: what a tunnel has at most, since it goes the same way."""
    trips = []
    for _ in range(5):
        began = time.monotonic()
        await cluster.get("/version")
        trips.append(time.monotonic() - began)
    began = time.monotonic()
    octets = len(await cluster.text(BULK))
    rate = octets / (time.monotonic() - began) / 1e6
    return Finding(
        True,
        f"the way to it: a call takes {min(trips) * 1e3:.1f} ms, and {octets / 1e6:.1f} MB came at {rate:.0f} MB/s",
    )


async def _kernels(cluster: Cluster) -> Finding:
    """Whether the nodes' kernels have what a gate's table needs. A node that lacks it can be mirrored all the same."""
    try:
        nodes, _ = await cluster.list("/api/v1/nodes")
    except KubeError as error:
        if not error.forbidden:
            raise
        return Finding(True, "stealing: you may not see the nodes, and so not what kernels they have")
    found = {str(node["metadata"]["name"]): kernel_of(node) for node in nodes}
    return kernels({name: text for name, text in found.items() if text})


def kernel_of(node: Json) -> str:
    """As uname(1) has it."""
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kernelVersion") or "")


# --- installed agents -------------------------------------------------------------------------------------------------


async def _installed(cluster: Cluster, found: Installation, namespace: str) -> AsyncIterator[Finding]:
    lacking = await agent_rights.missing(cluster, found.namespace, (*SEE, *FORWARD))
    yield _rights(lacking, found.namespace, "which sessions with installed agents need")
    if not lacking:
        pods, _ = await cluster.list(
            f"/api/v1/namespaces/{found.namespace}/pods", labelSelector=selector_text()
        )
        yield _agents(found, pods)
        if running := [pod for pod in pods if isinstance(of_pod(pod, CONTAINER), Runs)]:
            yield await _reached(cluster, found.namespace, running[0])
    lacking = await agent_rights.missing(cluster, namespace, (*SEE, *HOLD))
    yield _rights(lacking, namespace, "where the targets are")
    for finding in await _wished(cluster, namespace, like_exec=found.like_exec):
        yield finding


def _agents(found: Installation, pods: Sequence[Json]) -> Finding:
    states = [of_pod(pod, CONTAINER) for pod in pods]
    running = sum(isinstance(state, Runs) for state in states)
    versions = sorted({str((pod["metadata"].get("labels") or {}).get(RELEASE, "?")) for pod in pods})
    sentence = f"agents: installed in {found.namespace}, {running} of {len(pods)} run, mirror-run {', '.join(versions)}"
    if any(not fits(VERSION, version) for version in versions):
        return Finding(
            False, f"{sentence}; this is {VERSION}", "`mirror-run upgrade`, by who runs the cluster"
        )
    if running < len(pods) or not pods:
        return Finding(False, sentence, f"`kubectl -n {found.namespace} describe ds {AGENT}` says why")
    return Finding(True, sentence)


async def _reached(cluster: Cluster, namespace: str, pod: Json) -> Finding:
    """A forward to an agent that runs; what it answers to a stranger is nothing."""
    node = pod["spec"]["nodeName"]
    began = time.monotonic()
    try:
        stream = await forward(cluster, namespace, pod["metadata"]["name"], PORT)
    except KubeError as error:
        return Finding(
            False, f"tunnel: the agent on node {node} cannot be reached: {error.sentence}", error.next_step
        )
    took = time.monotonic() - began
    stream.writer.close()
    return Finding(True, f"tunnel: one to the agent on node {node} took {took * 1e3:.0f} ms to open")


async def _wished(cluster: Cluster, namespace: str, *, like_exec: bool) -> list[Finding]:
    """The rights over targets, each named where it is missing. With ``like_exec`` whoever may execute has them all."""
    found = []
    execute = like_exec and await cluster.allowed("create", "pods", subresource="exec", namespace=namespace)
    for right in () if execute else RIGHTS:
        subresource = "" if right == "mirror" and not like_exec else right
        if not await cluster.allowed(
            "create", SESSIONS, group=GROUP, subresource=subresource, namespace=namespace
        ):
            resource = f"{SESSIONS}/{subresource}".rstrip("/")
            found.append(
                Finding(
                    right != "mirror",
                    f"no {WORDS[right]} in {namespace}: you lack create {resource}.{GROUP}",
                    "who runs the cluster can bind one of the ClusterRoles mirror-run-mirror, -develop, -full to "
                    "you there",
                )
            )
    return found or [Finding(True, f"rights: all that a session may have in {namespace}")]


# --- agents made for a session ----------------------------------------------------------------------------------------


async def _made(
    cluster: Cluster, options: ClusterOptions, caller: Caller, namespace: str, kind: str, *, installed: bool
) -> AsyncIterator[Finding]:
    if kind == "daemonset":
        yield Finding(False, "agents: --agent daemonset, and none is installed", "`mirror-run install`")
        return
    where = options.agent_namespace or namespace
    needed = agent_rights.EPHEMERAL if kind == "ephemeral" else agent_rights.JOB
    none = "" if installed else "none installed; "
    yield Finding(True, f"agents: {none}made for each session ({kind}) in {where}")
    yield _rights(
        await agent_rights.missing(cluster, where, needed),
        where,
        f"which agents made for a session need ({kind})",
    )
    if where != namespace:
        yield _rights(await agent_rights.missing(cluster, namespace, SEE), namespace, "where the targets are")
    yield await _image(cluster, agent_images.reference(options.agent_image, caller.environ))


async def _image(cluster: Cluster, reference: str) -> Finding:
    """What can be known: whether nodes have it already, and whether it says where to pull it from."""
    name = agent_images.parsed(reference)
    try:
        nodes, _ = await cluster.list("/api/v1/nodes")
    except KubeError as error:
        if not error.forbidden:
            raise
        nodes = []
    lacking = [node["metadata"]["name"] for node in nodes if _has(node, reference) is False]
    unsure = [node["metadata"]["name"] for node in nodes if _has(node, reference) is None]
    if nodes and not lacking and not unsure:
        return Finding(True, f"agent image: {reference}, on every node")
    if name.registry:
        return Finding(True, f"agent image: {reference}, which nodes pull from {name.registry}")
    where = ", and you may not see what nodes have"
    if lacking or unsure:
        where = f"; not on {', '.join(lacking[:5])}" if lacking else ""
        where += f"; not among the {LISTED} images that {', '.join(unsure[:5])} tells of" if unsure else ""
    return Finding(
        not lacking,
        f"agent image: {reference}, which no registry is named for{where}",
        "`mirror-run images push REGISTRY`, then --agent-image; or load it into the nodes (`mirror-run images save`)",
    )


def _has(node: Json, reference: str) -> bool | None:
    """None where it cannot be known: a node tells of its LISTED largest images (NodeStatus, images)."""
    images = node["status"].get("images") or ()
    names = [str(name) for image in images for name in image.get("names") or ()]
    if any(name in (reference, f"docker.io/{reference}") for name in names):
        return True
    return None if len(images) >= LISTED else False


def _rights(lacking: Sequence[Right], namespace: str, why: str) -> Finding:
    if not lacking:
        return Finding(True, f"rights: what is needed in {namespace}")
    return Finding(
        False,
        f"rights: you lack {', '.join(map(str, lacking))} in namespace {namespace}, {why}",
        "ask who runs the cluster for these rights, or for `mirror-run install`",
    )


def _number(version: str) -> tuple[int, int]:
    """Of "v1.35.4"; (0, 0) if it is none."""
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0].rstrip("+")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
