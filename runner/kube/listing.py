"""What in a namespace can be a target, how it is, and who is at it now: the rows of `mirror-run ls -n NAMESPACE`.

Everything is asked for once and at once; kinds that the caller may not list are left out and named.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from runner.errors import Refusal
from runner.kube import busy_with, names
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.kinds import sessions_path
from runner.kube.manifests import NAME, PRODUCT
from runner.kube.members import TEMPLATE_HASHES, controller
from runner.kube.pod import condition, containers, default_container, is_ours
from runner.kube.unfit import judge
from wire.record import record

Json = dict[str, Any]

HEADER = ("TARGET", "READY", "CONTAINERS", "PORTS", "SESSIONS")

KINDS = (
    names.ROLLOUT,
    names.DEPLOYMENT,
    names.STATEFULSET,
    names.DAEMONSET,
    names.REPLICASET,
    names.CRONJOB,
    names.JOB,
    names.POD,
)
"""In the order in which they are shown. What another of them made is that one's, and not shown."""


@record
class Row:
    """``ready``: "2/3", or what stands in the way; ``ports``: "8080 9090/udp"; ``sessions``: "anna, ben (2)"."""

    target: str
    ready: str
    containers: str
    ports: str
    sessions: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.target, self.ready, self.containers, self.ports, self.sessions)


@record
class Table:
    """``unread``: kinds that the caller may not list there, as RBAC calls them."""

    rows: tuple[Row, ...]
    unread: tuple[str, ...] = ()


async def targets_table(cluster: Cluster, namespace: str) -> Table:
    """Of one namespace. Refusal if there is none of that name, or nothing of it may be seen."""
    unread: list[str] = []
    jobs = names.JOB.path(namespace)
    # Whether a cluster has rollouts is not told to those who may not list them, and most clusters have none.
    silent = (names.ROLLOUT,)
    *found, sessions, agents = await asyncio.gather(
        *(
            _list(cluster, kind.path(namespace), [] if kind in silent else unread, kind.plural)
            for kind in KINDS
        ),
        _list(cluster, sessions_path(namespace), [], ""),
        _list(cluster, jobs, [], "", labelSelector=f"{NAME}={PRODUCT}"),
    )
    if len(unread) == len(KINDS) - len(silent):
        raise Refusal(
            f"you may not list what is in namespace {namespace}",
            "ask for the right to `list pods`, or name another: -n",
        )
    lists = dict(zip(KINDS, found, strict=True))
    if not any(found) and await _is_missing(cluster, namespace):
        raise Refusal(
            f"there is no namespace {namespace} in context {cluster.context}",
            "`kubectl get namespaces` shows them",
        )
    pods = [pod for pod in lists[names.POD] if not is_ours(pod)]
    who = busy_with.who(sessions, agents, pods)
    by_owner = _by_owner(pods, lists[names.JOB])
    shown = {
        (_API_NAMES[kind], body["metadata"]["name"])
        for kind in KINDS
        for body in lists[kind]
        if kind is not names.POD
    }
    rows = tuple(
        _row(kind, body, by_owner, who)
        for kind in KINDS
        for body in lists[kind]
        if not is_ours(body) and _named_by(body) not in shown
    )
    return Table(rows, tuple(unread))


def _named_by(body: Json) -> tuple[str, str]:
    """Kind and name of the workload that a user would name for it; empty if nothing made it."""
    owner = controller(body)
    kind, name = owner.get("kind", ""), owner.get("name", "")
    if kind == "ReplicaSet":
        labels = body["metadata"].get("labels") or {}
        for label, above in zip(TEMPLATE_HASHES, ("Deployment", "Rollout"), strict=True):
            if label in labels and name.endswith(f"-{labels[label]}"):
                return above, name.removesuffix(f"-{labels[label]}")
    return kind, name


async def _list(cluster: Cluster, path: str, unread: list[str], name: str, **query: str) -> list[Json]:
    """Empty where the cluster has no such kind, or the caller may not list it."""
    try:
        return (await cluster.list(path, **query))[0]
    except KubeError as error:
        if error.forbidden:
            unread.append(name)
        elif not error.missing:
            raise error.refusal() from error
        return []


async def _is_missing(cluster: Cluster, namespace: str) -> bool:
    try:
        await cluster.get(f"/api/v1/namespaces/{namespace}")
    except KubeError as error:
        return error.missing
    return False


# --- how it is ------------------------------------------------------------------------------------------------------


def _by_owner(pods: Iterable[Json], jobs: Iterable[Json]) -> dict[tuple[str, str], list[Json]]:
    """Pods by the kind and name of the workload that a user would name for them."""
    made_by = {job["metadata"]["name"]: controller(job) for job in jobs}
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for pod in pods:
        kind, name = _named_by(pod)
        found["Pod", pod["metadata"]["name"]].append(pod)
        if kind:
            found[kind, name].append(pod)
        if kind == "Job" and (above := made_by.get(name)):
            found[above["kind"], above["name"]].append(pod)
    return found


def _row(
    kind: names.Kind, body: Json, by_owner: dict[tuple[str, str], list[Json]], who: dict[str, list[str]]
) -> Row:
    name = body["metadata"]["name"]
    target = f"{kind.word}/{name}"
    pods = by_owner.get((_API_NAMES[kind], name), [])
    example = _example(kind, body, pods)
    spec, chosen = example["spec"], default_container(example)
    at_it = [*who.get(target, ()), *(one for pod in pods for one in _of_pod(kind, pod, who))]
    return Row(
        target=target,
        ready=_ready(kind, body, pods),
        containers=" ".join([chosen, *(one for one in containers(spec) if one != chosen)]),
        ports=" ".join(_ports(spec)),
        sessions=busy_with.named(sorted(at_it)),
    )


def _of_pod(kind: names.Kind, pod: Json, who: dict[str, list[str]]) -> Sequence[str]:
    """Who is at one pod of a workload by the pod's own name."""
    return () if kind is names.POD else who.get(f"pod/{pod['metadata']['name']}", ())


_API_NAMES = {
    names.POD: "Pod",
    names.DEPLOYMENT: "Deployment",
    names.STATEFULSET: "StatefulSet",
    names.DAEMONSET: "DaemonSet",
    names.REPLICASET: "ReplicaSet",
    names.JOB: "Job",
    names.CRONJOB: "CronJob",
    names.ROLLOUT: "Rollout",
}


def _example(kind: names.Kind, body: Json, pods: Sequence[Json]) -> Json:
    """A pod of it: one that is there, which knows what was injected, or else the template."""
    if pods:
        return pods[0]
    spec = body.get("spec") or {}
    if kind is names.CRONJOB:
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template") or {}
    return {"metadata": template.get("metadata") or {}, "spec": template.get("spec") or {}}


def _ready(kind: names.Kind, body: Json, pods: Sequence[Json]) -> str:
    alive = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")]
    ready = sum(condition(pod, "Ready").get("status") == "True" for pod in alive)
    spec, status = body.get("spec") or {}, body.get("status") or {}
    match kind:
        case names.DAEMONSET:
            wanted = status.get("desiredNumberScheduled", len(alive))
        case names.JOB | names.CRONJOB | names.POD:
            wanted = len(alive)
        case _:
            wanted = spec.get("replicas", len(alive))
    if not alive and kind in (names.JOB, names.POD):
        return "ended"
    text = f"{ready}/{wanted}"
    against = judge(alive[0]) if alive else None
    return f"{text} (not a target: {against.short})" if against else text


def _ports(spec: Json) -> list[str]:
    found = []
    for one in spec.get("containers") or ():
        for port in one.get("ports") or ():
            protocol = (port.get("protocol") or "TCP").lower()
            found.append(str(port["containerPort"]) + ("" if protocol == "tcp" else f"/{protocol}"))
    return list(dict.fromkeys(found))
