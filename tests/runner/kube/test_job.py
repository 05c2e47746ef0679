"""Jobs with agents: what is made and for whom, what a user is told when one does not run, and that nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from itertools import pairwise
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube import agent_start, job
from runner.kube.agents import PORTS, AgentWishes, FounderSays, Provide
from runner.kube.errors import KubeError, of_answer
from runner.kube.job import Jobs
from runner.kube.manifests import Marks
from runner.kube.pod import Pod
from runner.plan import AGENT_CAPABILITIES, AGENT_FILES_CAPABILITIES

from .controllers import RUNNING, Controllers, Quiet, ended, waiting

SECRET = bytes(range(32))
IMAGE = "registry.example/tools/mirror-run-agent:1"
JOBS = "/apis/batch/v1/namespaces/tools/jobs"
PODS = "/api/v1/namespaces/tools/pods"


def pod(name: str, node: str = "n1") -> Pod:
    return Pod("shop", name, f"uid-{name}", node, "web", "ab" * 32, ready=True, ending=False)


class Stage:
    def __init__(self, provide: Provide | None = None, **wishes: Any) -> None:
        self.cluster = Controllers()
        self.screen = Quiet()
        self.jobs = Jobs(
            self.cluster,  # type: ignore[arg-type]
            "tools",
            AgentWishes(IMAGE, **wishes),
            Marks("5e55", "anna@corp.example", "deploy/cart"),
            FounderSays("5e55", SECRET),
            self.screen,
            provide,
        )

    def arguments(self, name: str) -> list[str]:
        spec = self.cluster.objects[f"{JOBS}/{name}"]["spec"]["template"]["spec"]
        found: list[str] = spec["containers"][0]["args"]
        return found


def uids(arguments: list[str]) -> list[str]:
    return [value for word, value in pairwise(arguments) if word == "--pod-uid"]


async def test_one_job_for_each_node_pinned_to_the_pods_known_then() -> None:
    stage = Stage()
    found = await stage.jobs.agent_for([pod("a"), pod("b", "n2"), pod("c")])
    assert stage.cluster.jobs() == ["mirror-run-5e55-0", "mirror-run-5e55-1"]
    assert found["uid-a"] == found["uid-c"] != found["uid-b"]
    assert uids(stage.arguments("mirror-run-5e55-0")) == ["uid-a", "uid-c"]
    assert uids(stage.arguments("mirror-run-5e55-1")) == ["uid-b"]
    first = found["uid-a"]
    assert (first.node, first.namespace, first.pod) == ("n1", "tools", "mirror-run-5e55-0-abcde")
    assert first.port in PORTS
    assert stage.arguments(first.key)[:2] == ["--port", str(first.port)]
    assert (
        "creates a pod with hostPID, SYS_ADMIN, SYS_PTRACE, NET_ADMIN and NET_RAW in namespace tools on node n2"
        in stage.screen.said
    )


@pytest.mark.parametrize("files", [False, True])
async def test_what_files_need_is_asked_for_where_files_are_served(files: bool) -> None:
    stage = Stage(files=files)
    await stage.jobs.agent_for([pod("a")])
    spec = stage.cluster.objects[f"{JOBS}/mirror-run-5e55-0"]["spec"]["template"]["spec"]
    added = spec["containers"][0]["securityContext"]["capabilities"]["add"]
    assert added == AGENT_CAPABILITIES + AGENT_FILES_CAPABILITIES * files
    assert ("DAC_READ_SEARCH" in str(stage.screen.said)) == files


async def test_a_pod_that_comes_later_gets_a_job_of_its_own() -> None:
    stage = Stage()
    before = await stage.jobs.agent_for([pod("a")])
    after = await stage.jobs.agent_for([pod("a"), pod("b")])
    assert after["uid-a"] == before["uid-a"]
    assert uids(stage.arguments(after["uid-b"].key)) == ["uid-b"]


async def test_the_secret_is_shown_as_its_hash_alone() -> None:
    stage = Stage()
    await stage.jobs.prepare()
    await stage.jobs.agent_for([pod("a")])
    everything = repr(stage.cluster.created)
    assert hashlib.sha256(SECRET).hexdigest() in everything
    assert SECRET.hex() not in everything
    assert repr(SECRET) not in everything


async def test_the_nodes_are_provided_with_the_image_first() -> None:
    seen: list[tuple[list[str], list[str]]] = []

    async def provide(nodes: Collection[str]) -> None:
        seen.append((list(nodes), stage.cluster.jobs()))

    stage = Stage(provide)
    await stage.jobs.agent_for([pod("a", "n2")])
    assert seen == [(["n2"], [])]


async def test_a_deadline_until_it_runs_for_those_who_may_lift_it() -> None:
    stage = Stage()
    await stage.jobs.prepare()
    await stage.jobs.agent_for([pod("a")])
    made = stage.cluster.created[-1][1]
    assert made["spec"]["activeDeadlineSeconds"] == 300
    assert stage.cluster.patched == [(f"{JOBS}/mirror-run-5e55-0", {"spec": {"activeDeadlineSeconds": None}})]


async def test_no_deadline_for_those_who_may_not() -> None:
    stage = Stage()
    stage.cluster.lacks = {"patch jobs.batch"}
    await stage.jobs.prepare()
    await stage.jobs.agent_for([pod("a")])
    assert "activeDeadlineSeconds" not in stage.cluster.created[-1][1]["spec"]
    assert stage.cluster.patched == []


# --- refusals -------------------------------------------------------------------------------------------------------


async def test_missing_rights_are_named_all_at_once() -> None:
    stage = Stage()
    stage.cluster.lacks = {"create jobs.batch", "create pods/portforward"}
    with pytest.raises(Refusal) as refusal:
        await stage.jobs.prepare()
    assert refusal.value.what == (
        "you lack create jobs.batch, create pods/portforward in namespace tools, "
        "which agents made for a session need"
    )
    assert "mirror-run install" in refusal.value.next_step
    assert stage.cluster.objects == {}


async def test_pod_security_is_asked_with_a_pod_that_is_only_tried() -> None:
    stage = Stage()
    said = (
        b'{"kind":"Status","reason":"Forbidden","message":"pods \\"x\\" is forbidden: violates PodSecurity '
        b'\\"baseline:latest\\": host namespaces (hostPID=true)"}'
    )

    def refuse(verb: str, path: str, body: Any) -> None:
        if (verb, path) == ("create", PODS):
            raise of_answer("POST", path, 403, said)

    stage.cluster.refuses = refuse
    with pytest.raises(Refusal) as refusal:
        await stage.jobs.prepare()
    assert refusal.value.what.startswith('namespace tools enforces Pod Security "baseline"')
    assert "--agent-namespace" in refusal.value.next_step
    assert "mirror-run install" in refusal.value.next_step
    [(_, tried, query)] = stage.cluster.created
    assert query == {"dryRun": "All"}
    assert (tried["kind"], tried["spec"]["hostPID"]) == ("Pod", True)


async def test_who_may_make_jobs_but_no_pods_is_not_refused_by_the_trial() -> None:
    stage = Stage()

    def refuse(verb: str, path: str, body: Any) -> None:
        if (verb, path) == ("create", PODS):
            raise of_answer(
                "POST",
                path,
                403,
                b'{"kind":"Status","message":"pods is forbidden: User \\"anna\\" cannot create resource '
                b'\\"pods\\" in API group \\"\\" in the namespace \\"tools\\""}',
            )

    stage.cluster.refuses = refuse
    await stage.jobs.prepare()


async def test_the_jobs_controller_was_refused_a_pod() -> None:
    stage = Stage()
    stage.cluster.makes_pods = False
    stage.cluster.events = [
        {
            "reason": "FailedCreate",
            "message": 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPID',
        }
    ]
    with pytest.raises(Refusal, match='enforces Pod Security "restricted"'):
        await stage.jobs.agent_for([pod("a")])
    assert stage.cluster.jobs() == []


async def test_a_failure_that_passes_is_waited_for() -> None:
    stage = Stage()
    stage.cluster.events = [
        {"reason": "FailedCreate", "message": "Error creating: etcdserver: leader changed"}
    ]
    assert await stage.jobs.agent_for([pod("a")])


async def test_events_that_are_not_ours_to_see_are_done_without() -> None:
    stage = Stage()

    def refuse(verb: str, path: str, body: Any) -> None:
        if verb == "watch" and path.endswith("/events"):
            raise KubeError(403, "Forbidden", "you may not watch events")

    stage.cluster.refuses = refuse
    assert await stage.jobs.agent_for([pod("a")])


async def test_an_image_that_cannot_be_had() -> None:
    stage = Stage(pull_secrets=("ours",))
    stage.cluster.states = [
        waiting("ContainerCreating"),
        waiting("ErrImagePull", "failed to resolve\n reference"),
    ]
    with pytest.raises(Refusal) as refusal:
        await stage.jobs.agent_for([pod("a")])
    assert refusal.value.what == (
        f"the agent on node n1 does not run: its image {IMAGE} cannot be had: "
        "ErrImagePull: failed to resolve reference"
    )
    assert "pull secret ours" in refusal.value.next_step
    assert stage.cluster.jobs() == []


async def test_an_agent_that_ends_at_once_is_quoted() -> None:
    stage = Stage()
    stage.cluster.states = [ended("agent: the agent's container lacks CAP_SYS_ADMIN\n")]
    with pytest.raises(Refusal, match=r"the agent ended \(Error, code 1\): agent: .* lacks CAP_SYS_ADMIN"):
        await stage.jobs.agent_for([pod("a")])


async def test_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_start, "QUIET", 0.01)
    stage = Stage()
    stage.cluster.states = [waiting("ContainerCreating")]
    made = stage.cluster.objects.setdefault(f"{JOBS}/x", {"metadata": {"name": "x"}})
    made["metadata"] |= {"namespace": "tools", "uid": "u"}
    made["spec"] = {
        "template": {"metadata": {"labels": {"mirror-run.dev/job": "x"}}, "spec": {"nodeName": "n1"}}
    }
    made["spec"]["template"]["spec"]["containers"] = [{"image": IMAGE}]
    stage.cluster._job(made)
    with pytest.raises(Refusal, match=r"node n1 does not run after 0 s: ContainerCreating"):
        await agent_start.pod_of_job(stage.cluster, made, stage.screen.step, within=0.1)  # type: ignore[arg-type]
    assert "waiting for the agent on node n1: ContainerCreating" in stage.screen.said


async def test_a_node_that_is_full() -> None:
    stage = Stage()
    stage.cluster.makes_pods = False

    async def refuse_it() -> None:
        await stage.cluster.until(stage.cluster.jobs)
        stage.cluster.put(
            f"{PODS}/p",
            {
                "metadata": {"name": "p", "labels": {"mirror-run.dev/job": "mirror-run-5e55-0"}},
                "spec": {},
                "status": {"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough cpu"},
            },
        )

    refusing = asyncio.create_task(refuse_it())
    with pytest.raises(Refusal, match="OutOfcpu: Node didn't have enough cpu") as refusal:
        await stage.jobs.agent_for([pod("a")])
    assert "full" in refusal.value.next_step
    await refusing


async def test_what_failed_may_be_tried_anew() -> None:
    stage = Stage()
    stage.cluster.states = [ended("once")]
    with pytest.raises(Refusal):
        await stage.jobs.agent_for([pod("a")])
    stage.cluster.states = [RUNNING]
    assert "uid-a" in await stage.jobs.agent_for([pod("a")])


# --- lives ----------------------------------------------------------------------------------------------------------


async def test_an_agent_that_still_runs_is_its_own_successor() -> None:
    stage = Stage()
    agent = (await stage.jobs.agent_for([pod("a")]))["uid-a"]
    assert await stage.jobs.again(agent) == agent
    assert stage.cluster.jobs() == [agent.key]


@pytest.mark.parametrize("how", ["deleted", "ended"])
async def test_one_that_is_gone_has_one_successor_however_many_ask(how: str) -> None:
    stage = Stage()
    agent = (await stage.jobs.agent_for([pod("a"), pod("b")]))["uid-a"]
    path = f"{PODS}/{agent.pod}"
    if how == "deleted":
        stage.cluster.remove(path)
    else:
        stage.cluster.objects[path]["status"]["containerStatuses"][0]["state"] = ended("killed", 137)
    first, second = await asyncio.gather(stage.jobs.again(agent), stage.jobs.again(agent))
    assert first == second != agent
    assert stage.cluster.jobs() == [first.key]
    assert uids(stage.arguments(first.key)) == ["uid-a", "uid-b"]
    assert (await stage.jobs.agent_for([pod("a")]))["uid-a"] == first


async def test_a_successor_that_failed_is_tried_anew() -> None:
    stage = Stage()
    agent = (await stage.jobs.agent_for([pod("a")]))["uid-a"]
    stage.cluster.remove(f"{PODS}/{agent.pod}")
    stage.cluster.states = [ended("no room")]
    with pytest.raises(Refusal, match="no room"):
        await stage.jobs.again(agent)
    stage.cluster.states = [RUNNING]
    heir = await stage.jobs.again(agent)
    assert stage.cluster.jobs() == [heir.key]


async def test_who_waits_for_an_agent_is_not_cancelled_when_its_pod_goes() -> None:
    stage = Stage()
    stage.cluster.states = [waiting("ContainerCreating")]
    waits = asyncio.create_task(stage.jobs.agent_for([pod("a")]))
    await stage.cluster.until(stage.cluster.jobs)
    await stage.jobs.keep([])
    with pytest.raises(Refusal, match="not followed any more"):
        await waits
    assert stage.cluster.jobs() == []


async def test_jobs_that_no_pod_needs_are_ended() -> None:
    stage = Stage()
    found = await stage.jobs.agent_for([pod("a"), pod("b"), pod("c", "n2")])
    await stage.jobs.keep(["uid-b", "uid-c"])
    assert len(stage.cluster.jobs()) == 2
    await stage.jobs.keep(["uid-c"])
    assert stage.cluster.jobs() == [found["uid-c"].key]
    with pytest.raises(Refusal, match="no pod that is still followed"):
        await stage.jobs.again(found["uid-a"])


async def test_a_pod_that_went_and_came_back_gets_an_agent_again() -> None:
    stage = Stage()
    before = await stage.jobs.agent_for([pod("a")])
    await stage.jobs.keep([])
    after = await stage.jobs.agent_for([pod("a")])
    assert stage.cluster.jobs() == [after["uid-a"].key] != [before["uid-a"].key]


async def test_the_end_deletes_all_with_their_pods() -> None:
    stage = Stage()
    await stage.jobs.agent_for([pod("a"), pod("b", "n2")])
    await stage.jobs.close()
    assert stage.cluster.objects == {}
    assert {query["propagationPolicy"] for _, query in stage.cluster.deleted} == {"Background"}
    assert "could not be deleted" not in stage.screen.said


async def test_the_end_while_one_is_being_made() -> None:
    stage = Stage()
    stage.cluster.states = [waiting("ContainerCreating")]
    making = asyncio.create_task(stage.jobs.agent_for([pod("a")]))
    await stage.cluster.until(stage.cluster.jobs)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    await stage.jobs.close()
    assert stage.cluster.jobs() == []


async def test_the_end_before_the_answer_to_create() -> None:
    """A request that was sent is carried out, whoever waits for its answer."""
    stage = Stage()
    stage.cluster.held = asyncio.Event()
    making = asyncio.create_task(stage.jobs.agent_for([pod("a")]))
    await stage.cluster.until(lambda: stage.cluster.created)
    making.cancel()
    closing = asyncio.create_task(stage.jobs.close())
    done, _ = await asyncio.wait([closing], timeout=0.05)
    assert not done, "it did not wait to see what the API server makes of it"
    stage.cluster.held.set()
    await closing
    assert stage.cluster.jobs() == []


async def test_an_api_server_that_does_not_answer_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "CLOSED_WITHIN", 0.05)
    stage = Stage()
    stage.cluster.held = asyncio.Event()
    making = asyncio.create_task(stage.jobs.agent_for([pod("a")]))
    await stage.cluster.until(lambda: stage.cluster.created)
    making.cancel()
    await stage.jobs.close()
    assert "job mirror-run-5e55-0 in namespace tools could not be deleted" in stage.screen.said


async def test_an_end_that_cannot_delete_says_so() -> None:
    stage = Stage()
    await stage.jobs.agent_for([pod("a")])

    def refuse(verb: str, path: str, body: Any) -> None:
        if verb == "delete":
            raise KubeError(0, "", "the API server cannot be reached")

    stage.cluster.refuses = refuse
    await stage.jobs.close()
    assert "job mirror-run-5e55-0 in namespace tools could not be deleted" in stage.screen.said
