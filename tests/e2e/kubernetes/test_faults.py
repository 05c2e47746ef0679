"""What goes wrong in a cluster while sessions run: whoever else uses the target does not notice, the apps live on and
are mirrored to again, and nothing is left.

A session of each kind of agent is there at once, on one deployment, and goes through all of it: what happens, happens
to every kind under the same load.
"""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import faults
from tests.cluster.kubectl import Kubectl
from tests.cluster.places import NODES
from tests.e2e.docker.scene import Run

from .installation import AGENTS, Standing
from .numbered import PORT, Bystander, target
from .scene import APP, CREATED, ROLE, SESSION, Images, Scene, wait_left

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KINDS = ("job", "daemonset", "ephemeral")

NAME = f"steady-{uuid.uuid4().hex[:4]}"
"""Of the deployment: nobody else's is called so, and a drain is of these pods alone."""

RECOVERS = 90.0
"""Seconds: a link is waited for 60, and a pod has to start on a machine that has other things to do."""

STANDS_STILL = 30.0
"""Seconds: more than the 15 of silence after which a link counts as cut, fewer than the 60 that it is waited for."""

COMES_BACK, STAYS = 62.0, 30.0
"""Seconds after which agents of a runner that was killed have ended, and what they were made of has gone after that."""

# One TCP connection to the peer's echo, held open. Each line of stdin goes through it: "same N" and "new N" tell
# whether the connection is the one of the line before.
CHANNEL = """
import socket, sys
s, which = None, "new"
for number, line in enumerate(sys.stdin):
    while True:
        try:
            s = s or socket.create_connection((sys.argv[1], 7001), 20)
            s.settimeout(80)
            s.sendall(line.encode())
            got = b""
            while not got.endswith(b"\\n"):
                more = s.recv(100)
                if not more: raise OSError("end")
                got += more
            assert got == line.encode(), got
            break
        except OSError as e:
            print("lost", repr(e), flush=True); s, which = None, "new"
    print(which, number, flush=True); which = "same"
"""


@dataclass
class Session:
    """An app that is mirrored to from both pods and holds a connection open to the peer."""

    kind: str
    scene: Scene
    run: Run
    since: int = 0
    """How many lines had been said when what is tested began."""

    def begin(self) -> None:
        """What was said until now counts no more."""
        self.run.err.skip()
        self.since = len(self.run.err.seen)

    def says(self, text: str) -> None:
        """It has said so since, or will: in whatever order it says several things."""
        if not any(text in line for line in self.run.err.seen[self.since :]):
            self.run.said(text, RECOVERS)

    def goes_out(self) -> None:
        """A line through the connection that is held open; `came_out` tells how it was."""
        assert self.run.process.stdin is not None
        self.run.process.stdin.write("line\n")
        self.run.process.stdin.flush()

    def came_out(self) -> str:
        """Whether the connection was still the "same", or a "new" one."""
        told = self.run.out.wait(
            lambda line: line.startswith(("same", "new")), "the channel's word", RECOVERS
        )
        assert not any("timed out" in line for line in self.run.out.seen if line.startswith("lost")), (
            "it hung"
        )
        return told.split()[0]

    def primary(self) -> str:
        """The pod as which the app goes out."""
        words = ("the way out is through ", f", target deploy/{NAME} (pod ")
        line = next(line for line in reversed(self.run.err.seen) if any(one in line for one in words))
        return (
            line.split("through ")[1].split()[0] if words[0] in line else line.split("(pod ")[1].split(",")[0]
        )

    def agent(self) -> tuple[str, str, str]:
        """The one by which the app goes out: its pod's namespace and name, and its container."""
        pod = self.scene.get("pod", self.primary())
        if self.kind == "ephemeral":
            (name,) = (one for one in _running(pod) if one.startswith(f"mirror-run-{self.number()}"))
            return self.scene.namespace, self.primary(), name
        chosen = f"{ROLE}=agent" + (f",{SESSION}={self.number()}" if self.kind == "job" else "")
        space = self.scene.namespace if self.kind == "job" else AGENTS
        there = self.scene.kubectl.items("-n", space, "get", "pods", "-l", chosen)
        (found,) = (
            one["metadata"]["name"]
            for one in there
            if one["spec"].get("nodeName") == pod["spec"]["nodeName"]
            and "deletionTimestamp" not in one["metadata"]
        )
        return space, found, ""

    def number(self) -> str:
        """The session's name."""
        return next(found[1] for line in self.run.err.seen if (found := CREATED.search(line)))


def _running(pod: dict[str, Any]) -> list[str]:
    known = pod["status"].get("ephemeralContainerStatuses") or ()
    return [one["name"] for one in known if "running" in one.get("state", {})]


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, images: Images, installed: Standing) -> Iterator[Scene]:
    """Agents on every node, and a namespace with target, peer and client. At the end nothing of any session is left."""
    name = f"mrt-faults-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    scene = Scene(cluster, name, images)
    target(scene, 2, NAME)
    scene.deployment("peer", command=("python3", "/programs/server.py"), ports={"http": 8080})
    scene.reachable(scene.client(), NAME, PORT)
    yield scene
    scene.close_runs()
    assert not wait_left(scene)
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


def begun(scene: Scene) -> list[Session]:
    """One of each kind, at once."""
    peer = scene.address(scene.names("peer")[0])
    script = f'python3 /programs/record.py --http {PORT} & exec python3 -c "$0" {peer}'
    made = []
    for kind in KINDS:
        options = ("--agent", kind, *(() if kind == "daemonset" else ("--agent-image", scene.images.agent)))
        run = scene.start(
            f"deploy/{NAME}", "sh", "-c", script, CHANNEL, options=options, stdin=subprocess.PIPE
        )
        made.append(Session(kind, scene, run))
    for one in made:
        one.says("(2 containers)")
        one.goes_out()
    assert [one.came_out() for one in made] == ["new"] * len(made)
    seen(scene, made)
    return made


@pytest.fixture
def sessions(stage: Scene) -> list[Session]:
    """Those of the tests before, as long as they live."""
    if not (known := HELD.get(stage.namespace)) or any(one.run.process.poll() is not None for one in known):
        stage.close_runs()
        HELD[stage.namespace] = begun(stage)
    for one in HELD[stage.namespace]:
        one.begin()
    return HELD[stage.namespace]


HELD: dict[str, list[Session]] = {}


def seen(scene: Scene, sessions: list[Session]) -> None:
    """What each ready pod is asked arrives in every app soon: a way may be back a little before the mirror of it."""
    deadline = time.monotonic() + RECOVERS
    waiting = {(one.kind, pod): one for one in sessions for pod in scene.names(NAME)}
    assert waiting
    while waiting:
        assert time.monotonic() < deadline, (
            f"never mirrored: {', '.join(f'{kind} {pod}' for kind, pod in waiting)}"
        )
        marks = {pod: f"/mark/{uuid.uuid4().hex[:8]}" for _, pod in waiting}
        for pod, mark in marks.items():
            url = f"http://{scene.address(pod)}:{PORT}{mark}"
            assert scene.inside("client", "curl", "-sS", "-m", "15", url) == f"{pod} {mark}\n"
        for (kind, pod), one in list(waiting.items()):
            with suppress(AssertionError):
                one.run.event(5.0, request=f"GET {marks[pod]} HTTP/1.1")
                del waiting[kind, pod]
    assert [one.run.process.poll() for one in sessions] == [None] * len(sessions)


def held(sessions: list[Session]) -> dict[str, str]:
    """By kind, whether the connection that is held open is still the same."""
    for one in sessions:
        one.goes_out()
    return {one.kind: one.came_out() for one in sessions}


ALL_THE_SAME = dict.fromkeys(KINDS, "same")


def test_the_runners_are_killed(stage: Scene) -> None:
    """With kill -9. The minute until nothing of theirs is left is one for the other tests, whose last one looks."""
    with Bystander(stage, NAME, kept=True):
        for one in begun(stage):
            one.run.end(signal.SIGKILL)
    stage.close_runs()


def test_the_api_server_is_restarted(stage: Scene, sessions: list[Session]) -> None:
    """Every link is cut, and resumed."""
    with Bystander(stage, NAME, kept=True):
        faults.restart_api_server()
        for one in sessions:
            one.says("is back, nothing was lost")
        assert held(sessions) == ALL_THE_SAME
        seen(stage, sessions)


def test_the_kubelets_are_restarted(stage: Scene, sessions: list[Session]) -> None:
    """Whose connections forwards are: cut, and resumed."""
    with Bystander(stage, NAME, kept=True):
        for node in NODES:
            faults.restart_kubelet(stage.kubectl, node.name)
        for one in sessions:
            one.says("is back, nothing was lost")
        assert held(sessions) == ALL_THE_SAME
        seen(stage, sessions)


def test_the_runners_stand_still(stage: Scene, sessions: list[Session]) -> None:
    """As when a laptop's lid is closed: nothing ends, nobody notices, and it all goes on."""
    with Bystander(stage, NAME, kept=True):
        for one in sessions:
            one.run.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(STANDS_STILL)  # the fault is that so much time passes
        finally:
            for one in sessions:
                one.run.process.send_signal(signal.SIGCONT)
        for one in sessions:
            one.says("is back, nothing was lost")
        assert held(sessions) == ALL_THE_SAME
        seen(stage, sessions)


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_the_agents_are_gone(stage: Scene, sessions: list[Session], how: str) -> None:
    """Others take their places. What went through them is reset, and may be opened again.

    An ephemeral container has no pod of its own that could be deleted.
    """
    chosen = [one for one in sessions if how == "killed" or one.kind != "ephemeral"]
    with Bystander(stage, NAME, kept=True):
        for space, pod, container in [one.agent() for one in chosen]:
            if how == "deleted":
                stage.kubectl("-n", space, "delete", "pod", pod, "--wait=false")
            else:
                faults.kill(stage.kubectl, space, pod, container)
        for one in chosen:
            one.says("is back, its connections were reset")
        assert held(chosen) == {one.kind: "new" for one in chosen}
        seen(stage, sessions)


def test_the_target_pod_is_deleted(stage: Scene, sessions: list[Session]) -> None:
    """Another leads, and the one that comes instead takes part."""
    gone = sessions[0].primary()
    leads = [one for one in sessions if one.primary() == gone]
    with Bystander(stage, NAME):
        stage.kube("delete", "pod", gone, "--wait=false")
        for one in leads:
            one.says("the way out is through")
        for one in sessions:
            one.says(f"{gone} has gone")
        stage.ready(f"deployment/{NAME}")
        told = held(sessions)
        assert all(told[one.kind] == "new" for one in leads)
        seen(stage, sessions)


def test_the_node_is_drained(stage: Scene, sessions: list[Session]) -> None:
    """Of the target's pods; they come again on the other node, and are followed there."""
    node = stage.get("pod", sessions[0].primary())["spec"]["nodeName"]
    gone = [pod["metadata"]["name"] for pod in stage.pods(NAME) if pod["spec"]["nodeName"] == node]
    with Bystander(stage, NAME), faults.drained(stage.kubectl, node, f"{APP}={NAME}"):
        stage.ready(f"deployment/{NAME}")
        for one in sessions:
            for pod in gone:
                one.says(f"{pod} has gone")
        assert all(one.primary() not in gone for one in sessions)
        held(sessions)
        seen(stage, sessions)


def test_the_sessions_end_and_nothing_is_left(stage: Scene, sessions: list[Session]) -> None:
    """In order, after all that; and what was left by the runners that were killed at first has gone by itself."""
    stage.close_runs()
    assert [one.run.process.returncode for one in sessions] == [128 + signal.SIGTERM] * len(sessions)
    assert not wait_left(stage, COMES_BACK + STAYS + 15)
