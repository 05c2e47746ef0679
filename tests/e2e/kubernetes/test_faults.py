"""What goes wrong in a cluster while a session runs: whoever else uses the target does not notice, the app lives on and
is mirrored to again, and nothing is left."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cluster import faults
from tests.cluster.kubectl import Kubectl
from tests.e2e.docker.scene import Run

from .numbered import PORT, Bystander, target
from .scene import ROLE, Images, Scene, wait_left

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

NAME = "steady"
"""Of the deployment: nobody else's is called so, and a drain is of these pods alone."""

RECOVERS = 90.0
"""Seconds: a link is waited for 60, and a pod has to start on a machine that has other things to do."""

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


@pytest.fixture(scope="module")
def space(cluster: Kubectl, images: Images) -> Iterator[str]:
    name = f"mrt-faults-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    furnished = Scene(cluster, name, images)
    target(furnished, 2, NAME)
    furnished.deployment("peer", command=("python3", "/programs/server.py"), ports={"http": 8080})
    furnished.reachable(furnished.client(), NAME, PORT)
    yield name
    cluster("-n", name, "delete", "all", "--all", "--wait=false", "--grace-period=1")
    cluster("delete", "namespace", name, "--wait=false")


@pytest.fixture
def scene(cluster: Kubectl, space: str, images: Images) -> Iterator[Scene]:
    stage = Scene(cluster, space, images)
    yield stage
    stage.close_runs()
    stage.ready(f"deployment/{NAME}")
    assert not wait_left(stage)


def session(scene: Scene) -> Run:
    """An app that is mirrored to from both pods and holds a connection open to the peer."""
    peer = scene.address(scene.names("peer")[0])
    script = f'python3 /programs/record.py --http {PORT} & exec python3 -c "$0" {peer}'
    options = ("--agent", "job", "--agent-image", scene.images.agent)
    run = scene.start(f"deploy/{NAME}", "sh", "-c", script, CHANNEL, options=options, stdin=subprocess.PIPE)
    run.said("(2 containers)", RECOVERS)
    assert goes_out(run) == "new"
    sees(scene, run)
    return run


def goes_out(run: Run) -> str:
    """A line through the connection that is held open: whether it is still the "same"."""
    assert run.process.stdin is not None
    run.process.stdin.write("line\n")
    run.process.stdin.flush()
    told = run.out.wait(lambda line: line.startswith(("same", "new")), "the channel's word", RECOVERS)
    return told.split()[0]


def sees(scene: Scene, run: Run) -> None:
    """What each ready pod is asked arrives in the app, soon: a way may be back a little before the mirror of it is."""
    deadline = time.monotonic() + RECOVERS
    waiting = {pod: scene.address(pod) for pod in scene.names(NAME)}
    assert waiting
    while waiting:
        assert time.monotonic() < deadline, f"never mirrored from {', '.join(waiting)}"
        marks = {pod: f"/mark/{uuid.uuid4().hex[:8]}" for pod in waiting}
        for pod, mark in marks.items():
            url = f"http://{waiting[pod]}:{PORT}{mark}"
            assert scene.inside("client", "curl", "-sS", "-m", "15", url) == f"{pod} {mark}\n"
        for pod, mark in marks.items():
            with suppress(AssertionError):
                run.event(5.0, request=f"GET {mark} HTTP/1.1")
                del waiting[pod]
    assert run.process.poll() is None


def primary(run: Run) -> str:
    line = next(line for line in run.err.seen if f", target deploy/{NAME} (pod " in line)
    return line.split("(pod ")[1].split(",")[0]


def agent(scene: Scene, run: Run) -> str:
    """The pod of the agent by which the app goes out."""
    node = scene.get("pod", primary(run))["spec"]["nodeName"]
    agents = scene.get("pods", "-l", f"{ROLE}=agent")["items"]
    (found,) = [one["metadata"]["name"] for one in agents if one["spec"]["nodeName"] == node]
    return str(found)


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_an_agent_that_is_gone(scene: Scene, how: str) -> None:
    """Another takes its place. What went through it is reset, and may be opened again."""
    with Bystander(scene, NAME, kept=True):
        run = session(scene)
        if how == "deleted":
            scene.kube("delete", "pod", agent(scene, run), "--wait=false")
        else:
            faults.kill(scene.kubectl, scene.namespace, agent(scene, run))
        run.said("is back, its connections were reset", RECOVERS)
        assert goes_out(run) == "new"
        sees(scene, run)
