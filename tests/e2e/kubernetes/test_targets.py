"""Targets of every kind on a real cluster: found, refused, waited for, followed; and what their specs say of them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Refusal
from runner.kube import names
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.followed_core import AttachTo, Followed, Leave, Prepare, Primary, Say, Step
from runner.kube.following import following
from runner.kube.listing import targets_table
from runner.kube.spec_env import environment
from runner.kube.workloads import KubeTarget, resolve
from tests.cluster.kubectl import Kubectl

from . import bodies
from .scene import Images

Json = dict[str, Any]

PATIENCE = 60.0
FOLLOWED_WITHIN = 2.0
"""Seconds between a pod's readiness and the step that makes it take part."""


class Space:
    """A namespace of these tests' own. Everything in it goes with it."""

    def __init__(self, kubectl: Kubectl, image: str) -> None:
        self.kubectl = kubectl
        self.image = image
        self.name = f"targets-{uuid.uuid4().hex[:6]}"
        kubectl("create", "namespace", self.name)

    def apply(self, *things: Json) -> None:
        self.kubectl.apply(*things, namespace=self.name)

    def run(self, *words: str) -> str:
        return self.kubectl("-n", self.name, *words)

    def inside(self, pod: str, *words: str, container: str = "web") -> str:
        return self.run("exec", pod, "-c", container, "--", *words)

    def restart(self, pod: str) -> str:
        """Its container ends, and with it perhaps the exec that told it to."""
        return self.kubectl.tried("-n", self.name, "exec", pod, "-c", "web", "--", "kill", "1").stdout

    def close(self) -> None:
        self.kubectl("delete", "namespace", self.name, "--wait=false")


@pytest.fixture(scope="module")
def space(cluster: Kubectl, images: Images) -> Iterator[Space]:
    """One of each kind."""
    made, image = Space(cluster, images.programs), images.programs
    made.apply(
        bodies.controller("Deployment", "cart", image, replicas=2),
        bodies.controller("StatefulSet", "db", image, serviceName="db"),
        bodies.controller("DaemonSet", "each", image),
        bodies.controller("ReplicaSet", "bare", image),
        bodies.job("once", image),
        bodies.cron_job("tick", image),
        bodies.pod("alone", image),
        bodies.service("front", "cart"),
        bodies.service("cart", "cart"),
        bodies.service("elsewhere", "cart", type="ExternalName", externalName="db.example", selector=None),
        bodies.service("by-hand", "cart", selector=None),
    )
    made.run("create", "job", "--from=cronjob/tick", "tick-by-hand")
    yield made
    made.close()


@pytest.fixture
def own(cluster: Kubectl, images: Images) -> Iterator[Space]:
    """A namespace for one test."""
    made = Space(cluster, images.programs)
    yield made
    made.close()


@asynccontextmanager
async def connected(space: Space, **options: Any) -> AsyncIterator[Cluster]:
    wanted = KubeOptions(kubeconfig=str(space.kubectl.kubeconfig), namespace=space.name, **options)
    made = await connect(wanted, space.kubectl.environment(), Path("/nonexistent"))
    try:
        yield made
    finally:
        await made.close()


async def found(cluster: Cluster, text: str, *, timeout: float = PATIENCE, **options: Any) -> KubeTarget:
    return await resolve(cluster, names.understood(text, **options), lambda said: None, timeout)


async def refused(
    cluster: Cluster, text: str, *, timeout: float = PATIENCE, **options: Any
) -> tuple[str, str]:
    with pytest.raises(Refusal) as refusal:
        await found(cluster, text, timeout=timeout, **options)
    assert refusal.value.next_step
    return refusal.value.what, refusal.value.next_step


# --- every kind -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "begins"),
    [
        ("deploy/cart", "deploy/cart", "cart-"),
        ("deployments.apps/cart/container/web", "deploy/cart", "cart-"),
        ("statefulset/db", "sts/db", "db-0"),
        ("ds/each", "ds/each", "each-"),
        ("rs/bare", "rs/bare", "bare-"),
        ("job/once", "job/once", "once-"),
        ("cj/tick", "cronjob/tick", "tick-by-hand-"),
        ("pod/alone", "pod/alone", "alone"),
        ("svc/front", "svc/front", "cart-"),
        ("db", "sts/db", "db-0"),
        ("cart", "deploy/cart", "cart-"),
        ("front", "svc/front", "cart-"),
        ("label=app in (alone,none)", "-l app in (alone,none)", "alone"),
    ],
)
async def test_kinds(space: Space, text: str, name: str, begins: str) -> None:
    async with connected(space) as cluster:
        target = await found(cluster, text)
    assert target.name == name
    assert target.container == "web"
    assert target.pods
    for pod in target.pods:
        assert pod.name.startswith(begins)
        assert len(pod.container_id) == 64
        assert pod.ready
        assert pod.node
        assert pod.namespace == space.name


async def test_all_ready_pods_take_part(space: Space) -> None:
    space.run("rollout", "status", "deployment/cart")
    space.run("rollout", "status", "daemonset/each")
    async with connected(space) as cluster:
        assert len((await found(cluster, "deploy/cart")).pods) == 2
        assert len({pod.node for pod in (await found(cluster, "ds/each")).pods}) > 1
        one = (await found(cluster, "svc/front")).pods[1].name
        assert [pod.name for pod in (await found(cluster, "deploy/cart", pod=one)).pods] == [one]
        assert (
            "there is no pod other of deploy/cart" in (await refused(cluster, "deploy/cart", pod="other"))[0]
        )


async def test_rollouts_with_and_without_the_kind(own: Space) -> None:
    async with connected(own) as cluster:
        assert "Argo Rollouts" in (await refused(cluster, "rollout/cart"))[0]
        own.kubectl.apply(bodies.rollouts())
        try:
            own.kubectl("wait", "--for=condition=Established", "crd/rollouts.argoproj.io")
            own.apply(bodies.rollout("roll", "rolled"), bodies.pod("rolled", own.image))
            target = await found(cluster, "rollouts.argoproj.io/roll")
            assert (target.name, [pod.name for pod in target.pods]) == ("rollout/roll", ["rolled"])
            assert (await found(cluster, "roll")).name == "rollout/roll"
        finally:
            own.kubectl("delete", "crd/rollouts.argoproj.io")


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what", "then"),
    [
        ("deploy/cat", "there is no deploy/cat", "did you mean deploy/cart"),
        ("sts/cart", "there is no sts/cart", "did you mean deploy/cart"),
        ("deploy/coredns", "there is no deploy/coredns", "-n kube-system"),
        ("coredns", "there is no coredns", "-n kube-system"),
        ("svc/elsewhere", "db.example", "workload"),
        ("svc/by-hand", "no selector", "pod/NAME"),
        ("deploy/cart/nope", "no container nope", "-c takes web"),
    ],
)
async def test_what_is_not_there(space: Space, text: str, what: str, then: str) -> None:
    async with connected(space) as cluster:
        said, step = await refused(cluster, text)
    assert what in said
    assert then in step


async def test_no_such_namespace(space: Space) -> None:
    async with connected(space) as cluster:
        said, step = await refused(cluster, "deploy/cart", namespace="no-such-namespace")
    assert "no namespace no-such-namespace in context" in said
    assert space.name in step


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"hostUsers": False}, "hostUsers: false"),
        ({"os": {"name": "windows"}}, "Windows"),
    ],
)
async def test_pods_that_cannot_be_targets(own: Space, spec: Json, why: str) -> None:
    own.apply(bodies.pod("odd", own.image, **spec))
    async with connected(own) as cluster:
        said, _ = await refused(cluster, "pod/odd")
    assert "pod odd cannot be a target" in said
    assert why in said


BROKEN: list[tuple[str, Callable[[str], Json], str]] = [
    ("image", lambda image: {"containers": [bodies.container("no.such.registry.invalid/x:1")]}, "Image"),
    (
        "schedule",
        lambda image: {"containers": [bodies.container(image, resources={"requests": {"cpu": "900"}})]},
        "Insufficient cpu",
    ),
    (
        "crash",
        lambda image: {
            "containers": [
                bodies.container(image, command=["sh", "-c", "exit 7"], readinessProbe=bodies.UNTIL_READY)
            ]
        },
        "code 7",
    ),
    (
        "unready",
        lambda image: {"containers": [bodies.container(image, readinessProbe=bodies.UNTIL_READY)]},
        "not ready",
    ),
]


@pytest.mark.parametrize(("name", "spec", "why"), BROKEN, ids=[one[0] for one in BROKEN])
async def test_what_is_never_ready_is_refused_with_the_reason(
    own: Space, name: str, spec: Callable[[str], Json], why: str
) -> None:
    own.apply(bodies.pod(name, own.image, **spec(own.image)))
    async with connected(own) as cluster:
        while True:  # until the cluster itself has found out
            said, step = await refused(cluster, f"pod/{name}", timeout=1.0)
            if why in said:
                break
    assert f"no pod of pod/{name} became ready within 1 s: {name}: " in said
    assert f"describe pod {name}" in step


async def test_waits_until_one_is_ready(own: Space) -> None:
    pods = bodies.template(
        "slow", own.image, containers=[bodies.container(own.image, readinessProbe=bodies.UNTIL_READY)]
    )
    own.apply(bodies.controller("Deployment", "slow", own.image, pods=pods))
    said: list[str] = []
    runs = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if "runs and is not ready" in text:
            runs.set()

    async with connected(own) as cluster:
        waiting = asyncio.create_task(resolve(cluster, names.understood("slow"), say, PATIENCE))
        await asyncio.wait_for(runs.wait(), PATIENCE)
        (pod,) = json.loads(own.run("get", "pods", "-o", "json"))["items"]
        await asyncio.to_thread(own.inside, pod["metadata"]["name"], "touch", "/tmp/ready")
        target = await waiting
    assert target.name == "deploy/slow"
    assert said[0] == "slow is deploy/slow"


async def test_which_container(own: Space) -> None:
    spec = {
        "containers": [bodies.container(own.image, "istio-proxy"), bodies.container(own.image)],
        "initContainers": [bodies.container(own.image, "native", restartPolicy="Always")],
    }
    own.apply(bodies.pod("meshed", own.image, **spec))
    async with connected(own) as cluster:
        assert (await found(cluster, "pod/meshed")).container == "web"
        for name in ("istio-proxy", "native"):
            target = await found(cluster, f"pod/meshed/{name}")
            assert len(target.pods[0].container_id) == 64
        own.run("annotate", "pod/meshed", "kubectl.kubernetes.io/default-container=istio-proxy")
        assert (await found(cluster, "pod/meshed")).container == "istio-proxy"


# --- a developer's rights ---------------------------------------------------------------------------------------------

DEVELOPER = [
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "developer"},
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["pods", "services", "configmaps"],
                "verbs": ["get", "list", "watch"],
            },
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "developer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "developer"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "targets-dev"}],
    },
]


async def test_a_developer_with_few_rights(space: Space) -> None:
    space.apply(*DEVELOPER)
    async with connected(space, as_user="targets-dev") as cluster:
        for text in ("deploy/cart", "cart", "svc/front", "pod/alone"):
            assert (await found(cluster, text)).pods
        assert "you may not get statefulsets.apps in namespace" in (await refused(cluster, "sts/db"))[0]
        assert "did you mean deploy/cart" in (await refused(cluster, "deploy/cat"))[1]
        table = await targets_table(cluster, space.name)
        assert "deploy/cart" in [row.target for row in table.rows]
        assert set(table.unread) == {"statefulsets", "daemonsets", "replicasets", "cronjobs", "jobs"}
    async with connected(space, as_user="targets-nobody") as cluster:
        assert "you may not get deployments.apps" in (await refused(cluster, "deploy/cart"))[0]


async def test_ls(space: Space) -> None:
    space.run("rollout", "status", "deployment/cart")
    async with connected(space) as cluster:
        table = await targets_table(cluster, space.name)
    assert [row.target for row in table.rows] == [
        "deploy/cart",
        "sts/db",
        "ds/each",
        "rs/bare",
        "cronjob/tick",
        "job/once",
        "pod/alone",
    ]
    assert table.rows[0].ready == "2/2"


# --- following ------------------------------------------------------------------------------------------------------


class Watch:
    """Steps as they come, with the moment of each; waited for."""

    def __init__(self, cluster: Cluster, target: KubeTarget) -> None:
        self.core = Followed(target.name)
        self.steps = list(self.core.first(target.pods))
        self.late: list[str] = []
        self._cluster, self._target = cluster, target
        self._came = asyncio.Condition()

    async def run(self) -> None:
        async with aclosing(following(self._cluster, self._target, self.core)) as told:
            async for steps in told:
                async with self._came:
                    for step in steps:
                        self._judge(step)
                    self.steps += steps
                    self._came.notify_all()

    def _judge(self, step: Step) -> None:
        if isinstance(step, AttachTo) and step.pod.since:
            # The API server's time has whole seconds, so this is up to one more than it was.
            took = (datetime.now(UTC) - datetime.fromisoformat(step.pod.since)).total_seconds()
            if took > FOLLOWED_WITHIN and not step.again:
                self.late.append(f"{step.pod.name} after {took:.1f} s")

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(holds)

    def of(self, kind: type[Any]) -> list[Any]:
        return [step for step in self.steps if isinstance(step, kind)]

    def names(self) -> set[str]:
        return {pod.name for pod in self.core.pods}


@asynccontextmanager
async def watched(space: Space, text: str, **options: Any) -> AsyncIterator[Watch]:
    async with connected(space) as cluster:
        made = Watch(cluster, await found(cluster, text, **options))
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert made.late == []


def deployed(space: Space, replicas: int) -> None:
    space.apply(bodies.controller("Deployment", "cart", space.image, replicas=replicas))
    space.run("rollout", "status", "deployment/cart")


async def aside(call: Callable[..., str], *words: str) -> str:
    return await asyncio.to_thread(call, *words)


async def test_scaled_from_three_to_five_to_two(own: Space) -> None:
    deployed(own, 3)
    async with watched(own, "deploy/cart") as watch:
        assert len(watch.core.pods) == 3
        await aside(own.run, "scale", "deployment/cart", "--replicas=5")
        await watch.until(lambda: len(watch.core.pods) == 5)
        await aside(own.run, "scale", "deployment/cart", "--replicas=2")
        await watch.until(lambda: len(watch.core.pods) == 2)
        assert [step.index for step in watch.of(AttachTo)] == [0, 1, 2, 3, 4]
        prepared = {pod.name for step in watch.of(Prepare) for pod in step.pods}
        assert prepared == {step.pod.name for step in watch.of(AttachTo)}
        left = {step.pod.name for step in watch.of(Leave)}
        assert not left & watch.names()


async def test_a_rollout(own: Space) -> None:
    deployed(own, 2)
    async with watched(own, "deploy/cart") as watch:
        before = watch.names()
        await aside(own.run, "rollout", "restart", "deployment/cart")
        await watch.until(lambda: len(watch.core.pods) == 2 and not watch.names() & before)
        leaders = watch.of(Primary)
        assert leaders[-1].pod.name in watch.names()
        assert not any("no pod of" in step.text for step in watch.of(Say)), "there was always one"


async def test_an_eviction_and_the_last_one_gone_and_back(own: Space) -> None:
    deployed(own, 1)
    async with watched(own, "deploy/cart") as watch:
        (first,) = watch.core.pods
        async with connected(own) as cluster:
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first.name}}
            await cluster.create(f"/api/v1/namespaces/{own.name}/pods/{first.name}/eviction", body)
        await watch.until(lambda: watch.of(Primary) != [] and first.name not in watch.names())
        (primary,) = watch.of(Primary)
        assert primary.index == 1
        assert primary.pod.name in watch.names()
        await aside(own.run, "scale", "deployment/cart", "--replicas=0")
        await watch.until(lambda: not watch.core.pods)
        assert "no pod of deploy/cart is left" in watch.of(Say)[-1].text
        await aside(own.run, "scale", "deployment/cart", "--replicas=1")
        await watch.until(lambda: len(watch.of(Primary)) == 2)
        assert watch.of(Primary)[-1].index == 2


async def test_a_restart_in_place(own: Space) -> None:
    deployed(own, 1)
    async with watched(own, "deploy/cart") as watch:
        (pod,) = watch.core.pods
        await aside(own.restart, pod.name)
        await watch.until(lambda: any(step.again for step in watch.of(AttachTo)))
        (again,) = [step for step in watch.of(AttachTo) if step.again]
        assert again.index == 0
        assert again.pod.uid == pod.uid
        assert again.pod.container_id not in ("", pod.container_id)
        assert watch.of(Primary) == []
        assert watch.of(Leave) == []


async def test_one_alone_and_its_successor_of_the_same_name(own: Space) -> None:
    own.apply(bodies.controller("StatefulSet", "db", own.image, serviceName="db", replicas=2))
    own.run("rollout", "status", "statefulset/db")
    async with watched(own, "sts/db", pod="db-0") as watch:
        (first,) = watch.core.pods
        await aside(own.run, "delete", "pod", "db-1", "db-0")
        await watch.until(lambda: len(watch.of(Primary)) == 1)
        (after,) = watch.core.pods
        assert after.name == "db-0"
        assert after.uid != first.uid
        assert {step.pod.name for step in watch.of(AttachTo)} == {"db-0"}


async def test_a_cron_job_s_next_job(own: Space) -> None:
    own.apply(bodies.cron_job("tick", own.image))
    own.run("create", "job", "--from=cronjob/tick", "tick-28000000")
    async with watched(own, "cronjob/tick") as watch:
        assert watch.core.pods[0].name.startswith("tick-28000000-")
        await aside(own.run, "create", "job", "--from=cronjob/tick", "tick-28000001")
        await watch.until(lambda: len(watch.core.pods) == 2)
        await aside(own.run, "delete", "job", "tick-28000000")
        await watch.until(lambda: len(watch.core.pods) == 1)
        assert watch.of(Primary)[-1].pod.name.startswith("tick-28000001-")


# --- the environment of the spec ------------------------------------------------------------------------------------

ENV = [
    {"name": "PLAIN", "value": "p q"},
    {"name": "EMPTY", "value": ""},
    {
        "name": "USES",
        "value": "$(PLAIN)/$(COLOUR)/$(KUBERNETES_SERVICE_HOST)/$$(PLAIN)/$(NO)/$(THE_FRONT_SERVICE_PORT)/$$/$",
    },
    {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
    {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}},
    {"name": "MISSING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k", "optional": True}}},
    *(
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in {
            "POD_NAME": "metadata.name",
            "POD_NAMESPACE": "metadata.namespace",
            "POD_UID": "metadata.uid",
            "POD_LABEL": "metadata.labels['app']",
            "POD_NOTE": "metadata.annotations['example.org/note']",
            "POD_NODE": "spec.nodeName",
            "POD_ACCOUNT": "spec.serviceAccountName",
            "POD_IP": "status.podIP",
            "POD_IPS": "status.podIPs",
            "POD_HOST": "status.hostIP",
            "POD_HOSTS": "status.hostIPs",
        }.items()
    ),
    *(
        {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}
        for name, resource, divisor in (
            ("CPU", "requests.cpu", "0"),
            ("CPU_MILLI", "requests.cpu", "1m"),
            ("CPU_LIMIT", "limits.cpu", "0"),
            ("MEMORY", "limits.memory", "1Mi"),
            ("MEMORY_WHOLE", "limits.memory", "0"),
            ("DISK_LIMIT", "limits.ephemeral-storage", "0"),
        )
    ),
]
FROM = [
    {"configMapRef": {"name": "settings"}},
    {"secretRef": {"name": "keys"}, "prefix": "KEY_"},
    {"configMapRef": {"name": "absent", "optional": True}},
]
OF_THE_IMAGE = {"PATH", "LANG", "LC_ALL", "HOME"}
"""What no spec says: the image's ENV, and the run-time's HOME."""


@pytest.mark.parametrize("links", [True, False])
async def test_the_environment_is_what_the_process_got(own: Space, links: bool) -> None:
    """Differential: what the kubelet put into the process, variable by variable."""
    own.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"COLOUR": "red", "PLAIN": "x"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "stringData": {"token": "s3 c$(PLAIN)\n"},
        },
        bodies.service(
            "the-front",
            "web",
            ports=[{"name": "a-b", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        ),
        bodies.service("headless", "web", clusterIP="None"),
    )
    resources = {"requests": {"cpu": "150m", "memory": "8Mi"}, "limits": {"memory": "65Mi"}}
    web = bodies.container(own.image, env=ENV, envFrom=FROM, resources=resources)
    made = bodies.pod("web", own.image, containers=[web], enableServiceLinks=links)
    made["metadata"]["annotations"] = {"example.org/note": 'a "note"'}
    own.apply(made)
    async with connected(own) as cluster:
        target = await found(cluster, "pod/web")
        ours = await environment(cluster, target.primary, target.container)
        own.apply(*DEVELOPER)
        async with connected(own, as_user="targets-dev") as less:
            lacking = await environment(less, target.primary, target.container)
    theirs = own.inside("web", "sh", "-c", "tr '\\0' '\\1' < /proc/1/environ").split("\1")
    expected = {name: value for name, _, value in (one.partition("=") for one in theirs if one)}
    got = {name: value for name, _, value in (one.decode().partition("=") for one in ours.variables)}
    assert ours.unread == ()
    assert {name: value for name, value in expected.items() if name not in OF_THE_IMAGE} == got
    assert ("THE_FRONT_SERVICE_HOST" in got) == links
    text = "\n".join(lacking.unread)
    assert "secret keys (TOKEN): you may not read it" in text
    assert "limits.cpu (CPU_LIMIT)" in text
    assert not any(one.startswith((b"TOKEN=", b"KEY_token=")) for one in lacking.variables)
    assert b"COLOUR=red" in lacking.variables
