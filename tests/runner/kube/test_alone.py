"""A session without a target: its own pod, made, found again when it is gone, and left by nobody."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube import manifests
from runner.kube.agents import AgentWishes, FounderSays
from runner.kube.alone import PLACE, Alone
from runner.kube.manifests import Marks

from .controllers import RUNNING, Controllers, Quiet

Json = dict[str, Any]

JOBS = "/apis/batch/v1/namespaces/shop/jobs"
PODS = "/api/v1/namespaces/shop/pods"


class WithNodes(Controllers):
    """Pods get a node, and their sidecars run as soon as the agent does."""

    version = "v1.35.4"

    def put(self, path: str, body: Json) -> None:
        if path.startswith(PODS):
            body["spec"]["nodeName"] = "n2"
            if RUNNING in [one["state"] for one in body["status"]["containerStatuses"]]:
                running = {"name": PLACE, "state": RUNNING, "containerID": f"containerd://{'ab' * 32}"}
                body["status"] |= {
                    "initContainerStatuses": [running],
                    "conditions": [{"type": "Ready", "status": "True"}],
                }
        super().put(path, body)

    async def list(self, path: str, **query: str) -> tuple[list[Json], str]:
        self.refuses("list", path, {})
        if path == "/api/v1/nodes":
            return [
                {"metadata": {"name": "n1"}, "spec": {"unschedulable": True}},
                {"metadata": {"name": "n2"}},
            ], "0"
        return [body for key, body in self.objects.items() if key.startswith(path)], str(len(self._history))


class Stage:
    def __init__(self) -> None:
        self.cluster = WithNodes()
        self.screen = Quiet()
        self.provided: list[list[str]] = []
        self.alone = Alone(
            self.cluster,  # type: ignore[arg-type]
            "shop",
            AgentWishes("registry.example/agent:1"),
            Marks("5e55", "anna", "targetless"),
            FounderSays("5e55", bytes(32)),
            self.screen,
            self._provide,
        )

    async def _provide(self, nodes: Collection[str]) -> None:
        self.provided.append(list(nodes))


async def test_its_pod_is_the_target() -> None:
    stage = Stage()
    await stage.alone.prepare()
    target = await stage.alone.target()
    (pod,) = target.pods
    assert (target.name, target.container, target.namespace) == ("targetless", PLACE, "shop")
    assert (pod.name, pod.node, pod.container_id) == ("mirror-run-5e55-0-abcde", "n2", "ab" * 32)
    assert pod.ready
    assert target.members.has(target.primary)
    agent = (await stage.alone.agent_for([pod]))[pod.uid]
    assert (agent.pod, agent.node, agent.namespace) == (pod.name, "n2", "shop")
    assert stage.provided == [["n2"]]
    assert "creates a pod with SYS_PTRACE, NET_ADMIN and NET_RAW in namespace shop" in stage.screen.said


async def test_what_the_pod_is() -> None:
    stage = Stage()
    await stage.alone.prepare()
    await stage.alone.target()
    spec = stage.cluster.objects[f"{JOBS}/mirror-run-5e55-0"]["spec"]["template"]["spec"]
    assert not {"hostPID", "nodeName", "tolerations", "dnsPolicy"} & spec.keys()
    assert not spec["hostNetwork"]
    assert spec["shareProcessNamespace"]
    (agent,), (place,) = spec["containers"], spec["initContainers"]
    assert agent["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": manifests.BESIDE}
    assert "SYS_ADMIN" not in manifests.BESIDE
    assert agent["args"][agent["args"].index("--pod-uid") + 1] == "$(POD_UID)"
    assert "--beside" in agent["args"]
    assert agent["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert place["restartPolicy"] == "Always"
    assert place["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert place["securityContext"]["runAsNonRoot"]


async def test_a_pod_that_is_gone_is_made_again_and_the_former_job_deleted() -> None:
    stage = Stage()
    await stage.alone.prepare()
    target = await stage.alone.target()
    before = (await stage.alone.agent_for(target.pods))[target.pods[0].uid]
    assert await stage.alone.again(before) == before, "it still runs"
    stage.cluster.remove(f"{PODS}/{before.pod}")
    after = await stage.alone.again(before)
    assert after.pod == "mirror-run-5e55-1-abcde"
    assert stage.cluster.jobs() == [after.key]
    assert await stage.alone.again(before) == after
    await stage.alone.close()
    assert stage.cluster.jobs() == []
    assert "could not be deleted" not in stage.screen.said


async def test_nothing_is_left_when_it_is_given_up_halfway() -> None:
    stage = Stage()
    stage.cluster.states = [{"waiting": {"reason": "ErrImagePull", "message": "no such image"}}]
    await stage.alone.prepare()
    with pytest.raises(Refusal, match="no such image"):
        await stage.alone.target()
    await stage.alone.close()
    assert stage.cluster.jobs() == []


async def test_what_it_needs_is_said_before_anything_is_made() -> None:
    stage = Stage()
    stage.cluster.lacks.add("create jobs.batch")
    with pytest.raises(Refusal, match=r"you lack create jobs.batch in namespace shop"):
        await stage.alone.prepare()
    stage.cluster.lacks.clear()
    stage.cluster.version = "v1.28.9"
    with pytest.raises(Refusal, match=r"needs Kubernetes 1.29"):
        await stage.alone.prepare()
    assert stage.cluster.objects == {}
