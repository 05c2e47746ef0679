"""Agents as ephemeral containers: one for each pod, none ever removed, and what the user is told about both."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube.agents import AgentWishes, FounderSays
from runner.kube.ephemeral import Ephemerals
from runner.kube.errors import of_answer
from runner.kube.pod import Pod

from .controllers import RUNNING, Controllers, Quiet, ended, waiting

IMAGE = "registry.example/mirror-run-agent:1"
PODS = "/api/v1/namespaces/shop/pods"


def pod(name: str) -> Pod:
    return Pod("shop", name, f"uid-{name}", "n1", "web", "ab" * 32, ready=True, ending=False)


class Stage:
    def __init__(self, **wishes: Any) -> None:
        self.cluster = Controllers()
        for name in ("a", "b"):
            meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
            self.cluster.objects[f"{PODS}/{name}"] = {"metadata": meta, "spec": {}, "status": {}}
        self.screen = Quiet()
        self.agents = Ephemerals(
            self.cluster,  # type: ignore[arg-type]
            "shop",
            AgentWishes(IMAGE, **wishes),
            FounderSays("5e55", bytes(32)),
            self.screen,
        )

    def added(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (path.split("/")[-2], one)
            for path, body in self.cluster.patched
            for one in body["spec"]["ephemeralContainers"]
        ]

    def state(self, name: str, agent: str, state: dict[str, Any]) -> None:
        for one in self.cluster.objects[f"{PODS}/{name}"]["status"]["ephemeralContainerStatuses"]:
            if one["name"] == agent:
                one["state"] = state


async def test_one_in_each_pod_that_sees_the_targets_container_and_that_pod_alone() -> None:
    stage = Stage()
    found = await stage.agents.agent_for([pod("a"), pod("b")])
    assert [(name, one["targetContainerName"]) for name, one in stage.added()] == [("a", "web"), ("b", "web")]
    for name, one in stage.added():
        arguments = one["args"]
        assert arguments[arguments.index("--pod-uid") + 1] == f"uid-{name}"
        assert arguments.count("--pod-uid") == 1
        assert "--beside" in arguments
        assert one["securityContext"]["capabilities"]["add"] == ["SYS_PTRACE", "NET_ADMIN", "NET_RAW"]
        assert found[f"uid-{name}"].key == one["name"]
        assert found[f"uid-{name}"].pod == name
        assert arguments[1] == str(found[f"uid-{name}"].port)
    assert await stage.agents.agent_for([pod("a"), pod("b")]) == found
    assert len(stage.added()) == 2


async def test_what_stays_is_said_once() -> None:
    stage = Stage()
    await stage.agents.agent_for([pod("a"), pod("b")])
    said = stage.screen.said
    assert "adds an ephemeral container with SYS_PTRACE, NET_ADMIN and NET_RAW to pod" in said
    assert said.count("Kubernetes keeps its entry, terminated, until the pod goes") == 1


async def test_a_port_that_somebody_in_the_pod_has_is_drawn_anew() -> None:
    stage = Stage()
    stage.cluster.states = [ended("agent: the agent cannot listen: Address already in use")]

    async def free_it() -> None:
        await stage.cluster.until(lambda: stage.cluster.patched)
        stage.cluster.states = [RUNNING]

    freeing = asyncio.create_task(free_it())
    found = await stage.agents.agent_for([pod("a")])
    await freeing
    assert len(stage.added()) >= 2
    assert found["uid-a"].key == stage.added()[-1][1]["name"]


async def test_pod_security_refuses_it() -> None:
    stage = Stage()

    def refuse(verb: str, path: str, body: Any) -> None:
        if verb == "patch":
            said = (
                b'{"kind":"Status","reason":"Forbidden","message":"pods \\"a\\" is forbidden: violates '
                b'PodSecurity \\"restricted:latest\\": unrestricted capabilities"}'
            )
            raise of_answer("PATCH", path, 403, said)

    stage.cluster.refuses = refuse
    with pytest.raises(Refusal, match='namespace shop enforces Pod Security "restricted"') as refusal:
        await stage.agents.agent_for([pod("a")])
    assert "an ephemeral container with SYS_PTRACE" in refusal.value.what


async def test_an_image_that_cannot_be_had() -> None:
    stage = Stage()
    stage.cluster.states = [waiting("ImagePullBackOff", "Back-off")]
    with pytest.raises(
        Refusal, match=f"pod a does not run: its image {IMAGE} cannot be had: ImagePullBackOff"
    ):
        await stage.agents.agent_for([pod("a")])


async def test_an_event_tells_it_before_the_status_does() -> None:
    """The kubelet writes the status of an ephemeral container that did not start at its next look, 10 s later."""
    stage = Stage()
    stage.cluster.states = []
    making = asyncio.create_task(stage.agents.agent_for([pod("a")]))
    await stage.cluster.until(lambda: stage.cluster.patched)
    for number, (uid, field) in enumerate([("uid-b", "x"), ("uid-a", "spec.containers{web}"), ("uid-a", "")]):
        name = stage.added()[0][1]["name"]
        about = {"uid": uid, "fieldPath": field or f"spec.ephemeralContainers{{{name}}}"}
        said = {"reason": "Failed", "message": f"Failed to pull image {number}"}
        body = {"metadata": {"name": f"e{number}"}, "involvedObject": about, **said}
        stage.cluster.put(f"/api/v1/namespaces/shop/events/e{number}", body)
    with pytest.raises(
        Refusal, match=f"its image {IMAGE} cannot be had: ErrImagePull: Failed to pull image 2"
    ):
        await making


async def test_rights_are_named() -> None:
    stage = Stage()
    stage.cluster.lacks = {"patch pods/ephemeralcontainers"}
    with pytest.raises(Refusal, match="you lack patch pods/ephemeralcontainers in namespace shop"):
        await stage.agents.prepare()


async def test_another_namespace_makes_no_sense() -> None:
    with pytest.raises(Refusal, match="in the target's own namespace, shop"):
        await Stage(namespace="tools").agents.prepare()


async def test_again_is_the_same_while_it_runs_and_another_when_it_has_ended() -> None:
    stage = Stage()
    agent = (await stage.agents.agent_for([pod("a")]))["uid-a"]
    assert await stage.agents.again(agent) == agent
    stage.state("a", agent.key, ended("killed", 137))
    first, second = await asyncio.gather(stage.agents.again(agent), stage.agents.again(agent))
    assert first == second != agent
    assert len(stage.added()) == 2
    assert await stage.agents.again(agent) == first


async def test_a_successor_that_failed_is_tried_anew() -> None:
    stage = Stage()
    agent = (await stage.agents.agent_for([pod("a")]))["uid-a"]
    stage.state("a", agent.key, ended("killed", 137))
    stage.cluster.states = [ended("no room")]
    with pytest.raises(Refusal, match="no room"):
        await stage.agents.again(agent)
    stage.cluster.states = [RUNNING]
    assert (await stage.agents.again(agent)).key == stage.added()[-1][1]["name"] != agent.key


async def test_again_in_a_pod_that_is_gone() -> None:
    stage = Stage()
    agent = (await stage.agents.agent_for([pod("a")]))["uid-a"]
    stage.cluster.remove(f"{PODS}/a")
    with pytest.raises(Refusal, match="pod a is gone, and its agent with it"):
        await stage.agents.again(agent)


async def test_pods_that_are_not_followed_any_more() -> None:
    stage = Stage()
    found = await stage.agents.agent_for([pod("a"), pod("b")])
    await stage.agents.keep(["uid-b"])
    with pytest.raises(Refusal, match="no pod that is still followed"):
        await stage.agents.again(found["uid-a"])
    assert await stage.agents.again(found["uid-b"]) == found["uid-b"]


async def test_a_pod_that_goes_while_the_container_is_coming() -> None:
    stage = Stage()
    stage.cluster.states = [waiting("ContainerCreating")]
    making = asyncio.create_task(stage.agents.agent_for([pod("a")]))
    await stage.cluster.until(lambda: stage.cluster.patched)
    stage.cluster.remove(f"{PODS}/a")
    with pytest.raises(Refusal, match="the pod is gone"):
        await making


async def test_the_end_waits_for_nothing_that_is_still_coming() -> None:
    stage = Stage()
    stage.cluster.states = [waiting("ContainerCreating")]
    making = asyncio.create_task(stage.agents.agent_for([pod("a")]))
    await stage.cluster.until(lambda: stage.cluster.patched)
    making.cancel()
    await stage.agents.close()
    assert stage.cluster.deleted == []
