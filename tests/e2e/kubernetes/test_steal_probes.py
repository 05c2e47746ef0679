"""A developer at a breakpoint for half a minute: the kubelet's probes are answered by the pod, and so are others."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.e2e.docker.load import Load
from tests.e2e.docker.scene import Run

from .scene import CREATED, ROLE, SESSION, Json, Scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STARTS = 120.0
STOPPED = 30.0
OFTEN: Json = {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 2}
PORTS = {"http": 8080, "grpc": 50051}
PROBES: dict[str, Json] = {
    "by-http": {"httpGet": {"path": "/healthz", "port": 8080}},
    "by-tcp": {"tcpSocket": {"port": 8080}},
    "by-grpc": {"grpc": {"port": 50051}},
    "by-exec": {
        "exec": {"command": ["sh", "-c", "curl -sS -m 2 http://127.0.0.1:8080/ | grep -q '\"target\"'"]}
    },
}
STOP = "import os, signal; os.kill(-1, signal.{})"
"""All processes there but the first and the one that does it: kill(2)."""


def test_probes_while_the_app_is_stopped(scene: Scene) -> None:
    """Ports stolen whole, but those of one, whose other clients ask all the while."""
    runs: dict[str, Run] = {}
    for name, probe in PROBES.items():
        both = {"readinessProbe": OFTEN | probe, "livenessProbe": OFTEN | probe}
        server = ("python3", "/programs/shop.py", "target", *PORTS)
        target = scene.deployment(name, 1, server, PORTS, **both)
        options = ("--http-header", "^x-user: ada$") if name == "by-http" else ()
        runs[name] = begun(scene, target, *options)
    client = scene.client()
    scene.reachable(client, "by-http", 8080)
    for run in runs.values():
        run.event(STARTS, listening=None)
        run.said_all("stealing 8080, 50051", patience=STARTS)
    for name in PROBES:
        assert who(scene, name) == "app"
    into = scene.kubectl.command("-n", scene.namespace, "exec", "-i", client, "--")
    with Load(into, "by-http", kept=1, fresh=2) as load:
        for run in runs.values():
            inside_app(run, "SIGSTOP")
        stays_ready(scene, time.monotonic() + STOPPED)
        for run in runs.values():
            inside_app(run, "SIGCONT")
    load.nobody_noticed()
    for name in PROBES:
        assert who(scene, name) == "app"


def begun(scene: Scene, target: str, *options: str) -> Run:
    words = ("--agent", "job", "--agent-image", scene.images.agent, "--steal", *options)
    return scene.start(
        target, "python3", "/programs/shop.py", "app", *PORTS, options=words, stdin=subprocess.PIPE
    )


def who(scene: Scene, host: str) -> str:
    said = scene.inside("client", "curl", "-sS", "-m", "10", "-H", "x-user: ada", f"http://{host}:8080/")
    return "app" if '"by": "app"' in said else said


def inside_app(run: Run, signal: str) -> None:
    session = next(found[1] for line in run.err.seen if (found := CREATED.search(line)))
    words = [f"--filter=label={SESSION}={session}", f"--filter=label={ROLE}=app"]
    (app,) = subprocess.run(
        ["docker", "ps", "-q", *words], check=True, capture_output=True, text=True
    ).stdout.split()
    subprocess.run(
        ["docker", "exec", app, "python3", "-c", STOP.format(signal)], check=True, capture_output=True
    )


def stays_ready(scene: Scene, until: float) -> None:
    """Each pod, at each look, and never restarted."""
    while time.monotonic() < until:
        for name in PROBES:
            (pod,) = scene.pods(name)
            ready = next(one for one in pod["status"]["conditions"] if one["type"] == "Ready")
            assert ready["status"] == "True", (name, ready)
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, name
        time.sleep(0.5)
