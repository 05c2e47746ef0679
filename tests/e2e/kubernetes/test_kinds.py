"""Every kind of target with every kind of agent: mirrored in, out as the pod, with its names and its environment; and
nothing is left.

The agents of all kinds work on one target at once, which is one more thing that they have to stand.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import Run

from . import bodies
from .installation import Standing
from .numbered import PORT, SERVER
from .scene import Images, Scene, accepting, container, pod_spec, service, wait_left, workload

KINDS = ("job", "daemonset", "ephemeral")

TARGETS = {
    "pod/alone": "alone",
    "deploy/cart": "cart",
    "sts/db": "db",
    "ds/each": "each",
    "rs/bare": "bare",
    "job/once": "once",
    "cronjob/tick": "tick",
    "rollout/argo": "argo",
    "svc/front": "cart",
    "label=app=cart": "cart",
}
"""What is said, and the label of the pods that are meant."""

SERVES = "export FROM_ENTRYPOINT='exported by the entrypoint'; exec python3 -c \"$0\""

APP = """
echo name=$(hostname)
echo env=$FROM_ENTRYPOINT
echo tcp=$(curl -s -m 20 http://peer:8080/)
echo udp=$(python3 /programs/probe.py udp_connected $PEER 1200)
echo dns=$(getent hosts kubernetes.default | cut -d' ' -f1)
exec python3 /programs/record.py --http 8080
"""


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[Scene]:
    """One workload of each kind, a peer, a client, and agents on every node."""
    name = f"mrt-kinds-{uuid.uuid4().hex[:6]}"
    cluster.apply(bodies.rollouts())
    try:
        cluster("wait", "--for=condition=Established", "crd/rollouts.argoproj.io", "--timeout=30s")
        cluster("create", "namespace", name)
        scene = Scene(cluster, name, images)
        furnish(scene)
        yield scene
        scene.close_runs()
        assert not wait_left(scene)
        cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
        cluster("delete", "namespace", name, "--wait=false")
    finally:
        cluster("delete", "crd", "rollouts.argoproj.io")


def furnish(scene: Scene) -> None:
    """All at once, and ready."""
    serves = ["sh", "-c", SERVES, SERVER]
    spec = pod_spec(container(scene.images.programs, serves, startupProbe=accepting(PORT)))
    once = spec | {"restartPolicy": "Never"}

    def batch(name: str) -> bodies.Json:
        return {"template": {"metadata": {"labels": {"app": name}}, "spec": once}}

    def pod(name: str) -> bodies.Json:
        metadata = {"name": name, "labels": {"app": name}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    tick = {"schedule": "0 0 31 2 *", "jobTemplate": {"spec": batch("tick")}}
    peer = container(scene.images.programs, ("python3", "/programs/server.py"), startupProbe=accepting(PORT))
    scene.apply(
        pod("alone"),
        pod("argo"),  # nobody's: there is no controller of rollouts here
        workload("Deployment", "cart", spec),
        workload("StatefulSet", "db", spec),
        workload("DaemonSet", "each", spec),
        workload("ReplicaSet", "bare", spec),
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": batch("once")},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": tick},
        bodies.rollout("argo", "argo"),
        service("front", {"http": PORT}, "cart"),
        workload("Deployment", "peer", pod_spec(peer)),
        service("peer", {"http": PORT}),
    )
    scene.kube("create", "job", "--from=cronjob/tick", "tick-by-hand")
    scene.client()
    for what in ("deployment/cart", "deployment/peer", "statefulset/db", "daemonset/each", "replicaset/bare"):
        scene.ready(what)
    for app in ("alone", "argo", "once", "tick"):
        scene.kube("wait", "--for=condition=Ready", "pod", "-l", f"app={app}", "--timeout=60s", patience=70)


@pytest.mark.parametrize("target", TARGETS)
def test_with_every_kind_of_agent(stage: Scene, target: str) -> None:
    peer = stage.address(stage.names("peer")[0])
    service = stage.inside("client", "getent", "hosts", "kubernetes.default").split()[0]
    runs = {kind: begun(stage, target, kind, peer) for kind in KINDS}
    for kind, run in runs.items():
        who = primary(run)
        told = dict(
            run.out.wait(lambda line: "=" in line, f"{kind}'s words").strip().split("=", 1) for _ in range(5)
        )
        assert told["name"] == who
        assert told["env"] == "exported by the entrypoint"
        assert told["tcp"] == stage.address(who)
        assert json.loads(told["udp"]) == [True, [peer, 7001]]
        assert told["dns"] == service
    pods = stage.names(TARGETS[target])
    for run in runs.values():
        run.said(f"({len(pods)} containers)" if len(pods) > 1 else ": mirroring 8080")
    for pod in pods:
        mark = f"/mark/{uuid.uuid4().hex[:8]}"
        url = f"http://{stage.address(pod)}:{PORT}{mark}"
        assert stage.inside("client", "curl", "-sS", "-m", "15", url) == f"{pod} {mark}\n"
        for run in runs.values():
            assert run.event(request=f"GET {mark} HTTP/1.1")["peer"][0] == stage.address("client")
    stage.close_runs()


def begun(scene: Scene, target: str, kind: str, peer: str) -> Run:
    agents = ("--agent", kind, *(() if kind == "daemonset" else ("--agent-image", scene.images.agent)))
    return scene.start(target, "sh", "-c", APP, options=(*agents, "-e", f"PEER={peer}"))


def primary(run: Run) -> str:
    """The pod that the first line names."""
    return run.said(" (pod ").split("(pod ")[1].split(",")[0]
