"""The target restarts, is replaced, is scaled and goes: the session goes on, and says so."""

from __future__ import annotations

import uuid

import pytest
from docker.models.containers import Container

from .scene import Scene

SERVER = ["python3", "-m", "http.server", "--bind", "::", "8000"]


def replica(scene: Scene, service: str, number: int) -> Container:
    """A container as compose makes one."""
    labels = {
        "com.docker.compose.project": scene.name,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": str(number),
        "com.docker.compose.oneoff": "False",
        "mirror-run.dev/test": scene.name,
    }
    made = scene.client.containers.run(
        scene.image,
        SERVER,
        name=f"{scene.name}-{service}-{number}",
        labels=labels,
        network=scene.network.name,
        detach=True,
        init=True,
    )
    scene.made.append(made)
    scene.wait_inside(made, "nc", "-z", "127.0.0.1", "8000")
    return made


@pytest.fixture
def service() -> str:
    return f"svc{uuid.uuid4().hex[:4]}"


def ask(scene: Scene, bystander: Container, made: Container, path: str) -> None:
    scene.inside(bystander, "curl", "-sS", "-o", "/dev/null", f"http://{scene.address(made)}:8000/{path}")


def test_restarts(scene: Scene, bystander: Container, service: str) -> None:
    made = replica(scene, service, 1)
    run = scene.start(made, "python3", "/programs/record.py", "--http", "8000")
    run.said(": mirroring 8000")
    made.restart(timeout=1)
    run.said("is back, and followed")
    scene.wait_inside(made, "nc", "-z", "127.0.0.1", "8000")
    run.said(": mirroring 8000")
    ask(scene, bystander, made, "after")
    run.event(request="GET /after HTTP/1.1")
    assert run.process.poll() is None
    run.end()
    scene.remove(made)


def test_the_way_out_works_again_after_a_restart(scene: Scene, peer: Container, service: str) -> None:
    made = replica(scene, service, 1)
    script = "echo up; read go; curl -sS --retry 5 --retry-connrefused -o /dev/null -w '%{http_code}\\n' http://peer:8080/"
    import subprocess

    run = scene.start(made, "sh", "-c", script, stdin=subprocess.PIPE)
    run.out.wait(lambda line: "up" in line, "the app's line")
    made.restart(timeout=1)
    run.said("is back, and followed")
    assert run.process.stdin is not None
    run.process.stdin.write("go\n")
    run.process.stdin.flush()
    run.out.wait(lambda line: line == "200\n", "the answer from the peer")
    assert run.wait() == 0
    scene.remove(made)


def test_every_replica_is_followed_and_so_are_new_ones(
    scene: Scene, bystander: Container, service: str
) -> None:
    first, second = replica(scene, service, 1), replica(scene, service, 2)
    run = scene.start(f"compose/{service}", "python3", "/programs/record.py", "--http", "8000")
    run.said("(2 containers)")
    ask(scene, bystander, first, "one")
    run.event(request="GET /one HTTP/1.1")
    ask(scene, bystander, second, "two")
    run.event(request="GET /two HTTP/1.1")
    third = replica(scene, service, 3)
    run.said("(3 containers)")
    ask(scene, bystander, third, "three")
    run.event(request="GET /three HTTP/1.1")
    scene.remove(second)
    run.said("ended")
    ask(scene, bystander, third, "still")
    run.event(request="GET /still HTTP/1.1")
    run.end()
    scene.remove(first)
    scene.remove(third)


def test_gone_for_good_is_said_and_the_app_keeps_running(scene: Scene, service: str) -> None:
    made = replica(scene, service, 1)
    run = scene.start(made, "sh", "-c", "echo up; read end; echo goes on", stdin=-1)
    run.out.wait(lambda line: "up" in line, "the app's line")
    scene.remove(made)
    run.said("gone for good")
    assert run.process.stdin is not None
    run.process.stdin.close()
    run.out.wait(lambda line: line == "goes on\n", "the app's last line")
    assert run.wait() == 0
