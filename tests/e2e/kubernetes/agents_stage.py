"""What the tests of agents made for a session share: namespaces with a target, sessions, and waits for their ends."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from links.handshake import greet
from links.link import Link, LinkEnded
from runner.kube.agent_rights import Right
from runner.kube.agents import AgentPod, Agents, AgentWishes, FounderSays
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.ephemeral import Ephemerals
from runner.kube.job import Jobs
from runner.kube.manifests import Marks
from runner.kube.pod import Pod, read
from runner.kube.portforward import forward
from runner.screen import Screen
from tests.cluster.kubectl import Kubectl
from wire import messages as m

Json = dict[str, Any]
A = TypeVar("A", bound=Agents)

PATIENCE = 60.0


class Space:
    """A namespace of the test's own, with a target in it. Everything goes with it."""

    def __init__(self, kubectl: Kubectl, image: str, name: str) -> None:
        self.kubectl = kubectl
        self.image = image
        self.name = name

    @classmethod
    def made(cls, kubectl: Kubectl, image: str, level: str = "privileged") -> Space:
        """A new one that enforces this Pod Security level."""
        name = f"agents-{uuid.uuid4().hex[:6]}"
        meta = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        return cls(kubectl, image, name)

    def target(self, name: str = "cart", beside: Pod | None = None) -> Pod:
        """A pod that even the level "restricted" admits; on the node of ``beside``."""
        web = {
            "name": "web",
            "image": self.image,
            "command": ["python3", "-m", "http.server", "8080"],
            "env": [{"name": "SAID_BY", "value": name}],
            "securityContext": {
                "runAsUser": 1000,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        spec: Json = {"containers": [web], "terminationGracePeriodSeconds": 1}
        if beside is not None:
            spec["nodeName"] = beside.node
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.kubectl.apply(body, namespace=self.name)
        self.kubectl(
            "-n", self.name, "wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={PATIENCE:.0f}s"
        )
        return read(self.kubectl.json("-n", self.name, "get", "pod", name), "web")

    def bind(self, user: str, rights: Sequence[Right]) -> None:
        """Exactly these rights, in this namespace."""
        rules = [
            {
                "apiGroups": [right.group],
                "resources": [right.resource + (f"/{right.subresource}" if right.subresource else "")],
                "verbs": [right.verb],
            }
            for right in rights
        ]
        api = "rbac.authorization.k8s.io"
        meta = {"name": user, "namespace": self.name}
        role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": rules}
        binding = {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": user},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        }
        self.kubectl.apply(role, binding)

    def close(self) -> None:
        self.kubectl("delete", "namespace", self.name, "--wait=false")


@asynccontextmanager
async def connected(space: Space, user: str = "") -> AsyncIterator[Cluster]:
    """The product's own client; ``user`` is impersonated, and has the rights that `bind` gave."""
    options = KubeOptions(kubeconfig=str(space.kubectl.kubeconfig), as_user=user)
    cluster = await connect(options, space.kubectl.environment(), Path.home())
    try:
        yield cluster
    finally:
        await cluster.close()


def jobs(cluster: Cluster, space: Space, image: str = "", **wishes: Any) -> Jobs:
    founder = FounderSays(secrets.token_hex(4), secrets.token_bytes(32))
    marks = Marks(founder.session, "anna@corp.example", "pod/cart")
    wanted = AgentWishes(image or space.image, **wishes)
    return Jobs(cluster, space.name, wanted, marks, founder, Screen(quiet=True))


def ephemerals(cluster: Cluster, space: Space, image: str = "") -> Ephemerals:
    founder = FounderSays(secrets.token_hex(4), secrets.token_bytes(32))
    return Ephemerals(cluster, space.name, AgentWishes(image or space.image), founder, Screen(quiet=True))


@asynccontextmanager
async def closed(agents: A) -> AsyncIterator[A]:
    """Nothing of a session stays, however its test ends."""
    try:
        yield agents
    finally:
        await agents.close()


async def found(cluster: Cluster, agents: Agents, agent: AgentPod, patience: int = 60) -> Link:
    """The founding link, as soon as the agent listens."""
    said = agents.founder
    hello = m.Hello(
        m.PROTOCOL,
        m.OLDEST_PROTOCOL,
        "test",
        int(m.LinkKind.CONTROL),
        said.session,
        said.secret,
        "anna",
        founder=True,
        patience=patience,
    )
    async with asyncio.timeout(PATIENCE):
        while True:
            stream = await forward(cluster, agent.namespace, agent.pod, agent.port)
            try:
                await greet(stream.reader, stream.writer, hello)
            except LinkEnded as ended:
                stream.writer.close()
                if "refuse" not in ended.reason.lower() and "closed" not in ended.reason:
                    raise
                await asyncio.sleep(0.05)  # nobody can be told when a port of a pod is opened
                continue
            return Link(stream.reader, stream.writer, name="agent")


async def serves(link: Link, pod: Pod) -> None:
    """The agent enters the pod and reads what only its process knows."""
    attached = await link.call(m.Attach(0, 0, pod.container_id, pod.name))
    assert isinstance(attached, m.Attached)
    assert attached.identity.hostname == pod.name
    variables = await link.call(m.GetEnviron(0, 0))
    assert isinstance(variables, m.Environ)
    assert f"SAID_BY={pod.name}".encode() in variables.variables


async def until_none(cluster: Cluster, path: str, label: str) -> None:
    """Until no object of the collection has this label."""
    async with asyncio.timeout(PATIENCE):
        there, version = await cluster.list(path, labelSelector=label)
        names = {one["metadata"]["name"] for one in there}
        async with aclosing(cluster.watch(path, version, labelSelector=label)) as changes:
            while names:
                kind, one = await anext(changes)
                if kind == "DELETED":
                    names.discard(one["metadata"]["name"])
                else:
                    names.add(one["metadata"]["name"])


async def nothing_left(cluster: Cluster, agents: Agents, namespace: str) -> None:
    label = f"mirror-run.dev/session={agents.founder.session}"
    await until_none(cluster, f"/apis/batch/v1/namespaces/{namespace}/jobs", label)
    await until_none(cluster, f"/api/v1/namespaces/{namespace}/pods", label)


def kill(space: Space, agents: Agents, agent: AgentPod, container: str) -> None:
    """kill -9 of the agent's process, found by the hash that only it was given."""
    proof = hashlib.sha256(agents.founder.secret).hexdigest()
    script = (
        "import os,sys\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: said = open(f'/proc/{pid}/cmdline','rb').read().split(b'\\0')\n"
        "    except OSError: continue\n"
        "    if sys.argv[1].encode() in said and b'--secret-hash' in said: os.kill(int(pid), 9)\n"
    )
    words = ["-n", agent.namespace, "exec", agent.pod, "-c", container, "--", "python3", "-c", script, proof]
    done = space.kubectl.tried(*words)
    assert done.returncode in (0, 137), done.stderr  # its container may end before the script has


async def until_over(cluster: Cluster, agent: AgentPod, container: str) -> Json:
    """Until that container has ended; its terminated state."""
    path = f"/api/v1/namespaces/{agent.namespace}/pods"
    async with asyncio.timeout(PATIENCE):
        async with aclosing(cluster.watch(path, "", fieldSelector=f"metadata.name={agent.pod}")) as changes:
            async for _, pod in changes:
                for kind in ("containerStatuses", "ephemeralContainerStatuses"):
                    for one in pod["status"].get(kind) or ():
                        if one["name"] == container and (over := (one.get("state") or {}).get("terminated")):
                            assert isinstance(over, dict)
                            return over
    raise AssertionError("the watch ended")
