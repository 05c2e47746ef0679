"""One pod as a session sees it, and what stands against it."""

from __future__ import annotations

from typing import Any

import pytest

from runner.kube.pod import container_spec, containers, default_container, read, why_not_ready
from runner.kube.unfit import judge
from tests.runner.kube.memory import pod

Json = dict[str, Any]


def test_a_pod_that_runs() -> None:
    seen = read(pod("cart-1"), "web")
    assert (seen.namespace, seen.name, seen.uid, seen.node) == ("shop", "cart-1", "uid-cart-1", "n1")
    assert seen.container_id == "web-of-cart-1"
    assert seen.ready
    assert (seen.ending, seen.over, seen.unfit) == (False, False, "")


@pytest.mark.parametrize(
    ("kind", "name", "mesh"),
    [
        ("containers", "istio-proxy", "istio-proxy"),
        ("initContainers", "linkerd-proxy", "linkerd-proxy"),
        ("containers", "kuma-sidecar", "kuma-sidecar"),
        ("containers", "fluentd", ""),
    ],
)
def test_a_mesh_before_it_is_seen(kind: str, name: str, mesh: str) -> None:
    made = pod("cart-1")
    made["spec"].setdefault(kind, []).append({"name": name})
    assert read(made, "web").mesh == mesh


@pytest.mark.parametrize("runtime", ["containerd", "cri-o", "docker"])
def test_the_id_without_the_run_time_s_name(runtime: str) -> None:
    made = pod("a")
    made["status"]["containerStatuses"][0]["containerID"] = f"{runtime}://{'ab' * 32}"
    assert read(made, "web").container_id == "ab" * 32


def test_a_container_that_ended_has_no_id_although_the_kubelet_still_says_one() -> None:
    made = pod("a")
    made["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}
    seen = read(made, "web")
    assert (seen.container_id, seen.ready) == ("", False)


def test_a_pod_that_goes_and_one_that_is_over() -> None:
    assert read(pod("a", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}), "web").ending
    assert read(pod("a", status={"phase": "Failed", "reason": "Evicted"}), "web").over


def test_a_native_sidecar_can_be_meant_and_is_never_the_default() -> None:
    made = pod(
        "a", spec={"initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "setup"}]}
    )
    made["status"]["initContainerStatuses"] = [
        {"name": "proxy", "state": {"running": {}}, "containerID": "containerd://p", "started": True}
    ]
    assert containers(made["spec"]) == ["web", "proxy"]
    assert default_container(made) == "web"
    assert read(made, "proxy").container_id == "p"
    assert container_spec(made["spec"], "setup")["name"] == "setup"
    assert "has no container setup" in read(made, "setup").unfit


@pytest.mark.parametrize(
    ("names", "annotation", "chosen"),
    [
        (["web", "log"], "", "web"),
        (["istio-proxy", "web"], "", "web"),
        (["linkerd-proxy", "fluent-bit", "api", "web"], "", "api"),
        (["istio-proxy"], "", "istio-proxy"),
        (["web", "api"], "api", "api"),
        (["web", "api"], "no-such", "web"),
    ],
)
def test_the_default_container(names: list[str], annotation: str, chosen: str) -> None:
    notes = {"kubectl.kubernetes.io/default-container": annotation} if annotation else {}
    assert default_container(pod("a", containers=names, annotations=notes)) == chosen


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    return {
        "name": "web",
        "ready": False,
        "state": {"waiting": {"reason": reason, "message": message}},
        **more,
    }


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            pod(
                "a",
                ready=False,
                status={"containerStatuses": [waiting("ImagePullBackOff", "Back-off pulling x")]},
            ),
            "container web: ImagePullBackOff: Back-off pulling x",
        ),
        (
            pod(
                "a",
                ready=False,
                status={
                    "containerStatuses": [
                        waiting("CrashLoopBackOff", "back-off 10s", lastState={"terminated": {"exitCode": 3}})
                    ]
                },
            ),
            "container web: CrashLoopBackOff: it ended with code 3",
        ),
        (
            pod(
                "a",
                node="",
                ready=False,
                status={
                    "phase": "Pending",
                    "containerStatuses": [],
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/2 nodes are available: 2 Insufficient cpu.",
                        }
                    ],
                },
            ),
            "Unschedulable: 0/2 nodes are available: 2 Insufficient cpu.",
        ),
        (pod("a", ready=False), "container web runs and is not ready"),
        (pod("a", metadata={"deletionTimestamp": "now"}), "it is being deleted"),
        (
            pod("a", status={"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Evicted: low on memory",
        ),
        (pod("a", status={"phase": "Succeeded"}), "it has run to its end"),
        (
            pod(
                "a",
                ready=False,
                status={
                    "containerStatuses": [waiting("PodInitializing")],
                    "initContainerStatuses": [{"name": "migrate", "ready": False, "state": {"running": {}}}],
                },
            ),
            "init container migrate is still running",
        ),
    ],
)
def test_why_it_is_not_ready(made: Json, said: str) -> None:
    assert why_not_ready(made) == said


def node(labels: dict[str, str] | None = None, taints: list[Json] | None = None) -> Json:
    return {"metadata": {"name": "n", "labels": labels or {}}, "spec": {"taints": taints or []}}


@pytest.mark.parametrize(
    ("made", "beside", "why"),
    [
        (pod("a", spec={"hostNetwork": True}), None, "hostNetwork"),
        (pod("a", spec={"hostUsers": False}), None, "hostUsers: false"),
        (pod("a", spec={"os": {"name": "windows"}}), None, "Windows"),
        (pod("a", spec={"nodeSelector": {"kubernetes.io/os": "windows"}}), None, "Windows"),
        (pod("a"), node({"kubernetes.io/os": "windows"}), "Windows"),
        (pod("a"), node({"type": "virtual-kubelet"}), "(virtual-kubelet)"),
        (pod("a"), node(taints=[{"key": "virtual-kubelet.io/provider", "value": "azure"}]), "(azure)"),
        (pod("a"), node({"eks.amazonaws.com/compute-type": "fargate"}), "Fargate"),
        (pod("a", labels={"eks.amazonaws.com/fargate-profile": "p"}), None, "Fargate"),
        (pod("a", annotations={"kubernetes.io/config.mirror": "x"}), None, "static pod"),
        (pod("a", annotations={"kubernetes.io/config.source": "file"}), None, "static pod"),
        (pod("a", spec={"runtimeClassName": "kata-qemu"}), None, "sandbox"),
    ],
)
def test_what_stands_against_a_pod(made: Json, beside: Json | None, why: str) -> None:
    against = judge(made, beside)
    assert against is not None
    assert why in against.why
    assert against.instead


def test_what_does_not() -> None:
    tolerant = {"tolerations": [{"operator": "Exists"}], "hostUsers": True, "runtimeClassName": "runc"}
    fine = node({"kubernetes.io/os": "linux", "kubernetes.io/role": "agent"})
    assert judge(pod("a", spec=tolerant, annotations={"kubernetes.io/config.source": "api"}), fine) is None
