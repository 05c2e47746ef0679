"""Agents in ephemeral containers on a real cluster: what they serve, their ends, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube.pod import Pod
from runner.plan import AGENT_FILES_CAPABILITIES
from tests.cluster.kubectl import Kubectl

from .agents_stage import (
    Space,
    closed,
    connected,
    ephemerals,
    found,
    kill,
    serves,
    until_over,
)
from .scene import Images, Scene


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


# --- ephemeral containers -------------------------------------------------------------------------------------------


async def test_an_ephemeral_container_ends_by_itself_and_its_entry_stays(space: Space, target: Pod) -> None:
    async with connected(space) as cluster, closed(ephemerals(cluster, space)) as agents:
        await agents.prepare()
        agent = (await agents.agent_for([target]))[target.uid]
        assert (agent.pod, agent.namespace) == (target.name, space.name)
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
            await link.close("the test is over")
        await agents.close()
        over = await until_over(cluster, agent, agent.key)
    assert over["exitCode"] == 0


async def test_an_ephemeral_container_that_was_killed_has_a_successor(space: Space, target: Pod) -> None:
    async with connected(space) as cluster, closed(ephemerals(cluster, space)) as agents:
        agent = (await agents.agent_for([target]))[target.uid]
        async with await found(cluster, agents, agent):
            await asyncio.to_thread(kill, space, agents, agent, agent.key)
            await until_over(cluster, agent, agent.key)
        heir = await agents.again(agent)
        assert (heir.pod, heir.key != agent.key) == (target.name, True)
        async with await found(cluster, agents, heir) as link:
            await serves(link, target)
            await link.close("the test is over")
        await agents.close()
        await until_over(cluster, heir, heir.key)


def test_a_whole_session_without_any_right_over_the_node(scene: Scene, images: Images) -> None:
    """Mirror, outgoing, echo, name service, environment; the container has no SYS_ADMIN, runs as another user's."""
    peer = scene.pod("peer", ("python3", "/programs/server.py"))
    scene.wait_inside(peer, "nc", "-z", "127.0.0.1", "8080")
    scene.deployment("cart", env=[{"name": "GIVEN", "value": "yes"}])
    client = scene.client()
    options = ("--agent", "ephemeral", "--agent-image", images.agent)
    run = scene.record("deploy/cart", "8080", options=options)
    said = scene.inside(client, "curl", "-sS", f"http://{scene.address(scene.names('cart')[0])}:8080/seen")
    assert said
    seen = run.event(port=8080, end="eof")
    assert (seen["peer"][0], seen["head"].split()[1]) == (scene.address(client), "/seen")
    run.end()
    name, pod = scene.names("cart")[0], scene.pods("cart")[0]
    [added] = pod["spec"]["ephemeralContainers"]
    given = added["securityContext"]["capabilities"]["add"]
    assert given == ["SYS_PTRACE", "NET_ADMIN", "NET_RAW", *AGENT_FILES_CAPABILITIES], (
        "files are read by default"
    )
    for words in (
        ("banner", scene.address(peer)),
        ("udp_connected", scene.address(peer)),
        ("connect_error", "127.0.0.1", "7998"),
    ):
        assert scene.probe("deploy/cart", *words, options=options) == scene.probe_inside(
            "deploy/cart", *words
        )
    script = (
        "sh",
        "-c",
        f"hostname; echo $GIVEN; getent hosts cart; ping -c1 -W5 {scene.address(peer)} >/dev/null && echo echo",
    )
    app = scene.run("deploy/cart", *script, options=options).splitlines()
    assert app[:2] == [name, "yes"]
    assert app[-1] == "echo"
    over = scene.until(lambda pod: all("terminated" in one["state"] for one in _ephemeral(pod)), "pod", name)
    assert {one["state"]["terminated"]["exitCode"] for one in _ephemeral(over)} == {0}


def _ephemeral(pod: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod["status"]["ephemeralContainerStatuses"]
    return found


async def test_pod_security_refuses_an_ephemeral_container(make_space: Callable[[str], Space]) -> None:
    guarded = make_space("restricted")
    pod = guarded.target()
    async with connected(guarded) as cluster:
        with pytest.raises(Refusal, match=f'namespace {guarded.name} enforces Pod Security "restricted"'):
            await ephemerals(cluster, guarded).agent_for([pod])
