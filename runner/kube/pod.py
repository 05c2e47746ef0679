"""One pod as a session sees it: which of its containers is meant, whether it runs, and if not, why not.

Pure: it reads pods as the API server gives them (Kubernetes API, "Pod" v1) and asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from runner.kube import unfit
from wire.record import record

Json = dict[str, Any]

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

KNOWN_MESHES = ("istio-proxy", "linkerd-proxy")
"""Of these a gate knows the user (1337, 2102), and takes from them what they bring over the loopback interface."""

MESHES = (*KNOWN_MESHES, "kuma-sidecar", "consul-dataplane", "envoy-sidecar")

SIDECARS = frozenset(
    (
        # service meshes
        "istio-proxy",
        "istio-init",
        "istio-validation",
        "linkerd-proxy",
        "linkerd-init",
        "linkerd-debug",
        "kuma-sidecar",
        "kuma-init",
        "consul-dataplane",
        "consul-connect-inject-init",
        "envoy",
        "envoy-sidecar",
        "osm-init",
        "cilium-envoy",
        # secrets, data bases, application run-times
        "vault-agent",
        "vault-agent-init",
        "cloud-sql-proxy",
        "cloudsql-proxy",
        "daprd",
        "oauth2-proxy",
        # logs, metrics, traces
        "fluent-bit",
        "fluentd",
        "fluentbit",
        "filebeat",
        "promtail",
        "vector",
        "datadog-agent",
        "otel-collector",
        "opentelemetry-collector",
        "otc-container",
        "jaeger-agent",
        "aws-otel-collector",
        "xray-daemon",
        "gke-gcsfuse-sidecar",
    )
)
"""Containers that are nobody's application, by the names that their injectors give them."""

OURS = ("app.kubernetes.io/name", "mirror-run")
"""The label of everything of ours: a pod with it is never a target."""


@record
class Pod:
    """A pod and the one container of it that is meant. ``container_id``: 64 hexadecimal digits, empty if it does not
    run. ``ready``: the pod is, and that container runs. ``ending``: it was told to go. ``over``: it ran to its end, or
    was evicted, and will not run again. ``since``: when it became ready (RFC 3339). ``unfit``: why it cannot be
    followed; empty if it can. ``waits``: what keeps the container from running, as the kubelet calls it."""

    namespace: str
    name: str
    uid: str
    node: str
    container: str
    container_id: str
    ready: bool
    ending: bool
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    restarts: int = 0
    over: bool = False
    since: str = ""
    unfit: str = ""
    waits: str = ""
    host_ips: tuple[str, ...] = ()  # its node's addresses
    mesh: str = ""  # the container that a service mesh put before it


def read(pod: Json, container: str, node: Json | None = None) -> Pod:
    """The pod, with that container meant. ``node``: its Node, if it can be read."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    said = container_status(pod, container)
    running = "running" in (said.get("state") or {})
    ready = condition(pod, "Ready")
    return Pod(
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta["uid"],
        node=spec.get("nodeName", ""),
        container=container,
        container_id=said.get("containerID", "").rpartition("://")[2] if running else "",
        ready=running and ready.get("status") == "True",
        ending="deletionTimestamp" in meta,
        labels=meta.get("labels") or {},
        restarts=said.get("restartCount", 0),
        over=status.get("phase") in ("Succeeded", "Failed"),
        since=ready.get("lastTransitionTime") or "" if ready.get("status") == "True" else "",
        unfit=_unfit(pod, container, node),
        host_ips=tuple(one["ip"] for one in status.get("hostIPs") or ()),
        mesh=_mesh(spec),
        waits=((said.get("state") or {}).get("waiting") or {}).get("reason", ""),
    )


def is_ours(pod: Json) -> bool:
    """Whether it is an agent's."""
    return (pod["metadata"].get("labels") or {}).get(OURS[0]) == OURS[1]


def condition(pod: Json, kind: str) -> Json:
    """The condition of that type, or {}."""
    found: Iterable[Json] = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one.get("type") == kind), {})


def container_status(pod: Json, container: str) -> Json:
    """What the kubelet says of a container, native sidecars included; {} if nothing yet."""
    status = pod.get("status") or {}
    said = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return next((one for one in said if one.get("name") == container), {})


def containers(spec: Json) -> list[str]:
    """Names of what runs as long as the pod does: its containers, then its native sidecars (init containers that are
    always restarted)."""
    plain = [one["name"] for one in spec.get("containers") or ()]
    native = [one["name"] for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    return [*plain, *native]


def container_spec(spec: Json, container: str) -> Json:
    """Its part of the pod's spec. KeyError if there is none of that name."""
    for one in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if one["name"] == container:
            found: Json = one
            return found
    raise KeyError(container)


def default_container(pod: Json) -> str:
    """The one that the annotation names (as kubectl), else the first that is no known sidecar, else the first.

    A native sidecar is never it: whoever wrote one as such said that the application is another.
    """
    spec = pod.get("spec") or {}
    named = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if named in containers(spec):
        return str(named)
    plain = [str(one["name"]) for one in spec.get("containers") or ()]
    return next((name for name in plain if name not in SIDECARS), plain[0] if plain else "")


def why_not_ready(pod: Json) -> str:
    """A few words for people: "ImagePullBackOff: …", "0/2 nodes are available", "container web is not ready"."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "it is being deleted"
    if status.get("phase") in ("Succeeded", "Failed"):
        reason = status.get("reason") or {"Succeeded": "it has run to its end"}.get(
            status["phase"], "it failed"
        )
        return _with(reason, status.get("message", ""))
    if not (pod.get("spec") or {}).get("nodeName"):
        scheduled = condition(pod, "PodScheduled")
        gates = "; ".join(one["name"] for one in (pod.get("spec") or {}).get("schedulingGates") or ())
        return _with(scheduled.get("reason", "not on a node yet"), scheduled.get("message", "") or gates)
    said = [
        *(_state(one, init=True) for one in status.get("initContainerStatuses") or ()),
        *(_state(one, init=False) for one in status.get("containerStatuses") or ()),
    ]
    blockers = [text for text in said if text]
    if blockers:
        return "; ".join(blockers)
    for kind in ("Initialized", "ContainersReady", "Ready"):
        found = condition(pod, kind)
        if found.get("status") == "False":
            return _with(found.get("reason", "not ready"), found.get("message", ""))
    return f"it is {status.get('phase', 'new').lower()}"


def _state(said: Json, *, init: bool) -> str:
    """What is the matter with one container; empty if nothing."""
    state, name = said.get("state") or {}, said["name"]
    if waiting := state.get("waiting"):
        reason = waiting.get("reason", "waiting")
        if reason == "PodInitializing":  # it waits for the init containers, which speak for themselves
            return ""
        last = (said.get("lastState") or {}).get("terminated")
        message = f"it ended with code {last['exitCode']}" if last else waiting.get("message", "")
        return f"container {name}: {_with(reason, message)}"
    if ended := state.get("terminated"):
        if init and ended.get("exitCode") == 0:
            return ""
        return f"container {name}: {ended.get('reason', 'ended')} (code {ended.get('exitCode')})"
    if init:
        done = said.get("started") if said.get("started") is not None else said.get("ready")
        return "" if done else f"init container {name} is still running"
    return "" if said.get("ready") else f"container {name} runs and is not ready"


def _with(reason: str, message: str) -> str:
    first = message.strip().splitlines()[0] if message.strip() else ""
    return f"{reason}: {first[:300]}" if first else reason


def _unfit(pod: Json, container: str, node: Json | None) -> str:
    if against := unfit.judge(pod, node):
        return against.why
    if container in containers(pod.get("spec") or {}):
        return ""
    return f"it has no container {container}"


def _mesh(spec: Json) -> str:
    """Sidecars are containers, or init containers that go on (KEP-753)."""
    names = [one["name"] for kind in ("containers", "initContainers") for one in spec.get(kind) or ()]
    return next((name for name in names if name in MESHES), "")
