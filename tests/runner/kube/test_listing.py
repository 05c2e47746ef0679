"""The rows of `mirror-run ls -n NAMESPACE` for a namespace in memory."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube.listing import Row, Table, targets_table
from tests.runner.kube.memory import Memory, owner, path, pod, workload


@pytest.fixture
def cluster() -> Memory:
    made = Memory()
    made.put("/api/v1/namespaces/shop", {"metadata": {"name": "shop"}})
    return made


async def listed(cluster: Memory, namespace: str = "shop") -> Table:
    return await targets_table(cluster, namespace)  # type: ignore[arg-type]


def row(table: Table, target: str) -> Row:
    (found,) = [one for one in table.rows if one.target == target]
    return found


PORTS: list[dict[str, Any]] = [{"containerPort": 8080}, {"containerPort": 5353, "protocol": "UDP"}]


async def test_workloads_with_their_pods(cluster: Memory) -> None:
    cluster.put(path("deploy", "cart"), workload("cart", replicas=3))
    for name, ready in (("cart-5f-a", True), ("cart-5f-b", False)):
        made = pod(
            name,
            ready=ready,
            labels={"app": "cart", "pod-template-hash": "5f"},
            owner=owner("ReplicaSet", "cart-5f", "u"),
            containers=["istio-proxy", "web"],
        )
        made["spec"]["containers"][1]["ports"] = PORTS
        cluster.put(path("pod", name), made)
    cluster.put(path("sts", "db"), workload("db", replicas=0))
    found = await listed(cluster)
    assert row(found, "deploy/cart").cells == ("deploy/cart", "1/3", "web istio-proxy", "8080 5353/udp", "")
    assert row(found, "sts/db").cells == ("sts/db", "0/0", "web", "", "")
    assert len(found.rows) == 2, "pods of a deployment are not shown beside it"
    assert found.unread == ()


async def test_jobs_of_a_cron_job_are_its_own_and_bare_pods_are_shown(cluster: Memory) -> None:
    tick = workload("tick")
    tick["spec"] = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": tick["spec"]["template"]}}}
    cluster.put(path("cronjob", "tick"), tick)
    job = workload("tick-29000001")
    job["metadata"]["ownerReferences"] = [owner("CronJob", "tick", "uid-of-tick")]
    cluster.put(path("job", "tick-29000001"), job)
    cluster.put(path("pod", "tick-x"), pod("tick-x", owner=owner("Job", "tick-29000001", "u")))
    cluster.put(path("job", "once"), workload("once"))
    cluster.put(
        path("pod", "once-x"), pod("once-x", owner=owner("Job", "once", "u"), status={"phase": "Succeeded"})
    )
    cluster.put(path("pod", "alone"), pod("alone"))
    cluster.put(path("pod", "host"), pod("host", spec={"hostNetwork": True}))
    found = await listed(cluster)
    assert [(one.target, one.ready) for one in found.rows] == [
        ("cronjob/tick", "1/1"),
        ("job/once", "ended"),
        ("pod/alone", "1/1"),
        ("pod/host", "1/1 (not a target: host network)"),
    ]


async def test_what_is_made_by_something_unknown_is_shown_itself(cluster: Memory) -> None:
    cluster.put(path("pod", "kafka-0"), pod("kafka-0", owner=owner("StrimziPodSet", "kafka", "u")))
    cluster.put(path("rs", "bare"), workload("bare", replicas=1))
    cluster.put(path("pod", "bare-x"), pod("bare-x", owner=owner("ReplicaSet", "bare", "u")))
    cluster.put(path("deploy", "cart"), workload("cart", replicas=0))
    old = workload("cart-5f", replicas=0)
    old["metadata"]["ownerReferences"] = [owner("Deployment", "cart", "u")]
    cluster.put(path("rs", "cart-5f"), old)
    found = await listed(cluster)
    assert [(one.target, one.ready) for one in found.rows] == [
        ("deploy/cart", "0/0"),
        ("rs/bare", "1/1"),
        ("pod/kafka-0", "1/1"),
    ]


async def test_who_is_at_it(cluster: Memory) -> None:
    cluster.absent.clear()
    for name in ("cart", "db"):
        cluster.put(path("deploy", name), workload(name, replicas=1))
    sessions = "/apis/mirror-run.dev/v1alpha1/namespaces/shop/mirrorsessions"
    for session, author in (("s1", "anna"), ("s2", "ben"), ("s3", "anna")):
        spec = {"target": "deploy/cart", "author": author}
        cluster.put(
            f"{sessions}/{session}", {"metadata": {"name": session, "namespace": "shop"}, "spec": spec}
        )
    labels = {"app.kubernetes.io/name": "mirror-run", "mirror-run.dev/session": "s4"}
    notes = {"mirror-run.dev/target": "deploy/db", "mirror-run.dev/author": "carl"}
    agent = workload("mirror-run-s4")
    agent["metadata"] |= {"labels": labels, "annotations": notes}
    cluster.put(path("job", "mirror-run-s4"), agent)
    cluster.put(path("pod", "mirror-run-s4-x"), pod("mirror-run-s4-x", labels=labels))
    old = workload("mirror-run-s5")
    old["metadata"] |= {"labels": labels | {"mirror-run.dev/session": "s5"}, "annotations": notes}
    old["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    cluster.put(path("job", "mirror-run-s5"), old)
    within = [
        {"name": "mirror-run-0abc-0", "state": {"running": {}}},
        {"name": "mirror-run-1abc-0", "state": {}},
    ]
    cluster.put(path("pod", "alone"), pod("alone", status={"ephemeralContainerStatuses": within}))
    found = await listed(cluster)
    assert {one.target: one.sessions for one in found.rows} == {
        "deploy/cart": "anna (2), ben",
        "deploy/db": "carl",
        "pod/alone": "session 0abc",
    }


async def test_what_may_not_be_listed_is_named(cluster: Memory) -> None:
    cluster.forbidden |= {"cronjobs", "mirrorsessions"}
    cluster.put(path("pod", "alone"), pod("alone"))
    found = await listed(cluster)
    assert found.unread == ("cronjobs",)
    assert len(found.rows) == 1
    cluster.forbidden |= {"deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "pods"}
    with pytest.raises(Refusal, match="may not list"):
        await listed(cluster)


async def test_no_such_namespace(cluster: Memory) -> None:
    assert (await listed(cluster)).rows == ()
    with pytest.raises(Refusal, match="no namespace zoo in context test"):
        await listed(cluster, "zoo")
