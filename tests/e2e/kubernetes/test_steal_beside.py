"""Two sessions on one pod's port: every pair of job, ephemeral and daemonset agents, of mirror, filter and whole port.

Each of nine first sessions has a pod of its own; nine others then come one after the other, each to all nine pods.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from agent.table_comment import INSTALLED
from tests.cluster.kubectl import Kubectl
from tests.e2e import beside
from tests.e2e.beside import MODES, USERS, Cell
from tests.e2e.docker.scene import Run
from tests.e2e.docker.test_steal_beside import requests

from .installation import Standing
from .numbered import PORT, SERVER
from .scene import CREATED, Images, Scene, container, pod_spec, service, wait_left, workload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

AGENTS = ("job", "ephemeral", "daemonset")
KINDS = tuple(itertools.product(AGENTS, MODES))
STARTS = 120.0
NUMBERS = itertools.count()

ASK = """
for url in "$@"; do for user in ada ben eve; do
  curl -sS -m 10 -H "x-user: $user" "$url/$user" | head -c 300 | tr -d '\\n'; echo; done; done
"""


@dataclass
class Pod:
    """One pod and its first session. ``copied``: paths of which that must have had a copy."""

    name: str
    address: str
    agent: str
    mode: str
    first: Run | None = None
    copied: set[str] = field(default_factory=set)

    def cell(self, agent: str, mode: str) -> Cell:
        return Cell(self.mode, mode, together=agent == self.agent == "daemonset")


@dataclass
class Stage:
    scene: Scene
    pods: list[Pod]

    def begin(self, target: str, agent: str, mode: str, which: str) -> Run:
        agents = (
            "--agent",
            agent,
            *(() if agent == "daemonset" else ("--agent-image", self.scene.images.agent)),
        )
        words = (*agents, *beside.options(mode, which))
        return self.scene.start(target, *beside.command(mode, which), options=words, stdin=subprocess.PIPE)

    def ask(self) -> dict[tuple[str, str], tuple[str, str]]:
        """By pod and user: who answered, and the request's path."""
        number = next(NUMBERS)
        urls = [f"http://{pod.address}:{PORT}/{number}/{pod.name}" for pod in self.pods]
        lines = self.scene.inside("client", "sh", "-c", ASK, "ask", *urls).splitlines()
        found = {}
        for (pod, user), line in zip(itertools.product(self.pods, USERS), lines, strict=True):
            path = f"/{number}/{pod.name}/{user}"
            assert path in line, (pod, user, line)
            found[pod.name, user] = json.loads(line)["by"] if line.startswith("{") else "target", path
        return found


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[Stage]:
    name = "mrt-beside"
    cluster("create", "namespace", name)
    scene = Scene(cluster, name, images)
    scene.apply(
        workload(
            "Deployment", "cart", pod_spec(container(images.programs, ("python3", "-c", SERVER))), len(KINDS)
        ),
        service("cart", {"http": PORT}),
    )
    scene.client()
    scene.ready("deployment/cart", STARTS)
    pods = zip(scene.pods("cart"), KINDS, strict=True)
    yield Stage(scene, [Pod(one["metadata"]["name"], one["status"]["podIP"], *kind) for one, kind in pods])
    scene.close_runs()
    assert not wait_left(scene)
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


def test_every_pair(stage: Stage) -> None:
    for pod in stage.pods:
        pod.first = stage.begin(f"pod/{pod.name}", pod.agent, pod.mode, "first")
    for pod in stage.pods:
        assert pod.first is not None
        pod.first.event(STARTS, listening=None)
        pod.first.said(": mirroring 8080" if pod.mode == "mirror" else ": stealing 8080", STARTS)
    for agent, mode in KINDS:
        second = stage.begin("deploy/cart", agent, mode, "second")
        comes(stage, second, agent, mode)
        if (agent, mode) == KINDS[-1]:
            inherits(stage, second)
        second.end()
        stage.scene.runs.remove(second)
        stage.scene.sessions |= {session(second)}


def comes(stage: Stage, second: Run, agent: str, mode: str) -> None:
    """It stands where it may, and everybody is answered by whom the table says."""
    cells = {pod.name: pod.cell(agent, mode) for pod in stage.pods}
    second.event(STARTS, listening=None)
    count = sum(not cell.refused for cell in cells.values())
    what = "mirroring" if mode == "mirror" else "stealing"
    second.said(f": {what} 8080 of deploy/cart ({count} containers)", STARTS)
    found = stage.ask()
    seen = set()
    for pod in stage.pods:
        cell = cells[pod.name]
        for user in USERS:
            assert found[pod.name, user][0] == cell.answers(user), (agent, pod, user)
        if cell.refused:
            refusal(second, pod, together=cell.together)
        for which, user in cell.copies():
            path = found[pod.name, user][1]
            assert pod.first is not None
            (pod.first if which == "first" else second).event(request=f"GET {path} HTTP/1.1")
            (pod.copied if which == "first" else seen).add(path)
    assert requests(second) == seen


def refusal(second: Run, pod: Pod, *, together: bool) -> None:
    """In the words of whoever serves the first, or of the gate that both have."""
    assert pod.first is not None
    said = "".join(second.err.seen)
    if together:
        pattern = rf"port 8080 of {pod.name} is stolen (whole|by a filter) by .+ \(session {pod.name}-.+\): "
    elif pod.agent == "daemonset":  # which calls a session as its object is called
        pattern = (
            rf"{pod.name[:20]}.* is stolen by .+ since .+ \(session .*, {INSTALLED}\); .* leave out --agent"
        )
    else:
        kind = {"job": "a Job of its own", "ephemeral": "an ephemeral container"}[pod.agent]
        whose = rf"\(session {session(pod.first)}, {kind}\)"
        pattern = rf"{pod.name} is stolen by .+ since .+ {whose}; several at once need `mirror-run install`"
    assert re.search(pattern, said), (pattern, said)


def inherits(stage: Stage, second: Run) -> None:
    """Who was refused has each pod when the one that held it goes."""
    for pod in stage.pods:
        assert pod.first is not None
        pod.first.end()
        assert requests(pod.first) == pod.copied, pod
    second.said(f"stealing 8080 of deploy/cart ({len(stage.pods)} containers)", STARTS)
    assert {by for by, _ in stage.ask().values()} == {"second"}


def session(run: Run) -> str:
    return next(found[1] for line in run.err.seen if (found := CREATED.search(line)))
