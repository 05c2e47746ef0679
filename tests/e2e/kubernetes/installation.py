"""An installation of this tree in the test cluster, two namespaces with a target each, and people with rights there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from links.handshake import greet
from links.link import Link
from runner import images
from runner.kube.agents import AgentPod
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.daemonset import Installed, installation
from runner.kube.names import understood
from runner.kube.portforward import forward
from runner.kube.rights import Wish
from runner.kube.workloads import KubeTarget, resolve
from runner.screen import Screen
from tests.cluster import images as node_images
from tests.cluster.places import KUBECONFIG
from wire import messages as m

Json = dict[str, Any]

HERE, THERE = "mrt-rights-here", "mrt-rights-there"
"""The target's namespace, and another."""

AGENTS = "mirror-run"

VARIABLE = b"COLOUR=blue"
"""In the target's environment."""

ALL = (Wish("mirror"), Wish("outgoing"), Wish("env"))


def kubeconfig() -> str:
    return os.environ.get("MIRROR_RUN_TEST_KUBECONFIG") or str(KUBECONFIG)


def kubectl(*words: str, given: str | None = None) -> str:
    done = subprocess.run(
        [str(KUBECONFIG.parent / "kubectl"), *words], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def may(account: str, *words: str) -> bool:
    """`kubectl auth can-i`."""
    done = subprocess.run(
        [str(KUBECONFIG.parent / "kubectl"), "auth", "can-i", *words, "--as", account],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


def mirror_run(*words: str) -> str:
    """What it said to stderr; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", "from runner.cli import main; main()", *words],
        env=os.environ | {"KUBECONFIG": kubeconfig()},
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def agent_image() -> str:
    """Of this tree, on every node."""
    client = docker.from_env(timeout=120)
    try:
        image = images.ensure(client, lambda _: None).agent
    finally:
        client.close()
    node_images.load([image])
    return image


def target(namespace: str, image: str) -> Json:
    """A deployment on both nodes."""
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python3", "-m", "http.server", "8080"],
        "env": [{"name": "COLOUR", "value": "blue"}],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "cart"}},
    }
    pod = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "topologySpreadConstraints": [spread],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cart", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "cart"}},
            "template": {"metadata": {"labels": {"app": "cart"}}, "spec": pod},
        },
    }


def bind(namespace: str, role: str, *people: str, kind: str = "ClusterRole") -> Json:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"mrt-{role}-{'-'.join(people)}", "namespace": namespace},
        "roleRef": reference,
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": one} for one in people
        ],
    }


def role(namespace: str, name: str, *rules: tuple[str, str, str]) -> Json:
    """Rules are (group, resource, verbs with commas)."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": verbs.split(",")}
            for group, resource, verbs in rules
        ],
    }


def apply(*objects: Json) -> None:
    kubectl("apply", "-f", "-", given="\n---\n".join(json.dumps(one) for one in objects))


@contextmanager
def namespaces(image: str) -> Iterator[None]:
    """HERE and THERE, each with deploy/cart on both nodes; gone at the end."""
    made = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HERE, THERE)]
    apply(*made)
    try:
        apply(target(HERE, image), target(THERE, image))
        for name in (HERE, THERE):
            kubectl("rollout", "status", "-n", name, "deployment/cart", "--timeout=60s")
        yield
    finally:
        kubectl("delete", "namespace", HERE, THERE)


@dataclass(slots=True)
class Person:
    """Somebody at the API server, and what was said to them."""

    name: str
    cluster: Cluster
    said: list[str]

    async def target(self, namespace: str = HERE) -> KubeTarget:
        return await resolve(self.cluster, understood("deploy/cart", namespace=namespace), self.said.append)

    async def agents(self, wishes: Sequence[Wish] = ALL, namespace: str = HERE) -> Installed:
        """Not prepared. The target is looked up by whoever may."""
        found = await installation(self.cluster)
        assert found is not None
        async with person("") as admin:
            return Installed(self.cluster, found, await admin.target(namespace), wishes, _Noted(self.said))

    @asynccontextmanager
    async def session(self, wishes: Sequence[Wish] = ALL, namespace: str = HERE) -> AsyncIterator[Installed]:
        """Prepared; its object is gone at the end."""
        agents = await self.agents(wishes, namespace)
        try:
            await agents.prepare()
            yield agents
        finally:
            await agents.close()

    @asynccontextmanager
    async def link(self, agent: AgentPod, **says: Any) -> AsyncIterator[Link]:
        """A founder's, after Welcome. LinkEnded with the agent's sentence."""
        hello = m.Hello(
            m.PROTOCOL, m.OLDEST_PROTOCOL, "test", int(m.LinkKind.CONTROL), founder=True, patience=0, **says
        )
        stream = await forward(self.cluster, agent.namespace, agent.pod, agent.port)
        try:
            await greet(stream.reader, stream.writer, hello)
            async with Link(stream.reader, stream.writer, name="the agent") as link:
                yield link
        finally:
            stream.writer.close()

    @asynccontextmanager
    async def founded(self, agents: Installed, agent: AgentPod) -> AsyncIterator[Link]:
        founder = agents.founder
        async with self.link(
            agent, session=founder.session, secret=founder.secret, namespace=founder.namespace
        ) as link:
            yield link


class _Noted(Screen):
    """What would be shown, in a list."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def notice(self, text: str) -> None:
        self._said.append(text)

    warn = notice


@asynccontextmanager
async def person(name: str) -> AsyncIterator[Person]:
    """ "" is the cluster's administrator."""
    options = KubeOptions(kubeconfig=kubeconfig(), namespace=HERE, as_user=name)
    cluster = await connect(options, os.environ, Path.home())
    try:
        yield Person(name or "admin", cluster, [])
    finally:
        await cluster.close()
