"""Who may not make an agent, and where one does not run: told at once, in words that say what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from runner.errors import Refusal
from runner.kube import agent_rights
from runner.kube.pod import Pod
from tests.cluster.kubectl import Kubectl

from .agents_stage import (
    Space,
    closed,
    connected,
    ephemerals,
    found,
    jobs,
    nothing_left,
    serves,
)
from .scene import Images

TOLD_WITHIN = 10.0
"""Seconds until a user knows that an image cannot be had. The kubelet says it after one attempt."""

NOWHERE = "127.0.0.1:9/tools/mirror-run-agent:1"
"""A registry that no node has."""


@pytest.fixture(scope="module")
def space(cluster: Kubectl, images: Images) -> Iterator[Space]:
    made = Space.made(cluster, images.agent)
    yield made
    made.close()


@pytest.fixture(scope="module")
def target(space: Space) -> Pod:
    return space.target()


@pytest.fixture
def make_space(cluster: Kubectl, images: Images) -> Iterator[Callable[[str], Space]]:
    """Namespaces of any Pod Security level, for one test."""
    made: list[Space] = []

    def make(level: str) -> Space:
        made.append(Space.made(cluster, images.agent, level))
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "reason"), [(NOWHERE, "ErrImagePull"), ("mirror-run/agent:none", "ErrImageNeverPull")]
)
@pytest.mark.parametrize("kind", ["job", "ephemeral"])
async def test_an_image_that_cannot_be_had_is_told_at_once(
    space: Space, target: Pod, reference: str, reason: str, kind: str
) -> None:
    async with (
        connected(space) as cluster,
        closed((jobs if kind == "job" else ephemerals)(cluster, space, reference)) as agents,
    ):
        await agents.prepare()
        began = time.monotonic()
        with pytest.raises(Refusal) as refusal:
            await agents.agent_for([target])
        took = time.monotonic() - began
        await agents.close()
        if kind == "job":
            await nothing_left(cluster, agents, space.name)
    assert took < TOLD_WITHIN
    assert reference in refusal.value.what
    assert reason in refusal.value.what
    assert (target.node if kind == "job" else target.name) in refusal.value.what
    assert "mirror-run images push" in refusal.value.next_step


@pytest.mark.parametrize("level", ["baseline", "restricted"])
async def test_pod_security_is_told_before_anything_is_made(
    make_space: Callable[[str], Space], level: str
) -> None:
    guarded = make_space(level)
    async with connected(guarded) as cluster, closed(jobs(cluster, guarded)) as agents:
        with pytest.raises(Refusal) as refusal:
            await agents.prepare()
        made, _ = await cluster.list(f"/apis/batch/v1/namespaces/{guarded.name}/jobs")
    assert refusal.value.what.startswith(f'namespace {guarded.name} enforces Pod Security "{level}"')
    assert "--agent-namespace" in refusal.value.next_step
    assert "mirror-run install" in refusal.value.next_step
    assert made == []


async def test_pod_security_is_told_to_those_who_may_make_no_pods(make_space: Callable[[str], Space]) -> None:
    """They cannot try one; the Job's controller is refused, and says so in an event."""
    guarded = make_space("restricted")
    pod = guarded.target()
    guarded.bind("agents-bea", [*agent_rights.JOB, agent_rights.READ_EVENTS])
    async with connected(guarded, "agents-bea") as cluster, closed(jobs(cluster, guarded)) as agents:
        await agents.prepare()
        with pytest.raises(Refusal, match=f'namespace {guarded.name} enforces Pod Security "restricted"'):
            await agents.agent_for([pod])
    async with connected(guarded) as cluster:
        await nothing_left(cluster, agents, guarded.name)


async def test_a_guarded_target_with_its_agent_elsewhere(
    space: Space, make_space: Callable[[str], Space]
) -> None:
    guarded = make_space("restricted")
    pod = guarded.target("guarded")
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        await agents.prepare()
        agent = (await agents.agent_for([pod]))[pod.uid]
        assert agent.namespace == space.name
        async with await found(cluster, agents, agent) as link:
            await serves(link, pod)
        await agents.close()
        await nothing_left(cluster, agents, space.name)


async def test_a_quota_without_room(make_space: Callable[[str], Space]) -> None:
    small = make_space("privileged")
    spec = {"hard": {"pods": "0"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}
    small.kubectl.apply(quota, namespace=small.name)
    small.kubectl("-n", small.name, "wait", "--for=jsonpath={.status.hard.pods}=0", "resourcequota/few")
    async with connected(small) as cluster:
        with pytest.raises(Refusal, match=f"quota few of namespace {small.name} has no room"):
            await jobs(cluster, small).prepare()


# --- rights ---------------------------------------------------------------------------------------------------------


async def test_a_user_without_rights_is_told_all_that_is_missing(space: Space) -> None:
    async with connected(space, "agents-nobody") as cluster:
        with pytest.raises(Refusal) as by_job:
            await jobs(cluster, space).prepare()
        with pytest.raises(Refusal) as by_ephemeral:
            await ephemerals(cluster, space).prepare()
    for right in agent_rights.JOB:
        assert str(right) in by_job.value.what
    for right in agent_rights.EPHEMERAL:
        assert str(right) in by_ephemeral.value.what


async def test_the_rights_that_are_asked_for_are_enough_for_a_job(space: Space, target: Pod) -> None:
    space.bind("agents-carl", agent_rights.JOB)
    async with connected(space, "agents-carl") as cluster, closed(jobs(cluster, space)) as agents:
        await agents.prepare()
        agent = (await agents.agent_for([target]))[target.uid]
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
        assert await agents.again(agent) == agent
        await agents.close()
    async with connected(space) as cluster:
        await nothing_left(cluster, agents, space.name)


async def test_the_rights_that_are_asked_for_are_enough_for_an_ephemeral_container(
    space: Space, target: Pod
) -> None:
    space.bind("agents-dora", agent_rights.EPHEMERAL)
    async with connected(space, "agents-dora") as cluster, closed(ephemerals(cluster, space)) as agents:
        await agents.prepare()
        agent = (await agents.agent_for([target]))[target.uid]
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
            await link.close("the test is over")
