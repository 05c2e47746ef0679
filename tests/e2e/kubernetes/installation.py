"""An installation of this tree in the test cluster, two namespaces with a target each, and people with rights there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from links.handshake import greet
from links.link import Link
from runner.kube.agents import AgentPod
from runner.kube.api import Cluster, KubeOptions, connect
from runner.kube.daemonset import Installed, installation
from runner.kube.names import understood
from runner.kube.object_path import PLURALS
from runner.kube.portforward import forward
from runner.kube.rights import Wish
from runner.kube.workloads import KubeTarget, resolve
from runner.screen import Screen
from tests.cluster import cluster as made
from tests.cluster import images as nodes
from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import MIRROR_RUN, ROOT
from tests.once import once
from wire import messages as m

Json = dict[str, Any]

HERE, THERE = "mrt-rights-here", "mrt-rights-there"
"""The target's namespace, and another."""

AGENTS = "mirror-run"

VARIABLE = b"COLOUR=blue"
"""In the target's environment."""

ALL = (Wish("mirror"), Wish("outgoing"), Wish("env"))


def administrator() -> Kubectl:
    """The cluster's. The fixture `cluster` has started it."""
    if brought := os.environ.get("MIRROR_RUN_TEST_KUBECONFIG"):
        program = shutil.which("kubectl")
        assert program is not None
        return Kubectl(program, Path(brought).resolve())
    return made.kubectl()


def kubectl(*words: str, patience: float = 120) -> str:
    return administrator()(*words, patience=patience)


def may(account: str, *words: str) -> bool:
    """`kubectl auth can-i`."""
    said = administrator().tried("auth", "can-i", *words, "--as", account).stdout.strip()
    assert said in ("yes", "no")
    return said == "yes"


def mirror_run(*words: str, code: int = 0) -> str:
    """What it said to stderr, and ended with ``code``."""
    done = subprocess.run(
        [str(MIRROR_RUN), *words],
        env=administrator().environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def install(image: str, *words: str, code: int = 0) -> str:
    """The same of `mirror-run install`, with the image on every node: other tests may have crowded it out."""
    if "MIRROR_RUN_TEST_KUBECONFIG" not in os.environ:
        with once("nodes"):
            nodes.load([image])
    return mirror_run("install", "--image", image, *words, code=code)


@dataclass(slots=True)
class Standing:
    """One installation that files of tests share, since each costs half a minute from its beginning to its end."""

    image: str
    here: bool = False

    def ensure(self) -> None:
        """Agents of these sources on every node."""
        if not self.here:
            install(self.image)
            self.here = True

    def gone(self) -> None:
        """Nothing is installed, at least not by this."""
        if self.here:
            self.here = False
            mirror_run("uninstall")


def ours(cluster: Kubectl) -> list[str]:
    """Everything in the cluster that was installed, by kind and name: all of it is labelled."""
    kinds = sorted(set(PLURALS.values()) - {"mirrorpolicies"})
    found = cluster.items("get", ",".join(kinds), "-A", "-l", "app.kubernetes.io/managed-by=mirror-run")
    return [f"{one['kind']}/{one['metadata']['name']}" for one in found]


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
    administrator().apply(*objects)


@contextmanager
def namespaces(image: str) -> Iterator[None]:
    """HERE and THERE, each with deploy/cart on both nodes; gone at the end."""
    apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (HERE, THERE)))
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
    options = KubeOptions(kubeconfig=str(administrator().kubeconfig), namespace=HERE, as_user=name)
    cluster = await connect(options, os.environ, Path.home())
    try:
        yield Person(name or "admin", cluster, [])
    finally:
        await cluster.close()
