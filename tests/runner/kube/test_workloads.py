"""Targets of every kind resolved against a cluster in memory, and what is said when there is no such thing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube.names import understood
from runner.kube.workloads import KubeTarget, resolve
from tests.runner.kube.memory import Memory, owner, path, pod, workload

Json = dict[str, Any]


class Talk:
    """Resolving, and what was said on the way."""

    def __init__(self, cluster: Memory) -> None:
        self.cluster = cluster
        self.said: list[str] = []
        self.heard = asyncio.Event()

    def say(self, text: str) -> None:
        self.said.append(text)
        self.heard.set()

    async def resolve(self, text: str, timeout: float = 5.0, **options: Any) -> KubeTarget:
        wanted = understood(text, **options)
        return await resolve(self.cluster, wanted, self.say, timeout)  # type: ignore[arg-type]

    async def refused(self, text: str, timeout: float = 5.0, **options: Any) -> tuple[str, str]:
        with pytest.raises(Refusal) as refusal:
            await self.resolve(text, timeout, **options)
        assert refusal.value.next_step
        return refusal.value.what, refusal.value.next_step


@pytest.fixture
def cluster() -> Memory:
    made = Memory()
    made.put("/api/v1/namespaces/shop", {"metadata": {"name": "shop"}})
    return made


@pytest.fixture
def talk(cluster: Memory) -> Talk:
    return Talk(cluster)


def replicas(cluster: Memory, *names: str, of: str = "cart", **more: Any) -> None:
    """A deployment's pods as its controllers make them."""
    labels = {"app": "cart", "pod-template-hash": "5f"}
    for name in names:
        made = pod(name, labels=labels, owner=owner("ReplicaSet", f"{of}-5f", "uid-rs"), **more)
        cluster.put(path("pod", name), made)


async def test_a_deployment_and_its_pods_the_longest_ready_first(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    replicas(cluster, "cart-new", since="2026-01-02T00:00:00Z")
    replicas(cluster, "cart-old", since="2026-01-01T00:00:00Z")
    replicas(cluster, "cart-unready", ready=False)
    replicas(cluster, "cart-going", metadata={"deletionTimestamp": "2026-01-02T00:00:00Z"})
    found = await talk.resolve("deployments/cart")
    assert (found.name, found.namespace, found.kind, found.container) == (
        "deploy/cart",
        "shop",
        "deploy",
        "web",
    )
    assert [one.name for one in found.pods] == ["cart-old", "cart-new"]
    assert found.selector == "app=cart"
    assert found.primary["metadata"]["name"] == "cart-old"
    assert found.spec["containers"][0]["name"] == "web"


async def test_a_canary_s_pods_are_not_the_deployment_s(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    replicas(cluster, "cart-1")
    replicas(cluster, "canary-1", of="cart-canary")
    assert [one.name for one in (await talk.resolve("deploy/cart")).pods] == ["cart-1"]
    both = await talk.resolve("", selector="app in (cart,other)")
    assert [one.name for one in both.pods] == ["canary-1", "cart-1"]
    assert both.name == "-l app in (cart,other)"


@pytest.mark.parametrize(
    ("kind", "controller"),
    [("sts", "StatefulSet"), ("ds", "DaemonSet"), ("rs", "ReplicaSet"), ("job", "Job")],
)
async def test_what_controls_its_pods_itself(cluster: Memory, talk: Talk, kind: str, controller: str) -> None:
    cluster.put(path(kind, "cart"), workload("cart"))
    cluster.put(path("pod", "mine"), pod("mine", owner=owner(controller, "cart", "u")))
    cluster.put(path("pod", "other"), pod("other", owner=owner(controller, "cart-2", "u")))
    found = await talk.resolve(f"{kind}/cart")
    assert [one.name for one in found.pods] == ["mine"]
    assert found.name == f"{kind}/cart"


async def test_a_service_s_pods_whoever_made_them(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("svc", "front"), workload("front", selector={"app": "cart"}))
    replicas(cluster, "cart-1")
    cluster.put(path("pod", "alone"), pod("alone"))
    assert [one.name for one in (await talk.resolve("svc/front")).pods] == ["alone", "cart-1"]


async def test_services_without_pods_of_their_own(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("svc", "manual"), workload("manual", selector=None))
    cluster.put(path("svc", "far"), workload("far", type="ExternalName", externalName="db.example"))
    assert "no selector" in (await talk.refused("svc/manual"))[0]
    assert "db.example" in (await talk.refused("svc/far"))[0]


async def test_a_cron_job_s_newest_job_and_later_ones(cluster: Memory, talk: Talk) -> None:
    made = workload("tick", schedule="* * * * *", selector=None)
    cluster.put(path("cronjob", "tick"), made)
    for job, when in (("tick-29000001", "2026-01-01T00:01:00Z"), ("tick-29000002", "2026-01-01T00:02:00Z")):
        body = workload(job)
        body["metadata"] |= {
            "creationTimestamp": when,
            "ownerReferences": [owner("CronJob", "tick", "uid-of-tick")],
        }
        cluster.put(path("job", job), body)
        cluster.put(
            path("pod", f"{job}-x"), pod(f"{job}-x", labels={"job-name": job}, owner=owner("Job", job, "u"))
        )
    cluster.put(path("pod", "strange"), pod("strange", labels={"job-name": "tick-by-hand"}))
    found = await talk.resolve("cj/tick")
    assert [one.name for one in found.pods] == ["tick-29000002-x"]
    assert found.members.has(pod("later", labels={"job-name": "tick-29000003"}))
    assert not found.members.has(pod("sooner", labels={"job-name": "tick-29000001"}))


async def test_a_cron_job_that_has_not_run(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("cronjob", "tick"), workload("tick", schedule="0 3 * * *", suspend=True))
    what, then = await talk.refused("cronjob/tick", timeout=0.02)
    assert "no job yet (schedule '0 3 * * *'), and is suspended" in what
    assert "create job --from=cronjob/tick tick-now" in then


async def test_a_rollout(cluster: Memory, talk: Talk) -> None:
    what, _ = await talk.refused("rollout/cart")
    assert "Argo Rollouts" in what
    cluster.absent.clear()
    what, _ = await talk.refused("rollout/cart")
    assert "there is no rollout/cart" in what
    body = workload("cart", selector=None, workloadRef={"kind": "Deployment", "name": "cart"})
    body["status"]["selector"] = "app=cart"
    cluster.put(path("rollout", "cart"), body)
    cluster.put(path("deploy", "cart"), workload("cart"))
    replicas(cluster, "cart-1")
    assert [one.name for one in (await talk.resolve("rollout/cart")).pods] == ["cart-1"]
    assert (await talk.resolve("cart")).name == "rollout/cart"


async def test_targetless(talk: Talk) -> None:
    found = await talk.resolve("targetless", namespace="other")
    assert (found.name, found.namespace, found.pods) == ("targetless", "other", ())


async def test_one_pod_of_a_deployment(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    replicas(cluster, "cart-1", "cart-2")
    found = await talk.resolve("deploy/cart", pod="cart-2")
    assert [one.name for one in found.pods] == ["cart-2"]
    assert found.name == "deploy/cart"
    what, then = await talk.refused("deploy/cart", pod="cart-3")
    assert "there is no pod cart-3 of deploy/cart" in what
    assert "cart-1, cart-2" in then
    assert (await talk.resolve("", pod="cart-1")).name == "pod/cart-1"


# --- bare names -----------------------------------------------------------------------------------------------------


async def test_a_bare_name_with_one_meaning_is_taken_and_said(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    cluster.put(path("svc", "cart"), workload("cart", selector={"app": "cart"}))  # the deployment's own pods
    body = workload("cart")
    body["metadata"] |= {"uid": "uid-rs", "ownerReferences": [owner("Deployment", "cart", "uid-of-cart")]}
    cluster.put(path("rs", "cart"), body)
    replicas(cluster, "cart-1")
    assert (await talk.resolve("cart")).name == "deploy/cart"
    assert "cart is deploy/cart" in talk.said


async def test_a_bare_name_with_two_meanings_is_refused_with_both(cluster: Memory, talk: Talk) -> None:
    for kind in ("deploy", "sts"):
        body = workload("cart")
        body["metadata"]["uid"] = f"uid-{kind}"
        cluster.put(path(kind, "cart"), body)
    cluster.put(path("svc", "cart"), workload("cart", selector={"app": "another"}))
    what, then = await talk.refused("cart")
    assert "ambiguous" in what
    assert then == "name deploy/cart or sts/cart or svc/cart"


async def test_a_bare_name_where_some_kinds_may_not_be_read(cluster: Memory, talk: Talk) -> None:
    cluster.forbidden |= {"jobs", "cronjobs", "services", "nodes"}
    cluster.put(path("deploy", "cart"), workload("cart"))
    replicas(cluster, "cart-1")
    assert (await talk.resolve("cart")).name == "deploy/cart"


# --- what is not there ----------------------------------------------------------------------------------------------


async def test_what_was_perhaps_meant(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    cluster.put(path("sts", "cart-db"), workload("cart-db"))
    what, then = await talk.refused("deploy/cat")
    assert what == "there is no deploy/cat in namespace shop"
    assert "did you mean deploy/cart" in then
    assert "deploy/cart" in (await talk.refused("sts/cart"))[1]
    assert "there are deploy/cart, sts/cart-db; -n names another" in (await talk.refused("deploy/zebra"))[1]
    cluster.put(path("deploy", "cat", "zoo"), workload("cat", "zoo"))
    assert (await talk.refused("deploy/cat"))[1] == (
        "did you mean deploy/cart or sts/cart-db? deploy/cat is in namespace zoo: -n zoo"
    )


async def test_it_is_in_another_namespace(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "zebra", "zoo"), workload("zebra", "zoo"))
    what, then = await talk.refused("deploy/zebra")
    assert "in namespace shop" in what
    assert "deploy/zebra is in namespace zoo: -n zoo" in then
    what, then = await talk.refused("zebra", namespace="no-such")
    assert "no namespace no-such in context test" in what
    assert "-n zoo" in then


async def test_a_right_that_is_missing_is_said_as_such(cluster: Memory, talk: Talk) -> None:
    cluster.forbidden.add("deployments")
    what, _ = await talk.refused("deploy/cart")
    assert "you may not get deployments.apps in namespace shop" in what


# --- not ready, not fit ---------------------------------------------------------------------------------------------


async def test_waits_for_the_first_ready_pod_and_says_why(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    waiting = asyncio.create_task(talk.resolve("deploy/cart", timeout=30))
    await talk.heard.wait()
    assert "waiting for a ready pod of deploy/cart: it has no pods" in talk.said
    talk.heard.clear()
    replicas(cluster, "cart-1", ready=False)
    await talk.heard.wait()
    assert "cart-1: container web runs and is not ready" in talk.said[-1]
    replicas(cluster, "cart-1")
    assert [one.name for one in (await waiting).pods] == ["cart-1"]


async def test_nobody_became_ready(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart"))
    waits = [
        {
            "name": "web",
            "ready": False,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no x"}},
        }
    ]
    replicas(cluster, "cart-1", "cart-2", ready=False, status={"containerStatuses": waits})
    what, then = await talk.refused("deploy/cart", timeout=0.05)
    assert "no pod of deploy/cart became ready within 0.05 s" in what
    assert what.count("ImagePullBackOff: no x") == 1
    assert "cart-1, cart-2" in what
    assert "describe pod cart-1" in then


async def test_scaled_to_nothing(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("deploy", "cart"), workload("cart", replicas=0))
    what, then = await talk.refused("deploy/cart", timeout=0.02)
    assert "it is scaled to 0" in what
    assert "scale --replicas=1 deploy/cart" in then


async def test_a_job_that_has_ended_is_refused_at_once(cluster: Memory, talk: Talk) -> None:
    body = workload("once")
    body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    cluster.put(path("job", "once"), body)
    assert "runs no more: it has run to its end" in (await talk.refused("job/once", timeout=30))[0]
    cluster.put(path("pod", "alone"), pod("alone", ready=False, status={"phase": "Failed"}))
    assert "pod/alone runs no more" in (await talk.refused("pod/alone", timeout=30))[0]


async def test_pods_that_cannot_be_targets_are_refused_at_once(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("ds", "cart"), workload("cart"))
    cluster.put(path("pod", "h"), pod("h", spec={"hostNetwork": True}, owner=owner("DaemonSet", "cart", "u")))
    what, then = await talk.refused("ds/cart", timeout=30)
    assert "pod h cannot be a target: it uses its node's network" in what
    assert "choose another" in then


async def test_a_node_is_looked_at_where_it_may_be(cluster: Memory, talk: Talk) -> None:
    cluster.put(
        "/api/v1/nodes/n1",
        {"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "windows"}}, "spec": {}},
    )
    cluster.put(path("pod", "w"), pod("w"))
    assert "Windows" in (await talk.refused("pod/w", timeout=30))[0]
    cluster.forbidden.add("nodes")
    assert (await talk.resolve("pod/w")).pods[0].node == "n1"


async def test_a_pod_that_cannot_be_one_beside_one_that_can(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("pod", "h"), pod("h", spec={"hostNetwork": True}))
    cluster.put(path("pod", "fine"), pod("fine"))
    assert [one.name for one in (await talk.resolve("", selector="app=cart")).pods] == ["fine"]


async def test_agents_are_never_targets(cluster: Memory, talk: Talk) -> None:
    labels = {"app": "cart", "app.kubernetes.io/name": "mirror-run"}
    cluster.put(path("pod", "agent"), pod("agent", labels=labels))
    assert "no pods" in (await talk.refused("", selector="app=cart", timeout=0.02))[0]


# --- containers -----------------------------------------------------------------------------------------------------


async def test_which_container(cluster: Memory, talk: Talk) -> None:
    cluster.put(path("pod", "a"), pod("a", containers=["istio-proxy", "web", "log"]))
    found = await talk.resolve("pod/a")
    assert found.container == "web"
    assert talk.said == ["container web of pod/a (-c chooses another: istio-proxy, log)"]
    talk.said.clear()
    assert (await talk.resolve("pod/a/log")).pods[0].container_id == "log-of-a"
    assert (await talk.resolve("pod/a", container="istio-proxy")).container == "istio-proxy"
    assert talk.said == [], "it was named"


async def test_an_unknown_container_is_refused_at_once(cluster: Memory, talk: Talk) -> None:
    made = pod("a", containers=["web", "log"], ready=False, spec={"initContainers": [{"name": "setup"}]})
    cluster.put(path("pod", "a"), made)
    what, then = await talk.refused("pod/a/nope", timeout=30)
    assert "pod/a has no container nope" in what
    assert "-c takes web or log" in then
    assert "init container" in (await talk.refused("pod/a/setup", timeout=30))[0]
