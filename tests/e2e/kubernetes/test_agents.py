"""Jobs with agents on a real cluster: what they serve, who follows them, and ends of which nobody takes care."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from links.handshake import greet
from links.link import CallFailed, LinkEnded
from runner.kube import manifests
from runner.kube.agents import FounderSays
from runner.kube.manifests import Marks
from runner.kube.pod import Pod
from runner.kube.portforward import forward
from tests.cluster.kubectl import Kubectl
from wire import messages as m

from .agents_stage import (
    Space,
    closed,
    connected,
    found,
    jobs,
    kill,
    nothing_left,
    serves,
    until_none,
    until_over,
)
from .scene import Images

ROOT = Path(__file__).resolve().parents[3]

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


# --- a Job's life ---------------------------------------------------------------------------------------------------


async def test_a_job_serves_its_pod_and_is_gone_with_the_session(space: Space, target: Pod) -> None:
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        await agents.prepare()
        agent = (await agents.agent_for([target]))[target.uid]
        assert agent.node == target.node
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
            pod = await cluster.get(f"/api/v1/namespaces/{space.name}/pods/{agent.pod}")
            job = await cluster.get(f"/apis/batch/v1/namespaces/{space.name}/jobs/{agent.key}")
            await link.close("the test is over")
        await agents.close()
        await nothing_left(cluster, agents, space.name)
    assert job["spec"].get("activeDeadlineSeconds") is None, "the deadline of its start was not lifted"
    assert pod["metadata"]["labels"]["mirror-run.dev/author"] == "anna-corp.example"
    assert pod["metadata"]["annotations"]["mirror-run.dev/author"] == "anna@corp.example"
    [container] = pod["spec"]["containers"]
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert not container.get("volumeMounts"), "no token of the API server's, and nothing else"
    assert agents.founder.secret.hex() not in json.dumps(pod)


async def test_it_enters_the_pods_it_was_made_for_and_no_other(space: Space, target: Pod) -> None:
    other = space.target("other", beside=target)
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        agent = (await agents.agent_for([target]))[target.uid]
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
            with pytest.raises(CallFailed, match="pod"):
                await link.call(m.Attach(0, 1, other.container_id, other.name))
        await agents.close()
        await nothing_left(cluster, agents, space.name)


async def test_a_wrong_secret_opens_nothing(space: Space, target: Pod) -> None:
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        agent = (await agents.agent_for([target]))[target.uid]
        async with await found(cluster, agents, agent) as link:
            await serves(link, target)
            mine = agents.founder
            agents.founder = FounderSays(mine.session, secrets.token_bytes(32))
            stream = await forward(cluster, agent.namespace, agent.pod, agent.port)
            hello = m.Hello(
                m.PROTOCOL,
                m.OLDEST_PROTOCOL,
                "test",
                int(m.LinkKind.CONTROL),
                mine.session,
                agents.founder.secret,
                founder=True,
            )
            with pytest.raises(LinkEnded, match="secret"):
                await greet(stream.reader, stream.writer, hello)
            stream.writer.close()
            await serves(link, target)
        await agents.close()


@pytest.mark.parametrize("how", ["deleted", "killed"])
async def test_an_agent_that_is_gone_has_a_successor(space: Space, target: Pod, how: str) -> None:
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        agent = (await agents.agent_for([target]))[target.uid]
        assert await agents.again(agent) == agent
        async with await found(cluster, agents, agent) as link:
            if how == "deleted":
                space.kubectl("-n", space.name, "delete", "pod", agent.pod, "--wait=false")
                await link.ended
            else:
                await asyncio.to_thread(kill, space, agents, agent, manifests.CONTAINER)
                await until_over(cluster, agent, manifests.CONTAINER)
        heir = await agents.again(agent)
        assert heir.pod != agent.pod
        async with await found(cluster, agents, heir) as link:
            await serves(link, target)
            await link.close("the test is over")
        await agents.close()
        await nothing_left(cluster, agents, space.name)


# --- ends of which nobody takes care --------------------------------------------------------------------------------

MAKES_ONE = """
import asyncio, json, sys
from pathlib import Path
from runner.kube.pod import Pod
from tests.cluster.kubectl import Kubectl
from tests.e2e.kubernetes import agents_stage as t

async def main(kubeconfig, name, image, target):
    space = t.Space(Kubectl("", Path(kubeconfig)), image, name)
    async with t.connected(space) as cluster:
        agents = t.jobs(cluster, space, ttl=1)
        await agents.prepare()
        agent = (await agents.agent_for([target]))[target.uid]
        async with await t.found(cluster, agents, agent, patience=1) as link:
            await t.serves(link, target)
            print(agents.founder.session, flush=True)
            await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:4], Pod(**json.loads(sys.argv[4]))))
"""


async def test_kill_9_of_who_made_it_leaves_nothing(space: Space, target: Pod) -> None:
    """Its agent grants the second of patience that the Hello asks for; a session's is 60."""
    words = {name: getattr(target, name) for name in Pod.__dataclass_fields__}
    command = [sys.executable, "-c", MAKES_ONE, str(space.kubectl.kubeconfig), space.name, space.image]
    command.append(json.dumps(words))
    runner = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=ROOT)
    assert runner.stdout is not None
    session = (await runner.stdout.readline()).decode().strip()
    assert session, "the process that plays the runner ended"
    runner.kill()
    await runner.wait()
    async with connected(space) as cluster:
        for path in (
            f"/apis/batch/v1/namespaces/{space.name}/jobs",
            f"/api/v1/namespaces/{space.name}/pods",
        ):
            await until_none(cluster, path, f"mirror-run.dev/session={session}")


async def test_one_that_nobody_came_to_leaves_nothing(
    space: Space, target: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "FIRST", 1)
    async with connected(space) as cluster, closed(jobs(cluster, space, ttl=1)) as agents:
        await agents.agent_for([target])
        await nothing_left(cluster, agents, space.name)


async def test_one_whose_image_never_comes_leaves_nothing(space: Space, target: Pod) -> None:
    """The runner was killed while the node looked for the image."""
    async with connected(space) as cluster, closed(jobs(cluster, space)) as agents:
        name = f"mirror-run-{agents.founder.session}-0"
        marks = Marks(agents.founder.session, "anna", "pod/cart")
        main = manifests.container(NOWHERE, [])
        made = manifests.job(name, target.node, main, marks, ttl=1, deadline=2)
        await cluster.create(f"/apis/batch/v1/namespaces/{space.name}/jobs", made)
        await nothing_left(cluster, agents, space.name)
