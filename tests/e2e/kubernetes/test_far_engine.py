"""A pod as the target, and an engine that shares no sockets with this machine: the bridge's legs are programs in its
container."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.docker.scene import ROOT

from .scene import Scene

OCTETS = 20_000_000


@pytest.fixture
def engine() -> Iterator[dict[str, str]]:
    """The environment that leads to this machine's engine as if it were another's."""
    words = [sys.executable, "-m", "tests.e2e.kubernetes.engine_far", "/var/run/docker.sock"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        yield {"DOCKER_HOST": f"tcp://127.0.0.1:{process.stdout.readline().strip()}"}


def test_octets_both_ways_and_copies(scene: Scene, engine: dict[str, str]) -> None:
    target = scene.deployment("cart")
    scene.deployment("peer", command=("python3", "/programs/server.py"), ports={"http": 8080})
    client = scene.client()
    peer = scene.address(scene.names("peer")[0])
    options = ("--agent", "job", "--agent-image", scene.images.agent)
    script = (
        f"python3 /programs/probe.py upload {peer} {OCTETS}; python3 /programs/probe.py download {peer} {OCTETS}; "
        "exec python3 /programs/record.py 8080"
    )
    run = scene.start(target, "sh", "-c", script, options=options, env=engine)
    assert run.out.wait(lambda line: line.startswith("["), "the upload") == f"[{OCTETS}, true]\n"
    assert run.out.wait(lambda line: line.startswith("["), "the download") == f"[{OCTETS}, true]\n"
    run.said(": mirroring")
    scene.inside(client, "curl", "-s", "http://cart:8080/index.html?far")
    assert "/index.html?far" in run.event(port=8080, end="eof")["head"]
    assert "nothing of this one is mounted" in "".join(run.err.seen)
