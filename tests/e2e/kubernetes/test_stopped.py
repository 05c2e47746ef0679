"""A runner that stands still, as when a laptop's lid is closed: nothing ends, nobody notices, and it all goes on."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from tests.cluster.kubectl import Kubectl

from .scene import Images, Scene, wait_left

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

STANDS_STILL = 30.0
"""Seconds: more than the 15 of silence after which a link counts as cut, fewer than the 60 that it is waited for."""

OCTETS, RATE = 50_000_000, 1_000_000
"""50 s of uploading."""


@pytest.fixture
def scene(cluster: Kubectl, images: Images) -> Iterator[Scene]:
    name = f"mrt-stopped-{uuid.uuid4().hex[:6]}"
    cluster("create", "namespace", name)
    stage = Scene(cluster, name, images)
    stage.deployment("cart")
    stage.deployment("peer", command=("python3", "/programs/server.py"), ports={"http": 8080})
    stage.client()
    try:
        yield stage
        stage.close_runs()
        assert not wait_left(stage)
    finally:
        stage.close_runs()
        cluster("delete", "namespace", name, "--wait=false")


def test_a_runner_that_is_stopped_for_a_while(scene: Scene, images: Images) -> None:
    peer = scene.address(scene.names("peer")[0])
    upload = f"python3 /programs/record.py 8080 & exec python3 /programs/probe.py upload {peer} {OCTETS} {RATE}"
    options = ("--agent", "job", "--agent-image", images.agent)
    run = scene.start("deploy/cart", "sh", "-c", upload, options=options)
    run.said(": mirroring")
    run.process.send_signal(signal.SIGSTOP)
    wakes = threading.Timer(STANDS_STILL, run.process.send_signal, (signal.SIGCONT,))
    wakes.start()
    try:
        failed, asked, until = 0, 0, time.monotonic() + STANDS_STILL - 2
        while time.monotonic() < until:
            answers = scene.inside(
                "client", "sh", "-c", "for i in $(seq 20); do curl -sS -m 5 http://cart:8080/ || echo FAILED; done"
            ).splitlines()
            asked, failed = asked + len(answers), failed + answers.count("FAILED")
    finally:
        wakes.join()
    assert asked
    assert failed == 0
    run.said("is back, nothing was lost", patience=60)
    assert run.out.wait(lambda line: line == f"[{OCTETS}, true]\n", "the upload's end", 120)
    run.end()
